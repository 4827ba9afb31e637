# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The packet kernel, compiled, on the way in: the same as its twin, receiving.py, which documents it.

All that one wake-up reads is read by one system call (recvmmsg); each datagram is then looked at when the caller asks for
it, so that what the one before has changed (an address, a session) is known. RTP packets that come in their turn are
dealt with here (rtp.intake): most of what a packet costs is else to find in memory what Python has to look at.
"""

from zvonim_sfu.net import srtp
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.receiving import DATAGRAMS_PER_WAKE_UP as _DATAGRAMS_PER_WAKE_UP
from zvonim_sfu.net.receiving import MAX_DATAGRAM_BYTES as _MAX_DATAGRAM_BYTES
from zvonim_sfu.net.receiving import MIN_DATAGRAM_BYTES as _MIN_DATAGRAM_BYTES
from zvonim_sfu.rtp import dependency_descriptor, history, intake
from zvonim_sfu.rtp.packet import RtpError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
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
from zvonim_sfu.net.fan_out_compiled cimport FanOut
from zvonim_sfu.rtp cimport h264_compiled, vp8_compiled
from zvonim_sfu.rtp.arrivals_compiled cimport ArrivalLog
from zvonim_sfu.rtp.description_compiled cimport Description, set_plain
from zvonim_sfu.rtp.intake_compiled cimport Intake
from zvonim_sfu.rtp.packet_compiled cimport Element, RtpPacket, parse

cdef enum:
    DATAGRAMS = 32
    MIN_BYTES = 12
    MAX_BYTES = 2047
    SLOT_BYTES = MAX_BYTES + 1
    MAX_PROTECTED_BYTES = 1500
    SOUND = 1
    VP8 = 2
    H264 = 3
    DESCRIPTOR_BYTES = 3
    RELEVANT = 0xA0
    HISTORY_MASK = 1023
    HISTORY_BYTES = 1048576

assert (DATAGRAMS, MIN_BYTES, MAX_BYTES) == (_DATAGRAMS_PER_WAKE_UP, _MIN_DATAGRAM_BYTES, _MAX_DATAGRAM_BYTES)
assert MAX_PROTECTED_BYTES == srtp.MAX_PROTECTED_BYTES
assert (SOUND, VP8, H264) == (intake.Payloads.SOUND, intake.Payloads.VP8, intake.Payloads.H264)
assert (DESCRIPTOR_BYTES, RELEVANT) == (dependency_descriptor.MANDATORY_BYTES, dependency_descriptor.RELEVANT)
assert (HISTORY_MASK + 1, HISTORY_BYTES) == (history.MAX_PACKETS, history.MAX_BYTES)

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
    cdef public dict intakes
    cdef public int arrival_extension
    cdef public ArrivalLog arrivals

    def __init__(self, agent):
        self.agent = agent
        self.intakes = {}

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

    def take(self, RtpPacket packet not None, double now):
        return self._take(packet, now)

    cdef bint _take(self, RtpPacket packet, double now) except -1:
        # What UpTrack.handle_packet and Layer.forward do with a packet that needs no decision. Whatever is not as it
        # nearly always is makes it theirs, and nothing was counted then.
        cdef Intake intake = self.intakes.get(packet.ssrc)
        cdef Description description
        cdef int64_t sequence, transit, change
        cdef Py_ssize_t size = PyBytes_GET_SIZE(packet.data), kept_bytes
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(packet.data)
        cdef int arrival, level
        cdef FanOut fan_out
        if intake is None or intake.fan_out is None or not intake.payloads or len(intake.cells) <= HISTORY_MASK:
            return False
        fan_out = intake.fan_out  # TypeError for one of the other kernel
        if packet.payload_type != intake.payload_type or packet.sequence_number != (intake.counted + 1) & 0xFFFF:
            return False
        sequence = intake.counted + 1 + intake.shift
        if sequence != intake.kept + 1 or sequence != intake.highest + 1:
            return False
        if intake.keeps_register and (sequence != intake.expected or intake.needs_keyframe):
            return False
        if intake.wants_keyframe or sequence < fan_out.floor:
            return False
        if not _describe(intake, packet, data, &description) or description.temporal > intake.temporal:
            return False
        if intake.temporal and description.temporal >= min(len(intake.layer_octets), len(intake.layer_frames)):
            return False
        former = intake.cells[sequence & HISTORY_MASK]
        kept_bytes = intake.kept_bytes + size
        if former is not None:
            kept_bytes -= len((<tuple>former)[1].data)
        if kept_bytes > HISTORY_BYTES:
            return False

        # rtp.transport_cc
        if self.arrival_extension and self.arrivals is not None:
            arrival = packet.element(self.arrival_extension)
            if arrival >= 0 and packet._elements[arrival].end - packet._elements[arrival].start == 2:
                at = data + packet._elements[arrival].start
                self.arrivals.note(at[0] << 8 | at[1], now)
        # rtp.reception
        intake.counted += 1
        intake.received += 1
        transit = <int64_t>(now * intake.clock_rate) - packet.timestamp
        if intake.has_transit:
            change = <int32_t><uint32_t>(transit - intake.transit)
            intake.jitter += (<double>(change if change >= 0 else -change) - intake.jitter) / 16
        intake.transit = transit
        intake.has_transit = True
        # rtp.nack
        if intake.keeps_register:
            intake.expected = sequence + 1
        # media.layer
        if intake.level_extension:
            level = packet.element(intake.level_extension)
            if level >= 0 and packet._elements[level].end > packet._elements[level].start:
                intake.levels.append(data[packet._elements[level].start] & 0x7F)
        if intake.temporal:
            intake.layer_octets[description.temporal] += size - packet.payload_offset
            if description.begins_frame:
                intake.layer_frames[description.temporal] += 1
        intake.packets += 1
        intake.octets += size - packet.payload_offset
        intake.frames += packet.marker
        intake.last_at = now
        intake.highest = sequence
        intake.last = packet
        # rtp.history
        intake.cells[sequence & HISTORY_MASK] = (sequence, packet, now, intake.structures)
        intake.kept = sequence
        intake.kept_bytes = kept_bytes
        # media.outlets
        fan_out.forward_whole(packet, sequence, &description.fields)
        return True


cdef bint _describe(Intake intake, RtpPacket packet, const uint8_t *data, Description *description) except -1:
    # Returns whether it could be read here, as rtp.codecs reads it.
    cdef const uint8_t *layers
    cdef Element *element
    cdef int descriptor, template
    cdef Py_ssize_t size
    if intake.payloads == SOUND:
        set_plain(description)
        return True
    size = packet._payload_end - packet.payload_offset
    if intake.payloads == VP8:
        if not vp8_compiled.describe(data + packet.payload_offset, size, description):
            return False
    elif intake.payloads != H264 or not h264_compiled.describe(data + packet.payload_offset, size, description):
        return False
    descriptor = packet.element(intake.descriptor) if intake.descriptor else -1
    if descriptor < 0:
        return True
    element = &packet._elements[descriptor]
    size, data = element.end - element.start, data + element.start
    if size < DESCRIPTOR_BYTES or (size > DESCRIPTOR_BYTES and data[DESCRIPTOR_BYTES] & RELEVANT):
        return False
    template = data[0] & 0x3F
    if template >= len(intake.template_layers):
        return False
    layers = <const uint8_t *>PyBytes_AS_STRING(intake.template_layers)
    description.temporal = layers[template]
    description.begins_frame = data[0] & 0x80 != 0
    return True


cdef class Receiver:
    cdef object _socket
    cdef dict _known  # by the address as the system writes it
    cdef int _count
    cdef int _next
    cdef double _now
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
        return self

    def read(self, double now):
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
        self._now = now
        self._count = recvmmsg(fd, self._messages, DATAGRAMS, MSG_DONTWAIT, NULL)
        if self._count < 0:
            self._count = 0
            if errno != EAGAIN:
                return iter([(None, None, RECEIVE_FAILED)])
        return self

    def __next__(self):
        cdef Ingress ingress
        while self._next < self._count:
            arrived = self._sort(self._next)
            self._next += 1
            ingress, _, what = <tuple>arrived
            if ingress is None or type(what) is not RtpPacket or not ingress._take(<RtpPacket>what, self._now):
                return arrived
        raise StopIteration

    cdef tuple _sort(self, int i):
        cdef int size = <int>self._messages[i].msg_len
        cdef uint8_t *data = &self._arena[i][0]
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
