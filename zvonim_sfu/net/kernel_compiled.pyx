# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The packet kernel, compiled: the same interface and the same bytes as its twin, kernel_python.py, which documents it.

Cython and not C: what is hard here is whose reference is held and who may raise, which Cython writes by itself, and the
part that has to be C (copy, encrypt, gather, send) reads the same in both. libsrtp is called by address, see net.srtp.

A flush works in four steps: find who leaves by which socket, protect each packet into its slot of the arena, gather
runs of packets of one size to one address into messages that the kernel of the system cuts again (UDP_SEGMENT), and hand
the messages of a socket over by few system calls (sendmmsg). The GIL is released for the last three. As in the twin,
only one thread may use a batch and the sessions and senders of its packets.

Every packet has a slot of MAX_PROTECTED_BYTES, and what is longer than MAX_RTP_BYTES never gets there, so neither the
copy nor libsrtp's trailer can leave it.
"""

from collections import Counter
from socket import AF_INET, inet_pton
from weakref import WeakKeyDictionary

from zvonim_sfu.net import srtp
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.kernel_python import BATCH_MAX_PACKETS as _BATCH_MAX_PACKETS
from zvonim_sfu.net.path import drop_reason
from zvonim_sfu.rtp.packet import ExtensionPlan

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EINVAL, EIO, EMSGSIZE, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <netinet/udp.h>
    #include <sys/socket.h>
    #ifndef UDP_SEGMENT
    #define UDP_SEGMENT 103
    #endif
    """
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        char sin_addr  # a struct, of which only the place is used; so is sin6_addr
    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        char sin6_addr
        uint32_t sin6_scope_id
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    size_t CMSG_LEN(size_t) nogil
    void *CMSG_DATA(cmsghdr *) nogil
    uint16_t htons(uint16_t) nogil
    uint32_t htonl(uint32_t) nogil
    int C_AF_INET "AF_INET"
    int C_AF_INET6 "AF_INET6"
    int MSG_DONTWAIT
    int SOL_UDP
    int UDP_SEGMENT
    int sendmmsg(int, mmsghdr *, unsigned int, int) nogil

ctypedef int (*process_t)(void *session, void *packet, int *size) noexcept nogil
ctypedef int (*sendmmsg_t)(int fd, mmsghdr *messages, unsigned int count, int flags) noexcept nogil

cdef process_t srtp_protect = <process_t><uintptr_t>srtp.PROTECT_ADDRESS
cdef sendmmsg_t _sendmmsg = <sendmmsg_t>sendmmsg
cdef uint64_t _flushes = 0  # of all batches

cdef enum:
    FIXED_HEADER_BYTES = 12
    SLOT_BYTES = 1504  # MAX_PROTECTED_BYTES, and every slot begins at a multiple of 32
    MAX_PLAIN_BYTES = 1356
    # What the system takes as one message: 64 segments (UDP_MAX_SEGMENTS before Linux 6.9), and a UDP payload of 65,507.
    MAX_SEGMENTS = 64
    MAX_MESSAGE_BYTES = 65000

assert SLOT_BYTES >= srtp.MAX_PROTECTED_BYTES and MAX_PLAIN_BYTES == srtp.MAX_RTP_BYTES

# Why a packet was not sent: `Entry.failure`. Numbers above these are those of `errno`, moved by SEND.
cdef enum:
    SENT = 0
    NO_SESSION = 1
    NO_PATH = 2
    TOO_LONG = 3
    PROTECT_FAILED = 4
    SEND = 5

cdef list _DROPS = [None, DropReason.NO_SESSION, DropReason.NO_PATH, DropReason.TOO_LONG, DropReason.PROTECT_FAILED]


cdef struct Socket:
    # A local socket, as the flush sees it.
    int fd
    bint segments  # whether its device can be given messages to cut
    uint64_t flush  # the last flush that used it; what follows is of this flush
    Exit *first  # who leaves by it
    Exit *last
    Socket *next


cdef struct Exit:
    # An egress, as the flush sees it.
    void *session
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


cdef struct Entry:
    # A packet that waits.
    PyObject *egress  # a reference of its own, as the next
    PyObject *tail
    Exit *exit
    uint8_t header[FIXED_HEADER_BYTES]
    int header_size
    const char *tail_bytes
    Py_ssize_t tail_size
    int size  # protected
    int failure
    Entry *next  # of the same egress


