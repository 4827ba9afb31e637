from libc.stdint cimport uint8_t, uint16_t, uint64_t
from cpython.object cimport PyObject

from zvonim_sfu.net.system cimport cmsghdr, iovec, mmsghdr, msghdr, sockaddr_in6

cdef enum:
    FIXED_HEADER_BYTES = 12
    MAX_PATCHES = 3  # picture id, TL0PICIDX, frame_number
    # bandwidth.pacer.Priority, of which the gate lets audio pass.
    AUDIO = 0
    VIDEO = 2


cdef struct Socket:
    # A local socket, as the flush sees it.
    int fd
    bint segments  # whether its device can be given messages to cut
    uint64_t flush  # the last flush that used it; what follows is of this flush
    Exit *first  # who leaves by it
    Exit *last
    Socket *next


cdef struct Numbers:
    # A SendHistory, as the flush sees it.
    uint64_t *counter  # two
    double *sent_at
    uint16_t *sizes
    uint64_t *sounds
    uint64_t mask


cdef struct Exit:
    # An egress, as the flush sees it.
    void *session
    Numbers numbers  # of a counter that is NULL: none
    double *bucket  # of the gate, see bandwidth.pacer; NULL for none
    Socket *socket
    sockaddr_in6 address  # or sockaddr_in, which is shorter
    unsigned int address_size
    bint segments  # whether messages for this address can be cut: a path may carry less than a packet
    uint64_t packets_sent
    uint64_t bytes_sent
    uint64_t flush  # the last flush that used it; what follows is of this flush
    Exit *next  # by the same socket
    Entry *first  # its packets
    Entry *last


cdef struct Patch:
    # A number of the receiver's own, in the tail.
    Py_ssize_t at
    uint16_t value
    bint is_wide  # two bytes


cdef struct Entry:
    # A packet that waits.
    PyObject *egress  # a reference of its own, as the next
    PyObject *tail
    Exit *exit
    uint8_t header[FIXED_HEADER_BYTES]
    int header_size
    const char *tail_bytes
    Py_ssize_t tail_size
    Py_ssize_t number_at  # in the tail, -1 for none
    int priority
    int patch_count
    Patch patches[MAX_PATCHES]
    int size  # protected
    int failure
    Entry *next  # of the same egress


cdef union Control:
    # Room for one control message with a segment's size (CMSG_SPACE(2) is 24), aligned.
    cmsghdr header
    uint8_t space[24]


cdef class LocalSocket:
    # Shared by all egresses that leave by the same socket.
    cdef Socket state


cdef class Egress:
    cdef Exit state
    cdef object _session
    cdef object _path
    cdef LocalSocket _socket
    cdef object _history
    cdef tuple _views  # what keeps its arrays where they are
    cdef object _gate
    cdef object _bucket  # the same of the gate's
    cdef public object drops


cdef class Batch:
    cdef int _max_packets
    cdef int _count
    cdef bint _gates_called
    cdef Entry *_entries
    cdef uint8_t *_arena
    cdef mmsghdr *_messages
    cdef iovec *_vectors
    cdef Control *_controls

    cdef Entry *push(self, Egress, bytes) noexcept
    cdef void patch(self, Entry *, Py_ssize_t, uint16_t, bint) noexcept
    cdef int push_end(self) except -1
    cdef int _send_all(self) except -1
    cdef Socket *_find_ways(self)
    cdef void _protect(self) noexcept nogil
    cdef int _gather(self, Socket *) noexcept nogil
    cdef void _send(self, Socket *) noexcept nogil
    cdef void _on_refused(self, Socket *, msghdr *, int) noexcept nogil
    cdef Entry *_entry(self, msghdr *) noexcept nogil
    cdef void _account(self, msghdr *, int) noexcept nogil
    cdef list _settle(self)
    cdef void _release(self) noexcept


cdef inline void write16(uint8_t *at, uint16_t value) noexcept nogil:
    at[0] = value >> 8
    at[1] = value & 0xFF
