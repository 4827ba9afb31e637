"""The packet kernel in plain Python: what every packet costs again for every receiver.

The twin of sending_compiled.pyx, which does the same with the same bytes as result, and is chosen where it was compiled
(net.kernel). Where the two differ is in system calls: here there is one for each run of packets of one size to one
address, there one for all runs.

Transport-wide numbers are given while packets are protected, in that order, which is the order on the wire. A packet
that cannot be protected or has no way takes none. One that the system refuses keeps its number: it is within the
protected bytes, others may have followed it, and the client tells that it is lost, as it is.

Where an egress has a gate, a packet that the gate's token bucket does not admit is handed back when all others have
been sent, and is the gate's from then on: it appends it again when its time comes.
"""

from __future__ import annotations

import time
from collections import Counter
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from zvonim_sfu.bandwidth.pacer import SHUT, Priority
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.path import CannotCutError, Path, runs, send, send_run
from zvonim_sfu.net.srtp import MAX_RTP_BYTES, protect_rtp
from zvonim_sfu.rtp.packet import NO_FIELDS, ExtensionPlan, Tail

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Sequence

    from pylibsrtp import Session

    from zvonim_sfu.bandwidth.history import SendHistory
    from zvonim_sfu.rtp.packet import Fields, RtpPacket

# One burst of a key frame to some hundred receivers fits; above it, memory would grow with the burst.
BATCH_MAX_PACKETS: Final = 1024

# Instead of a priority: goes past the gate, which has counted the packet itself.
UNPACED: Final = -1
_PRIORITIES: Final = tuple(Priority)
_AUDIO: Final = int(Priority.AUDIO)

_pack_header: Final = Struct("!BBHII").pack


class Packet(NamedTuple):
    """A plain RTP packet on its way out, `header + tail`; as the arguments of `Batch.append`."""

    header: bytes
    tail: bytes
    number_at: int = -1


class Gate(Protocol):
    """What holds packets of one egress back: see bandwidth.pacer."""

    bucket: array[float]

    @property
    def is_flooded(self) -> bool:
        """Whether far more was sent lately than the link holds, and everything waits for it."""

    def admit(self, size: int, now: float, priority: Priority, /) -> bool:
        """Count a packet of this size as sent now; False if it is to be held."""

    def hold(self, packet: Packet, size: int, priority: Priority, /) -> bool:
        """Take a packet; False if too much waits, and it is dropped."""

    def waiting(self, ssrc: int, /) -> set[int]:
        """Return the 16-bit numbers of what waits of a picture."""

    def take_back(self, ssrc: int, rtx_ssrc: int, first: int, /) -> None:
        """Let go of what waits of a picture, from a 16-bit number on, and of its repairs."""


