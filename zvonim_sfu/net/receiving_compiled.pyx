# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The packet kernel, compiled, on the way in: the same as its twin, receiving.py, which documents it.

All that one wake-up reads is read by one system call (recvmmsg); each datagram is then looked at when the caller asks for
it, so that what the one before has changed (an address, a session) is known.
"""

from zvonim_sfu.net import srtp
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.receiving import DATAGRAMS_PER_WAKE_UP as _DATAGRAMS_PER_WAKE_UP
from zvonim_sfu.net.receiving import MAX_DATAGRAM_BYTES as _MAX_DATAGRAM_BYTES
from zvonim_sfu.net.receiving import MIN_DATAGRAM_BYTES as _MIN_DATAGRAM_BYTES
from zvonim_sfu.rtp.packet import RtpError

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint8_t, uint64_t, uintptr_t
from libc.string cimport memset

from zvonim_sfu.net.system cimport (
    MSG_DONTWAIT,
    MSG_TRUNC,
    iovec,
    mmsghdr,
    msghdr,
    pack_address,
    process_t,
    recvmmsg,
    sockaddr_in6,
    unpack_address,
)
from zvonim_sfu.rtp.packet_compiled cimport parse

cdef enum:
    DATAGRAMS = 32
    MIN_BYTES = 12
    MAX_BYTES = 2047
    SLOT_BYTES = MAX_BYTES + 1
    MAX_PROTECTED_BYTES = 1500

assert (DATAGRAMS, MIN_BYTES, MAX_BYTES) == (_DATAGRAMS_PER_WAKE_UP, _MIN_DATAGRAM_BYTES, _MAX_DATAGRAM_BYTES)
assert MAX_PROTECTED_BYTES == srtp.MAX_PROTECTED_BYTES

cdef process_t srtp_unprotect = <process_t><uintptr_t>srtp.UNPROTECT_ADDRESS

cdef object TOO_SHORT = DropReason.TOO_SHORT
cdef object OVERSIZED = DropReason.OVERSIZED
cdef object UNKNOWN_PROTOCOL = DropReason.UNKNOWN_PROTOCOL
cdef object UNKNOWN_ADDRESS = DropReason.UNKNOWN_ADDRESS
cdef object RECEIVE_FAILED = DropReason.RECEIVE_FAILED
cdef object SRTP_TOO_EARLY = DropReason.SRTP_TOO_EARLY
cdef object SRTP_REFUSED = DropReason.SRTP_REFUSED
cdef object RTP_MALFORMED = DropReason.RTP_MALFORMED


cdef class Ingress:
    cdef readonly object agent
    cdef object _session
    cdef void *_srtp
    cdef readonly uint64_t packets_received
    cdef readonly uint64_t bytes_received

    def __init__(self, agent):
        self.agent = agent

    @property
    def session(self):
        return self._session

    @session.setter
    def session(self, session):
        self._srtp = NULL if session is None else <void *><uintptr_t>srtp.session_address(session)
        self._session = session

    cdef object unprotect(self, uint8_t *data, int size):
        # In place: `data` is a slot, which is not read again.
        cdef int protected_size = size
        if self._srtp == NULL:
            return SRTP_TOO_EARLY
        if size > MAX_PROTECTED_BYTES or srtp_unprotect(self._srtp, data, &size) != 0:
            return SRTP_REFUSED
        self.packets_received += 1
        self.bytes_received += protected_size
        try:
            return parse(PyBytes_FromStringAndSize(<char *>data, size))
        except RtpError:
            return RTP_MALFORMED


cdef class Receiver:
    cdef object _socket
    cdef dict _known  # by the address as the system writes it
    cdef int _count
    cdef int _next
    cdef mmsghdr[DATAGRAMS] _messages
    cdef iovec[DATAGRAMS] _vectors
    cdef sockaddr_in6[DATAGRAMS] _addresses
    cdef uint8_t[DATAGRAMS][SLOT_BYTES] _arena

    def __init__(self, sock):
        self._socket = sock
        self._known = {}

    def __len__(self):
        return len(self._known)

    cdef bytes _key(self, address):
        cdef sockaddr_in6 packed
        cdef unsigned int size
        memset(&packed, 0, sizeof(packed))
        size = pack_address(address, self._socket.family, &packed)
        return PyBytes_FromStringAndSize(<char *>&packed, size)

    def learn(self, address, Ingress ingress not None):
        cdef bytes key = self._key(address)
        previous = self._known.get(key)
        self._known[key] = ingress
        return previous

    def forget(self, address):
        del self._known[self._key(address)]

    def __iter__(self):
        cdef msghdr *message
        cdef int i
        cdef int fd = self._socket.fileno()
        for i in range(DATAGRAMS):
            self._vectors[i].iov_base = &self._arena[i][0]
            self._vectors[i].iov_len = SLOT_BYTES
            message = &self._messages[i].msg_hdr
            message.msg_name = &self._addresses[i]
            message.msg_namelen = sizeof(sockaddr_in6)
            message.msg_iov = &self._vectors[i]
            message.msg_iovlen = 1
            message.msg_control = NULL
            message.msg_controllen = 0
            message.msg_flags = 0
        self._next = 0
        self._count = recvmmsg(fd, self._messages, DATAGRAMS, MSG_DONTWAIT, NULL)
        if self._count < 0:
            self._count = 0
            if errno != EAGAIN:
                return iter([(None, None, RECEIVE_FAILED)])
        return self

    def __next__(self):
        cdef int i = self._next
        cdef int size
        cdef uint8_t *data
        if i >= self._count:
            raise StopIteration
        self._next += 1
        data = &self._arena[i][0]
        size = <int>self._messages[i].msg_len
        if size < MIN_BYTES:
            return None, None, TOO_SHORT
        if size > MAX_BYTES or self._messages[i].msg_hdr.msg_flags & MSG_TRUNC:
            return None, None, OVERSIZED
        if data[0] <= 3:
            return None, unpack_address(&self._addresses[i]), PyBytes_FromStringAndSize(<char *>data, size)
        if not (128 <= data[0] <= 191 or 20 <= data[0] <= 63):
            return None, None, UNKNOWN_PROTOCOL
        found = self._known.get(
            PyBytes_FromStringAndSize(<char *>&self._addresses[i], self._messages[i].msg_hdr.msg_namelen)
        )
        if found is None:
            return None, None, UNKNOWN_ADDRESS
        if data[0] < 128 or 192 <= data[1] <= 223:
            return found, unpack_address(&self._addresses[i]), PyBytes_FromStringAndSize(<char *>data, size)
        return found, None, (<Ingress>found).unprotect(data, size)
