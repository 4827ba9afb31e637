# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""ArrivalLog, compiled: its twin in transport_cc.py documents it, and writes the same bytes.

What it writes is bounded beforehand: a feedback has MAX_REPORTED deltas of two bytes at most, and MAX_SPAN statuses, of
which no chunk takes less than seven but the last one.
"""

from zvonim_sfu.rtp import transport_cc
from zvonim_sfu.rtp.intake import NO_NUMBER as _NO_NUMBER
from zvonim_sfu.rtp.rtcp_feedback import TRANSPORT_FEEDBACK as _TRANSPORT_FEEDBACK

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.math cimport rint
from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport qsort
from libc.string cimport memset

cdef enum:
    MAX_ARRIVALS = 4096
    FIRST_CAPACITY = 256
    TICKS_PER_S = 4000
    TICKS_PER_REFERENCE = 256
    MAX_REPORTED = 128
    MAX_SPAN = 0x7FFE
    FIXED_BYTES = 4 + 16
    MAX_CHUNKS = 4681  # of seven statuses
    MAX_BYTES = FIXED_BYTES + 2 * MAX_CHUNKS + 2 * MAX_REPORTED + 3
    # Of chunks (section 3.1).
    RUN_LENGTH = 0x1FFF
    VECTOR = 0x8000
    PAIRS = 0xC000
    FORMAT = 0x80 | 15
    PACKET_TYPE = 205

assert (TICKS_PER_S, TICKS_PER_REFERENCE) == (transport_cc.TICKS_PER_S, transport_cc.TICKS_PER_REFERENCE)
assert (MAX_REPORTED, MAX_SPAN) == (transport_cc.MAX_REPORTED, transport_cc.MAX_SPAN)
assert 7 * MAX_CHUNKS >= MAX_SPAN
assert MAX_ARRIVALS == transport_cc.MAX_ARRIVALS
assert (FORMAT & 0x1F, PACKET_TYPE) == (transport_cc.TRANSPORT_CC, _TRANSPORT_FEEDBACK)

cdef int64_t NO_NUMBER = _NO_NUMBER
cdef double WINDOW_S = transport_cc.WINDOW_S


cdef class ArrivalLog:
    def __cinit__(self):
        self._highest = self._next = self._floor = NO_NUMBER
        self._grow()

    def __dealloc__(self):
        PyMem_Free(self._arrivals)
        PyMem_Free(self._due)

    def __len__(self):
        return self._unreported

    def received(self, int sequence_number, double now):
        self.note(sequence_number, now)

    cdef int note(self, int sequence_number, double now) except -1:
        cdef int64_t number
        cdef Arrival *arrival
        self._unreported += 1
        if self._highest == NO_NUMBER:
            number = self._highest = sequence_number
        else:
            number = self._highest + <int16_t><uint16_t>(sequence_number - self._highest)
            if number > self._highest:
                self._highest = number
            elif self._has(number):
                return 0
        if self._next == NO_NUMBER:
            self._next = number
        elif number < self._next:
            if self._floor != NO_NUMBER and number < self._floor:
                return 0
            self._next = number
            self._repeats = True
        if self._count == self._capacity:
            self._grow()
        arrival = self._at(self._count)
        arrival.number = number
        arrival.ticks = <int64_t>rint(now * TICKS_PER_S)
        self._count += 1
        if self._count > MAX_ARRIVALS:
            self._forget(MAX_ARRIVALS // 2)
        return 0

    cdef int _grow(self) except -1:
        # A publisher at 2 Mbit/s has 200 packets in the window; there is never more than one above MAX_ARRIVALS.
        cdef int i, capacity = max(2 * self._capacity, FIRST_CAPACITY)
        cdef Arrival *grown = <Arrival *>PyMem_Malloc(capacity * sizeof(Arrival))
        cdef Arrival *due = <Arrival *>PyMem_Realloc(self._due, capacity * sizeof(Arrival))
        if due != NULL:
            self._due = due
        if grown == NULL or due == NULL:
            PyMem_Free(grown)
            raise MemoryError
        for i in range(self._count):
            grown[i] = self._at(i)[0]
        PyMem_Free(self._arrivals)
        self._arrivals = grown
        self._capacity = capacity
        self._begin = 0
        return 0

    cdef Arrival *_at(self, int index) noexcept:
        return &self._arrivals[(self._begin + index) % self._capacity]

    cdef bint _has(self, int64_t number) noexcept:
        cdef int i
        for i in range(self._count - 1, -1, -1):
            if self._at(i).number == number:
                return True
        return False

    def feedback(self, double now, *, uint32_t sender_ssrc, uint32_t media_ssrc):
        packets = self.packed(now, sender_ssrc=sender_ssrc, media_ssrc=media_ssrc)
        return [transport_cc.TransportFeedback.parse(packet[4:]) for packet in packets]

    def packed(self, double now, *, uint32_t sender_ssrc, uint32_t media_ssrc):
        cdef int64_t first = self._next, ticks, last
        cdef int total, at = 0, end
        cdef list packets = []
        self._unreported = 0
        if first == NO_NUMBER:
            return packets
        total = self._collect(first)
        while at < total:
            # Numbers so far back are as good as reported.
            first = max(first, self._due[at].number - MAX_SPAN + 1)
            last = self._due[at].ticks - self._due[at].ticks % TICKS_PER_REFERENCE
            end = at
            while end < total and end - at < MAX_REPORTED:
                ticks = self._due[end].ticks
                if self._due[end].number - first >= MAX_SPAN or not -0x8000 <= ticks - last <= 0x7FFF:
                    break
                last = ticks
                end += 1
            packets.append(self._pack(at, end - at, first, sender_ssrc, media_ssrc))
            self._number = self._number + 1 & 0xFF
            first = self._due[end - 1].number + 1
            at = end
        self._next = first
        end = 0
        while end < self._count and self._at(end).ticks < (now - WINDOW_S) * TICKS_PER_S:
            end += 1
        self._forget(end)
        return packets

    cdef int _collect(self, int64_t first) noexcept:
        # Puts what has come from this number on into `_due`, in order; returns how many.
        cdef int i, count = 0
        cdef bint is_sorted = True
        for i in range(self._count - 1, -1, -1):
            if self._at(i).number >= first:
                self._due[count] = self._at(i)[0]
                count += 1
            elif not self._repeats:
                break
        self._repeats = False
        for i in range(count // 2):
            self._due[i], self._due[count - 1 - i] = self._due[count - 1 - i], self._due[i]
        for i in range(1, count):
            is_sorted = is_sorted and self._due[i].number > self._due[i - 1].number
        if not is_sorted:
            qsort(self._due, count, sizeof(Arrival), _by_number)
        return count

    cdef bytes _pack(self, int at, int count, int64_t first, uint32_t sender_ssrc, uint32_t media_ssrc):
        cdef uint8_t[MAX_SPAN] statuses
        cdef uint8_t[MAX_BYTES] packet
        cdef int span = <int>(self._due[at + count - 1].number - first + 1), size, i
        cdef int64_t reference = self._due[at].ticks // TICKS_PER_REFERENCE
        cdef int64_t last = reference * TICKS_PER_REFERENCE, delta
        memset(statuses, 0, span)
        for i in range(at, at + count):
            delta = self._due[i].ticks - last
            last = self._due[i].ticks
            statuses[self._due[i].number - first] = 1 if 0 <= delta <= 0xFF else 2
        _write32(packet + 4, sender_ssrc)
        _write32(packet + 8, media_ssrc)
        _write16(packet + 12, <uint16_t>(first & 0xFFFF))
        _write16(packet + 14, <uint16_t>span)
        _write32(packet + 16, <uint32_t>((reference & 0xFFFFFF) << 8 | self._number))
        size = FIXED_BYTES + _write_chunks(packet + FIXED_BYTES, statuses, span)
        last = reference * TICKS_PER_REFERENCE
        for i in range(at, at + count):
            delta = self._due[i].ticks - last
            last = self._due[i].ticks
            if 0 <= delta <= 0xFF:
                packet[size] = <uint8_t>delta
                size += 1
            else:
                _write16(packet + size, <uint16_t>(delta & 0xFFFF))
                size += 2
        while size % 4:
            packet[size] = 0
            size += 1
        packet[0] = FORMAT
        packet[1] = PACKET_TYPE
        _write16(packet + 2, <uint16_t>(size // 4 - 1))
        return PyBytes_FromStringAndSize(<char *>packet, size)

    cdef void _forget(self, int count) noexcept:
        cdef int i
        for i in range(count):
            self._floor = max(self._floor, self._at(i).number + 1)
        self._begin = (self._begin + count) % self._capacity
        self._count -= count
        if count and self._next != NO_NUMBER and self._next < self._floor:
            self._next = self._floor


cdef int _by_number(const void *one, const void *other) noexcept nogil:
    cdef int64_t a = (<const Arrival *>one).number, b = (<const Arrival *>other).number
    return (a > b) - (a < b)


cdef int _write_chunks(uint8_t *at, const uint8_t *statuses, int count) noexcept nogil:
    # As transport_cc._CHUNKS has it; returns how many bytes.
    cdef int i = 0, run, length, k, size = 0, chunk
    while i < count:
        run = 1
        while i + run < count and run < RUN_LENGTH and statuses[i + run] == statuses[i]:
            run += 1
        if run >= (8 if statuses[i] == 2 else 15):
            chunk = statuses[i] << 13 | run
            length = run
        else:
            length = 0
            while i + length < count and length < 14 and statuses[i + length] < 2:
                length += 1
            if length == 14 or (length >= 8 and i + length == count):
                chunk = VECTOR
                for k in range(length):
                    chunk |= statuses[i + k] << (13 - k)
            else:
                length = min(7, count - i)
                chunk = PAIRS
                for k in range(length):
                    chunk |= statuses[i + k] << 2 * (6 - k)
        _write16(at + size, <uint16_t>chunk)
        size += 2
        i += length
    return size


cdef inline void _write16(uint8_t *at, uint16_t value) noexcept nogil:
    at[0] = <uint8_t>(value >> 8)
    at[1] = <uint8_t>(value & 0xFF)


cdef inline void _write32(uint8_t *at, uint32_t value) noexcept nogil:
    _write16(at, <uint16_t>(value >> 16))
    _write16(at + 2, <uint16_t>(value & 0xFFFF))
