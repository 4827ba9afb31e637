from libc.stdint cimport int64_t, uint8_t


cdef struct Fields:
    # As packet.Fields.
    Py_ssize_t picture_id_at
    int picture_id_bits
    int64_t picture_id
    Py_ssize_t tl0_at
    int64_t tl0


cdef struct Description:
    # As description.Description, as far as it says anything here.
    int temporal
    bint begins_frame
    Fields fields


cdef bint describe(const uint8_t *payload, Py_ssize_t size, Description *description) noexcept nogil
