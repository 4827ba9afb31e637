from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.flows import Publisher, Subscriber
from tests.media.support import examples, rtp
from zvonim_sfu.media.publisher_clock import PublisherClock
from zvonim_sfu.media.source import Source
from zvonim_sfu.rtp.sequence import ts_delta
from zvonim_sfu.rtp.timing import SenderClock, ntp_from_unix, unix_from_ntp

if TYPE_CHECKING:
    from zvonim_sfu.rtp.packet import RtpPacket
    from zvonim_sfu.rtp.rtcp import SenderReport

CLOCK_RATES = {"audio": 48000, "video": 90000}


def known_clock(ntp_s: float, timestamp: int) -> SenderClock:
    clock = SenderClock(90000)
    clock.update(int(ntp_s * (1 << 32)), timestamp)
    return clock


def test_before_any_report_the_time_of_arrival_stands_for_that_of_capture() -> None:
    clock = PublisherClock()
    assert clock.capture_time(known_clock(7, 0), 0, 12.5) == 12.5
    assert clock.timestamp_at(known_clock(7, 0), 12.5) is None
    clock.on_sender_report(7.0, 12.0)
    assert clock.capture_time(SenderClock(90000), 0, 12.5) == 12.5
    assert clock.timestamp_at(SenderClock(90000), 12.5) is None


def test_the_jitter_of_reports_moves_the_mapping_by_no_more_than_a_drift() -> None:
    clock, layer, rng = PublisherClock(), known_clock(1000, 0), random.Random(1)
    clock.on_sender_report(1000.0, 50.05)
    assert clock.capture_time(layer, 0, 50.5) == pytest.approx(50.05)
    for second in range(1, 100):
        clock.on_sender_report(1000.0 + second, 50.0 + second + rng.choice([0.0, 0.05, 0.1, 1.0]))
        assert clock.capture_time(layer, 0, 50.5) == pytest.approx(50.05, abs=100e-6 * (second + 2))


@pytest.mark.parametrize("ppm", [-50, 50])
def test_a_drift_is_followed(ppm: int) -> None:
    clock, rng = PublisherClock(), random.Random(1)
    for second in range(0, 7200, 5):
        written = 1000.0 + second * (1 + ppm * 1e-6)
        clock.on_sender_report(written, 50.0 + second + 0.02 * rng.random())
        captured_at = clock.capture_time(known_clock(written, 0), 0, 50.1 + second)
        assert captured_at == pytest.approx(50.01 + second, abs=0.015)


def test_a_clock_that_was_set_is_followed_at_once() -> None:
    clock = PublisherClock()
    clock.on_sender_report(1000.0, 50.0)
    clock.on_sender_report(400.0, 51.0)
    assert clock.timestamp_at(known_clock(400, 9), 51.0) == 9


@pytest.mark.parametrize("ntp_s", [0.0, 1e3, 4e9])
def test_what_a_publisher_writes_cannot_move_capture_far_from_arrival(ntp_s: float) -> None:
    clock = PublisherClock()
    clock.on_sender_report(2e9, 50.0)
    for timestamp in (0, 2**31, 2**32 - 1, 90000 * 3600):
        captured = clock.capture_time(known_clock(ntp_s, 0), timestamp, 60.0)
        assert 55.0 < captured <= 60.0


@examples(200)
@given(
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.floats(0, 1e6)), max_size=10),
    st.integers(0, 2**32 - 1),
)
def test_any_reports_give_a_usable_time(reports: list[tuple[int, int, float]], timestamp: int) -> None:
    clock, layer = PublisherClock(), SenderClock(90000)
    now = 0.0
    for ntp, rtp_timestamp, wait in reports:
        now += wait
        layer.update(ntp, rtp_timestamp)
        clock.on_sender_report(ntp / (1 << 32), now)
    assert now - 5 <= clock.capture_time(layer, timestamp, now) <= now
    assert 0 <= (clock.timestamp_at(layer, now) or 0) < 2**32


# Lip sync


