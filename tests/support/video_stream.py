"""What one SSRC carries to a receiver, judged as a decoder would: by the stamps of the benchmarks' sources."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.client.traffic import Stamp
from zvonim_sfu.rtp.sequence import SequenceExtender, ts_delta

if TYPE_CHECKING:
    from zvonim_sfu.rtp.packet import RtpPacket

_PICTURE_IDS = 1 << 15


class _Seen(NamedTuple):
    sequence: int
    timestamp: int
    picture_id: int
    marker: bool
    stamp: Stamp


class VideoStream:
    """Collects the packets of one stream, which may come in any order; `faults` says what is wrong with them."""

    def __init__(self) -> None:
        self._extender = SequenceExtender()
        self._packets: dict[int, _Seen] = {}

    def take(self, packet: RtpPacket) -> None:
        """Take a packet; one that has come before does not count."""
        sequence = self._extender.extend(packet.sequence_number)
        picture_id = int.from_bytes(packet.payload[2:4]) % _PICTURE_IDS
        seen = _Seen(sequence, packet.timestamp, picture_id, packet.marker, Stamp.read(packet.payload))
        self._packets.setdefault(sequence, seen)

    def labels(self, since_ns: int, until_ns: int) -> set[int]:
        """The sources of what was sent between these times (time.time_ns)."""
        return {seen.stamp.label for seen in self._packets.values() if since_ns <= seen.stamp.sent_ns < until_ns}

    @property
    def switches(self) -> int:
        """How often another source followed."""
        labels = [self._packets[sequence].stamp.label for sequence in sorted(self._packets)]
        return sum(before != after for before, after in itertools.pairwise(labels))

    def faults(self) -> list[str]:
        """Say where a decoder would have lost the picture, or a receiver its way in the numbers."""
        ordered = [self._packets[sequence] for sequence in sorted(self._packets)]
        if not ordered:
            return []
        found = [] if ordered[0].stamp.is_keyframe and not ordered[0].stamp.place else [f"begins with {ordered[0]}"]
        for before, after in itertools.pairwise(ordered):
            fault = _fault(before, after)
            if fault:
                found.append(f"{fault}: {before} is followed by {after}")
        return found


def _fault(before: _Seen, after: _Seen) -> str:
    old, new = before.stamp, after.stamp
    if after.sequence != before.sequence + 1:
        return "a number is missing"
    if new.place:
        if (new.label, new.frame, new.place) != (old.label, old.frame, old.place + 1):
            return "a frame goes on that has not begun"
        return "one frame has two picture ids or times" if _frame(before) != _frame(after) else ""
    # What is left of a frame when another source comes in, or when its own ended, is thrown away by a decoder.
    if not new.is_keyframe and ((new.label, new.frame) != (old.label, old.frame + 1) or not old.is_last):
        return "a frame refers to one that did not come"
    if old.is_last != before.marker:
        return "the marker is not that of the last packet"
    if ts_delta(after.timestamp, before.timestamp) <= 0:
        return "time goes back"
    return "" if after.picture_id == (before.picture_id + 1) % _PICTURE_IDS else "a picture id is missing"


def _frame(seen: _Seen) -> tuple[int, int]:
    return seen.timestamp, seen.picture_id
