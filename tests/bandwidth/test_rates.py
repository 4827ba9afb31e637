"""What makes a rate of verdicts and counts: throughput, rate control, the bound by loss."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.support.reports import report_of
from zvonim_sfu.bandwidth.aimd import BACKOFF, CONTENDED_BACKOFF, HEADROOM_BPS, MAX_HEADROOM, RESPONSE_S, RateControl
from zvonim_sfu.bandwidth.loss import LossBound
from zvonim_sfu.bandwidth.throughput import Throughput
from zvonim_sfu.bandwidth.trendline import Usage

if TYPE_CHECKING:
    from zvonim_sfu.bandwidth.reports import Report

MBPS = 1_000_000.0


def report(sent: list[float], arrived: list[float], size: int = 1250, missing_bytes: int = 0) -> Report:
    return report_of(sent, arrived, [size] * len(sent), missing_bytes=missing_bytes)


def steady(throughput: Throughput, *, start: float, seconds: float, slower: float = 1.0) -> None:
    """1 Mbit/s, reported every 50 ms; comes `slower` than it was sent."""
    for index in range(round(seconds / 0.05)):
        at = [start + index * 0.05 + packet * 0.01 for packet in range(5)]
        throughput.add(report(at, [100 + time * slower for time in at]))


def test_rates_are_unknown_at_first() -> None:
    throughput = Throughput()
    assert throughput.sent_bps is None
    assert throughput.acknowledged_bps is None
    throughput.add(report([1.0, 1.2], [5.0, 5.2]))
    assert throughput.acknowledged_bps is None
    assert throughput.latest_bps is None


def test_rates_of_a_steady_stream() -> None:
    throughput = Throughput()
    steady(throughput, start=1, seconds=2)
    assert throughput.sent_bps == pytest.approx(MBPS)
    assert throughput.acknowledged_bps == pytest.approx(MBPS)
    assert throughput.latest_bps == pytest.approx(MBPS)


def test_a_full_link_is_seen_in_a_tenth_of_a_second() -> None:
    throughput = Throughput()
    steady(throughput, start=1, seconds=1)
    for index in range(4):
        at = 2 + index * 0.05
        throughput.add(report([at, at + 0.04], [100 + at, 100 + at + 0.04]))
    latest, acknowledged = throughput.latest_bps, throughput.acknowledged_bps
    assert latest is not None
    assert acknowledged is not None
    assert latest < acknowledged < MBPS


def test_what_comes_faster_than_it_was_sent_was_not_sent_faster() -> None:
    throughput = Throughput()
    steady(throughput, start=1, seconds=2, slower=0.1)
    assert throughput.acknowledged_bps == pytest.approx(MBPS)


def test_lost_packets_were_sent() -> None:
    throughput = Throughput()
    for index in range(20):
        at = 1 + index * 0.05
        throughput.add(report([at], [at], size=3125, missing_bytes=3125))
    assert throughput.sent_bps == pytest.approx(MBPS)
    assert throughput.acknowledged_bps == pytest.approx(MBPS / 2)


def test_what_was_before_a_pause_says_nothing() -> None:
    throughput = Throughput()
    steady(throughput, start=1, seconds=2)
    steady(throughput, start=20, seconds=0.1)
    assert throughput.acknowledged_bps is None


def test_a_report_of_late_packets_only_changes_little() -> None:
    throughput = Throughput()
    steady(throughput, start=1, seconds=1)
    throughput.add(report([1.9], [101.9]))
    acknowledged_bps = throughput.acknowledged_bps
    assert acknowledged_bps is not None
    assert MBPS <= acknowledged_bps < 1.1 * MBPS


def test_what_is_usual_knows_no_single_frames() -> None:
    throughput, usual, sent = Throughput(), [], []
    for step in range(100):
        at = 1000 + 0.05 * step
        frame = 8000 if step % 3 == 0 else 200
        throughput.add(report_of([at], [at + 0.02], [frame], numbers=[step]))
        usual.append(throughput.usual_bps)
        sent.append(throughput.sent_bps or 0.0)
    assert max(sent[40:]) > 1.4 * min(sent[40:])
    assert max(usual[40:]) < 1.2 * min(usual[40:])
    assert sum(usual[40:]) == pytest.approx(sum(sent[40:]), rel=0.1)


class Control:
    """Rate control with a clock that steps 50 ms."""

    def __init__(self, start_bps: float = MBPS) -> None:
        self.rate = RateControl(start_bps=start_bps, min_bps=50_000, max_bps=5 * MBPS)
        self.now = 1000.0

    def step(
        self, usage: Usage = Usage.NORMAL, acknowledged_bps: float = MBPS, *, wait_s: float = 0.0, times: int = 1
    ) -> float:
        for _ in range(times):
            self.now += 0.05
            self.rate.update(usage, acknowledged_bps, wait_s=wait_s, round_trip_s=0.1, now=self.now)
        return self.rate.bps


def test_rises_by_eight_per_cent_a_second_far_from_what_is_known() -> None:
    control = Control()
    assert control.step(times=21) == pytest.approx(1.08 * MBPS, rel=0.01)


def test_rises_no_further_than_what_comes_through_has_tested() -> None:
    control = Control()
    assert control.step(times=1000) == pytest.approx(MAX_HEADROOM * MBPS + HEADROOM_BPS)
    # What was found otherwise stays.
    control.rate.set(4 * MBPS, control.now)
    assert control.step(times=100) == 4 * MBPS


def test_falls_below_what_comes_through_and_holds_until_the_queue_has_drained() -> None:
    control = Control(2 * MBPS)
    control.step()
    assert control.step(Usage.OVERUSE) == pytest.approx(BACKOFF * MBPS)
    assert control.step(Usage.UNDERUSE, times=20) == pytest.approx(BACKOFF * MBPS)
    assert control.step(times=1) == pytest.approx(BACKOFF * MBPS)
    assert control.step(times=2) > BACKOFF * MBPS


def test_rises_by_a_packet_for_each_response_time_near_what_the_link_held() -> None:
    control = Control()
    control.step(Usage.OVERUSE)
    before = control.step(acknowledged_bps=BACKOFF * MBPS)
    after = control.step(acknowledged_bps=BACKOFF * MBPS, times=20)
    assert after - before == pytest.approx(9600 / (2 * RESPONSE_S), rel=0.01)


def test_rises_fast_again_once_more_comes_through_than_the_link_held() -> None:
    control = Control()
    control.step(Usage.OVERUSE, acknowledged_bps=MBPS)
    before = control.step(acknowledged_bps=1.5 * MBPS)
    assert control.step(acknowledged_bps=1.5 * MBPS, times=20) > before * 1.06


def test_is_not_reduced_again_before_it_can_have_helped() -> None:
    control = Control(2 * MBPS)
    control.step()
    control.step(Usage.OVERUSE, acknowledged_bps=1.5 * MBPS)
    reduced = control.rate.bps
    assert control.step(Usage.OVERUSE, acknowledged_bps=1.2 * MBPS) == reduced
    assert control.step(Usage.OVERUSE, acknowledged_bps=1.2 * MBPS, times=4) < reduced


def test_little_that_comes_through_is_another_link_only_where_it_makes_everything_wait() -> None:
    for wait_s, is_believed in ((0.002, False), (0.1, True)):
        control = Control(2 * MBPS)
        control.step()
        first = control.step(Usage.OVERUSE, acknowledged_bps=2 * MBPS)
        second = control.step(Usage.OVERUSE, acknowledged_bps=0.4 * MBPS, wait_s=wait_s)
        assert (second < 0.4 * MBPS) if is_believed else (second == first)
        # Should it last, it is one.
        assert control.step(Usage.OVERUSE, acknowledged_bps=0.4 * MBPS, wait_s=wait_s, times=4) < 0.4 * MBPS


def test_a_long_queue_is_drained_and_what_the_link_holds_is_taken_then() -> None:
    control = Control(2 * MBPS)
    control.step()
    assert control.step(Usage.OVERUSE, wait_s=0.3) == pytest.approx(0.7 * MBPS, rel=0.01)
    assert control.step(Usage.UNDERUSE, wait_s=0.2, times=5) == pytest.approx(0.7 * MBPS, rel=0.01)
    # The slope is gone before the queue is.
    assert control.step(wait_s=0.1, times=5) == pytest.approx(0.7 * MBPS, rel=0.01)
    assert control.step(wait_s=0.01) == pytest.approx(BACKOFF * MBPS)


def test_a_queue_that_stands_is_noticed_though_it_does_not_grow() -> None:
    control = Control()
    before = control.step(wait_s=0.07, times=40)
    assert before > MBPS
    assert control.step(wait_s=0.1, times=20, acknowledged_bps=before) < before * BACKOFF
    assert control.step(wait_s=0.01, acknowledged_bps=before) == pytest.approx(before * BACKOFF)


def test_beside_somebody_who_fills_the_queue_only_loss_counts() -> None:
    """A packet more for each round trip in each round trip, and so much less after all losses of one."""
    control = Control()
    control.step()

    def step(times: int, *, is_lossy: bool = False) -> float:
        for _ in range(times):
            control.now += 0.05
            control.rate.contend(
                is_lossy=is_lossy, acknowledged_bps=control.rate.bps, round_trip_s=0.4, now=control.now
            )
        return control.rate.bps

    before = control.rate.bps
    assert step(20) == pytest.approx(before + 9600 / 0.4**2, rel=0.01)
    before = control.rate.bps
    assert step(8, is_lossy=True) == pytest.approx(CONTENDED_BACKOFF * before)
    assert step(2, is_lossy=True) == pytest.approx(CONTENDED_BACKOFF**2 * before)


def test_never_rises_by_overuse() -> None:
    control = Control()
    assert control.step(Usage.OVERUSE, acknowledged_bps=10 * MBPS, times=10) <= MBPS


@pytest.mark.parametrize(("usage", "end"), [(Usage.OVERUSE, 50_000), (Usage.NORMAL, 5 * MBPS)])
def test_stays_within_its_bounds(usage: Usage, end: float) -> None:
    control = Control()
    for _ in range(1000):
        control.step(usage, acknowledged_bps=control.rate.bps)
    assert control.rate.bps == end


class Lossy:
    """Counts of a link that is asked for `sent_bps`, in packets of 10,000 bits, every 50 ms."""

    def __init__(self) -> None:
        self.bound = LossBound(min_bps=50_000)
        self.random = Random(3)
        self.now = 1000.0

    def run(
        self, seconds: float, *, loss: float = 0.0, capacity_bps: float = math.inf, wanted_bps: float = 2 * MBPS
    ) -> float:
        """Send what the bound allows; returns the bound."""
        carry = 0.0
        for _ in range(round(seconds / 0.05)):
            self.now += 0.05
            sent_bps = min(self.bound.bps, wanted_bps)
            carry += sent_bps * 0.05 / 10_000
            count, carry = int(carry), carry % 1
            share = max(loss, 1 - capacity_bps / sent_bps)
            missing = sum(self.random.random() < share for _ in range(count))
            self.bound.update(
                received=count - missing,
                missing=missing,
                estimate_bps=sent_bps,
                sent_bps=sent_bps,
                is_queueing=False,
                now=self.now,
            )
        return self.bound.bps


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.03])
def test_a_little_loss_bounds_nothing(loss: float) -> None:
    assert Lossy().run(60, loss=loss) == math.inf


def test_a_link_that_drops_what_it_cannot_hold_is_found() -> None:
    link = Lossy()
    link.run(5)
    assert link.run(15, capacity_bps=MBPS) == pytest.approx(MBPS, rel=0.25)
    assert link.bound.loss < 0.2


def test_loss_that_is_the_links_own_costs_little() -> None:
    link = Lossy()
    link.run(5)
    link.run(60, loss=0.1)
    assert link.run(30, loss=0.1) > 1.2 * MBPS


def test_the_bound_goes_when_loss_goes() -> None:
    link = Lossy()
    link.run(10, capacity_bps=0.5 * MBPS)
    assert link.bound.bps < MBPS
    assert link.run(30) == math.inf


def test_loss_in_a_queue_is_never_the_links_own() -> None:
    bound = LossBound(min_bps=50_000)
    for index in range(200):
        bound.update(
            received=30,
            missing=10,
            estimate_bps=min(MBPS, bound.bps),
            sent_bps=min(MBPS, bound.bps),
            is_queueing=True,
            now=1000 + index,
        )
    assert bound.bps == 50_000


def test_what_is_answered_already_is_left_out() -> None:
    bound = LossBound(min_bps=50_000)
    bound.skip(1010.0)
    for index in range(10):
        bound.update(received=0, missing=100, estimate_bps=MBPS, sent_bps=MBPS, is_queueing=False, now=1000.0 + index)
    assert bound.bps == math.inf
