# Which values of transport_chunks.py are C's when it is compiled as it stands (hatch_build.py).
import cython


@cython.locals(size=cython.Py_ssize_t, statuses=list, received=list, offset=cython.Py_ssize_t, status=int, delta=int)
cpdef tuple parse_received(bytes body, Py_ssize_t at, Py_ssize_t count)

@cython.locals(
    size=cython.Py_ssize_t,
    statuses=list,
    offset=cython.Py_ssize_t,
    chunk=int,
    status=int,
    length=int,
    bits=int,
    index=cython.Py_ssize_t,
)
cdef tuple _parse_chunks(bytes body, Py_ssize_t at, Py_ssize_t count)
