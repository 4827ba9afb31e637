from libc.stdint cimport int64_t, uint32_t

cdef struct Arrival:
    int64_t number  # extended
    int64_t ticks  # 250 us


cdef class ArrivalLog:
    cdef Arrival *_arrivals  # a ring, in the order of arrival
    cdef Arrival *_due  # what a feedback reports, by number
    cdef int _capacity  # of both
    cdef int _begin
    cdef int _count
    cdef int _unreported
    cdef int64_t _highest
    cdef bint _repeats
    cdef int64_t _next
    cdef int64_t _floor
    cdef int _number

    cdef int note(self, int number, double now) except -1
    cdef int _grow(self) except -1
    cdef Arrival *_at(self, int index) noexcept
    cdef bint _has(self, int64_t number) noexcept
    cdef int _collect(self, int64_t first) noexcept
    cdef bytes _pack(self, int at, int count, int64_t first, uint32_t sender_ssrc, uint32_t media_ssrc)
    cdef void _forget(self, int count) noexcept