class Egress:
    """Where one transport's packets leave: its SRTP session and its path, None until there are such."""

    __slots__ = ("_uncut_path", "bytes_sent", "drops", "gate", "history", "packets_sent", "path", "session")

    def __init__(self, session: Session | None = None, path: Path | None = None) -> None:
        self.session = session
        self.path = path
        self.history: SendHistory | None = None
        """Where packets with a transport-wide number are noted, and the numbers come from; None: they go out with 0."""
        self.gate: Gate | None = None
        """What paces its packets; None: nothing does."""
        self.packets_sent = 0
        self.bytes_sent = 0
        """UDP payload bytes: RTP header, payload and SRTP tag."""
        self.drops: Counter[DropReason] = Counter()
        self._uncut_path: Path | None = None
        "By which the system takes no messages to cut."

    def _send(self, datagrams: Sequence[bytes]) -> None:
        """Send these in order, and count what comes of it."""
        path = self.path
        assert path is not None  # what has none was not protected
        if len(datagrams) == 1 or self._uncut_path == path:
            self._send_each(path, datagrams)
            return
        for run in runs(datagrams):
            try:
                self._count(run, send_run(path, run))
            except CannotCutError:
                self._uncut_path = path
                self._send_each(path, run)

    def _send_each(self, path: Path, datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            self._count((datagram,), send(path, datagram))

    def _count(self, datagrams: Sequence[bytes], drop: DropReason | None) -> None:
        if drop is None:
            self.packets_sent += len(datagrams)
            self.bytes_sent += sum(map(len, datagrams))
        else:
            self.drops[drop] += len(datagrams)


class Sender:
    """What is a down track's own in each packet that it sends. The down track sets it; who sends counts in it."""

    __slots__ = (
        "egress",
        "floor",
        "frame_number_offset",
        "last_sequence",
        "last_timestamp",
        "octets",
        "packets",
        "payload_type",
        "picture_id_offset",
        "plan",
        "priority",
        "sequence_offset",
        "ssrc",
        "timestamp_offset",
        "tl0_offset",
    )

    def __init__(self, egress: Egress, ssrc: int) -> None:
        self.egress = egress
        self.ssrc = ssrc
        self.plan = ExtensionPlan({})
        self.payload_type = -1
        self.priority = int(Priority.VIDEO)
        """Of its packets before the gate."""
        self.sequence_offset = 0
        """From a packet's extended number to the one that it goes out with, of which the wire has 16 bits."""
        self.timestamp_offset = 0
        """From a packet's timestamp to the one that it goes out with, modulo 2^32."""
        self.picture_id_offset = 0
        """From a payload's numbers to those that it goes out with, modulo their width: see rtp.packet.Fields."""
        self.tl0_offset = 0
        self.frame_number_offset = 0
        """The same of the dependency descriptor's, 16 bits."""
        self.floor = 0
        """From this number on these offsets hold; what is older is the down track's to send."""
        self.last_sequence = 0
        """The highest number that went out."""
        self.last_timestamp = 0
        """The timestamp that went out with it."""
        self.packets = 0
        self.octets = 0
        """Of their payload."""


_Waiting = tuple[Egress, bytes, bytes, int, int]
"""The arguments of `Batch.append`, the number's place checked."""


class Batch:
    """RTP packets that wait for `flush`, to be called at the end of the wake-up that appended them."""

    __slots__ = ("_gates_called", "_max_packets", "_packets")

    def __init__(self, max_packets: int = BATCH_MAX_PACKETS) -> None:
        self._max_packets = max_packets
        self._packets: list[_Waiting] = []
        self._gates_called = False

    def __len__(self) -> int:
        return len(self._packets)

    def append(
        self,
        egress: Egress,
        header: bytes,
        tail: bytes,
        number_at: int = -1,
        priority: int = Priority.VIDEO,
    ) -> None:
        """Take a plain RTP packet, `header + tail`; a full batch flushes itself.

        `number_at` is the place of its transport-wide number in the tail; one that is outside of it is none.
        `priority` is one of Priority, or UNPACED.
        """
        if not 0 <= number_at <= len(tail) - 2:
            number_at = -1
        self._packets.append((egress, header, tail, number_at, priority))
        if len(self._packets) >= self._max_packets:
            self._send_all()

    def flush(self) -> bool:
        """Protect and send all, in order for each egress; what cannot be sent is counted in its `Egress.drops`.

        Returns whether any gate was given something since the last call.
        """
        self._send_all()
        called, self._gates_called = self._gates_called, False
        return called

    def _send_all(self) -> None:
        packets, self._packets = self._packets, []
        now = time.monotonic()
        held: list[tuple[Egress, Gate, Packet, int, Priority]] = []
        leaving: dict[Egress, list[bytes]] = {}
        for waiting in packets:
            egress, header, tail, number_at, priority = waiting
            size = len(header) + len(tail)
            session, gate = egress.session, egress.gate
            if session is None:
                egress.drops[DropReason.NO_SESSION] += 1
            elif egress.path is None:
                egress.drops[DropReason.NO_PATH] += 1
            elif size > MAX_RTP_BYTES:
                egress.drops[DropReason.TOO_LONG] += 1
            elif gate is not None and priority != UNPACED and not gate.admit(size, now, _PRIORITIES[priority]):
                # What follows in this flush must not overtake it.
                gate.bucket[SHUT] = 1
                held.append((egress, gate, Packet(header, tail, number_at), size, _PRIORITIES[priority]))
            elif (
                protected := protect_rtp(session, header + tail)
                if number_at < 0
                else _protect_numbered(egress, session, waiting, now)
            ) is None:
                egress.drops[DropReason.PROTECT_FAILED] += 1
            elif egress in leaving:
                leaving[egress].append(protected)
            else:
                leaving[egress] = [protected]
        for egress, datagrams in leaving.items():
            egress._send(datagrams)
        self._gates_called = self._gates_called or bool(held)
        for egress, gate, packet, size, kind in held:
            if not gate.hold(packet, size, kind):
                egress.drops[DropReason.PACER_FULL] += 1


class FanOut:
    """The receivers of one stream whose numbers are shifted and nothing else.

    Control sets the senders when one comes, goes or changes its plan; a packet is then one call for all of them.
    """

    __slots__ = ("_batch", "_groups", "floor")

    floor: int
    """What has a lower number is not for `forward`: some sender's floor is above it."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.replace(())

    def replace(self, senders: Iterable[Sender]) -> None:
        """Forward to these from now on."""
        self._groups: dict[ExtensionPlan, list[Sender]] = {}
        self.floor = 0
        for sender in senders:
            self._groups.setdefault(sender.plan, []).append(sender)
            self.floor = max(self.floor, sender.floor)

    def forward(self, packet: RtpPacket, sequence: int, marker: bool, fields: Fields) -> None:
        """Append a packet to the batch once for each sender, under the sender's own numbers.

        Args:
            packet: as it came in.
            sequence: its extended number, `floor` or above.
            marker: its marker bit as it goes out.
            fields: its numbers that senders shift; places outside of the payload are passed over.
        """
        marker_bit, timestamp, append = marker << 7, packet.timestamp, self._batch.append
        for plan, senders in self._groups.items():
            tail = packet.tail(plan)
            first_byte, data, octets, number_at, frame_number_at = tail
            is_shifted = fields is not NO_FIELDS or frame_number_at >= 0
            for sender in senders:
                sequence_out = sequence + sender.sequence_offset
                timestamp_out = (timestamp + sender.timestamp_offset) & 0xFFFFFFFF
                if sequence_out > sender.last_sequence:
                    sender.last_sequence = sequence_out
                    sender.last_timestamp = timestamp_out
                sender.packets += 1
                sender.octets += octets
                second_byte = marker_bit | sender.payload_type
                header = _pack_header(first_byte, second_byte, sequence_out & 0xFFFF, timestamp_out, sender.ssrc)
                own = shift_fields(tail, fields, sender).data if is_shifted else data
                append(sender.egress, header, own, number_at, sender.priority)


class Offsets(Protocol):
    """What is added to numbers in payloads: of a sender now, or of it at another time."""

    picture_id_offset: int
    tl0_offset: int
    frame_number_offset: int


def shift_fields(tail: Tail, fields: Fields, sender: Offsets) -> Tail:
    """Return a tail with the fields' picture id and the sender's offsets in its payload and dependency descriptor.

    Args:
        tail: of the packet.
        fields: of the packet; places outside of the payload are passed over.
        sender: whose offsets.
    """
    first_byte, data, octets, number_at, frame_number_at = tail
    payload = len(data) - octets
    picture_id_at, bits, picture_id, tl0_at, tl0 = fields
    patches = []
    size = 2 if bits == 15 else 1
    if bits in {7, 15} and 0 <= picture_id_at <= octets - size:
        at = payload + picture_id_at
        present = int.from_bytes(data[at : at + size]) & (1 << bits) - 1
        if sender.picture_id_offset or picture_id != present:
            mark = 0x8000 if bits == 15 else 0
            picture_id = picture_id + sender.picture_id_offset & (1 << bits) - 1
            patches.append((at, (mark | picture_id).to_bytes(size)))
    if sender.tl0_offset and 0 <= tl0_at < octets:
        patches.append((payload + tl0_at, bytes((tl0 + sender.tl0_offset & 0xFF,))))
    if sender.frame_number_offset and 0 <= frame_number_at <= payload - 2:
        number = int.from_bytes(data[frame_number_at : frame_number_at + 2]) + sender.frame_number_offset
        patches.append((frame_number_at, (number & 0xFFFF).to_bytes(2)))
    if not patches:
        return tail
    own = bytearray(data)
    for at, value in patches:
        own[at : at + len(value)] = value
    return Tail(first_byte, bytes(own), octets, number_at, frame_number_at)


def _protect_numbered(egress: Egress, session: Session, waiting: _Waiting, now: float) -> bytes | None:
    """Return a packet as it goes out, its transport-wide number given; None if libsrtp refuses it."""
    _, header, tail, number_at, priority = waiting
    history = egress.history
    if history is None:
        return protect_rtp(session, header + tail)
    number = (history.next_number & 0xFFFF).to_bytes(2)
    data = b"".join((header, tail[:number_at], number, tail[number_at + 2 :]))
    protected = protect_rtp(session, data)
    if protected is not None:
        number_given = history.add(len(protected), now)
        if priority == _AUDIO:
            history.keep_sound(int.from_bytes(data[8:12]), int.from_bytes(data[2:4]), number_given)
    return protected
