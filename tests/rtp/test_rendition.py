from __future__ import annotations

from itertools import pairwise
from struct import pack
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zvonim_sfu.rtp.description import EVERYTHING, Description, Restriction, SwitchingPoint, restriction_bit
from zvonim_sfu.rtp.packet import Fields, RtpPacket
from zvonim_sfu.rtp.rendition import MAX_RUNS, MIN_RUNS, Placed, Position, Rendition, padding_only, step

if TYPE_CHECKING:
    from random import Random


class Sent(NamedTuple):
    sequence: int
    packet: RtpPacket
    description: Description


def packet(sequence: int, timestamp: int, *, marker: bool = False) -> RtpPacket:
    header = pack("!BBHII", 0x80, marker << 7 | 96, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 1)
    return RtpPacket.parse(header + b"\x10payload")


def stream(pictures: list[list[tuple[int, int, int]]], first: int = 100) -> list[Sent]:
    """The packets of pictures, each a list of frames: spatial and temporal layer, and how many packets."""
    sent: list[Sent] = []
    sequence = first
    for index, frames in enumerate(pictures):
        for frame, (spatial, temporal, packets) in enumerate(frames):
            for part in range(packets):
                last = part == packets - 1
                description = Description(
                    spatial,
                    temporal,
                    part == 0,
                    last,
                    index == 0 and frame == 0 and part == 0,
                    fields=Fields(0, 7, (120 + index) & 127, -1, 0),
                )
                marker = last and frame == len(frames) - 1
                sent.append(Sent(sequence, packet(sequence, 3000 * index, marker=marker), description))
                sequence += 1
    return sent


TEMPORAL = st.lists(
    st.tuples(st.just(0), st.integers(0, 2), st.integers(1, 4)).map(lambda frame: [frame]), min_size=1, max_size=40
)


