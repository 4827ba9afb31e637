"""The latest packets of one layer, kept once for all of its receivers: for repairs, and for who comes in later."""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from zvonim_sfu.rtp.intake import NO_NUMBER, Cell, Intake

if TYPE_CHECKING:
    from zvonim_sfu.rtp.dependency_descriptor import Structures
    from zvonim_sfu.rtp.description import Description
    from zvonim_sfu.rtp.packet import RtpPacket

# Two seconds of 5 Mbit/s. A power of two: numbers find their cell by a mask.
MAX_PACKETS: Final = 1024
# Bytes as they came in; objects around them take another half.
MAX_BYTES: Final = 1 << 20
# What is older is past every jitter buffer; a picture that starts with an older keyframe takes longer to catch up
# than a new keyframe takes to come.
MAX_AGE_S: Final = 2.0
# Sent to one receiver at once: 0.2 s of a link of 10 Mbit/s, and about as much as a second of video.
MAX_REPLAY_PACKETS: Final = 256
MAX_REPLAY_BYTES: Final = 250_000

# Packets that the very first one has overtaken, as in rtp.nack.
MAX_OVERTAKEN: Final = 16

_MASK: Final = MAX_PACKETS - 1


class PacketHistory:
    """A ring of packets by their extended number, which knows where the newest keyframe begins.

    Its owner adds every packet once, calls `expire` about once a second, and drops the history with the layer.

    Args:
        intake: where it keeps them, instead of what was kept there; None: on its own.
    """

    __slots__ = (
        "_cells",
        "_intake",
        "_keyframe_timestamp",
        "_keyframe_whole",
        "_lowest",
        "_oldest",
        "keyframe",
    )

    keyframe: int | None
    """The number with which the newest keyframe begins, as far as it has come; None before the first."""

    def __init__(self, intake: Intake | None = None) -> None:
        self._intake = intake or Intake()
        self._intake.kept = NO_NUMBER
        self._intake.kept_bytes = 0
        self.keyframe = None
        self._keyframe_timestamp = 0
        # Whether the packet before the keyframe's first is known to be of another frame.
        self._keyframe_whole = False
        self._cells: list[Cell | None] = [None] * MAX_PACKETS
        self._intake.cells = self._cells
        # No number below it is kept any more.
        self._oldest = 0
        # No number below it has ever come.
        self._lowest = 0

    @property
    def size(self) -> int:
        """Bytes of the packets that are kept."""
        return self._intake.kept_bytes

    @property
    def _highest(self) -> int | None:
        kept = self._intake.kept
        return None if kept == NO_NUMBER else kept

    def add(self, sequence: int, packet: RtpPacket, now: float, description: Description) -> None:
        """Keep a packet, which may be late; one that is too old, or there already, is left out.

        Args:
            sequence: its extended number.
            packet: as it came in.
            now: seconds, monotonic.
            description: of this packet. Several packets of one keyframe may say that it begins with them.
        """
        intake = self._intake
        highest = intake.kept
        if highest == NO_NUMBER:
            highest = sequence - 1
            self._oldest = sequence - MAX_OVERTAKEN
            self._lowest = sequence
        cells = self._cells
        cell = sequence & _MASK
        size = intake.kept_bytes + len(packet.data)
        former = cells[cell]
        if former is not None:
            if former[0] >= sequence:
                return
            size -= len(former[1].data)
        if sequence > highest:
            intake.kept = sequence
        elif sequence < self._oldest:
            return
        cells[cell] = (sequence, packet, now, description)
        intake.kept_bytes = size
        if size > MAX_BYTES:
            # in one go: the call costs more than a packet
            self._oldest = intake.drop(self._oldest, MAX_BYTES - MAX_BYTES // 8, -math.inf)
        if description.keyframe:
            self._enter_keyframe(sequence, packet.timestamp, follows=sequence == highest + 1)
        elif sequence < highest:
            self._lowest = min(sequence, self._lowest)
            if self.keyframe == sequence + 1:
                self._reach_back()

    def get(self, sequence: int, now: float) -> RtpPacket | None:
        """Return the packet of this number, None if it never came or is too old."""
        entry = self._cells[sequence & _MASK]
        if entry is None or entry[0] != sequence or now - entry[2] > MAX_AGE_S:
            return None
        return entry[1]

    def description(self, sequence: int) -> Description | Structures | None:
        """Return how the packet of this number was described, or what its descriptor refers to.

        None if neither of them, or not even the packet, is kept.
        """
        entry = self._cells[sequence & _MASK]
        return entry[3] if entry is not None and entry[0] == sequence else None

    def packets(self) -> list[tuple[int, RtpPacket]]:
        """Return all that is kept, each packet with its number, the oldest first."""
        return sorted(((entry[0], entry[1]) for entry in self._cells if entry is not None), key=itemgetter(0))

    def since_keyframe(self, now: float) -> list[tuple[int, RtpPacket]] | None:
        """Return the newest keyframe and all that came after it, each packet with its number.

        A keyframe that has not come whole is of no use; it may still be arriving, as long as nothing is missing of
        it so far. A hole behind it does no harm: the first picture does not wait for it, the publisher has been
        asked for it already, and the repair reaches the new receiver like any other.

        Returns:
            None if there is nothing worth sending: no keyframe, one that is older than 2 s or has a hole, or more
            than should be sent at once.
        """
        start, highest = self.keyframe, self._highest
        if (
            start is None
            or highest is None
            or not self._keyframe_whole
            or highest - start >= MAX_REPLAY_PACKETS
            or self.get(start, now) is None
        ):
            return None
        packets: list[tuple[int, RtpPacket]] = []
        size = 0
        in_keyframe = True
        for sequence in range(start, highest + 1):
            packet = self._packet(sequence)
            if packet is None:
                if in_keyframe:
                    return None
                continue
            # The last packet of a frame has the marker (RFC 7741, section 4.1; RFC 9628, section 4.1; RFC 6184,
            # section 5.1): without it, a hole at the end of the keyframe would look like one behind it.
            in_keyframe = in_keyframe and packet.timestamp == self._keyframe_timestamp and not packet.marker
            size += len(packet.data)
            packets.append((sequence, packet))
        return packets if size <= MAX_REPLAY_BYTES else None

    def since(self, sequence: int) -> list[tuple[int, RtpPacket]]:
        """Return the packet of this number and what came after it, as far as it is kept; more than that at once: none.

        Most often it is the newest one, and the only one.
        """
        if self._highest is None or self._highest - sequence >= MAX_REPLAY_PACKETS:
            return []
        numbers = range(sequence, self._highest + 1)
        return [(number, packet) for number in numbers if (packet := self._packet(number)) is not None]

    def since_time(self, since: float) -> list[tuple[int, RtpPacket]]:
        """Return the newest packets, each with its number, back to the last that came before `since` (s, monotonic)."""
        packets: list[tuple[int, RtpPacket]] = []
        if self._highest is not None:
            for sequence in range(self._highest, max(self._oldest, self._highest - MAX_REPLAY_PACKETS) - 1, -1):
                entry = self._cells[sequence & _MASK]
                if entry is None or entry[0] != sequence:
                    continue
                if entry[2] <= since:
                    break
                packets.append((sequence, entry[1]))
        packets.reverse()
        return packets

    def expire(self, now: float) -> None:
        """Let go of the packets that are too old."""
        if self._highest is not None:
            self._oldest = self._intake.drop(self._oldest, MAX_BYTES, now - MAX_AGE_S)

    def _packet(self, sequence: int) -> RtpPacket | None:
        entry = self._cells[sequence & _MASK]
        return entry[1] if entry is not None and entry[0] == sequence else None

    def _enter_keyframe(self, sequence: int, timestamp: int, *, follows: bool) -> None:
        if self.keyframe is not None and sequence > self.keyframe and timestamp == self._keyframe_timestamp:
            return  # another slice of the same one
        if self.keyframe is None or sequence > self.keyframe or timestamp == self._keyframe_timestamp:
            self.keyframe = sequence
            self._keyframe_timestamp = timestamp
            self._keyframe_whole = follows or sequence <= self._lowest
            self._reach_back()

    def _reach_back(self) -> None:
        """Find the keyframe's first packet: H264's is told by its parameter sets, which may come later or be lost."""
        assert self.keyframe is not None  # only called for a keyframe
        while (before := self._packet(self.keyframe - 1)) is not None:
            self._keyframe_whole = before.timestamp != self._keyframe_timestamp
            if self._keyframe_whole:
                return
            self.keyframe -= 1
