# Which values of trendline.py are C's when it is compiled as it stands (hatch_build.py).
import cython


cdef class Trendline:
    cdef readonly object usage
    cdef readonly double threshold_ms
    cdef double[::1] _xs, _ys
    cdef int _above
    cdef long long _groups
    cdef double _first_at, _last_at, _delay_ms, _smoothed_ms, _slope, _above_s

    @cython.locals(sent=double, arrived=double, arrived_at=double, at=int)
    cpdef add(self, delta)

    @cython.locals(
        xs="double[::1]",
        ys="double[::1]",
        mean_x=double,
        product=double,
        square=double,
        x=double,
        i=int,
        window=int,
    )
    cdef double _fit(self)

    @cython.locals(threshold_ms=double, signal_ms=double)
    cdef _judge(self, double slope, double sent, double arrived_at)

    @cython.locals(factor=double, threshold_ms=double, step_ms=double)
    cdef _adapt(self, double signal_ms, double threshold_ms, double at)