cdef union Control:
    # Room for one control message with a segment's size (CMSG_SPACE(2) is 24), aligned.
    cmsghdr header
    uint8_t space[24]


cdef class _LocalSocket:
    # Shared by all egresses that leave by the same socket.
    cdef Socket state

    def __cinit__(self):
        self.state.segments = True


_local_sockets = WeakKeyDictionary()


cdef class Egress:
    cdef Exit state
    cdef object _session
    cdef object _path
    cdef _LocalSocket _socket
    cdef public object drops

    def __init__(self, session=None, path=None):
        self.session = session
        self.path = path
        self.drops = Counter()

    @property
    def session(self):
        return self._session

    @session.setter
    def session(self, session):
        self.state.session = NULL if session is None else <void *><uintptr_t>srtp.session_address(session)
        self._session = session

    @property
    def path(self):
        return self._path

    @path.setter
    def path(self, path):
        if path is self._path:
            return
        if path is not None:
            local = _local_sockets.get(path.socket)
            if local is None:
                local = _local_sockets[path.socket] = _LocalSocket()
            self.state.address_size = _pack_address(path, &self.state.address)
            self.state.segments = True
            self._socket = local
        self._path = path
        self.state.socket = NULL if path is None else &self._socket.state

    @property
    def packets_sent(self):
        return self.state.packets_sent

    @property
    def bytes_sent(self):
        return self.state.bytes_sent


cdef unsigned int _pack_address(path, sockaddr_in6 *address) except 0:
    cdef sockaddr_in *ipv4 = <sockaddr_in *>address
    cdef bytes host
    if path.socket.family == AF_INET:
        host = inet_pton(AF_INET, path.address[0])
        ipv4.sin_family = C_AF_INET
        ipv4.sin_port = htons(path.address[1])
        memcpy(&ipv4.sin_addr, PyBytes_AS_STRING(host), 4)
        return sizeof(sockaddr_in)
    host = inet_pton(path.socket.family, path.address[0])
    address.sin6_family = C_AF_INET6
    address.sin6_port = htons(path.address[1])
    address.sin6_flowinfo = htonl(path.address[2])
    memcpy(&address.sin6_addr, PyBytes_AS_STRING(host), 16)
    address.sin6_scope_id = path.address[3]
    return sizeof(sockaddr_in6)


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


