"""Renditions: one stream (SSRC) as those get it who do not get all of its layers.

A rendition is numbered for itself, without gaps where packets are left out; who gets it adds an offset. So one of each
kind is enough for any number of receivers, and a packet is placed in it once.

* Every packet of the stream is added to each rendition: `add(packet, sequence, description)`. The result says what goes
  out: nothing (None); the packet, under this number, with this marker and these fields; or, where `filler` is true,
  `padding_only(packet)` in its place, as receivers wait for that number.
* A packet that is late, overtaken or repaired, gets the number that was left open for it. Adding one again changes
  nothing: what is asked for again is found by `sequence_of`, then added again.
* A rendition knows what was added to it. One that begins later is first given what rtp.history keeps.
* Who gets the whole stream needs no rendition: its numbers are the stream's own, its `Position` is (sequence, 0).
* `step` says when a receiver moves from one rendition to another: with a packet that is newer than all before and was
  added to both. Its numbers go on if its offsets grow by what `position()` of the former is above that of the latter.
  Packets from this one on are the latter's; what is older keeps the former rendition and its offsets.
* Who gets all layers that there are may move to the whole stream, or from it, at any packet.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.rtp.description import Restriction, restriction_bit
from zvonim_sfu.rtp.packet import NO_FIELDS, Fields, RtpPacket

if TYPE_CHECKING:
    from zvonim_sfu.rtp.description import Description

# Of the runs that are remembered. Between the beginnings of two of them there are two packets or more: these reach back
# for as many as rtp.history keeps.
MIN_RUNS: Final = 512
MAX_RUNS: Final = 2 * MIN_RUNS

_make: Final = tuple.__new__  # of a NamedTuple with all of its fields: half of what it costs by its name
_MARKER: Final = 0x80  # in the second byte (RFC 3550, section 5.1)
_PADDED: Final = 0xA0  # version 2 and the padding bit, no CSRCs and no extensions
_pack_padding: Final = Struct("!BBHIIB").pack


class Placed(NamedTuple):
    """How a packet goes out in a rendition."""

    number: int
    """Its number, extended as the stream's own are."""
    marker: bool
    fields: Fields
    """With the picture id that it has in the rendition."""
    filler: bool
    """Whether the packet does not belong to the rendition and `padding_only` of it goes out, without marker and fields,
    as its number was left open."""


class Position(NamedTuple):
    """Where a rendition stands at a packet."""

    number: int
    """The packet's number; if it is left out, that of the next one."""
    picture_shift: int
    """By how much the packet's picture id is lower than in the stream: so many pictures were left out before."""


