from libc.stdint cimport uint8_t

from zvonim_sfu.rtp.description_compiled cimport Description


cdef bint describe(const uint8_t *payload, Py_ssize_t size, Description *description) noexcept nogil
