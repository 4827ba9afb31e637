# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The packet kernel, compiled: the step from one packet to its receivers. Its twin, sending.py, documents it."""

from zvonim_sfu.rtp.packet import ExtensionPlan

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from zvonim_sfu.net.sending_compiled cimport Batch, Egress, Entry


cdef class Sender:
    cdef readonly Egress egress
    cdef readonly uint32_t ssrc
    cdef public object plan
    cdef public int payload_type
    cdef public int64_t sequence_offset
    cdef public int64_t timestamp_offset
    cdef public int64_t floor
    cdef public int64_t last_sequence
    cdef public int64_t last_timestamp
    cdef public uint64_t packets
    cdef public uint64_t octets

    def __init__(self, Egress egress not None, uint32_t ssrc):
        self.egress = egress
        self.ssrc = ssrc
        self.plan = ExtensionPlan({})
        self.payload_type = -1


cdef class FanOut:
    cdef Batch _batch
    cdef list _senders  # of one plan behind each other
    cdef list _groups  # (plan, where its senders end)
    cdef readonly int64_t floor

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
            self._groups.append((plan, end))
        self.floor = floor

    def forward(self, packet, int64_t sequence):
        cdef uint8_t marker = 0x80 if packet.marker else 0
        cdef uint32_t timestamp = packet.timestamp
        cdef uint64_t octets = len(packet.data) - packet.payload_offset
        cdef Py_ssize_t i = 0, end
        cdef uint8_t first_byte
        cdef bytes tail
        for plan, end in self._groups:
            first_byte, tail = packet.tail(plan)
            while i < end:
                self._append(<Sender>self._senders[i], first_byte, marker, timestamp, sequence, tail)
                (<Sender>self._senders[i]).octets += octets
                i += 1

    cdef int _append(
        self, Sender sender, uint8_t first_byte, uint8_t marker, uint32_t timestamp, int64_t sequence, bytes tail
    ) except -1:
        cdef Entry *entry
        cdef int64_t sequence_out = sequence + sender.sequence_offset
        cdef uint32_t timestamp_out = <uint32_t>(timestamp + sender.timestamp_offset)
        if sequence_out > sender.last_sequence:
            sender.last_sequence = sequence_out
            sender.last_timestamp = timestamp_out
        sender.packets += 1
        entry = self._batch.push(sender.egress, tail)
        entry.header[0] = first_byte
        entry.header[1] = marker | <uint8_t>sender.payload_type
        _write16(&entry.header[2], <uint16_t>sequence_out)
        _write32(&entry.header[4], timestamp_out)
        _write32(&entry.header[8], sender.ssrc)
        return self._batch.push_end()


cdef inline void _write16(uint8_t *at, uint16_t value) noexcept:
    at[0] = value >> 8
    at[1] = value & 0xFF


cdef inline void _write32(uint8_t *at, uint32_t value) noexcept:
    _write16(at, value >> 16)
    _write16(at + 2, value & 0xFFFF)
