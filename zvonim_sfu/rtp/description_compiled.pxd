from libc.stdint cimport int64_t


cdef struct Fields:
    # As packet.Fields.
    Py_ssize_t picture_id_at
    int picture_id_bits
    int64_t picture_id
    Py_ssize_t tl0_at
    int64_t tl0


cdef struct Description:
    # As description.Description, as far as the kernel needs it of the packets that it reads: of one spatial layer, of no
    # keyframe. Where more can be had is left out, as nobody wants to know who gets the whole.
    int temporal
    bint begins_frame
    Fields fields


cdef inline void set_plain(Description *description) noexcept nogil:
    description.temporal = 0
    description.begins_frame = False
    description.fields.picture_id_at = description.fields.tl0_at = -1
    description.fields.picture_id_bits = 7
    description.fields.picture_id = description.fields.tl0 = 0
