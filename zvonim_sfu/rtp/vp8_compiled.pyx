# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""VP8's payload descriptor, compiled: of the packets that begin no keyframe, which are nearly all.

vp8.py documents it, and reads the others: keyframes, and payloads that end in their descriptor.
"""

from zvonim_sfu.rtp.description import Description as _Description
from zvonim_sfu.rtp.packet import Fields as _Fields

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from zvonim_sfu.rtp.description_compiled cimport Fields, set_plain


cdef bint describe(const uint8_t *payload, Py_ssize_t size, Description *description) noexcept nogil:
    # Returns whether that is all: false for a packet that vp8.describe has to look at.
    cdef Fields *fields = &description.fields
    cdef Py_ssize_t at = 1
    cdef uint8_t flags
    set_plain(description)
    if size < 1:
        return True  # padding alone, by which browsers probe their link
    description.begins_frame = payload[0] & 0x17 == 0x10
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
        if flags & 0x20:
            if at >= size:
                return False
            description.temporal = payload[at] >> 6
        if flags & 0x30:
            at += 1
    return not description.begins_frame or (at < size and payload[at] & 1)


def description_of(bytes payload not None):
    """Return what the kernel reads of a payload, None where vp8.describe has to look at it: for tests."""
    cdef Description read
    cdef Fields fields
    if not describe(<const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), &read):
        return None
    fields = read.fields
    return _Description(
        temporal=read.temporal,
        begins_frame=read.begins_frame,
        fields=_Fields(fields.picture_id_at, fields.picture_id_bits, fields.picture_id, fields.tl0_at, fields.tl0),
    )
