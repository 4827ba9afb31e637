from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.remb import INTERVAL_S, MAX_BPS, MAX_HEADROOM, MIN_BPS, START_BPS, RembEstimator

PACKET_OCTETS = 1000


class Publisher:
    """Sends what it is told to, over a link that drops what it cannot hold."""

    def __init__(self, estimator: RembEstimator, *, wants_bps: float = MAX_BPS) -> None:
        self.estimator = estimator
        self.wants_bps = wants_bps
        self.now = 1000.0
        self.octets = self.expected = self.received = 0
        self.bitrate = START_BPS
        self.update()

    def update(self) -> None:
        bitrate = self.estimator.update(
            octets=self.octets, expected=self.expected, received=self.received, now=self.now
        )
        assert bitrate is not None
        self.bitrate = bitrate

    def run(self, seconds: int, *, link_bps: float = 1e9, loss: float = 0.0) -> list[int]:
        bitrates = []
        for _ in range(seconds):
            sent_bps = min(self.bitrate, self.wants_bps)
            through_bps = min(sent_bps * (1 - loss), link_bps)
            self.expected += round(sent_bps / 8 / PACKET_OCTETS)
            self.received += round(through_bps / 8 / PACKET_OCTETS)
            self.octets += round(through_bps / 8)
            self.now += INTERVAL_S
            self.update()
            bitrates.append(self.bitrate)
        return bitrates


def test_the_first_bitrate_is_told_at_once_and_then_once_a_second() -> None:
    estimator = RembEstimator()
    counters = {"octets": 0, "expected": 0, "received": 0}
    assert estimator.update(**counters, now=5.0) == START_BPS
    assert estimator.update(**counters, now=5.5) is None
    assert estimator.update(**counters, now=5.95) == START_BPS  # a timer that is a little early
    assert estimator.update(**counters, now=6.0) is None
    assert estimator.update(**counters, now=30.0) == START_BPS


@pytest.mark.parametrize(("start", "told"), [(1, MIN_BPS), (1e12, MAX_BPS)])
def test_the_start_is_within_the_bounds(start: float, told: int) -> None:
    assert RembEstimator(start_bps=start).bitrate == told


def test_a_free_link_is_filled_slowly() -> None:
    bitrates = Publisher(RembEstimator()).run(20)
    assert bitrates == sorted(bitrates)
    assert bitrates[0] == pytest.approx(START_BPS * 1.08, rel=0.01)
    assert bitrates[-1] > 4 * START_BPS


def test_a_full_link_is_left_within_seconds_and_used_nearly_in_full() -> None:
    publisher = Publisher(RembEstimator())
    publisher.run(10)
    assert max(publisher.run(10, link_bps=500_000)[2:]) < 600_000
    later = publisher.run(60, link_bps=500_000)
    assert 400_000 < sum(later) / len(later) < 560_000


def test_a_little_loss_changes_nothing() -> None:
    publisher = Publisher(RembEstimator())
    publisher.run(10, loss=0.05)
    assert publisher.bitrate == START_BPS


def test_what_is_not_used_is_not_raised() -> None:
    publisher = Publisher(RembEstimator(), wants_bps=800_000)
    publisher.run(60)
    assert publisher.bitrate == pytest.approx(800_000 * MAX_HEADROOM, rel=0.01)
    publisher.wants_bps = 0
    publisher.run(10)
    assert publisher.bitrate == pytest.approx(800_000 * MAX_HEADROOM, rel=0.01)


def test_a_link_that_holds_nothing_leads_to_the_minimum() -> None:
    publisher = Publisher(RembEstimator())
    publisher.run(10, loss=0.9)
    assert publisher.bitrate == MIN_BPS


def test_counters_that_restart_say_nothing() -> None:
    publisher = Publisher(RembEstimator())
    publisher.run(5)
    before = publisher.bitrate
    publisher.octets = publisher.received = 0
    publisher.run(1)
    assert publisher.bitrate == before
    publisher.run(1)
    assert publisher.bitrate > before


COUNTERS = st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 32), st.integers(0, 1 << 32), st.floats(0, 100))


@given(st.lists(COUNTERS, max_size=20))
def test_any_counters_make_a_bitrate_within_the_bounds(reports: list[tuple[int, int, int, float]]) -> None:
    estimator = RembEstimator()
    now = told_at = 0.0
    for octets, expected, received, seconds in reports:
        now += seconds
        bitrate = estimator.update(octets=octets, expected=expected, received=received, now=now)
        if bitrate is not None:
            assert MIN_BPS <= bitrate <= MAX_BPS
            assert told_at == 0.0 or now - told_at >= INTERVAL_S * 0.9
            told_at = now
