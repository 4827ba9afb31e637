"""Recorded streams with layers go through the tracks to subscribers that get more or less of them, and are decoded."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media.flows import Publisher, Subscriber
from tests.media.support import AV1, H264, VP8, VP9
from tests.support.depacketizers import Picture, decode
from tests.support.streams import RecordedStream
from zvonim_sfu.media.layer import HIGHEST, Selection
from zvonim_sfu.media.terms import DESCRIPTOR_EXTENSION
from zvonim_sfu.rtp.budget import RepairBudget
from zvonim_sfu.rtp.codecs import describer
from zvonim_sfu.rtp.packet import RtpPacket
from zvonim_sfu.rtp.sequence import ts_delta

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zvonim_sfu.rtp.description import Description

CODECS: Final = {"VP8": VP8, "VP9": VP9, "AV1": AV1, "H264": H264}
LAYERED: Final = [
    "vp8-l1t3",
    "vp8-l1t3-descriptor",
    "vp9-l1t3",
    "vp9-l3t3",
    "vp9-l3t3-key",
    "av1-l1t3",
    "av1-l3t3",
    "av1-l3t3-key",
]
LOWEST: Final = Selection(0, 0)


class Stage:
    """A recorded stream on its way through an up track to some subscribers."""

    def __init__(self, name: str, subscribers: int = 1) -> None:
        self.name = name
        stream = RecordedStream.load(name)
        self.packets = stream.packets
        first = self.packets[0]
        codec = self.codec = replace(
            CODECS[stream.encoding], payload_type=first.payload_type, feedback=("nack", "nack pli")
        )
        extensions = {DESCRIPTOR_EXTENSION: stream.descriptor} if stream.descriptor else {}
        self.publisher = Publisher(codecs=[codec], extension_ids=extensions)
        self.subscribers = [Subscriber(codecs=[codec], extension_ids=extensions) for _ in range(subscribers)]
        self.now = 100.0
        for subscriber in self.subscribers:
            subscriber.down_track.attach(self.publisher.up_track, self.now)

    def time_of(self, packet: RtpPacket) -> float:
        return 100.0 + ts_delta(packet.timestamp, self.packets[0].timestamp) / 90000

    def send(self, packet: RtpPacket) -> None:
        """One packet comes, in its time."""
        self.now = max(self.now, self.time_of(packet))
        self.publisher.send(packet.data, self.now)

    def select(self, selection: Selection | None, subscriber: int = 0) -> None:
        self.subscribers[subscriber].down_track.select(selection, self.now)

    def check(self, subscriber: int = 0) -> set[int]:
        """What went out has no holes, and is shown as it is in the whole stream; returns the timestamps of that."""
        sent = self.subscribers[subscriber].sent
        base = sent[0].sequence_number
        ordered = sorted(sent, key=lambda packet: (packet.sequence_number - base) & 0xFFFF)
        assert [(packet.sequence_number - base) & 0xFFFF for packet in ordered] == list(range(len(sent)))
        encoding, _, layers = recorded(self.name)
        moved = ordered[0].timestamp - self.packets[0].timestamp
        pictures = []
        tops: dict[int, int] = {}
        for packet in ordered:
            if not packet.payload:
                continue  # a filler
            timestamp = packet.timestamp - moved & 0xFFFFFFFF
            data = bytearray(packet.data)
            data[4:8] = timestamp.to_bytes(4)
            pictures.append(RtpPacket.parse(bytes(data)))
            tops[timestamp] = max(tops.get(timestamp, 0), layers[timestamp, packet.payload[-24:]])
        expected = {timestamp: whole(self.name, spatial)[timestamp] for timestamp, spatial in tops.items()}
        assert decode(encoding, pictures) == expected
        return set(tops)


@cache
def recorded(name: str) -> tuple[str, list[Description], dict[tuple[int, bytes], int]]:
    """A stream's encoding, what its packets are, and the spatial layer of each payload."""
    stream = RecordedStream.load(name)
    describe = describer(stream.encoding)
    described = []
    layers = {}
    for packet in stream.packets:
        description = describe(packet.payload, packet.extension(stream.descriptor) if stream.descriptor else None)
        described.append(description)
        layers[packet.timestamp, packet.payload[-24:]] = description.spatial
    return stream.encoding, described, layers


@cache
def whole(name: str, spatial: int) -> dict[int, Picture]:
    """What is shown of a stream up to a spatial layer, with all temporal layers, by timestamp."""
    encoding, described, _ = recorded(name)
    packets = RecordedStream.load(name).packets
    return decode(encoding, [p for p, told in zip(packets, described, strict=True) if told.spatial <= spatial])


def selections(name: str) -> list[Selection]:
    """All that there are of a stream, the highest last."""
    return [Selection(spatial, temporal) for spatial in range(3 if "l3" in name else 1) for temporal in range(3)]


