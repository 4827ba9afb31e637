# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""H264's payloads, compiled: of the packets that are one unit, or a part of one, and of no keyframe: nearly all.

h264.py documents it, and reads the others: keyframes, and packets of several units.
"""

from zvonim_sfu.rtp.description import Description as _Description

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from zvonim_sfu.rtp.description_compiled cimport set_plain

cdef enum:
    IDR = 5
    SPS = 7
    STAP_A = 24
    FU_A = 28


cdef bint describe(const uint8_t *payload, Py_ssize_t size, Description *description) noexcept nogil:
    # Returns whether that is all: false for a packet that h264.describe has to look at.
    cdef uint8_t unit
    set_plain(description)
    if size < 1:
        return True  # padding alone, by which browsers probe their link
    if size < 2:
        return False
    unit = payload[0] & 0x1F
    if unit == FU_A:
        if not payload[1] & 0x80:
            return True
        unit = payload[1] & 0x1F
    elif unit == STAP_A:
        return False
    description.begins_frame = True
    return unit != IDR and unit != SPS


def description_of(bytes payload not None):
    """Return what the kernel reads of a payload, None where h264.describe has to look at it: for tests."""
    cdef Description read
    if not describe(<const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), &read):
        return None
    return _Description(temporal=read.temporal, begins_frame=read.begins_frame)
