"""What a publisher of the benchmarks sends is what a browser would."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from benchmarks.client.traffic import (
    KEYFRAME_BURSTS,
    KEYFRAME_INTERVAL_S,
    MICROPHONE,
    MIN_KEYFRAME_GAP_S,
    Pattern,
    Sending,
    Source,
    Stamp,
    camera,
)
from zvonim_sfu.rtp.packet import RtpPacket
from zvonim_sfu.rtp.vp8 import describe

SENDING = Sending("0", 7, 96, mid_extension=4, arrival_extension=3, level_extension=1)
STEP_S = 0.002


class Run:
    """A source on a clock of its own."""

    def __init__(self, pattern: Pattern) -> None:
        self.packets: list[RtpPacket] = []
        self.now = 0.0
        self.source = Source(SENDING, pattern, self._take, count().__next__)
        self.source.resume(0.0, 0.0)

    def _take(self, data: bytes) -> None:
        self.packets.append(RtpPacket.parse(data))

    def advance(self, seconds: float) -> list[RtpPacket]:
        """Let time go by; returns what was sent meanwhile."""
        before = len(self.packets)
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_S
            self.source.advance(self.now)
        return self.packets[before:]


def keyframes(packets: list[RtpPacket]) -> int:
    return sum(describe(packet.payload).keyframe for packet in packets)


@pytest.mark.parametrize("pattern", [MICROPHONE, camera(250, 3), camera(600, 6)])
def test_as_many_packets_leave_as_the_pattern_says(pattern: Pattern) -> None:
    run = Run(pattern)
    sent = run.advance(2.0)
    extra = (KEYFRAME_BURSTS - 1) * pattern.burst if pattern.kind == "video" else 0
    assert len(sent) == pytest.approx(2 * pattern.packets_per_s + extra, abs=2 * pattern.burst)
    assert run.source.packets == len(sent)
    assert {len(packet.payload) for packet in sent} == {pattern.payload_bytes}


def test_packets_are_numbered_and_a_frame_ends_with_a_marker() -> None:
    sent = Run(camera(300, 3)).advance(1.0)
    numbers = [packet.sequence_number for packet in sent]
    assert numbers == list(range(numbers[0], numbers[0] + len(sent)))
    frames: dict[int, list[bool]] = {}
    for packet in sent:
        frames.setdefault(packet.timestamp, []).append(packet.marker)
    assert all(markers == [False] * (len(markers) - 1) + [True] for markers in frames.values())


def test_pictures_are_of_temporal_layers_as_a_browsers_are() -> None:
    run = Run(replace(camera(60, 2), has_temporal_layers=True))
    sent = run.advance(1.0)
    run.source.ask_for_keyframe()
    sent += run.advance(1.0)
    described = [describe(packet.payload) for packet in sent]
    assert keyframes(sent) == 2
    layers: list[int] = []
    lowest = described[0].fields.tl0 - 1
    for description in described:
        layers = [] if description.keyframe else layers
        layers += [description.temporal] * description.begins_frame
        lowest += description.begins_frame and description.temporal == 0
        assert layers == [(0, 2, 1, 2)[place % 4] for place in range(len(layers))]
        assert description.fields.tl0 == lowest
    # Who had less can go on with more.
    ups = {description.switch for description in described if description.begins_frame and not description.keyframe}
    assert {up.after.temporal for up in ups if up is not None} == {0, 1}


def test_extensions_are_those_that_were_negotiated() -> None:
    first, second, *_ = Run(MICROPHONE).advance(1.0)
    assert [number for number, _ in first.extensions()] == [1, 3, 4]
    assert (first.extension(3), second.extension(3), first.extension(4)) == (b"\0\0", b"\0\1", b"0")


def test_a_camera_begins_with_a_keyframe_and_sends_one_at_times() -> None:
    run = Run(camera(100, 2))
    assert keyframes(run.advance(0.5)) == 1
    assert keyframes(run.advance(2 * KEYFRAME_INTERVAL_S)) == 2


def test_a_keyframe_that_is_asked_for_comes_soon_and_not_too_often() -> None:
    run = Run(camera(100, 2))
    run.advance(MIN_KEYFRAME_GAP_S * 2)
    for _ in range(5):
        run.source.ask_for_keyframe()
    assert keyframes(run.advance(0.1)) == 1
    run.source.ask_for_keyframe()
    assert keyframes(run.advance(0.1)) == 0


def test_each_payload_ends_with_its_place_and_the_time_at_which_it_left() -> None:
    sent = Run(camera(100, 2)).advance(0.2)
    stamps = [Stamp.read(packet.payload) for packet in sent]
    times = [stamp.sent_ns for stamp in stamps]
    assert times == sorted(times)
    assert times[0] > 1_600_000_000_000_000_000
    assert [stamp.is_last for stamp in stamps] == [packet.marker for packet in sent]
    places = [(stamp.frame, stamp.place) for stamp in stamps]
    assert places == sorted(set(places))
    assert [stamp.frame for stamp in stamps if stamp.is_keyframe] == [0] * KEYFRAME_BURSTS * 2


def test_what_a_late_generator_missed_was_never_sent() -> None:
    run = Run(camera(100, 2))
    run.advance(0.1)
    before = run.source.packets
    run.source.advance(run.now + 10)
    assert run.source.packets - before <= (KEYFRAME_BURSTS + 5) * 2
