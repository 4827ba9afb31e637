"""How packets of one layer become those of a down track: a run of its numbers, and how each run goes on from the last.

Timestamps stand for the publisher's capture time on the server's clock (DESIGN: decision 7), whatever the source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.rtp.packet import NO_FIELDS
from zvonim_sfu.rtp.sequence import ts_delta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.outlets import Outlet
    from zvonim_sfu.net.sending import Sender
    from zvonim_sfu.rtp.packet import RtpPacket

# In how much time, by its timestamps, a picture catches up: enough to tell its frames apart.
CATCH_UP_TICKS: Final = 900
# More than layers of one picture can differ in; reports of a publisher that say otherwise are not believed.
MAX_CORRECTION_TICKS: Final = 90_000


class CatchUp(NamedTuple):
    """How timestamps of a source that comes in late become those of the down track, all in units of the clock."""

    first: int
    "The source's first."
    until: int
    "After it; the timestamps from there on are true."
    start: int
    "What becomes of the first."
    pace: float
    "How fast time goes on from there, below 1."


NO_CATCH_UP: Final = CatchUp(0, 0, 0, 0.0)


class PayloadNumbers(NamedTuple):
    """What a packet numbers in its payload, and in its dependency descriptor, without regard to their widths."""

    picture_id: int
    tl0: int
    frame_number: int


NO_PAYLOAD_NUMBERS: Final = PayloadNumbers(0, 0, 0)


@dataclass(slots=True, eq=False)
class Span:
    """The numbers of a down track that a layer, or a part of it, has filled or fills."""

    layer: Layer
    outlet: Outlet
    "What of the layer."
    payload_type: int
    first: int
    "With which number of the layer it begins."
    sequence_offset: int
    "From the outlet's numbers; the other offsets are from the layer's, and the picture id's from the outlet's."
    timestamp_offset: int
    true_from: float
    "From this number of the layer on timestamps have that offset; before it they catch up."
    catch_up: CatchUp
    picture_id_offset: int
    tl0_offset: int
    frame_number_offset: int
    last: float = math.inf
    "With which number of the layer it ended; infinity for one that goes on."

    def timestamp(self, packet: RtpPacket, sequence: int) -> int:
        """Return what the timestamp of a packet becomes."""
        if sequence < self.true_from:
            elapsed = ts_delta(packet.timestamp, self.catch_up.first)
            if elapsed < self.catch_up.until:
                return (self.catch_up.start + int(max(0, elapsed) * self.catch_up.pace)) & 0xFFFFFFFF
            self.true_from = min(sequence, self.true_from)
        return (packet.timestamp + self.timestamp_offset) & 0xFFFFFFFF

    def apply(self, sender: Sender) -> None:
        """Have packets of the outlet sent so."""
        sender.payload_type = self.payload_type
        sender.sequence_offset, sender.timestamp_offset = self.sequence_offset, self.timestamp_offset
        sender.picture_id_offset, sender.tl0_offset = self.picture_id_offset, self.tl0_offset
        sender.frame_number_offset = self.frame_number_offset

    def find(self, sequence_out: int) -> int | None:
        """Return the layer's number of what went out with this one; None for a number of another span."""
        sequence = self.outlet.sequence_of(sequence_out - self.sequence_offset)
        return sequence if sequence is not None and self.first <= sequence <= self.last else None

    def moved(self, outlet: Outlet, sequence: int) -> Span:
        """Return how it goes on when less or more of the layer goes out from this number of it on, the newest.

        Both outlets have had that packet.
        """
        former, latter = self.outlet.position(sequence), outlet.position(sequence)
        return replace(
            self,
            outlet=outlet,
            first=sequence,
            sequence_offset=self.sequence_offset + former.number - latter.number,
            picture_id_offset=self.picture_id_offset - former.picture_shift + latter.picture_shift & 0x7FFF,
        )

    def payload_numbers(self) -> PayloadNumbers:
        """Return what went out last."""
        packet, fields = self.outlet.last, self.outlet.fields
        if self.outlet is self.layer.outlets.whole and self.layer.last is not None:
            packet = self.layer.last
            fields = self.layer.description_of(packet, self.layer.highest).fields
        if packet is None:
            return NO_PAYLOAD_NUMBERS
        return PayloadNumbers(
            fields.picture_id + self.picture_id_offset,
            fields.tl0 + self.tl0_offset,
            self.layer.frame_number_of(packet) + self.frame_number_offset,
        )

    def numbers_of(self, packet: RtpPacket, sequence: int) -> PayloadNumbers | None:
        """Return what a packet of the layer, which has come before, went out with; None if it did not."""
        placed = self.outlet.place(packet, sequence, self.layer.description_of(packet, sequence))
        if placed is None:
            return None
        return PayloadNumbers(
            placed.fields.picture_id + self.picture_id_offset,
            placed.fields.tl0 + self.tl0_offset,
            self.layer.frame_number_of(packet) + self.frame_number_offset,
        )


