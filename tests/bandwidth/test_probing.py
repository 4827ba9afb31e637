from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.reports import report_of
from zvonim_sfu.bandwidth.probing import (
    CALM_S,
    DURATION_S,
    MAX_DURATION_S,
    MAX_INTERVAL_S,
    MAX_PACKETS,
    MIN_BYTES,
    MIN_GAIN,
    RECOVERY_AFTER_S,
    RECOVERY_FACTOR,
    RESULT_TIMEOUT_S,
    UTILISATION,
    WANTED_FACTOR,
    Probe,
    ProbeCluster,
    ProbeControl,
)

if TYPE_CHECKING:
    from zvonim_sfu.bandwidth.reports import Report

MBPS = 1_000_000.0
NOW = 1000.0


def report(numbers: list[int], sent: list[float], arrived: list[float]) -> Report:
    return report_of(sent, arrived, [1250] * len(numbers), numbers=numbers)


def cluster(*, count: int = 10, interval_s: float = 0.005, arrival_s: float = 0.005, lost: int = 0) -> ProbeCluster:
    """Ten packets at 2 Mbit/s, of which the last came."""
    probed = ProbeCluster(100)
    probed.sent(100 + count)
    kept = range(lost, count)
    sent = [NOW + interval_s * index for index in kept]
    arrived = [50 + arrival_s * index for index in kept]
    assert probed.add(report([100 + index for index in kept], sent, arrived))
    return probed


def test_a_probe_is_short_but_of_enough_packets() -> None:
    assert Probe.at(4 * MBPS, 2 * MBPS).size == 4 * MBPS * DURATION_S / 8
    assert Probe.at(0.1 * MBPS, 0.05 * MBPS).size == MIN_BYTES


def test_a_probe_little_above_the_estimate_is_longer() -> None:
    assert Probe.at(1.5 * MBPS, MBPS).duration_s == pytest.approx(2 * DURATION_S)
    assert Probe.at(1.1 * MBPS, MBPS).duration_s == pytest.approx(MAX_DURATION_S)
    assert Probe.at(9 * MBPS, MBPS).duration_s == pytest.approx(DURATION_S)


@pytest.mark.parametrize(
    ("arrival_s", "bps", "full"),
    [
        (0.005, 2 * MBPS, False),  # as it was sent
        (0.0052, 2 * MBPS / 1.04, False),  # jitter
        (0.01, UTILISATION * MBPS, True),  # slowed down
        (0.003, 2 * MBPS, False),  # faster, which shows no more than was sent
    ],
)
def test_what_a_probe_shows(arrival_s: float, bps: float, full: bool) -> None:
    result = cluster(arrival_s=arrival_s).result_bps()
    assert result is not None
    assert result[0] == pytest.approx(bps)
    assert result[1] is full


@pytest.mark.parametrize("arrival_s", [0.001, 0.0, -0.001])
def test_arrivals_that_cannot_be_show_nothing(arrival_s: float) -> None:
    result = cluster(arrival_s=arrival_s).result_bps()
    assert result is None or arrival_s < 0


def test_a_probe_that_was_lost_in_part_shows_that_the_link_is_full() -> None:
    result = cluster(lost=1).result_bps()
    assert result is not None
    assert result[1]
    assert cluster(lost=3).result_bps() is None


def test_other_packets_are_no_part_of_it() -> None:
    probed = ProbeCluster(100)
    probed.sent(102)
    assert not probed.add(report([98, 99], [NOW, NOW], [1.0, 1.0]))
    assert not probed.add(report([100], [NOW], [1.0]))
    assert probed.add(report([101, 102], [NOW + 0.01, NOW + 5], [1.01, 6.0]))
    result = probed.result_bps()
    assert result is not None
    assert result[0] == pytest.approx(MBPS)


def test_feedback_on_the_first_packets_may_come_before_the_last_are_sent() -> None:
    probed = ProbeCluster(100)
    assert not probed.add(report([100, 101], [NOW, NOW + 0.1], [1.0, 1.1]))
    probed.sent(104)
    assert probed.add(report([102, 103], [NOW + 0.2, NOW + 0.3], [1.2, 1.3]))
    result = probed.result_bps()
    assert result is not None
    assert result[0] == pytest.approx(0.1 * MBPS)


