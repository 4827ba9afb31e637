# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The packet kernel, compiled, on the way out: the same as its twin, sending.py, which documents it.

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
from weakref import WeakKeyDictionary

from zvonim_sfu.bandwidth import history, pacer
from zvonim_sfu.net import srtp
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.path import drop_reason
from zvonim_sfu.net.sending import BATCH_MAX_PACKETS as _BATCH_MAX_PACKETS
from zvonim_sfu.net.sending import UNPACED as _UNPACED
from zvonim_sfu.net.sending import Packet

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EINVAL, EIO, EMSGSIZE, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from zvonim_sfu.net.system cimport (
    CMSG_DATA,
    CMSG_LEN,
    MSG_DONTWAIT,
    SOL_UDP,
    UDP_SEGMENT,
    iovec,
    mmsghdr,
    msghdr,
    pack_address,
    process_t,
    sendmmsg,
)

ctypedef int (*sendmmsg_t)(int fd, mmsghdr *messages, unsigned int count, int flags) noexcept nogil

cdef process_t srtp_protect = <process_t><uintptr_t>srtp.PROTECT_ADDRESS
cdef sendmmsg_t _sendmmsg = <sendmmsg_t>sendmmsg
cdef uint64_t _flushes = 0  # of all batches

cdef enum:
    SLOT_BYTES = 1504  # MAX_PROTECTED_BYTES, and every slot begins at a multiple of 32
    MAX_PLAIN_BYTES = 1356
    # What the system takes as one message: 64 segments (UDP_MAX_SEGMENTS before Linux 6.9), and a UDP payload of 65,507.
    MAX_SEGMENTS = 64
    MAX_MESSAGE_BYTES = 65000

assert SLOT_BYTES >= srtp.MAX_PROTECTED_BYTES and MAX_PLAIN_BYTES == srtp.MAX_RTP_BYTES

# Places in Pacer.bucket.
cdef enum:
    RATE = 0
    BURST = 1
    CREDIT = 2
    AT = 3
    SHUT = 4
    PROBE_LEFT = 5
    BUCKET_SIZE = 6

assert (RATE, BURST, CREDIT, AT) == (pacer.RATE, pacer.BURST, pacer.CREDIT, pacer.AT)
assert (SHUT, PROBE_LEFT) == (pacer.SHUT, pacer.PROBE_LEFT)

cdef enum:
    SOUNDS = 512

assert SOUNDS == history.SOUNDS

cdef enum:
    UNPACED = -1

assert (AUDIO, VIDEO, UNPACED) == (pacer.Priority.AUDIO, pacer.Priority.VIDEO, _UNPACED)

# Why a packet was not sent: `Entry.failure`. Numbers above these are those of `errno`, moved by SEND.
cdef enum:
    SENT = 0
    NO_SESSION = 1
    NO_PATH = 2
    TOO_LONG = 3
    PROTECT_FAILED = 4
    HELD = 5  # and is the gate's
    SEND = 6

cdef list _DROPS = [None, DropReason.NO_SESSION, DropReason.NO_PATH, DropReason.TOO_LONG, DropReason.PROTECT_FAILED]
cdef object _PACER_FULL = DropReason.PACER_FULL
cdef list _PRIORITIES = list(pacer.Priority)


cdef class LocalSocket:
    def __cinit__(self):
        self.state.segments = True


_local_sockets = WeakKeyDictionary()


cdef class Egress:
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
                local = _local_sockets[path.socket] = LocalSocket()
            self.state.address_size = pack_address(path.address, path.socket.family, &self.state.address)
            self.state.segments = True
            self._socket = local
        self._path = path
        self.state.socket = NULL if path is None else &self._socket.state

    @property
    def history(self):
        return self._history

    @history.setter
    def history(self, history):
        self.state.numbers.counter = NULL
        self._history = self._views = None
        if history is None:
            return
        # Views keep the arrays from being moved.
        arrays = history.counter, history.sent_at, history.sizes, history.sounds
        counter, sent_at, sizes, sounds = views = tuple(map(memoryview, arrays))
        capacity = history.mask + 1
        if [view.format for view in views] != ["Q", "d", "H", "Q"] or capacity & history.mask:
            raise ValueError("no send history")
        if [len(view) for view in views] != [2, capacity, capacity, SOUNDS]:
            raise ValueError("no send history")
        self._history, self._views = history, views
        self.state.numbers.sent_at = <double *>PyMemoryView_GET_BUFFER(sent_at).buf
        self.state.numbers.sizes = <uint16_t *>PyMemoryView_GET_BUFFER(sizes).buf
        self.state.numbers.sounds = <uint64_t *>PyMemoryView_GET_BUFFER(sounds).buf
        self.state.numbers.mask = history.mask
        self.state.numbers.counter = <uint64_t *>PyMemoryView_GET_BUFFER(counter).buf

    @property
    def gate(self):
        return self._gate

    @gate.setter
    def gate(self, gate):
        self.state.bucket = NULL
        self._gate = self._bucket = None
        if gate is None:
            return
        bucket = memoryview(gate.bucket)
        if bucket.format != "d" or len(bucket) != BUCKET_SIZE:
            raise ValueError("no token bucket")
        self._gate, self._bucket = gate, bucket
        self.state.bucket = <double *>PyMemoryView_GET_BUFFER(bucket).buf

    @property
    def packets_sent(self):
        return self.state.packets_sent

    @property
    def bytes_sent(self):
        return self.state.bytes_sent


