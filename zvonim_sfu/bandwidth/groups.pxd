# Which values of groups.py are C's when it is compiled as it stands (hatch_build.py).
import cython


cdef class ArrivalGroups:
    cdef double _first_sent, _last_sent, _first_arrived, _last_arrived, _before_sent, _before_arrived
    cdef int _reordered

    cdef _reset(self)

    @cython.locals(
        sent="double[::1]",
        arrived="double[::1]",
        at=cython.Py_ssize_t,
        burst_s=double,
        max_burst_s=double,
        nothing=double,
        first_sent=double,
        last_sent=double,
        first_arrived=double,
        last_arrived=double,
        sent_at=double,
        arrived_at=double,
        since_first=double,
        since_last=double,
    )
    cpdef deltas(self, report)

    @cython.locals(sent=double, arrived=double)
    cdef bint _close(self, double last_sent, double last_arrived, list found)