@st.composite
def _picture(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    temporal = draw(st.integers(0, 2))
    return [(spatial, temporal, draw(st.integers(1, 3))) for spatial in range(draw(st.integers(1, 3)))]


STREAMS = st.one_of(TEMPORAL, st.lists(_picture(), min_size=1, max_size=30)).map(stream)
RESTRICTIONS = st.builds(Restriction, st.integers(0, 2), st.integers(0, 2))


def belongs(sent: Sent, restriction: Restriction) -> bool:
    return sent.description.spatial <= restriction.spatial and sent.description.temporal <= restriction.temporal


@given(STREAMS, RESTRICTIONS)
def test_without_loss_numbers_have_no_gaps(packets: list[Sent], restriction: Restriction) -> None:
    rendition = Rendition(restriction, renumbers_pictures=True)
    expected = 100
    for sent in packets:
        placed = rendition.add(sent.packet, sent.sequence, sent.description)
        assert (placed is not None) is belongs(sent, restriction)
        if placed is not None:
            assert placed.number == expected
            assert not placed.filler
            assert rendition.sequence_of(expected) == sent.sequence
            expected += 1
        assert rendition.sequence_of(expected) is None


@given(STREAMS, RESTRICTIONS)
def test_pictures_of_which_nothing_is_left_leave_no_gap_either(packets: list[Sent], restriction: Restriction) -> None:
    renumbered = Rendition(restriction, renumbers_pictures=True)
    kept = Rendition(restriction, renumbers_pictures=False)
    ids: list[int] = []
    for sent in packets:
        placed = renumbered.add(sent.packet, sent.sequence, sent.description)
        same = kept.add(sent.packet, sent.sequence, sent.description)
        if placed is not None and same is not None:
            assert same.fields == sent.description.fields
            ids.append(placed.fields.picture_id)
    if all(sent.description.spatial == 0 for sent in packets):
        assert all((after - before) & 127 <= 1 for before, after in pairwise(ids))


@given(STREAMS, RESTRICTIONS)
def test_the_marker_stands_where_the_picture_ends(packets: list[Sent], restriction: Restriction) -> None:
    rendition = Rendition(restriction, renumbers_pictures=False)
    last: dict[int, bool] = {}
    for sent in packets:
        placed = rendition.add(sent.packet, sent.sequence, sent.description)
        if placed is not None:
            assert not last.get(sent.packet.timestamp, False)  # none before the end
            last[sent.packet.timestamp] = placed.marker
    assert all(last.values())


@given(STREAMS, RESTRICTIONS, st.randoms(use_true_random=False), st.integers(0, 12))
def test_late_packets_get_what_was_left_open(
    packets: list[Sent], restriction: Restriction, random: Random, distance: int
) -> None:
    first, *others = packets
    order = [first, *sorted(others, key=lambda sent: sent.sequence + distance * random.random())]
    rendition = Rendition(restriction, renumbers_pictures=False)
    numbers: dict[int, int] = {}
    for sent in order:
        placed = rendition.add(sent.packet, sent.sequence, sent.description)
        assert rendition.add(sent.packet, sent.sequence, sent.description) == placed or placed is None
        if placed is None:
            assert not belongs(sent, restriction)
            continue
        assert placed.filler is not belongs(sent, restriction)
        assert placed.number not in numbers
        assert rendition.sequence_of(placed.number) == sent.sequence
        numbers[placed.number] = sent.sequence
    assert sorted(numbers) == list(range(100, 100 + len(numbers)))
    assert [numbers[number] for number in sorted(numbers)] == sorted(numbers.values())


@given(TEMPORAL.map(stream), st.lists(st.integers(0, 2), min_size=40, max_size=40))
def test_who_moves_between_renditions_sees_no_gap(packets: list[Sent], temporals: list[int]) -> None:
    renditions = [Rendition(Restriction(0, temporal), renumbers_pictures=True) for temporal in range(3)]
    current, offset, picture_offset = 2, 0, 0
    expected, picture, timestamp = 100, None, -1
    for sent in packets:
        placed = [r.add(sent.packet, sent.sequence, sent.description) for r in renditions]
        if sent.description.begins_frame:
            wanted = temporals[sent.packet.timestamp // 3000]
            former, latter = renditions[current].position(), renditions[wanted].position()
            offset += former.number - latter.number
            picture_offset -= former.picture_shift - latter.picture_shift
            current = wanted
        mine = placed[current]
        if mine is None:
            continue
        assert mine.number + offset == expected
        expected += 1
        picture_id = (mine.fields.picture_id + picture_offset) & 127
        if picture is not None:
            assert (picture_id - picture) & 127 == (sent.packet.timestamp != timestamp)
        picture, timestamp = picture_id, sent.packet.timestamp


def test_what_is_missing_between_packets_of_a_picture_that_is_left_out_is_left_out() -> None:
    packets = stream([[(0, 0, 1)], [(0, 1, 5)], [(0, 0, 1)]])
    rendition = Rendition(Restriction(0, 0), renumbers_pictures=True)
    for sent in (packets[0], packets[1], packets[4], packets[6]):
        placed = rendition.add(sent.packet, sent.sequence, sent.description)
    # packet 5 might be of the last picture
    assert placed == Placed(102, True, Fields(0, 7, 121, -1, 0), False)
    assert rendition.add(packets[2].packet, packets[2].sequence, packets[2].description) is None
    late = rendition.add(packets[5].packet, packets[5].sequence, packets[5].description)
    assert late is not None
    assert (late.number, late.filler) == (101, True)


def test_what_is_long_ago_is_forgotten() -> None:
    pictures = [[(0, index % 2, 1)] for index in range(6 * MAX_RUNS)]
    packets = stream(pictures)
    rendition = Rendition(Restriction(0, 0), renumbers_pictures=False)
    numbers = [rendition.add(sent.packet, sent.sequence, sent.description) for sent in packets]
    again = [rendition.add(sent.packet, sent.sequence, sent.description) for sent in packets]
    kept = [index for index, placed in enumerate(again) if placed is not None]
    assert [again[index] for index in kept] == [numbers[index] for index in kept]
    assert len(packets) - kept[0] >= 2 * MIN_RUNS
    assert len(kept) <= MAX_RUNS
    assert rendition.sequence_of(100) is None


def test_positions() -> None:
    packets = stream([[(0, 0, 2)], [(0, 1, 2)], [(0, 0, 1)]])
    rendition = Rendition(Restriction(0, 0), renumbers_pictures=True)
    positions = []
    for sent in packets:
        rendition.add(sent.packet, sent.sequence, sent.description)
        if sent.description.begins_frame:
            positions.append(rendition.position())
    assert positions == [Position(100, 0), Position(102, 0), Position(102, 1)]


def test_padding_is_a_packet_without_a_payload() -> None:
    original = packet(70000, 90000, marker=True)
    filler = padding_only(original)
    assert filler.payload == b""
    assert not filler.marker
    assert filler.extensions() == []
    assert (filler.sequence_number, filler.timestamp, filler.ssrc) == (70000 & 0xFFFF, 90000, 1)
    assert filler.payload_type == original.payload_type


LOW = Restriction(0, 0)
TOP = Restriction(2, 2)
KEY = Description(begins_frame=True, keyframe=True)
DELTA = Description(begins_frame=True)


def syncing(after: Restriction, *to: Restriction) -> Description:
    bits = sum(restriction_bit(*restriction) for restriction in to)
    return Description(begins_frame=True, switch=SwitchingPoint(after, bits))


@pytest.mark.parametrize(
    ("current", "target", "description", "expected"),
    [
        (None, TOP, DELTA, None),
        (None, TOP, KEY, TOP),
        (LOW, TOP, KEY, TOP),
        (TOP, LOW, KEY, LOW),
        (LOW, TOP, DELTA, LOW),
        (TOP, LOW, DELTA, LOW),
        (TOP, Restriction(0, 2), DELTA, Restriction(0, 2)),
        (Restriction(2, 0), Restriction(0, 2), DELTA, LOW),
        (LOW, TOP, syncing(LOW, Restriction(0, 1)), Restriction(0, 1)),
        (LOW, TOP, syncing(LOW, Restriction(0, 1), Restriction(0, 2)), Restriction(0, 2)),
        (LOW, Restriction(0, 1), syncing(LOW, Restriction(0, 2)), LOW),
        (LOW, EVERYTHING, syncing(Restriction(0, 1), Restriction(0, 2)), LOW),
        (LOW, TOP, syncing(LOW, Restriction(1, 0)), Restriction(1, 0)),
        (Restriction(0, 1), TOP, syncing(LOW, Restriction(1, 0)), Restriction(0, 1)),
        (Restriction(2, 0), Restriction(0, 2), syncing(LOW, Restriction(0, 2)), Restriction(0, 2)),
    ],
)
def test_steps(
    current: Restriction | None, target: Restriction, description: Description, expected: Restriction | None
) -> None:
    assert step(current, target, description, begins_picture=description.begins_frame) == expected


def test_down_waits_for_the_next_picture() -> None:
    assert step(TOP, LOW, DELTA, begins_picture=False) == TOP
    assert step(TOP, LOW, Description(), begins_picture=False) == TOP


@given(st.none() | RESTRICTIONS, RESTRICTIONS, st.none() | RESTRICTIONS, st.integers(0, 1 << 64), st.booleans())
def test_a_step_never_leads_away(
    current: Restriction | None, target: Restriction, after: Restriction | None, to: int, begins: bool
) -> None:
    assume(current is not None)
    assert current is not None
    switch = None if after is None else SwitchingPoint(after, to)
    stepped = step(current, target, Description(begins_frame=begins, switch=switch), begins_picture=begins)
    assert stepped is not None
    for was, now, aim in zip(current, stepped, target, strict=True):
        assert min(was, aim) <= now <= max(was, aim)