cdef class Batch:
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

    def append(
        self,
        Egress egress not None,
        bytes header not None,
        bytes tail not None,
        Py_ssize_t number_at=-1,
        int priority=VIDEO,
    ):
        cdef Entry *entry
        if not UNPACED <= priority <= VIDEO:
            raise ValueError("no priority")
        if not 0 <= number_at <= PyBytes_GET_SIZE(tail) - 2:
            number_at = -1
        if PyBytes_GET_SIZE(header) != FIXED_HEADER_BYTES:
            entry = self.push(egress, header + tail)
            entry.header_size = 0
            if number_at >= 0:
                number_at += PyBytes_GET_SIZE(header)
        else:
            entry = self.push(egress, tail)
            memcpy(entry.header, PyBytes_AS_STRING(header), FIXED_HEADER_BYTES)
        entry.number_at = number_at
        entry.priority = priority
        self.push_end()

    cdef Entry *push(self, Egress egress, bytes tail) noexcept:
        # Takes a packet without its fixed header, which the caller writes before `push_end`. There is room: a batch
        # that has none has been flushed.
        cdef Entry *entry = &self._entries[self._count]
        Py_INCREF(egress)
        Py_INCREF(tail)
        entry.egress = <PyObject *>egress
        entry.tail = <PyObject *>tail
        entry.exit = &egress.state
        entry.header_size = FIXED_HEADER_BYTES
        entry.tail_bytes = PyBytes_AS_STRING(tail)
        entry.tail_size = PyBytes_GET_SIZE(tail)
        entry.number_at = -1
        entry.priority = VIDEO
        entry.patch_count = 0
        self._count += 1
        return entry

    cdef void patch(self, Entry *entry, Py_ssize_t at, uint16_t value, bint is_wide) noexcept:
        # Has a number written into the tail, where the caller knows it to be within.
        cdef Patch *patch = &entry.patches[entry.patch_count]
        patch.at = at
        patch.value = value
        patch.is_wide = is_wide
        entry.patch_count += 1

    cdef int push_end(self) except -1:
        if self._count == self._max_packets:
            self._send_all()
        return 0

    def flush(self):
        cdef bint called
        self._send_all()
        called, self._gates_called = self._gates_called, False
        return called

    cdef int _send_all(self) except -1:
        cdef Socket *sockets
        cdef list held = None
        cdef Egress egress
        if self._count == 0:
            return 0
        try:
            sockets = self._find_ways()
            with nogil:
                self._protect()
                while sockets != NULL:
                    self._send(sockets)
                    sockets = sockets.next
            held = self._settle()
        finally:
            self._release()
        if held is not None:
            self._gates_called = True
            # Only now, since a gate may append again.
            for egress, gate, packet, size, priority in held:
                if not gate.hold(packet, size, priority):
                    egress.drops[_PACER_FULL] += 1
        return 0

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
        cdef double now = _now()
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
            entry.size = entry.header_size + <int>entry.tail_size
            if exit.bucket != NULL and not _admit(exit.bucket, entry.priority, entry.size, now):
                entry.failure = HELD
                continue
            slot = self._arena + <size_t>i * SLOT_BYTES
            memcpy(slot, entry.header, entry.header_size)
            memcpy(slot + entry.header_size, entry.tail_bytes, entry.tail_size)
            if entry.patch_count:
                _write_patches(entry, slot + entry.header_size)
            if entry.number_at >= 0 and exit.numbers.counter != NULL:
                write16(slot + entry.header_size + entry.number_at, <uint16_t>exit.numbers.counter[0])
            if srtp_protect(exit.session, slot, &entry.size) != 0:
                entry.failure = PROTECT_FAILED
                continue
            if entry.number_at >= 0 and exit.numbers.counter != NULL:
                if entry.priority == AUDIO:
                    _keep_sound(&exit.numbers, slot)
                _note(&exit.numbers, entry.size, now)
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

    cdef list _settle(self):
        # Counts what was dropped; returns what gates are to be given, None for nothing.
        cdef list held = None
        cdef Entry *entry
        cdef Egress egress
        cdef int i
        for i in range(self._count):
            entry = &self._entries[i]
            if entry.failure == SENT:
                continue
            egress = <Egress>entry.egress
            if entry.failure == HELD:
                if held is None:
                    held = []
                packet = Packet(entry.header[: entry.header_size], _own_tail(entry), entry.number_at)
                held.append((egress, egress._gate, packet, entry.size, _PRIORITIES[entry.priority]))
            else:
                drop = _DROPS[entry.failure] if entry.failure < SEND else drop_reason(entry.failure - SEND)
                egress.drops[drop] += 1
        return held

    cdef void _release(self) noexcept:
        cdef int i, count = self._count
        self._count = 0
        for i in range(count):
            Py_DECREF(<object>self._entries[i].egress)
            Py_DECREF(<object>self._entries[i].tail)


