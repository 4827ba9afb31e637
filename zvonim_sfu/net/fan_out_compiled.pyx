# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The packet kernel, compiled: the step from one packet to its receivers. Its twin, sending.py, documents it."""

from zvonim_sfu.rtp.packet import NO_FIELDS as _NO_FIELDS
from zvonim_sfu.rtp.packet import ExtensionPlan

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from zvonim_sfu.net.sending_compiled cimport AUDIO, VIDEO, Batch, Egress, Entry, write16
from zvonim_sfu.rtp.description_compiled cimport Fields
from zvonim_sfu.rtp.packet_compiled cimport Places, RtpPacket

cdef object NO_FIELDS = _NO_FIELDS


cdef class Sender:
    def __init__(self, Egress egress not None, uint32_t ssrc):
        self.egress = egress
        self.ssrc = ssrc
        self.plan = ExtensionPlan({})
        self.payload_type = -1
        self._priority = VIDEO

    @property
    def priority(self):
        return self._priority

    @priority.setter
    def priority(self, int priority):
        if not AUDIO <= priority <= VIDEO:
            raise ValueError("no priority")
        self._priority = priority


cdef class FanOut:
    def __init__(self, Batch batch not None):
        self._batch = batch
        self.replace(())

    def replace(self, senders):
        cdef Sender sender
        groups = {}
        cdef int64_t floor = 0
        for sender in senders:
            groups.setdefault(sender.plan, []).append(sender)
            floor = max(floor, sender.floor)
        self._senders = [sender for group in groups.values() for sender in group]
        self._groups = []
        end = 0
        for plan, group in groups.items():
            end += len(group)
            self._groups.append((plan, plan.table, end))
        self.floor = floor

    def forward(self, packet, int64_t sequence, bint marker, fields):
        cdef Packet shared
        cdef Py_ssize_t i = 0, end
        cdef Sender sender
        cdef bytes tail
        shared.marker = 0x80 if marker else 0
        shared.timestamp = packet.timestamp
        shared.sequence = sequence
        shared.picture_id_at = shared.tl0_at = -1
        shared.is_renumbered = False
        for plan, _, end in self._groups:
            shared.first_byte, tail, shared.octets, shared.number_at, shared.frame_number_at = packet.tail(plan)
            if fields is not NO_FIELDS:
                _read_fields(&shared, fields, tail)
            while i < end:
                self._append(<Sender>self._senders[i], &shared, tail)
                i += 1

    cdef int forward_whole(self, RtpPacket packet, int64_t sequence, const Fields *fields) except -1:
        # As `forward`, for a packet of a layer of which nothing is left out, and which has the marker and fields that
        # it came with.
        cdef Packet shared
        cdef Places places
        cdef Py_ssize_t i = 0, end
        cdef bytes tail
        shared.marker = 0x80 if packet.marker else 0
        shared.timestamp = packet.timestamp
        shared.sequence = sequence
        shared.picture_id_at, shared.tl0_at = fields.picture_id_at, fields.tl0_at
        shared.picture_id, shared.tl0 = fields.picture_id, fields.tl0
        shared.is_wide = fields.picture_id_bits == 15
        shared.is_renumbered = False
        for _, table, end in self._groups:
            tail = packet.map_tail(<bytes>table, &places)
            shared.first_byte, shared.octets = places.first_byte, places.octets
            shared.number_at, shared.frame_number_at = places.number_at, places.frame_number_at
            while i < end:
                self._append(<Sender>self._senders[i], &shared, tail)
                i += 1
        return 0

    cdef int _append(self, Sender sender, Packet *packet, bytes tail) except -1:
        cdef Entry *entry
        cdef int64_t sequence_out = packet.sequence + sender.sequence_offset
        cdef uint32_t timestamp_out = <uint32_t>(packet.timestamp + sender.timestamp_offset)
        if sequence_out > sender.last_sequence:
            sender.last_sequence = sequence_out
            sender.last_timestamp = timestamp_out
        sender.packets += 1
        sender.octets += packet.octets
        entry = self._batch.push(sender.egress, tail)
        entry.header[0] = packet.first_byte
        entry.header[1] = packet.marker | <uint8_t>sender.payload_type
        write16(&entry.header[2], <uint16_t>sequence_out)
        _write32(&entry.header[4], timestamp_out)
        _write32(&entry.header[8], sender.ssrc)
        entry.priority = sender._priority
        if 0 <= packet.number_at <= PyBytes_GET_SIZE(tail) - 2:
            entry.number_at = packet.number_at
        if packet.is_renumbered or sender.picture_id_offset or sender.tl0_offset or sender.frame_number_offset:
            self._shift_fields(entry, sender, packet, tail)
        return self._batch.push_end()

    cdef void _shift_fields(self, Entry *entry, Sender sender, Packet *packet, bytes tail) noexcept:
        cdef Py_ssize_t payload = PyBytes_GET_SIZE(tail) - <Py_ssize_t>packet.octets
        cdef const uint8_t *at
        cdef int64_t value
        if (packet.is_renumbered or sender.picture_id_offset) and packet.picture_id_at >= 0:
            value = packet.picture_id + sender.picture_id_offset
            if packet.is_wide:
                value = 0x8000 | value & 0x7FFF
            else:
                value &= 0x7F
            self._batch.patch(entry, payload + packet.picture_id_at, <uint16_t>value, packet.is_wide)
        if sender.tl0_offset and packet.tl0_at >= 0:
            value = packet.tl0 + sender.tl0_offset & 0xFF
            self._batch.patch(entry, payload + packet.tl0_at, <uint16_t>value, False)
        if sender.frame_number_offset and 0 <= packet.frame_number_at <= payload - 2:
            at = <const uint8_t *>PyBytes_AS_STRING(tail) + packet.frame_number_at
            value = (at[0] << 8 | at[1]) + sender.frame_number_offset
            self._batch.patch(entry, packet.frame_number_at, <uint16_t>value, True)


cdef int _read_fields(Packet *packet, fields, bytes tail) except -1:
    # Places outside of the payload of this tail are not taken over.
    cdef Py_ssize_t picture_id_at, tl0_at
    cdef const uint8_t *at
    cdef int64_t present
    cdef int bits
    packet.picture_id_at = packet.tl0_at = -1
    packet.is_renumbered = False
    picture_id_at, bits, packet.picture_id, tl0_at, packet.tl0 = fields
    packet.is_wide = bits == 15
    if bits in (7, 15) and 0 <= picture_id_at <= <Py_ssize_t>packet.octets - (2 if bits == 15 else 1):
        packet.picture_id_at = picture_id_at
        at = <const uint8_t *>PyBytes_AS_STRING(tail) + PyBytes_GET_SIZE(tail) - packet.octets + picture_id_at
        present = (at[0] & 0x7F) << 8 | at[1] if packet.is_wide else at[0] & 0x7F
        packet.is_renumbered = packet.picture_id != present
    if 0 <= tl0_at < <Py_ssize_t>packet.octets:
        packet.tl0_at = tl0_at
    return 0


cdef inline void _write32(uint8_t *at, uint32_t value) noexcept:
    write16(at, value >> 16)
    write16(at + 2, value & 0xFFFF)
