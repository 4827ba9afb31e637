"""The queue on the way: how long packets wait, what the link carries meanwhile, and whose queue it is."""

from __future__ import annotations

from random import Random

import pytest

from tests.support.reports import report_of
from zvonim_sfu.bandwidth.contention import GONE_S, LASTS_S, PATIENCE_S, Contention
from zvonim_sfu.bandwidth.queueing import WINDOW_S, Queueing

MBPS = 1_000_000.0
WAY_S = 500.05  # a way of 50 ms, and clocks that are 500 s apart


class Way:
    """A link that packets of 1250 bytes are sent over, reported every 50 ms."""

    def __init__(self, bps: float = MBPS, *, jitter_s: float = 0.0) -> None:
        self.queueing = Queueing()
        self.now = 1000.0
        self.bps = bps
        self.way_s = WAY_S
        self._jitter_s = jitter_s
        self._random = Random(1)
        self._free_at = 0.0

    def stop(self, seconds: float) -> None:
        """Carry nothing for a while."""
        self._free_at = max(self._free_at, self.now) + seconds

    def send(self, bps: float, seconds: float) -> None:
        end = self.now + seconds
        report: list[tuple[float, float]] = []
        while self.now < end:
            self._free_at = max(self._free_at, self.now) + 10_000 / self.bps
            arrived_at = self._free_at + self.way_s + self._random.uniform(0, self._jitter_s)
            report.append((self.now, max(arrived_at, report[-1][1]) if report else arrived_at))
            self.now += 10_000 / bps
            if self.now - report[0][0] >= 0.05 or self.now >= end:
                sent, arrived = map(list, zip(*report, strict=True))
                self.queueing.add(report_of(sent, arrived, [1250] * len(sent)))
                report = []


def test_a_wait_is_what_a_packet_takes_longer_than_the_fastest() -> None:
    way = Way()
    way.send(0.8 * MBPS, 2)
    assert way.queueing.wait_s == pytest.approx(0, abs=0.001)
    way.send(1.5 * MBPS, 1)
    assert way.queueing.wait_s == pytest.approx(0.47, abs=0.03)


def test_a_full_link_shows_what_it_holds_however_much_is_sent() -> None:
    way = Way()
    way.send(0.8 * MBPS, 2)
    assert way.queueing.link_bps() is None
    way.send(3 * MBPS, 0.1)
    assert way.queueing.link_bps() == pytest.approx(MBPS, rel=0.02)
    way.send(0.5 * MBPS, 0.2)
    # Less is sent by now, but what waits still comes one behind the other.
    assert way.queueing.link_bps() == pytest.approx(MBPS, rel=0.02)
    way.send(0.5 * MBPS, 2)
    assert way.queueing.link_bps() is None


def test_jitter_is_no_full_link() -> None:
    way = Way(jitter_s=0.02)
    way.send(0.5 * MBPS, 5)
    assert way.queueing.link_bps() is None


def test_a_way_that_has_become_longer_is_known_some_time_later() -> None:
    way = Way()
    way.send(0.5 * MBPS, 5)
    way.way_s += 0.1
    way.send(0.5 * MBPS, 1)
    assert way.queueing.wait_s == pytest.approx(0.1, abs=0.01)
    way.send(0.5 * MBPS, 2 * WINDOW_S)
    assert way.queueing.wait_s == pytest.approx(0, abs=0.001)


@pytest.mark.parametrize("jump_s", [100.0, -100.0])
def test_a_clock_that_is_set_is_no_queue(jump_s: float) -> None:
    way = Way()
    way.send(0.5 * MBPS, 2)
    way.way_s += jump_s
    way.send(0.5 * MBPS, 1)
    assert way.queueing.wait_s == pytest.approx(0, abs=0.001)


