from libc.stdint cimport int64_t


cdef class Intake:
    # rtp.reception
    cdef public int64_t clock_rate
    cdef public int64_t counted
    cdef public int64_t shift
    cdef public int64_t received
    cdef public bint has_transit
    cdef public int64_t transit
    cdef public double jitter
    # rtp.nack
    cdef public bint keeps_register
    cdef public int64_t expected
    cdef public bint needs_keyframe
    # rtp.history
    cdef public list cells
    cdef public int64_t kept
    cdef public int64_t kept_bytes
    # media.layer
    cdef public bint is_video
    cdef public int payloads
    cdef public int descriptor
    cdef public int payload_type
    cdef public int temporal
    cdef public bint wants_keyframe
    cdef public int64_t packets
    cdef public int64_t octets
    cdef public int64_t frames
    cdef public double last_at
    cdef public int64_t highest
    cdef public object last
    cdef public object levels
    cdef public int level_extension
    # rtp.dependency_descriptor
    cdef public object structures
    cdef public bytes template_layers
    # rtp.layer_rates
    cdef public list layer_octets
    cdef public list layer_frames
    # media.outlets
    cdef public object fan_out
