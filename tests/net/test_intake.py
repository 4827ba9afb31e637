"""Packets that the compiled kernel deals with by itself: it sends and counts what the long way sends and counts."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.media.support import rtp
from tests.net.intake_scene import DESCRIPTORS, NAMING, PAYLOADS, SUBSCRIBERS, Event, scenes
from tests.net.kernels import COMPILED
from tests.support.streams import RecordedStream
from zvonim_sfu.media.source import Source
from zvonim_sfu.rtp import packet_compiled
from zvonim_sfu.rtp.codecs import describer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STEPS: Final = st.sampled_from((1,) * 12 + (2, 3, 7, 0, -1, -2, -40, 700, 20_000))
# What makes good again what others of the calls have done.
ENDINGS: Final = ("select", "join", "resume")
CALLS: Final = ("select", "less", "least", "nothing", "leave", "join", "pause", "resume", "timer", "other")


def events(payloads: Sequence[str], descriptors: Sequence[str] = ("",)) -> st.SearchStrategy[list[Event]]:
    """Some, in which these payloads come more often than others, with these descriptors."""
    event = st.builds(
        Event,
        st.sampled_from(("packet",) * 20 + CALLS),
        STEPS,
        st.sampled_from((*payloads, *PAYLOADS)),
        st.booleans(),
        st.integers(0, SUBSCRIBERS - 1),
        st.sampled_from((0.0, 0.001, 0.005, 0.03, 0.3)),
        st.sampled_from(descriptors),
    )
    return st.lists(event, max_size=60)


EVENTS: Final = events(("plain", "more", "wide", "wide", "keyframe")) | events(tuple(PAYLOADS), tuple(DESCRIPTORS))
# Payloads and descriptors of a stream in which nothing is unusual, again and again, and of its keyframes.
PICTURES: Final = {
    "one layer": ((("wide", ""), ("more", "")), (("keyframe", ""),)),
    "payloads": (
        (("base", ""), ("more", ""), ("highest", ""), ("more of it", ""), ("higher", ""), ("bound", "")),
        (("keyframe", ""),),
    ),
    "H264": ((("slice", ""), ("begun", ""), ("goes on", "")), (("parameters", ""), ("IDR", ""), ("IDR begun", ""))),
    "H264 with descriptors": (
        (("slice", "0"), ("begun", "2"), ("goes on", "2 goes on"), ("slice", "1")),
        (("IDR", "L1T3"), ("parameters", "another")),
    ),
    "descriptors": (
        # Where it says something else than the payload, the descriptor is right.
        (("plain", "0"), ("more", "0 goes on"), ("wide", "2"), ("plain", "2 goes on"), ("more", "1"), ("higher", "2")),
        (("keyframe", "L1T3"), ("keyframe", "L1T3"), ("keyframe", "another"), ("keyframe", "L1T3 at 60")),
    ),
}


@pytest.fixture(autouse=True)
def _known_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zvonim_sfu.media.down_track.secrets.randbits", lambda bits: 65_530 & (1 << bits) - 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(
    source=st.sampled_from((Source.CAMERA, Source.MICROPHONE)),
    first=st.sampled_from((0, 100, 65_500)),
    events=EVENTS,
)
def test_both_kernels_send_and_count_the_same(source: Source, first: int, events: list[Event]) -> None:
    with scenes(source) as both:
        plain, compiled = both
        number = first
        begin = Event("packet", 1, "keyframe", False, 0, 0.0)
        for event in (begin, begin._replace(payload="plain"), begin._replace(payload="wide", marker=True), *events):
            if event.name in {"packet", "other"}:
                number += event.step
            plain.do(event, number)
            compiled.do(event, number)
            assert plain.state() == compiled.state(), event
        assert plain.sent == compiled.sent
        reports = [scene.ingress.arrivals.packed(scene.now, sender_ssrc=1, media_ssrc=2) for scene in (plain, compiled)]
        assert reports[0] == reports[1]
        assert plain.taken == 0


def stream_with_trouble(kind: str, trouble: float, chance: random.Random) -> Iterator[tuple[Event, int]]:
    """A stream of some seconds, with numbers of packets: out of its turn comes what is random, so often."""
    usual, keyframes = PICTURES[kind]
    number = 100
    for place in range(1200):
        payload, told = chance.choice(keyframes) if place % 60 == 0 else usual[place % len(usual)]
        event = Event("packet", 1, payload, chance.random() < 0.5, 0, chance.choice((0.001, 0.01)), told)
        if chance.random() < trouble:
            event = Event(
                chance.choice(("packet",) * 8 + CALLS + ENDINGS * 3),
                chance.choice((1, 1, 2, 3, -1, 0)),
                chance.choice(tuple(PAYLOADS)),
                False,
                chance.randrange(SUBSCRIBERS),
                chance.choice((0.0, 0.03, 0.3)),
                chance.choice(tuple(DESCRIPTORS)) if "descriptors" in kind else "",
            )
        elif place % 100 == 99:
            event = event._replace(name="timer")
        if event.name in {"packet", "other"}:
            yield event, number + event.step
            number += max(0, event.step)
        else:
            yield event, number


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("trouble", [0.002, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("seed", range(2))
def test_both_kernels_send_and_count_the_same_for_long(kind: str, trouble: float, seed: int) -> None:
    with scenes(Source.CAMERA, "H264" if "H264" in kind else "VP8") as both:
        plain, compiled = both
        # The seed is all that it depends on.
        for place, (event, number) in enumerate(stream_with_trouble(kind, trouble, random.Random(f"{seed}{trouble}"))):
            plain.do(event, number)
            compiled.do(event, number)
            if event.name != "packet" or place % 10 == 0:
                assert plain.state() == compiled.state(), event
        assert plain.state() == compiled.state()
        assert plain.sent == compiled.sent
        assert trouble > 0.01 or compiled.taken > 100


@pytest.mark.parametrize("source", [Source.CAMERA, Source.MICROPHONE])
def test_what_comes_in_its_turn_is_dealt_with_by_the_compiled_kernel(source: Source) -> None:
    with scenes(source) as both:
        for scene in both:
            names = itertools.chain(["keyframe"], itertools.cycle(["plain", "more", "wide", "empty"]))
            for number, name in zip(range(65_500, 65_600), names, strict=False):
                scene.do(Event("packet", 1, name, False, 0, 0.01), number)
        plain, compiled = both
        assert plain.sent == compiled.sent
        assert [len(datagrams) for datagrams in compiled.sent] == [100] * SUBSCRIBERS
        # The first one makes the layer, and the second one sorts its receivers.
        assert compiled.taken == 98


def test_temporal_layers_are_dealt_with_as_long_as_everybody_gets_all() -> None:
    with scenes(Source.CAMERA) as both:
        plain, compiled = both
        numbers = itertools.count()

        def send(*names: str) -> int:
            """Send packets; returns how many of them the compiled kernel took."""
            taken = compiled.taken
            for name, number in zip(names, numbers, strict=False):
                for scene in both:
                    scene.do(Event("packet", 1, name, False, 0, 0.01), number)
            assert plain.state() == compiled.state()
            return compiled.taken - taken

        def call(name: str) -> None:
            for scene in both:
                scene.do(Event(name, 0, "", False, 0, 0.5), 0)

        pictures = ["base", "more", "highest", "more of it", "higher", "highest"] * 10
        send("keyframe")
        # One has its receivers sorted, one is the first of the highest layer, and the next has them sorted again.
        assert send(*pictures) == 60 - 3
        call("timer")
        assert send(*pictures) == 60
        (layer,) = compiled.up_track.layers.values()
        assert layer.intake.layer_frames[:4] == [19, 20, 40, 0]  # the first one came before any layer was known
        call("least")
        assert send(*pictures) == 0
        call("select")
        assert send(*pictures) == 0
        for _ in range(2):  # until the rendition is forgotten
            call("timer")
            send(*pictures)
        assert send(*pictures) == 60
        assert plain.sent == compiled.sent
        assert len(compiled.up_track.ladder(compiled.now)) == 3


@pytest.mark.parametrize("name", ["vp8-l1t3", "vp8-l1t3-descriptor", "vp8-firefox", "h264", "h264-l1t3"])
def test_what_browsers_send_is_dealt_with(name: str) -> None:
    stream = RecordedStream.load(name)
    with scenes(Source.CAMERA, stream=stream) as (plain, compiled):
        for data in stream.data:
            for scene in (plain, compiled):
                scene.publish(data, 0.02)
            assert plain.state() == compiled.state()
        assert plain.sent == compiled.sent
        describe = describer(stream.encoding)
        described = [describe(packet.payload, packet.extension(stream.descriptor)) for packet in stream.packets]
        keyframes = sum(description.keyframe for description in described)
        assert 2 <= keyframes <= 4
        # The second one may have its receivers sorted, and the first one of a layer that is higher than all before, and
        # the next, as layers are told.
        layers = max(description.temporal for description in described)
        assert len(stream.data) - keyframes - 1 - 2 * layers <= compiled.taken <= len(stream.data) - keyframes


@pytest.mark.parametrize("name", ["keyframe", "higher", "cut"])
def test_what_has_to_be_looked_at_goes_the_long_way(name: str) -> None:
    with scenes(Source.CAMERA) as (_, compiled):
        for number, payload in enumerate(["keyframe", "plain", "plain", name]):
            compiled.do(Event("packet", 1, payload, False, 0, 0.01), number)
        assert compiled.taken == 1


@pytest.mark.parametrize("told", DESCRIPTORS)
def test_descriptors_that_name_a_template_are_read(told: str) -> None:
    with scenes(Source.CAMERA) as both:
        for scene in both:
            begin = Event("packet", 1, "keyframe", False, 0, 0.01, "L1T3")
            for number in range(3):  # layers are known, and told, and receivers sorted
                scene.do(begin if number == 0 else begin._replace(payload="plain", descriptor="0"), number)
            taken = scene.taken
            scene.do(begin._replace(payload="plain", descriptor=told), 3)
            assert scene.taken - taken == (told in NAMING and scene.kernel is COMPILED)
        plain, compiled = both
        assert plain.state() == compiled.state()
        assert plain.sent == compiled.sent


def test_what_is_not_of_the_compiled_kernel_is_refused() -> None:
    with scenes(Source.CAMERA) as (plain, compiled):
        for number, payload in enumerate(["keyframe", "plain", "plain"]):
            compiled.do(Event("packet", 1, payload, False, 0, 0.01), number)
        (layer,) = compiled.up_track.layers.values()
        intake, fan_out = layer.intake, layer.intake.fan_out
        data = rtp(3, 3000, payload_type=compiled.payload_type, payload=PAYLOADS["plain"])
        intake.fan_out = plain.up_track._new_fan_out()
        with pytest.raises(TypeError):
            compiled.ingress.take(packet_compiled.RtpPacket.parse(data), compiled.now)
        intake.fan_out, intake.cells = fan_out, intake.cells[:5]
        assert not compiled.ingress.take(packet_compiled.RtpPacket.parse(data), compiled.now)