class Seen:
    """What contention is told every 50 ms."""

    def __init__(self) -> None:
        self.contention = Contention()
        self.now = 1000.0
        self.is_longer = False

    def wait(self, wait_s: float, seconds: float, *, estimate_bps: float = MBPS, swing_s: float = 0.03) -> bool:
        """A queue that swings; returns whether it is somebody else's."""
        end = self.now + seconds
        step = 0
        while self.now < end:
            self.now += 0.05
            step += 1
            wait = wait_s + swing_s * (step // 20 % 2)
            self.is_longer |= self.contention.update(wait_s=wait, estimate_bps=estimate_bps, now=self.now)
        return self.contention.is_contended


def test_a_queue_that_outlasts_reductions_is_somebody_elses() -> None:
    seen = Seen()
    assert not seen.wait(0.2, 10)  # nothing was done against it
    seen.contention.reduced(2 * MBPS, seen.now)
    assert not seen.wait(0.2, PATIENCE_S - 0.2)
    assert seen.wait(0.2, 0.5)
    assert seen.wait(0.01, GONE_S - 0.2)  # emptied for a moment, as TCP does
    assert seen.wait(0.2, 5)
    assert not seen.wait(0.01, GONE_S + 0.2)
    assert not seen.is_longer


def test_a_queue_that_drains_was_our_own() -> None:
    seen = Seen()
    seen.contention.reduced(2 * MBPS, seen.now)
    assert not seen.wait(0.2, PATIENCE_S - 0.2)
    assert not seen.wait(0.01, 0.1)
    assert not seen.wait(0.2, 60)


def test_who_still_sends_much_does_not_know() -> None:
    seen = Seen()
    seen.contention.reduced(1.1 * MBPS, seen.now)
    assert not seen.wait(0.2, 10)


def test_it_is_asked_again_from_time_to_time() -> None:
    seen = Seen()
    seen.contention.reduced(2 * MBPS, seen.now)
    assert seen.wait(0.2, LASTS_S)
    assert not seen.wait(0.2, PATIENCE_S + 0.2)
    seen.contention.reduced(2 * MBPS, seen.now)
    assert seen.wait(0.2, PATIENCE_S + 0.2)


def test_a_way_that_has_become_longer_is_nobodys_queue() -> None:
    seen = Seen()
    seen.contention.reduced(2 * MBPS, seen.now)
    assert not seen.wait(0.2, 5, swing_s=0.002)
    assert seen.is_longer


def test_a_link_that_has_become_another_one_is_known_by_a_tenth_of_a_second() -> None:
    way = Way()
    way.send(0.8 * MBPS, 2)
    assert way.queueing.latest_bps() is None
    way.bps = 0.3 * MBPS
    way.send(0.8 * MBPS, 0.1)
    latest_bps = way.queueing.latest_bps()
    assert latest_bps is not None
    assert abs(latest_bps - 0.3 * MBPS) < 0.02 * MBPS
    assert way.queueing.is_growing
    way.bps = MBPS
    way.send(0.8 * MBPS, 0.2)
    assert not way.queueing.is_growing
    way.send(0.1 * MBPS, 1)
    assert way.queueing.latest_bps() is None


def test_a_link_that_stops_for_a_moment_is_not_taken_for_a_slow_one() -> None:
    way = Way()
    way.send(1.5 * MBPS, 0.3)
    latest_bps = way.queueing.latest_bps()
    assert latest_bps is not None
    assert abs(latest_bps - MBPS) < 0.02 * MBPS
    way.stop(0.08)
    way.send(1.5 * MBPS, 0.02)
    assert way.queueing.latest_bps() is None


def test_what_was_sent_again_under_its_number_tells_nothing_of_the_link() -> None:
    queueing = Queueing()
    begin = [1000 + k * 0.02 for k in range(10)]
    queueing.add(report_of(begin, [at + WAY_S for at in begin], [100] * 10, missing=1, missing_bytes=100))
    # A sound of before that comes now, alone and with others; the link is idle.
    queueing.add(report_of([1000.1], [1000.5 + WAY_S], [100], numbers=[5], recovered=1))
    assert queueing.wait_s < 0.001
    later = [1000.1, 1000.52, 1000.54]
    arrived = [1000.539 + WAY_S, 1000.52 + WAY_S, 1000.54 + WAY_S]
    queueing.add(report_of(later, arrived, [100] * 3, numbers=[6, 10, 11], recovered=1))
    assert queueing.wait_s < 0.001
    assert queueing.link_bps() is None