cdef bytes _own_tail(Entry *entry):
    # What its receiver is to get, without number.
    cdef bytes tail
    if entry.patch_count == 0:
        return <bytes>entry.tail
    tail = PyBytes_FromStringAndSize(entry.tail_bytes, entry.tail_size)
    _write_patches(entry, <uint8_t *>PyBytes_AS_STRING(tail))
    return tail


cdef bint _admit(double *bucket, int priority, int size, double now) noexcept nogil:
    # As Pacer.admit, for one packet.
    cdef double credit
    if priority == UNPACED:
        return True
    if bucket[SHUT] != 0 and priority != AUDIO:
        return False
    if now > bucket[AT]:
        credit = bucket[CREDIT] + bucket[RATE] * (now - bucket[AT])
        bucket[CREDIT] = credit if credit < bucket[BURST] else bucket[BURST]
        bucket[AT] = now
    if priority != AUDIO and bucket[CREDIT] <= 0:
        bucket[SHUT] = 1  # what follows in this flush must not overtake it
        return False
    bucket[CREDIT] -= size
    bucket[PROBE_LEFT] -= size
    return True


cdef void _write_patches(Entry *entry, uint8_t *tail) noexcept nogil:
    cdef Patch *patch
    cdef int i
    for i in range(entry.patch_count):
        patch = &entry.patches[i]
        if patch.is_wide:
            write16(tail + patch.at, patch.value)
        else:
            tail[patch.at] = <uint8_t>patch.value


cdef void _note(Numbers *numbers, int size, double now) noexcept nogil:
    # As SendHistory.add.
    cdef uint64_t index = numbers.counter[0] & numbers.mask
    numbers.sent_at[index] = now
    numbers.sizes[index] = <uint16_t>size
    numbers.counter[0] += 1


cdef void _keep_sound(Numbers *numbers, const uint8_t *packet) noexcept nogil:
    # As SendHistory.keep_sound, before the packet is noted; its header stands in clear.
    cdef uint64_t ssrc = <uint32_t>packet[8] << 24 | <uint32_t>packet[9] << 16 | <uint32_t>packet[10] << 8 | packet[11]
    cdef uint64_t sequence_number = <uint32_t>packet[2] << 8 | packet[3]
    numbers.sounds[numbers.counter[1] % SOUNDS] = ssrc << 32 | sequence_number << 16 | numbers.counter[0] & 0xFFFF
    numbers.counter[1] += 1


cdef double _now() noexcept nogil:
    # time.monotonic()
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <double>(<int64_t>at.tv_sec * 1_000_000_000 + at.tv_nsec) / 1e9


cdef void _set_segment(msghdr *message, Control *control, int size) noexcept nogil:
    cdef uint16_t segment = <uint16_t>size
    control.header.cmsg_level = SOL_UDP
    control.header.cmsg_type = UDP_SEGMENT
    control.header.cmsg_len = CMSG_LEN(sizeof(uint16_t))
    memcpy(CMSG_DATA(&control.header), &segment, sizeof(uint16_t))
    message.msg_control = control
    message.msg_controllen = sizeof(Control)


def replace_sendmmsg(address):
    """Have a function of the tests called in the place of `sendmmsg`, None: the system's again."""
    global _sendmmsg
    _sendmmsg = <sendmmsg_t>sendmmsg if address is None else <sendmmsg_t><uintptr_t>address
