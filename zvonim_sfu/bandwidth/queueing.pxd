# Which values of queueing.py are C's when it is compiled as it stands (hatch_build.py).
import cython


cdef class Queueing:
    cdef readonly double wait_s, lasted_s
    cdef readonly bint is_growing
    cdef double _short_at, _before, _latest, _latest_since
    cdef object _recent, _highest

    cdef _reset(self, double delay_s, double at)

    @cython.locals(
        shortest=double,
        delay_s=double,
        at=double,
        wait_s=double,
        sent="double[::1]",
        arrived="double[::1]",
        i=cython.Py_ssize_t,
    )
    cpdef add(self, report)