cdef class Batch:
    cdef int _max_packets
    cdef int _count
    cdef Entry *_entries
    cdef uint8_t *_arena
    cdef mmsghdr *_messages
    cdef iovec *_vectors
    cdef Control *_controls

    def __cinit__(self, int max_packets=_BATCH_MAX_PACKETS):
        if max_packets < 1:
            raise ValueError("a batch holds one packet at least")
        self._max_packets = max_packets
        self._entries = <Entry *>PyMem_Calloc(max_packets, sizeof(Entry))
        self._arena = <uint8_t *>PyMem_Calloc(max_packets, SLOT_BYTES)
        self._messages = <mmsghdr *>PyMem_Calloc(max_packets, sizeof(mmsghdr))
        self._vectors = <iovec *>PyMem_Calloc(max_packets, sizeof(iovec))
        self._controls = <Control *>PyMem_Calloc(max_packets, sizeof(Control))
        if not (self._entries and self._arena and self._messages and self._vectors and self._controls):
            raise MemoryError

    def __dealloc__(self):
        if self._entries:
            self._release()
        PyMem_Free(self._entries)
        PyMem_Free(self._arena)
        PyMem_Free(self._messages)
        PyMem_Free(self._vectors)
        PyMem_Free(self._controls)

    def __len__(self):
        return self._count

    def append(self, Egress egress not None, bytes header not None, bytes tail not None):
        cdef Entry *entry
        if PyBytes_GET_SIZE(header) != FIXED_HEADER_BYTES:
            entry = self._push(egress, header + tail)
            entry.header_size = 0
        else:
            entry = self._push(egress, tail)
            memcpy(entry.header, PyBytes_AS_STRING(header), FIXED_HEADER_BYTES)
        if self._count == self._max_packets:
            self.flush()

    cdef Entry *_push(self, Egress egress, bytes tail) noexcept:
        # There is room: a batch that has none has been flushed.
        cdef Entry *entry = &self._entries[self._count]
        Py_INCREF(egress)
        Py_INCREF(tail)
        entry.egress = <PyObject *>egress
        entry.tail = <PyObject *>tail
        entry.exit = &egress.state
        entry.header_size = FIXED_HEADER_BYTES
        entry.tail_bytes = PyBytes_AS_STRING(tail)
        entry.tail_size = PyBytes_GET_SIZE(tail)
        self._count += 1
        return entry

    cpdef flush(self):
        cdef Socket *sockets
        if self._count == 0:
            return
        sockets = self._find_ways()
        with nogil:
            self._protect()
            while sockets != NULL:
                self._send(sockets)
                sockets = sockets.next
        try:
            self._count_drops()
        finally:
            self._release()

    cdef Socket *_find_ways(self):
        # Chains the sockets that this flush uses, to each socket the exits that leave by it.
        cdef Socket *sockets = NULL
        cdef Socket *local
        cdef Exit *exit
        cdef int i
        global _flushes
        _flushes += 1
        for i in range(self._count):
            exit = self._entries[i].exit
            if exit.flush == _flushes:
                continue
            exit.flush = _flushes
            exit.first = exit.last = NULL
            exit.next = NULL
            local = exit.socket
            if local == NULL:
                continue
            if local.flush != _flushes:
                local.flush = _flushes
                # Asked each time: the number of a socket that was closed may be another's by now.
                local.fd = (<Egress>self._entries[i].egress)._path.socket.fileno()
                local.first = local.last = NULL
                local.next = sockets
                sockets = local
            if local.first == NULL:
                local.first = exit
            else:
                local.last.next = exit
            local.last = exit
        return sockets

    cdef void _protect(self) noexcept nogil:
        # Copies and protects each packet, and chains it to its exit; or says in it why not.
        cdef Entry *entry
        cdef Exit *exit
        cdef uint8_t *slot
        cdef int i
        for i in range(self._count):
            entry = &self._entries[i]
            exit = entry.exit
            if exit.session == NULL:
                entry.failure = NO_SESSION
                continue
            if exit.socket == NULL:
                entry.failure = NO_PATH
                continue
            if entry.header_size + entry.tail_size > MAX_PLAIN_BYTES:
                entry.failure = TOO_LONG
                continue
            slot = self._arena + <size_t>i * SLOT_BYTES
            memcpy(slot, entry.header, entry.header_size)
            memcpy(slot + entry.header_size, entry.tail_bytes, entry.tail_size)
            entry.size = entry.header_size + <int>entry.tail_size
            if srtp_protect(exit.session, slot, &entry.size) != 0:
                entry.failure = PROTECT_FAILED
                continue
            entry.failure = SENT
            entry.next = NULL
            if exit.first == NULL:
                exit.first = entry
            else:
                exit.last.next = entry
            exit.last = entry

    cdef int _gather(self, Socket *local) noexcept nogil:
        # Makes messages of the packets that leave by this socket; returns how many.
        cdef Exit *exit = local.first
        cdef Entry *entry
        cdef msghdr *message
        cdef int messages = 0, vectors = 0, first, segment, size, total
        while exit != NULL:
            entry = exit.first
            while entry != NULL:
                first = vectors
                segment = size = entry.size
                total = 0
                while True:
                    self._vectors[vectors].iov_base = self._arena + (entry - self._entries) * SLOT_BYTES
                    self._vectors[vectors].iov_len = size
                    vectors += 1
                    total += size
                    entry = entry.next
                    # Only the last segment may be shorter.
                    if entry == NULL or size < segment or not (local.segments and exit.segments):
                        break
                    size = entry.size
                    if size > segment or vectors - first == MAX_SEGMENTS or total + size > MAX_MESSAGE_BYTES:
                        break
                message = &self._messages[messages].msg_hdr
                message.msg_name = &exit.address
                message.msg_namelen = exit.address_size
                message.msg_iov = &self._vectors[first]
                message.msg_iovlen = vectors - first
                message.msg_control = NULL
                message.msg_controllen = 0
                if vectors - first > 1:
                    _set_segment(message, &self._controls[messages], segment)
                messages += 1
            exit = exit.next
        return messages

    cdef void _send(self, Socket *local) noexcept nogil:
        cdef int count = self._gather(local), done = 0, sent, i
        while done < count:
            sent = _sendmmsg(local.fd, &self._messages[done], count - done, MSG_DONTWAIT)
            if sent > 0:
                for i in range(done, done + sent):
                    self._account(&self._messages[i].msg_hdr, SENT)
                done += sent
            else:
                # It is the first of the rest that was refused; the others are tried.
                self._on_refused(local, &self._messages[done].msg_hdr, errno)
                done += 1

    cdef void _on_refused(self, Socket *local, msghdr *message, int error) noexcept nogil:
        cdef mmsghdr single
        cdef size_t i
        if message.msg_iovlen == 1 or error not in (EIO, EINVAL, EMSGSIZE):
            self._account(message, SEND + error)
            return
        # EIO: the device cannot cut messages. EINVAL: a segment is longer than the path carries, and goes as fragments
        # when it is sent alone.
        if error == EIO:
            local.segments = False
        else:
            self._entry(message).exit.segments = False
        single.msg_hdr = message[0]
        single.msg_hdr.msg_control = NULL
        single.msg_hdr.msg_controllen = 0
        single.msg_hdr.msg_iovlen = 1
        for i in range(message.msg_iovlen):
            single.msg_hdr.msg_iov = &message.msg_iov[i]
            if _sendmmsg(local.fd, &single, 1, MSG_DONTWAIT) == 1:
                self._account(&single.msg_hdr, SENT)
            else:
                self._account(&single.msg_hdr, SEND + errno)

    cdef Entry *_entry(self, msghdr *message) noexcept nogil:
        # The first packet of a message, found by its slot.
        return &self._entries[(<uint8_t *>message.msg_iov.iov_base - self._arena) // SLOT_BYTES]

    cdef void _account(self, msghdr *message, int failure) noexcept nogil:
        cdef Entry *entry = self._entry(message)
        cdef size_t i
        for i in range(message.msg_iovlen):
            entry.failure = failure
            if failure == SENT:
                entry.exit.packets_sent += 1
                entry.exit.bytes_sent += entry.size
            entry = entry.next

    cdef _count_drops(self):
        cdef Entry *entry
        cdef int i
        for i in range(self._count):
            entry = &self._entries[i]
            if entry.failure != SENT:
                drop = _DROPS[entry.failure] if entry.failure < SEND else drop_reason(entry.failure - SEND)
                (<Egress>entry.egress).drops[drop] += 1

    cdef void _release(self) noexcept:
        cdef int i, count = self._count
        self._count = 0
        for i in range(count):
            Py_DECREF(<object>self._entries[i].egress)
            Py_DECREF(<object>self._entries[i].tail)


cdef void _set_segment(msghdr *message, Control *control, int size) noexcept nogil:
    cdef uint16_t segment = <uint16_t>size
    control.header.cmsg_level = SOL_UDP
    control.header.cmsg_type = UDP_SEGMENT
    control.header.cmsg_len = CMSG_LEN(sizeof(uint16_t))
    memcpy(CMSG_DATA(&control.header), &segment, sizeof(uint16_t))
    message.msg_control = control
    message.msg_controllen = sizeof(Control)


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
        entry = self._batch._push(sender.egress, tail)
        entry.header[0] = first_byte
        entry.header[1] = marker | <uint8_t>sender.payload_type
        _write16(&entry.header[2], <uint16_t>sequence_out)
        _write32(&entry.header[4], timestamp_out)
        _write32(&entry.header[8], sender.ssrc)
        if self._batch._count == self._batch._max_packets:
            self._batch.flush()
        return 0


cdef inline void _write16(uint8_t *at, uint16_t value) noexcept:
    at[0] = value >> 8
    at[1] = value & 0xFF


cdef inline void _write32(uint8_t *at, uint32_t value) noexcept:
    _write16(at, value >> 16)
    _write16(at + 2, value & 0xFFFF)


def replace_sendmmsg(address):
    """Have a function of the tests called in the place of `sendmmsg`, None: the system's again."""
    global _sendmmsg
    _sendmmsg = <sendmmsg_t>sendmmsg if address is None else <sendmmsg_t><uintptr_t>address
