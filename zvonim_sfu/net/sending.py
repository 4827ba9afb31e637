"""The packet kernel in plain Python: what every packet costs again for every receiver.

The twin of sending_compiled.pyx, which does the same with the same bytes as result, and is chosen where it was compiled
(net.kernel). Where the two differ is in system calls: here each packet is sent by one.
"""

from __future__ import annotations

from collections import Counter
from struct import Struct
from typing import TYPE_CHECKING, Final

from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.path import Path, send
from zvonim_sfu.net.srtp import protect_rtp
from zvonim_sfu.rtp.packet import ExtensionPlan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pylibsrtp import Session

    from zvonim_sfu.rtp.packet import RtpPacket

# One burst of a key frame to some hundred receivers fits; above it, memory would grow with the burst.
BATCH_MAX_PACKETS: Final = 1024

_pack_header: Final = Struct("!BBHII").pack


class Egress:
    """Where one transport's packets leave: its SRTP session and its path, None until there are such."""

    __slots__ = ("bytes_sent", "drops", "packets_sent", "path", "session")

    def __init__(self, session: Session | None = None, path: Path | None = None) -> None:
        self.session = session
        self.path = path
        self.packets_sent = 0
        self.bytes_sent = 0
        """UDP payload bytes: RTP header, payload and SRTP tag."""
        self.drops: Counter[DropReason] = Counter()


class Sender:
    """What is a down track's own in each packet that it sends. The down track sets it; who sends counts in it."""

    __slots__ = (
        "egress",
        "floor",
        "last_sequence",
        "last_timestamp",
        "octets",
        "packets",
        "payload_type",
        "plan",
        "sequence_offset",
        "ssrc",
        "timestamp_offset",
    )

    def __init__(self, egress: Egress, ssrc: int) -> None:
        self.egress = egress
        self.ssrc = ssrc
        self.plan = ExtensionPlan({})
        self.payload_type = -1
        self.sequence_offset = 0
        """From a packet's extended number to the one that it goes out with, of which the wire has 16 bits."""
        self.timestamp_offset = 0
        """From a packet's timestamp to the one that it goes out with, modulo 2^32."""
        self.floor = 0
        """From this number on these offsets hold; what is older is the down track's to send."""
        self.last_sequence = 0
        """The highest number that went out."""
        self.last_timestamp = 0
        """The timestamp that went out with it."""
        self.packets = 0
        self.octets = 0
        """Of their payload."""


class Batch:
    """RTP packets that wait for `flush`, to be called at the end of the wake-up that appended them."""

    __slots__ = ("_max_packets", "_packets")

    def __init__(self, max_packets: int = BATCH_MAX_PACKETS) -> None:
        self._max_packets = max_packets
        self._packets: list[tuple[Egress, bytes, bytes]] = []

    def __len__(self) -> int:
        return len(self._packets)

    def append(self, egress: Egress, header: bytes, tail: bytes) -> None:
        """Take a plain RTP packet, `header + tail`; a full batch flushes itself."""
        self._packets.append((egress, header, tail))
        if len(self._packets) >= self._max_packets:
            self.flush()

    def flush(self) -> None:
        """Protect and send all, in order for each egress; what cannot be sent is counted in its `Egress.drops`."""
        packets, self._packets = self._packets, []
        for egress, header, tail in packets:
            drop = _send(egress, header + tail)
            if drop is not None:
                egress.drops[drop] += 1


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

    def forward(self, packet: RtpPacket, sequence: int) -> None:
        """Append a packet to the batch once for each sender, under the sender's own numbers.

        Args:
            packet: as it came in.
            sequence: its extended number, `floor` or above.
        """
        marker, timestamp, append = packet.marker << 7, packet.timestamp, self._batch.append
        octets = len(packet.data) - packet.payload_offset
        for plan, senders in self._groups.items():
            first_byte, tail = packet.tail(plan)
            for sender in senders:
                sequence_out = sequence + sender.sequence_offset
                timestamp_out = (timestamp + sender.timestamp_offset) & 0xFFFFFFFF
                if sequence_out > sender.last_sequence:
                    sender.last_sequence = sequence_out
                    sender.last_timestamp = timestamp_out
                sender.packets += 1
                sender.octets += octets
                second_byte = marker | sender.payload_type
                header = _pack_header(first_byte, second_byte, sequence_out & 0xFFFF, timestamp_out, sender.ssrc)
                append(sender.egress, header, tail)


def _send(egress: Egress, data: bytes) -> DropReason | None:
    if egress.session is None:
        return DropReason.NO_SESSION
    if egress.path is None:
        return DropReason.NO_PATH
    try:
        protected = protect_rtp(egress.session, data)
    except ValueError:
        return DropReason.TOO_LONG
    if protected is None:
        return DropReason.PROTECT_FAILED
    drop = send(egress.path, protected)
    if drop is None:
        egress.packets_sent += 1
        egress.bytes_sent += len(protected)
    return drop