@pytest.mark.parametrize(("name", "selection"), [(name, s) for name in LAYERED for s in selections(name)])
def test_who_selects_less_gets_no_more_than_that(name: str, selection: Selection) -> None:
    stage = Stage(name)
    stage.select(selection)
    for packet in stage.packets:
        stage.send(packet)
    stage.check()
    _, described, _ = recorded(name)
    wanted = [told.spatial <= selection.spatial and told.temporal <= selection.temporal for told in described]
    # Until the first packet of a layer has come, or a stream has told of it, nobody knows that there is one to be left
    # out: that is a picture or two.
    assert len(stage.subscribers[0].sent) <= sum(wanted) + 6
    assert stage.subscribers[0].down_track.current == tuple(selection)


CHANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8), st.integers(0, 1)), min_size=1, max_size=20)


@pytest.mark.parametrize("name", LAYERED)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(changes=CHANGES)
def test_whatever_is_selected_is_decoded(name: str, changes: list[tuple[int, int, int]]) -> None:
    stage = Stage(name, subscribers=2)
    possible = selections(name)
    at, due = 0, {}
    for distance, choice, subscriber in changes:
        at += distance
        due[at] = (possible[choice % len(possible)], subscriber)
    for index, packet in enumerate(stage.packets):
        if index in due:
            stage.select(*due[index])
        stage.send(packet)
    for subscriber in range(2):
        stage.check(subscriber)


@pytest.mark.parametrize("name", ["vp8-l1t3", "vp9-l3t3", "av1-l3t3-key"])
@settings(max_examples=10, deadline=None, derandomize=True)
@given(changes=CHANGES, delays=st.lists(st.integers(0, 12), min_size=10, max_size=10))
def test_packets_that_come_late_find_their_place(
    name: str, changes: list[tuple[int, int, int]], delays: list[int]
) -> None:
    stage = Stage(name)
    possible = selections(name)
    first, *others = enumerate(stage.packets)
    order = [first, *sorted(others, key=lambda pair: pair[0] + delays[pair[0] % 10] * (pair[0] % 3))]
    at, due = 0, {}
    for distance, choice, _ in changes:
        at += distance
        due[at] = possible[choice % len(possible)]
    for index, (_, packet) in enumerate(order):
        if index in due:
            stage.select(due[index])
        stage.send(packet)
    sent = stage.subscribers[0].sent
    base = min(sent, key=lambda packet: (packet.sequence_number - sent[0].sequence_number + 0x8000) & 0xFFFF)
    numbers = [(packet.sequence_number - base.sequence_number) & 0xFFFF for packet in sent]
    assert sorted(numbers) == list(range(len(numbers)))


def frames(name: str, packets: Iterable[RtpPacket]) -> list[tuple[int, int]]:
    """Of each packet the number that tells a decoder which frame it is, and the number's width in bits; -1 for none."""
    stream = RecordedStream.load(name)
    describe = describer("" if stream.encoding == "AV1" else stream.encoding)
    found = []
    for packet in packets:
        if stream.descriptor and (descriptor := packet.extension(stream.descriptor)) is not None:
            found.append((int.from_bytes(descriptor[1:3]), 16))
        elif packet.payload:
            fields = describe(packet.payload, None).fields
            found.append((fields.picture_id, fields.picture_id_bits) if fields.picture_id_at >= 0 else (-1, 0))
    return found


@pytest.mark.parametrize("name", LAYERED)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(changes=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)), min_size=2, max_size=20))
def test_a_frame_has_a_higher_number_than_all_before_whatever_pauses_there_were(
    name: str, changes: list[tuple[int, int]]
) -> None:
    stage = Stage(name)
    possible = [None, *selections(name)]
    stage.select(None)
    at, due = 0, {}
    for distance, choice in changes:
        at += distance
        due[at] = possible[choice % len(possible)]
    for index, packet in enumerate(stage.packets):
        if index in due:
            stage.select(due[index])
        stage.send(packet)
    sent = stage.subscribers[0].sent
    if sent:
        ordered = sorted(sent, key=lambda packet: packet.sequence_number - sent[0].sequence_number & 0xFFFF)
        for (before, _), (after, bits) in pairwise(frames(name, ordered)):
            assert (after - before & (1 << bits) - 1) < len(stage.packets)


def picture_ends(packets: Iterable[RtpPacket]) -> list[tuple[bool, bool]]:
    """Of each packet: whether the next one is of another picture, and whether it has the marker."""
    return [(a.timestamp != b.timestamp, a.marker) for a, b in pairwise(packets)]


@pytest.mark.parametrize("name", ["vp9-l3t3-key", "av1-l3t3-key"])
@settings(max_examples=10, deadline=None, derandomize=True)
@given(chosen=st.lists(st.booleans(), min_size=1, max_size=9), late=st.integers(0, 3))
def test_a_picture_whose_upper_frames_are_left_out_has_its_marker(name: str, chosen: list[bool], late: int) -> None:
    stage = Stage(name)
    stage.packets = RecordedStream.load(name).without_upper_frames(chosen)
    order = list(stage.packets)
    if late:  # some packets come behind the next ones
        for n in range(20, len(order) - late, 7):
            order.insert(n + late, order.pop(n))
    for packet in order:
        stage.send(packet)
    sent = sorted(stage.subscribers[0].sent, key=lambda p: p.sequence_number - order[0].sequence_number & 0xFFFF)
    assert len(sent) >= len(order) - 1  # the last one may wait for the next
    ends = picture_ends(sent)
    if not late:
        assert all(is_end == has_marker for is_end, has_marker in ends)
    # One that was overtaken may have been passed on before it was known to be the last.
    assert not any(has_marker and not is_end for is_end, has_marker in ends)


