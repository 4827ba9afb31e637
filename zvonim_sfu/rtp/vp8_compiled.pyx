# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""VP8's payload descriptor, compiled: of the packets that tell nothing else, which are nearly all.

vp8.py documents it, and reads the others: keyframes, temporal layers, payloads that end in their descriptor.
"""

from zvonim_sfu.rtp.packet import NO_FIELDS
from zvonim_sfu.rtp.packet import Fields as _Fields

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE


cdef bint read_fields(const uint8_t *payload, Py_ssize_t size, Fields *fields) noexcept nogil:
    # Returns whether that is all: false for a packet that vp8.describe has to look at.
    cdef Py_ssize_t at = 1
    cdef uint8_t flags
    cdef bint begins
    fields.picture_id_at = fields.tl0_at = -1
    fields.picture_id_bits = 7
    fields.picture_id = fields.tl0 = 0
    if size < 1:
        return False
    begins = payload[0] & 0x17 == 0x10
    if payload[0] & 0x80:
        if size < 2:
            return False
        flags = payload[1]
        at = 2
        if flags & 0x80:
            if size < 3 or (payload[2] & 0x80 and size < 4):
                return False
            fields.picture_id_at = 2
            fields.picture_id = payload[2]
            at = 3
            if payload[2] & 0x80:
                fields.picture_id = (payload[2] & 0x7F) << 8 | payload[3]
                fields.picture_id_bits = 15
                at = 4
        if flags & 0x40:
            if at >= size:
                return False
            fields.tl0_at = at
            fields.tl0 = payload[at]
            at += 1
        if flags & 0x20 and (at >= size or payload[at] >> 6):
            return False
        if flags & 0x30:
            at += 1
    return not begins or (at < size and payload[at] & 1)


def fields_of(bytes payload not None):
    """Return the Fields of a payload, None where vp8.describe has to look at it: what the kernel reads, for tests."""
    cdef Fields fields
    if not read_fields(<const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), &fields):
        return None
    found = _Fields(fields.picture_id_at, fields.picture_id_bits, fields.picture_id, fields.tl0_at, fields.tl0)
    return NO_FIELDS if found == NO_FIELDS else found
