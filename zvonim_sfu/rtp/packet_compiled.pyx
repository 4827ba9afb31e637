# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""RtpPacket, compiled: its twin in packet.py documents it, and has the same values and errors for the same bytes.

Every place in `data` that is read was checked against its size by `_read`, which goes over each packet once.
"""

from zvonim_sfu.rtp.packet import RtpError, Tail
from zvonim_sfu.rtp.red import primary_at

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

cdef enum:
    FIXED_HEADER_BYTES = 12
    MAX_BLOCK_BYTES = 1024
    MAX_EXTENSIONS = 32
    ONE_BYTE_PROFILE = 0xBEDE
    TWO_BYTE_PROFILE = 0x1000
    PADDING_BIT = 0x20
    EXTENSION_BIT = 0x10
    # A block header, each element of an honest or hostile block with two bytes before it, the transport-wide number
    # with two, and padding.
    MAX_MAPPED_BYTES = 4 + MAX_BLOCK_BYTES + MAX_EXTENSIONS + 4 + 4
    # Of a plan's table.
    TABLE_BYTES = 259
    TRANSPORT_WIDE = 256
    DESCRIPTOR = 257
    RED = 258
    DESCRIPTOR_BYTES = 3


cdef inline uint16_t _read16(const uint8_t *at) noexcept:
    return <uint16_t>(at[0] << 8 | at[1])


cdef inline uint32_t _read32(const uint8_t *at) noexcept:
    return <uint32_t>_read16(at) << 16 | _read16(at + 2)


cdef inline void _write16(uint8_t *at, uint16_t value) noexcept:
    at[0] = <uint8_t>(value >> 8)
    at[1] = <uint8_t>(value & 0xFF)


# Nothing that it refers to refers to anything: the garbage collector, which goes over all that is kept, need not see it.
@cython.no_gc
cdef class RtpPacket:
    def __init__(self):
        raise TypeError("RtpPacket.parse makes packets")

    @classmethod
    def parse(cls, bytes data not None):
        return parse(data)

    cdef const char *_read(self) noexcept:
        # Returns what is wrong with the packet, NULL for nothing.
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(self.data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.data)
        cdef Py_ssize_t offset, start
        cdef const char *fault
        cdef uint8_t padding
        if size < FIXED_HEADER_BYTES:
            return "RTP packet is shorter than its fixed header"
        if data[0] >> 6 != 2:
            return "RTP version is not 2"
        self.marker = data[1] > 127
        self.payload_type = data[1] & 127
        self.sequence_number = _read16(data + 2)
        self.timestamp = _read32(data + 4)
        self.ssrc = _read32(data + 8)
        offset = FIXED_HEADER_BYTES + 4 * (data[0] & 15)
        self._block_offset = offset
        self._count = -1
        if data[0] & EXTENSION_BIT:
            if offset + 4 > size:
                return "RTP packet ends in its extension header"
            start = offset + 4
            offset = start + 4 * _read16(data + offset + 2)
            if offset > size:
                return "RTP header extension is longer than the packet"
            fault = self._read_elements(data, _read16(data + start - 4), start, offset)
            if fault != NULL:
                return fault
        elif offset > size:
            return "RTP packet ends in its CSRC list"
        self.payload_offset = offset
        if data[0] & PADDING_BIT:
            padding = data[size - 1]
            if padding == 0 or padding > size - offset:
                return "RTP padding length is invalid"
            size -= padding
        self._payload_end = size
        return NULL

    cdef const char *_read_elements(
        self, const uint8_t *data, uint16_t profile, Py_ssize_t start, Py_ssize_t end
    ) noexcept:
        cdef uint8_t head
        cdef Py_ssize_t value
        cdef int count = 0
        if end - start > MAX_BLOCK_BYTES:
            return "RTP header extension is too long"
        if profile == ONE_BYTE_PROFILE:
            while start < end:
                head = data[start]
                start += 1
                if 15 < head < 240:
                    value = start
                    start += (head & 15) + 1
                    self._add_element(count, head >> 4, value, start)
                    count += 1
                elif head:
                    break
        elif profile & 0xFFF0 == TWO_BYTE_PROFILE:
            while start < end:
                head = data[start]
                start += 1
                if head == 0:
                    continue
                if start == end:
                    return "RTP header extension ends before the length of an element"
                value = start + 1
                start = value + data[start]
                self._add_element(count, head, value, start)
                count += 1
        if start > end:
            return "RTP header extension element is longer than its block"
        if count > MAX_EXTENSIONS:
            return "RTP packet has too many header extensions"
        self._count = count
        return NULL

    cdef inline void _add_element(self, int index, uint8_t number, Py_ssize_t start, Py_ssize_t end) noexcept:
        if index < MAX_EXTENSIONS:
            self._elements[index].number = number
            self._elements[index].start = <uint16_t>start
            self._elements[index].end = <uint16_t>end

    @property
    def payload(self):
        return self.data[self.payload_offset : self._payload_end]

    cdef int element(self, int number) noexcept:
        # Returns which element is the (first) one of this number, -1 for none.
        cdef int i
        for i in range(self._count):
            if self._elements[i].number == number:
                return i
        return -1

    def extension(self, int number, /):
        cdef int i = self.element(number)
        return None if i < 0 else self.data[self._elements[i].start : self._elements[i].end]

    def extensions(self):
        cdef int i
        return [
            (self._elements[i].number, self.data[self._elements[i].start : self._elements[i].end])
            for i in range(self._count)
        ]

    def tail(self, plan):
        cdef bytes table = plan.table, data
        cdef Places places
        if self._tails is None:
            self._tails = {}
        found = self._tails.get(table)
        if found is None:
            data = self.map_tail(table, &places)
            found = self._tails[table] = Tail(
                places.first_byte, data, places.octets, places.number_at, places.frame_number_at
            )
        return found

    cpdef forget_tails(self):
        self._tails = None

    cdef bytes map_tail(self, bytes table, Places *places):
        cdef const uint8_t *numbers = <const uint8_t *>PyBytes_AS_STRING(table)
        cdef uint8_t *data = <uint8_t *>PyBytes_AS_STRING(self.data)
        cdef uint8_t block[MAX_MAPPED_BYTES]
        cdef Py_ssize_t csrcs = self._block_offset - FIXED_HEADER_BYTES
        cdef Py_ssize_t payload = self.payload_offset, octets
        cdef int size, i, number_at = -1, frame_number_at = -1
        cdef bint same, is_red
        cdef bytes tail
        cdef char *at
        if PyBytes_GET_SIZE(table) != TABLE_BYTES:
            raise ValueError("an extension plan has 256 numbers, and three more")
        is_red = 0 < numbers[RED] == self.payload_type
        if is_red:
            # Of the bytes that were checked, whatever it says.
            payload = min(max(<Py_ssize_t>primary_at(self.data, payload, self._payload_end), payload), self._payload_end)
        octets = PyBytes_GET_SIZE(self.data) - payload
        same = self._count != 0 and not numbers[TRANSPORT_WIDE] and not is_red  # a block without elements is left out
        for i in range(self._count):
            if numbers[self._elements[i].number] != self._elements[i].number:
                same = False
                break
        if same:
            for i in range(self._count):
                if self._is_descriptor(i, numbers):
                    frame_number_at = self._elements[i].start + 1 - FIXED_HEADER_BYTES
                    break
            places.first_byte = data[0]
            places.octets = octets
            places.number_at = -1
            places.frame_number_at = frame_number_at
            return self.data[FIXED_HEADER_BYTES:]
        size = self._map_block(data, numbers, block, &number_at, &frame_number_at)
        tail = PyBytes_FromStringAndSize(NULL, csrcs + size + octets)
        at = PyBytes_AS_STRING(tail)
        memcpy(at, data + FIXED_HEADER_BYTES, csrcs)
        memcpy(at + csrcs, block, size)
        memcpy(at + csrcs + size, data + payload, octets)
        places.first_byte = data[0] | EXTENSION_BIT if size else data[0] & ~EXTENSION_BIT
        places.octets = octets
        places.number_at = -1 if number_at < 0 else csrcs + number_at
        places.frame_number_at = -1 if frame_number_at < 0 else csrcs + frame_number_at
        return tail

    cdef inline bint _is_descriptor(self, int i, const uint8_t *numbers) noexcept:
        cdef Element *element = &self._elements[i]
        return element.number == numbers[DESCRIPTOR] and element.end - element.start >= DESCRIPTOR_BYTES

    cdef int _map_block(
        self, const uint8_t *data, const uint8_t *numbers, uint8_t *block, int *number_at, int *frame_number_at
    ) noexcept:
        # Returns the size of the block, header included, 0 for none. Places in it stay as they are where there is none.
        cdef int at = 4, i, size, number_out
        cdef bint is_short = numbers[TRANSPORT_WIDE] <= 14
        for i in range(self._count):
            size = self._elements[i].end - self._elements[i].start
            number_out = numbers[self._elements[i].number]
            if number_out and (number_out > 14 or not 0 < size <= 16):
                is_short = False
        for i in range(self._count):
            size = self._elements[i].end - self._elements[i].start
            number_out = numbers[self._elements[i].number]
            if number_out == 0:
                continue
            at += _write_head(block + at, number_out, size, is_short)
            memcpy(block + at, data + self._elements[i].start, size)
            if frame_number_at[0] < 0 and self._is_descriptor(i, numbers):
                frame_number_at[0] = at + 1
            at += size
        if numbers[TRANSPORT_WIDE]:
            at += _write_head(block + at, numbers[TRANSPORT_WIDE], 2, is_short)
            number_at[0] = at
            _write16(block + at, 0)
            at += 2
        if at == 4:
            return 0
        while at % 4:
            block[at] = 0
            at += 1
        _write16(block, ONE_BYTE_PROFILE if is_short else TWO_BYTE_PROFILE)
        _write16(block + 2, <uint16_t>(at // 4 - 1))
        return at


cdef inline int _write_head(uint8_t *at, int number, int size, bint is_short) noexcept:
    # What goes before an element's value (RFC 8285, sections 4.2 and 4.3); returns its size.
    if is_short:
        at[0] = <uint8_t>(number << 4 | size - 1)
        return 1
    at[0] = <uint8_t>number
    at[1] = <uint8_t>size
    return 2


cdef RtpPacket parse(bytes data):
    cdef RtpPacket packet = RtpPacket.__new__(RtpPacket)
    cdef const char *fault
    packet.data = data
    fault = packet._read()
    if fault != NULL:
        raise RtpError(fault.decode())
    return packet