class Numbering(NamedTuple):
    """Where a down track stands when a source comes in."""

    sequence: int
    "The highest number that went out."
    timestamp: int
    "What went out with it."
    has_begun: bool
    "Whether anything did."
    payload: PayloadNumbers
    "What went out with it there."
    base: int
    "The timestamp that stands for the server's time 0."
    clock_rate: int

    @classmethod
    def of(cls, sender: Sender, payload: PayloadNumbers, base: int, clock_rate: int) -> Numbering:
        """Where the down track of a sender stands."""
        return cls(sender.last_sequence, sender.last_timestamp, sender.packets > 0, payload, base, clock_rate)


def begin(
    packets: Sequence[tuple[int, RtpPacket]],
    layer: Layer,
    outlet: Outlet,
    standing: Numbering,
    *,
    former: Span | None,
    payload_type: int,
    captured_at: float,
    now: float,
) -> Span:
    """Continue the numbers of a down track with a source that comes in.

    Timestamps are the true ones if they can be, and those that the former layer of the same picture would have had. A
    picture whose packets were captured before the last one of the former source, or a while ago, catches up: what was
    captured until now is told as one quick movement. A sound cannot be played faster; it stays that much late.

    Args:
        packets: with which it comes in, each with its number in the layer; one at least.
        layer: whose they are.
        outlet: what of the layer goes out; the first packet does.
        standing: how far the down track has come.
        former: the last span, if it was of the same track.
        payload_type: under which the subscriber takes them.
        captured_at: when the last of them was captured, or has arrived, in the server's time.
        now: the server's time.
    """
    (first_sequence, first), (_, last) = packets[0], packets[-1]
    newest = int(captured_at * standing.clock_rate) + standing.base
    if former is not None and layer.is_video:
        newest += _correction(newest, former, layer, last, now)
    start = newest - max(0, ts_delta(last.timestamp, first.timestamp))
    present = max(newest, int(now * standing.clock_rate) + standing.base)
    after = start - 1
    if len(packets) > 1 and layer.is_video:
        after = max(after, present - CATCH_UP_TICKS - 1)
    if standing.has_begun:
        after = max(after, present + ts_delta(standing.timestamp, present))
    shift = max(0, after + 1 - start)
    if layer.is_video:
        shift = min(shift, max(0, after + 1 + CATCH_UP_TICKS - present))
    start, present = start + shift, present + shift
    true_from: float = first_sequence
    catch_up = NO_CATCH_UP
    if after >= start:
        true_from = math.inf
        pace = (present - after - 1) / (present - start)
        catch_up = CatchUp(first.timestamp, present - start, after + 1, pace)
    placed = outlet.place(first, first_sequence, layer.description_of(first, first_sequence))
    number, fields = (first_sequence, NO_FIELDS) if placed is None else (placed.number, placed.fields)
    offsets = NO_PAYLOAD_NUMBERS
    if standing.has_begun:
        payload = standing.payload
        offsets = PayloadNumbers(
            payload.picture_id + 1 - fields.picture_id & 0x7FFF,
            payload.tl0 + 1 - fields.tl0 & 0xFF,
            payload.frame_number + 1 - layer.frame_number_of(first) & 0xFFFF,
        )
    return Span(
        layer,
        outlet,
        payload_type,
        first_sequence,
        sequence_offset=standing.sequence + 1 - number,
        timestamp_offset=start - first.timestamp,
        true_from=true_from,
        catch_up=catch_up,
        picture_id_offset=offsets.picture_id,
        tl0_offset=offsets.tl0,
        frame_number_offset=offsets.frame_number,
    )


def _correction(newest: int, former: Span, layer: Layer, last: RtpPacket, now: float) -> int:
    """Return by how much `newest` differs from what the former layer of the same picture would have had.

    Each layer has timestamps of its own; sender reports tell what was captured at the same time. A layer without a
    report yet has come as late as the former one did. If the mapping from timestamps to time moved with each layer,
    browsers, which fit a line through the last twenty reports, would lose lip sync for that long.
    """
    before = former.layer
    if not before.clock.known or before.last is None:
        return 0
    if layer.clock.known:
        captured_s = layer.clock.seconds_of(last.timestamp)
    else:
        captured_s = before.clock.seconds_of(before.last.timestamp) + now - before.last_at
    same = before.clock.rtp_at(captured_s) + former.timestamp_offset
    correction = ts_delta(same & 0xFFFFFFFF, newest & 0xFFFFFFFF)
    return correction if abs(correction) < MAX_CORRECTION_TICKS else 0