class Rendition:
    """A stream restricted to some of its layers.

    Args:
        restriction: the highest layers that it has.
        renumbers_pictures: whether picture ids are to have no gaps: receivers of VP8 wait for pictures that are
            missing. VP9's ids say by their distance what a picture refers to, so they stay what they are.
    """

    __slots__ = (
        "_highest",
        "_left_out",
        "_left_out_timestamp",
        "_numbers",
        "_picture_shift",
        "_picture_shifts",
        "_renumbers_pictures",
        "_shift",
        "_starts",
        "restriction",
    )

    def __init__(self, restriction: Restriction, *, renumbers_pictures: bool) -> None:
        self.restriction = restriction
        self._renumbers_pictures = renumbers_pictures
        self._highest: int | None = None
        self._left_out = False
        "Whether the highest packet so far was left out."
        self._left_out_timestamp = -1
        "Of the last packet that was."
        self._shift = 0
        "How many were, so far."
        self._picture_shift = 0
        "How many pictures they were; 0 where pictures keep their ids, as the others."
        # Runs of packets none of which was left out. Of each: which packet of the stream it begins with, and that
        # one's number and picture shift here. It ends where the next one's numbers begin.
        self._starts = array("q")
        self._numbers = array("q")
        self._picture_shifts = array("q")

    def add(self, packet: RtpPacket, sequence: int, description: Description) -> Placed | None:
        """Place a packet, new or not; None where it is left out.

        Args:
            packet: as it came in.
            sequence: its extended number.
            description: of this packet.
        """
        restriction = self.restriction
        belongs = description.spatial <= restriction.spatial and description.temporal <= restriction.temporal
        highest = self._highest
        if highest is None:
            highest = sequence - 1
            self._begin_run(sequence)
        elif sequence <= highest:
            return self._add_late(packet, sequence, description, belongs=belongs)
        self._highest = sequence
        if belongs:
            if self._left_out:
                self._left_out = False
                self._begin_run(highest + 1)
            return self._placed(packet, sequence - self._shift, self._picture_shift, description)
        # What is missing before this packet is taken as what belongs to the rendition, and its numbers are left open;
        # but between two packets of a picture that were left out there is nothing else.
        if not self._left_out:
            self._shift += 1
        elif packet.timestamp == self._left_out_timestamp:
            self._shift += sequence - highest
            return None
        else:
            if sequence > highest + 1:
                self._begin_run(highest + 1)
            self._shift += 1
        if self._renumbers_pictures:
            self._picture_shift += 1
        self._left_out = True
        self._left_out_timestamp = packet.timestamp
        return None

    def position(self) -> Position:
        """Tell where the rendition stands at the newest packet, the first one of a picture."""
        assert self._highest is not None  # there is one
        if self._left_out:
            return Position(self._highest - self._shift + 1, max(0, self._picture_shift - 1))
        return Position(self._highest - self._shift, self._picture_shift)

    def sequence_of(self, number: int) -> int | None:
        """Return which packet of the stream has this number; None if that was too long ago, or is yet to come."""
        run = bisect_right(self._numbers, number) - 1
        if run < 0 or number >= self._end(run):
            return None
        return number - self._numbers[run] + self._starts[run]

    def _add_late(self, packet: RtpPacket, sequence: int, description: Description, *, belongs: bool) -> Placed | None:
        run = bisect_right(self._starts, sequence) - 1
        if run < 0:
            return None
        number = sequence - self._starts[run] + self._numbers[run]
        if number >= self._end(run):
            return None
        if not belongs:
            return Placed(number, False, NO_FIELDS, True)
        return self._placed(packet, number, self._picture_shifts[run], description)

    def _placed(self, packet: RtpPacket, number: int, picture_shift: int, description: Description) -> Placed:
        fields = description.fields
        if picture_shift:
            at, bits, picture_id, tl0_at, tl0 = fields
            fields = _make(Fields, (at, bits, (picture_id - picture_shift) & (1 << bits) - 1, tl0_at, tl0))
        # A picture ends with the highest layer that is left of it.
        marker = packet.marker or (description.ends_frame and description.spatial == self.restriction.spatial)
        return _make(Placed, (number, marker, fields, False))

    def _begin_run(self, start: int) -> None:
        if len(self._starts) == MAX_RUNS:
            for runs in (self._starts, self._numbers, self._picture_shifts):
                del runs[:MIN_RUNS]
        self._starts.append(start)
        self._numbers.append(start - self._shift)
        self._picture_shifts.append(self._picture_shift)

    def _end(self, run: int) -> int:
        """Return the number behind the last one of a run."""
        if run + 1 < len(self._numbers):
            return self._numbers[run + 1]
        assert self._highest is not None  # there is a run
        return self._highest + 1 - self._shift


def padding_only(packet: RtpPacket) -> RtpPacket:
    """Return a packet that a receiver takes for nothing, to be sent in place of this one.

    It has padding alone, one byte (RFC 3550, section 5.1), and no extensions: browsers count it as received.
    """
    return RtpPacket.parse(
        _pack_padding(_PADDED, packet.payload_type, packet.sequence_number, packet.timestamp, packet.ssrc, 1)
    )


def with_marker(packet: RtpPacket) -> RtpPacket:
    """Return the same packet as the last one of its picture."""
    data = bytearray(packet.data)
    data[1] |= _MARKER
    return RtpPacket.parse(bytes(data))


def step(
    current: Restriction | None, target: Restriction, description: Description, *, begins_picture: bool
) -> Restriction | None:
    """Tell what a receiver gets from a packet on that is newer than all before.

    Down goes with the next picture, as who has had a layer has had all that is below. Up goes with a keyframe, or where
    the stream says that what comes can be decoded: one layer after the other, if it says so of each.

    Args:
        current: what it has had until now; None for nothing, or nothing that its decoder could go on from.
        target: what it is to get, of layers that there are.
        description: of the packet.
        begins_picture: whether the packet is the first one of its picture: it begins a frame, and the packet right
            before it has come and is of another picture.
    """
    if description.keyframe:
        return target
    if current is None or current == target:
        return current
    if begins_picture:
        current = Restriction(min(current.spatial, target.spatial), min(current.temporal, target.temporal))
    switch = description.switch
    if switch is None or switch.after.spatial > current.spatial or switch.after.temporal > current.temporal:
        return current
    for spatial in range(target.spatial, current.spatial - 1, -1):
        for temporal in range(target.temporal, current.temporal - 1, -1):
            if switch.to & restriction_bit(spatial, temporal):
                return Restriction(spatial, temporal)
    return current
