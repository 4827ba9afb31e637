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

    @cython.locals(
        way_s=double,
        end=double,
        sent_after=double,
        arrived_after=double,
        size_after=double,
        carried=double,
        is_run=bint,
        sent_at=double,
        arrived_at=double,
        size=double,
    )
    cpdef link_bps(self)

    @cython.locals(
        way_s=double,
        end=double,
        sent_after=double,
        arrived_after=double,
        size_after=double,
        carried=double,
        longest_s=double,
        took_s=double,
        sent_at=double,
        arrived_at=double,
        size=double,
    )
    cpdef latest_bps(self)