@pytest.mark.parametrize("name", ["vp8-l1t3", "vp9-l1t3", "av1-l1t3"])
def test_temporal_layers_go_at_once_and_come_back_without_a_keyframe(name: str) -> None:
    stage = Stage(name)
    half = len(stage.packets) // 3
    for packet in stage.packets[:half]:
        stage.send(packet)
    stage.select(LOWEST)
    down_track = stage.subscribers[0].down_track
    assert down_track.waiting_since is None
    stage.send(stage.packets[half])
    stage.send(stage.packets[half + 1])
    for packet in stage.packets[half + 2 : 2 * half]:
        stage.send(packet)
        assert down_track.current == LOWEST
    requests = len(stage.publisher.requests)
    stage.select(HIGHEST)
    assert down_track.waiting_since == stage.now
    assert len(stage.publisher.requests) == requests
    for packet in stage.packets[2 * half :]:
        stage.send(packet)
    assert down_track.current == (0, 2)
    assert down_track.waiting_since is None
    stage.check()


@pytest.mark.parametrize("name", ["vp9-l3t3-key", "av1-l3t3"])
def test_a_larger_picture_is_asked_for(name: str) -> None:
    stage = Stage(name)
    stage.select(LOWEST)
    for packet in stage.packets[:60]:
        stage.send(packet)
    requests = len(stage.publisher.requests)
    stage.select(Selection(2, 0))
    assert len(stage.publisher.requests) == requests + 1
    for packet in stage.packets[60:]:
        stage.send(packet)
    assert stage.subscribers[0].down_track.current == (2, 0)
    stage.check()


@pytest.mark.parametrize("name", LAYERED)
def test_the_ladder_has_all_layers_and_what_they_cost(name: str) -> None:
    stage = Stage(name)
    track = stage.publisher.up_track
    ladders = stage.publisher.ladders
    measured = 0.0
    for packet in stage.packets:
        stage.send(packet)
        if stage.now >= measured + 0.5:
            measured = stage.now
            track.measure(stage.now)
    assert stage.publisher.ladders > ladders
    rungs = track.ladder(stage.now)
    assert [(rung.spatial, rung.temporal) for rung in rungs] == selections(name)
    for lower, upper in pairwise(rungs):
        if lower.spatial == upper.spatial:
            assert lower.bitrate < upper.bitrate
            assert lower.frame_rate < upper.frame_rate
    assert len({(rung.width, rung.height) for rung in rungs}) == (3 if "l3" in name else 1)
    assert rungs[-1].width > 0


@pytest.mark.parametrize("name", ["vp8-l1t3", "vp9-l3t3"])
def test_what_a_part_of_a_layer_misses_is_sent_again_as_it_was(name: str) -> None:
    stage = Stage(name)
    for n, packet in enumerate(stage.packets[:120]):
        if n in (30, 70):
            stage.select(LOWEST if n == 30 else HIGHEST)
        stage.send(packet)
    subscriber = stage.subscribers[0]
    last = subscriber.sent[-1].timestamp
    for packet in list(subscriber.sent):
        if ts_delta(last, packet.timestamp) > 90_000:
            continue  # longer ago than it is kept
        budget = RepairBudget(sent=0, now=stage.now)
        subscriber.down_track.repair([packet.sequence_number], budget, stage.now, 0.0)
        assert subscriber.sent[-1].data == packet.data


@pytest.mark.parametrize("name", ["av1-l3t3", "av1-l3t3-key"])
def test_who_takes_no_descriptors_gets_one_spatial_layer_of_av1(name: str) -> None:
    stage = Stage(name)
    down_track = stage.subscribers[0].down_track
    down_track.configure([stage.codec], {})
    for packet in stage.packets:
        stage.send(packet)
    assert down_track.current == (0, 2)
    assert not any(packet.extensions() for packet in stage.subscribers[0].sent)
    stage.check()


def test_renditions_that_nobody_has_are_let_go() -> None:
    stage = Stage("vp8-l1t3")
    for packet in stage.packets[:30]:
        stage.send(packet)
    stage.select(LOWEST)
    for packet in stage.packets[30:40]:
        stage.send(packet)
    layer = stage.publisher.up_track.layer
    assert layer is not None
    outlet = stage.subscribers[0].down_track.outlet_in(layer)
    assert outlet is not None
    assert outlet.restriction == (0, 0)
    stage.subscribers[0].down_track.detach()
    assert layer.outlets.has(outlet)
    for _ in range(2):
        layer.measure(stage.now)
    assert not layer.outlets.has(outlet)
