# Which values of reports.py are C's when it is compiled as it stands (hatch_build.py).
import cython


cdef class ReportReader:
    cdef object _history, _reference_time
    cdef bytearray _fates
    cdef long long _fresh

    @cython.locals(
        mask=cython.longlong,
        end=cython.longlong,
        oldest=cython.longlong,
        first=cython.longlong,
        ticks=cython.longlong,
        ticks_per_s=double,
        start=cython.longlong,
        stop=cython.longlong,
        offset=cython.longlong,
        delta=cython.longlong,
        number=cython.longlong,
        index=cython.longlong,
        fate=int,
        recovered=int,
        missing=int,
        missing_bytes=int,
        fates=bytearray,
        came=list,
        at=cython.Py_ssize_t,
        arrivals="double[::1]",
    )
    cpdef read(self, feedback)

    @cython.locals(fresh=cython.longlong, end=cython.longlong, start=cython.longlong, stop=cython.longlong)
    cdef _refresh(self, history)