def test_a_probe_that_nobody_ends_does_not_grow() -> None:
    probed = ProbeCluster(0)
    for first in range(0, 10 * MAX_PACKETS, 1000):
        numbers = list(range(first, first + 1000))
        assert not probed.add(report(numbers, [NOW] * 1000, [1.0] * 1000))
    probed.sent(10 * MAX_PACKETS)
    assert probed.result_bps() is None


class Prober:
    def __init__(self) -> None:
        self.control = ProbeControl(max_bps=20 * MBPS)
        self.now = NOW

    def next(self, estimate: float, wanted: float = 100 * MBPS, *, after: float = 0.0) -> float | None:
        """Return the rate of a probe, if there is one."""
        self.now += after
        probe = self.control.next(
            now=self.now, number=0, wanted_bps=wanted, estimate_bps=estimate, is_application_limited=False
        )
        return None if probe is None else probe.bps

    def carried(self, *, full: bool = False) -> None:
        """The link carries the probe; feedback tells so a round trip later."""
        self.control.sent(2, self.now)
        self.now += 0.1
        assert self.control.take(report([0, 1], [self.now, self.now + 0.01], [1.0, 1.01]), self.now)
        self.control.succeeded(full=full, gain=1.2, now=self.now)


def test_at_first_it_goes_up_from_result_to_result() -> None:
    prober = Prober()
    assert prober.next(MBPS) == 3 * MBPS
    assert prober.next(MBPS) is None  # its result is not there
    prober.carried()
    assert prober.next(3 * MBPS) == 6 * MBPS
    prober.carried(full=True)
    assert prober.next(6 * MBPS) is None
    assert prober.next(6 * MBPS, after=3) == 12 * MBPS


def test_nothing_is_probed_that_nobody_would_use() -> None:
    prober = Prober()
    assert prober.next(MBPS, 0.99 * MIN_GAIN / WANTED_FACTOR * MBPS) is None
    assert prober.next(MBPS, 0) is None
    assert prober.next(MBPS, 2 * MBPS) == WANTED_FACTOR * 2 * MBPS
    assert Prober().next(19.9 * MBPS) is None  # not above the limit


def test_a_probe_without_result_is_repeated_ever_more_seldom() -> None:
    prober = Prober()
    gaps = []
    last = None
    for _ in range(600):
        if prober.next(MBPS, after=0.1):
            prober.control.sent(2, prober.now)
            if last is not None:
                gaps.append(prober.now - last)
            last = prober.now
    assert gaps[0] > RESULT_TIMEOUT_S
    assert gaps == sorted(gaps) or gaps[-1] == pytest.approx(gaps[-2], abs=0.2)
    assert gaps[-1] == pytest.approx(MAX_INTERVAL_S + RESULT_TIMEOUT_S, abs=0.3)


def test_a_link_that_was_full_lately_is_left_alone() -> None:
    prober = Prober()
    assert prober.next(MBPS)
    prober.carried()
    prober.control.overused(before_bps=MBPS, now=prober.now)
    assert prober.next(0.9 * MBPS, after=CALM_S - 0.1) is None
    assert prober.next(0.9 * MBPS, after=0.2)


def test_after_a_deep_fall_it_is_tried_once_whether_that_has_passed() -> None:
    prober = Prober()
    assert prober.next(MBPS)
    prober.carried(full=True)
    prober.control.overused(before_bps=3 * MBPS, now=prober.now)
    prober.control.overused(before_bps=2 * MBPS, now=prober.now)
    assert prober.next(MBPS, after=RECOVERY_AFTER_S - 0.1) is None
    assert prober.next(MBPS, after=0.2) == pytest.approx(RECOVERY_FACTOR * 3 * MBPS)
    prober.carried(full=True)
    assert prober.next(MBPS, after=1) is None


def test_a_queue_is_the_probes_own_while_media_leaves_the_link_idle() -> None:
    for limited in (True, False):
        control = ProbeControl(max_bps=20 * MBPS)
        assert control.next(now=NOW, number=0, wanted_bps=9 * MBPS, estimate_bps=MBPS, is_application_limited=limited)
        control.sent(10, NOW + 0.05)
        assert control.disturbs(NOW + 0.1) is limited
        assert not control.disturbs(NOW + 2)
        assert not control.disturbs(NOW - 1)
