from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zvonim_sfu.net.sending_compiled cimport Batch, Egress, Entry
from zvonim_sfu.rtp.description_compiled cimport Fields
from zvonim_sfu.rtp.packet_compiled cimport RtpPacket


cdef class Sender:
    cdef readonly Egress egress
    cdef readonly uint32_t ssrc
    cdef public object plan
    cdef public int payload_type
    cdef int _priority
    cdef public int64_t sequence_offset
    cdef public int64_t timestamp_offset
    cdef public int64_t picture_id_offset
    cdef public int64_t tl0_offset
    cdef public int64_t frame_number_offset
    cdef public int64_t floor
    cdef public int64_t last_sequence
    cdef public int64_t last_timestamp
    cdef public uint64_t packets
    cdef public uint64_t octets


cdef struct Packet:
    # What a packet has for all its receivers, and for those of one plan.
    uint8_t first_byte
    uint8_t marker
    uint32_t timestamp
    int64_t sequence
    uint64_t octets  # of payload and padding
    Py_ssize_t number_at
    Py_ssize_t frame_number_at
    Py_ssize_t picture_id_at  # in the payload, as the next; -1 for none
    Py_ssize_t tl0_at
    bint is_wide
    bint is_renumbered  # the picture id is another one than the payload has
    int64_t picture_id
    int64_t tl0


cdef class FanOut:
    cdef Batch _batch
    cdef list _senders  # of one plan behind each other
    cdef list _groups  # (plan, its table, where its senders end)
    cdef readonly int64_t floor

    cdef int forward_whole(self, RtpPacket packet, int64_t sequence, const Fields *fields) except -1
    cdef int _append(self, Sender sender, Packet *packet, bytes tail) except -1
    cdef void _shift_fields(self, Entry *entry, Sender sender, Packet *packet, bytes tail) noexcept
