# Which values of throughput.py are C's when it is compiled as it stands (hatch_build.py).
import cython


cdef class Throughput:
    cdef object _marks
    cdef readonly object sent_bps, acknowledged_bps
    cdef readonly double usual_bps

    @cython.locals(
        received=cython.longlong,
        sent_at=double,
        arrived_at=double,
        sent="double[::1]",
        arrived="double[::1]",
        sizes="unsigned short[::1]",
        i=cython.Py_ssize_t,
        elapsed_s=double,
        share=double,
    )
    cpdef add(self, report)