@dataclass
class Person:
    """A publisher with a microphone and a camera, a wall clock of its own and a way to the server."""

    rng: random.Random
    epoch: float
    "Its wall clock minus the server's."
    delay: float
    jitter: float
    clock: PublisherClock = field(default_factory=PublisherClock)

    def __post_init__(self) -> None:
        self.publishers = {
            "audio": Publisher(Source.MICROPHONE, clock=self.clock),
            "video": Publisher(Source.CAMERA, clock=self.clock),
        }
        self.bases = {kind: self.rng.randrange(2**32) for kind in CLOCK_RATES}
        self.sequence = dict.fromkeys(CLOCK_RATES, 0)

    def arrival(self, captured: float) -> float:
        return captured + self.delay + self.rng.random() * self.jitter

    def timestamp(self, kind: str, captured: float) -> int:
        return (self.bases[kind] + round(captured * CLOCK_RATES[kind])) & 0xFFFFFFFF

    def capture(self, kind: str, captured: float) -> None:
        """What is captured at this moment (server's clock) is received a little later."""
        self.sequence[kind] += 1
        data = rtp(
            self.sequence[kind],
            self.timestamp(kind, captured),
            payload_type=111 if kind == "audio" else 96,
            payload=b"\x10\x00",
        )
        self.publishers[kind].send(data, self.arrival(captured))

    def report(self, kind: str, at: float) -> None:
        publisher = self.publishers[kind]
        if publisher.up_track.layer is not None:
            ntp = ntp_from_unix(at + self.epoch)
            publisher.up_track.layer.clock.update(ntp, self.timestamp(kind, at))
            self.clock.on_sender_report(ntp / (1 << 32), self.arrival(at))


class Screen:
    """A subscriber with one pair of slots: it plays what has the same time on the server's clock together."""

    def __init__(self) -> None:
        self.slots = {kind: Subscriber(kind) for kind in CLOCK_RATES}
        self.mapping: dict[str, SenderReport] = {}

    def attach(self, person: Person, now: float) -> None:
        for kind, slot in self.slots.items():
            slot.down_track.attach(person.publishers[kind].up_track, now)

    def report(self, now: float) -> None:
        for kind, slot in self.slots.items():
            report = slot.down_track.sender_report(now, ntp_from_unix(now))
            if report is not None:
                self.mapping[kind] = report

    def played_at(self, kind: str, packet: RtpPacket) -> float:
        report = self.mapping[kind]
        return unix_from_ntp(report.ntp) + ts_delta(packet.timestamp, report.rtp_timestamp) / CLOCK_RATES[kind]


@pytest.mark.parametrize("seed", range(20))
def test_sound_and_picture_keep_their_distance_whoever_is_in_the_slot(seed: int) -> None:
    rng = random.Random(seed)
    people = [Person(rng, rng.uniform(-1e6, 1e6), rng.uniform(0, 0.3), rng.uniform(0, 0.05)) for _ in range(3)]
    screen = Screen()
    now = 1000.0
    for person in people:  # they have talked for a while, so their clocks are known
        for second in range(3):
            for kind in CLOCK_RATES:
                person.capture(kind, now + second)
                person.report(kind, now + second + rng.random())
    now += 10
    mapped: dict[str, list[float]] = {"audio": [], "video": []}
    for turn in range(6):
        person = people[turn % 3]
        screen.attach(person, now)
        began = now
        for _ in range(50):  # a second: a frame every 40 ms, and reports in between
            captured = {kind: now + rng.random() * 0.04 for kind in CLOCK_RATES}
            for kind in CLOCK_RATES:
                person.capture(kind, captured[kind])
                if rng.random() < 0.05:
                    person.report(kind, now)
            screen.report(now + 0.04)
            now += 0.04
            late = {kind: screen.played_at(kind, screen.slots[kind].sent[-1]) - captured[kind] for kind in CLOCK_RATES}
            # Rounding, of the two clocks and the reports: people notice from some 45 ms on. Only a picture that comes
            # in with a longer way than the one before it takes a frame or two to catch up.
            limit = 0.04 if now < began + 0.1 else 0.0001
            assert abs(late["audio"] - late["video"]) < limit, f"turn {turn}"
            for kind, offset in late.items():
                mapped[kind].append(offset)
    # The mapping to the server's time is the delay of the way, no more: it does not wander from person to person.
    for offsets in mapped.values():
        assert all(-0.001 <= offset <= 0.36 for offset in offsets)


def test_a_slot_maps_the_same_moment_to_the_same_timestamp_whoever_is_in_it() -> None:
    rng = random.Random(1)
    people = [Person(rng, epoch, delay=0.1, jitter=0.0) for epoch in (0.0, 1e6, -1e6)]
    for person in people:
        for kind in CLOCK_RATES:
            person.capture(kind, 1000.0)
            person.report(kind, 1000.0)
    screen = Screen()
    anchors: dict[str, list[int]] = {"audio": [], "video": []}
    now = 1001.0
    for person in people:
        screen.attach(person, now)
        for kind, slot in screen.slots.items():
            person.capture(kind, now)
            report = slot.down_track.sender_report(now, ntp_from_unix(now))
            assert report is not None
            anchors[kind].append(report.rtp_timestamp - round(now * CLOCK_RATES[kind]))
        now += 1
    for kind, seen in anchors.items():
        assert all(abs(ts_delta(one & 0xFFFFFFFF, seen[0] & 0xFFFFFFFF)) <= 2 for one in seen), kind
