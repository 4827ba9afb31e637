from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef struct Element:
    # Blocks of extensions end before the 1200th byte of a packet, or are refused.
    uint8_t number
    uint16_t start
    uint16_t end


cdef struct Places:
    # As a Tail, without its data.
    uint8_t first_byte
    Py_ssize_t octets
    Py_ssize_t number_at
    Py_ssize_t frame_number_at


cdef class RtpPacket:
    cdef readonly bytes data
    cdef readonly bint marker
    cdef readonly int payload_type
    cdef readonly uint16_t sequence_number
    cdef readonly uint32_t timestamp
    cdef readonly uint32_t ssrc
    cdef readonly Py_ssize_t payload_offset
    cdef Py_ssize_t _payload_end
    cdef Py_ssize_t _block_offset
    cdef int _count  # of elements, -1 without a block
    cdef Element[32] _elements
    cdef dict _tails

    cdef const char *_read(self) noexcept
    cdef const char *_read_elements(self, const uint8_t *, uint16_t, Py_ssize_t, Py_ssize_t) noexcept
    cdef void _add_element(self, int, uint8_t, Py_ssize_t, Py_ssize_t) noexcept
    cpdef forget_tails(self)
    cdef bytes map_tail(self, bytes, Places *)
    cdef int element(self, int) noexcept
    cdef bint _is_descriptor(self, int, const uint8_t *) noexcept
    cdef int _map_block(self, const uint8_t *, const uint8_t *, uint8_t *, int *, int *) noexcept


cdef RtpPacket parse(bytes data)
