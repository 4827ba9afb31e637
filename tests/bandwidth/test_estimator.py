from __future__ import annotations

import gc
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.links import scenarios
from tests.support.links.clock import Clock
from tests.support.links.link import Link
from tests.support.links.media import MediaFlow
from tests.support.links.sources import Adaptive
from zvonim_sfu.bandwidth.estimator import (
    MAX_BPS,
    MIN_BPS,
    REMB_VALID_S,
    SILENCE_S,
    START_BPS,
    Estimator,
)
from zvonim_sfu.bandwidth.history import SendHistory
from zvonim_sfu.bandwidth.trendline import Usage
from zvonim_sfu.rtp.rtcp import parse_compound
from zvonim_sfu.rtp.transport_cc import TransportFeedback

MBPS = 1_000_000.0
NOW = 1000.0


def test_before_any_feedback_it_is_the_start() -> None:
    assert Estimator().estimate_bps == START_BPS
    assert Estimator(start_bps=1).estimate_bps == MIN_BPS
    assert Estimator(start_bps=1e12).estimate_bps == MAX_BPS


def test_without_transport_wide_numbers_remb_is_all_there_is() -> None:
    estimator = Estimator()
    estimator.on_remb(5 * MBPS, NOW)
    assert estimator.estimate_bps == 5 * MBPS
    estimator.on_remb(500 * MBPS, NOW + 1)
    assert estimator.estimate_bps == MAX_BPS
    estimator.on_timer(NOW + 1.1 + REMB_VALID_S)
    assert estimator.estimate_bps == START_BPS


def test_remb_bounds_it_while_it_is_repeated() -> None:
    estimator = Estimator()
    estimator.on_sent(1200, NOW - 0.1)
    estimator.on_remb(200_000, NOW)
    assert estimator.estimate_bps == 200_000
    assert estimator.snapshot().bound == "remb"
    estimator.on_remb(0, NOW)
    assert estimator.estimate_bps == MIN_BPS
    assert estimator.snapshot().bound == "min"
    estimator.on_remb(300_000, NOW + REMB_VALID_S)
    estimator.on_remb(300_000, NOW + 2 * REMB_VALID_S - 0.1)
    assert estimator.estimate_bps == 300_000
    estimator.on_feedback(TransportFeedback(1, 2, 0, 1, 0, 0, ((0, 0),)), NOW + 3 * REMB_VALID_S)
    assert estimator.estimate_bps == START_BPS
    assert estimator.snapshot().bound == "delay"


def test_packets_of_which_nothing_is_heard_halve_it_again_and_again() -> None:
    estimator = Estimator()
    for index in range(100):
        estimator.on_sent(1200, NOW + index / 10)
        estimator.on_timer(NOW + index / 10)
        if index / 10 < SILENCE_S:
            assert estimator.estimate_bps == START_BPS
    assert estimator.estimate_bps == MIN_BPS


def test_after_an_outage_it_begins_anew_whatever_was_lost_meanwhile() -> None:
    estimator = Estimator(start_bps=START_BPS / 2)
    for index in range(100):
        estimator.on_sent(1200, NOW + index / 10)
        estimator.on_timer(NOW + index / 10)
    assert estimator.estimate_bps == MIN_BPS
    estimator.on_feedback(TransportFeedback(1, 2, 0, 100, 0, 0, ((99, 0),)), NOW + 10)
    assert estimator.estimate_bps == START_BPS / 2
    for index in range(30):
        estimator.on_sent(1200, NOW + 10 + index / 10)
        estimator.on_timer(NOW + 10 + index / 10)
    estimator.on_feedback(TransportFeedback(1, 2, 129, 1, 2, 1, ((0, 0),)), NOW + 13)
    assert estimator.estimate_bps == START_BPS / 2


def test_who_is_sent_nothing_has_nothing_to_say() -> None:
    estimator = Estimator()
    for index in range(100):
        estimator.on_timer(NOW + index)
    assert estimator.estimate_bps == START_BPS
    assert estimator.is_application_limited


def test_nothing_is_probed_before_anything_came() -> None:
    estimator = Estimator()
    assert estimator.next_probe(NOW, MAX_BPS) is None
    estimator.on_sent(1200, NOW)
    assert estimator.next_probe(NOW + 0.1, MAX_BPS) is None


def test_the_snapshot_says_what_bounds_the_estimate() -> None:
    flow = scenarios.constant(2 * MBPS, seconds=30).flows[0]
    snapshot = flow.estimator.snapshot()
    assert snapshot.bound == "delay"
    assert snapshot.estimate_bps == snapshot.delay_bps
    assert snapshot.remb_bps == math.inf
    assert snapshot.acknowledged_bps == pytest.approx(snapshot.sent_bps, rel=0.2)
    assert 0.1 < snapshot.round_trip_s < 0.3
    assert snapshot.loss == 0
    assert snapshot.usage in Usage
    lossy = scenarios.constant(2 * MBPS, seconds=30, queue_s=0.02).flows[0]
    assert lossy.estimator.snapshot().bound == "loss"


def test_the_maximum_bounds_it_too() -> None:
    clock = Clock(NOW)
    estimator = Estimator(max_bps=MBPS)
    MediaFlow(clock, Link(5 * MBPS), Adaptive(), start_s=NOW, estimator=estimator)
    clock.run(NOW + 20)
    assert estimator.estimate_bps == MBPS
    assert estimator.snapshot().bound == "delay"


def test_a_switch_of_the_route_is_survived() -> None:
    """Delay grows by 200 ms at once and stays: no queue."""
    clock = Clock(NOW)
    link = Link(2 * MBPS)
    flow = MediaFlow(clock, link, Adaptive(), start_s=NOW)
    clock.run(NOW + 20)
    link.delay_s += 0.2
    clock.run(NOW + 40)
    assert flow.rate(NOW + 30, NOW + 40) > 0.7 * 2 * MBPS


feedbacks = st.builds(
    TransportFeedback,
    st.just(1),
    st.just(2),
    st.integers(0, 300) | st.integers(0, 0xFFFF),
    st.integers(1, 200) | st.integers(1, 0xFFFF),
    st.integers(0, 3) | st.integers(0, 0xFFFFFF),
    st.integers(0, 255),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60) | st.integers(-0x8000, 0x7FFF)), max_size=80).map(
        lambda pairs: tuple((sum(gap + 1 for gap, _ in pairs[: i + 1]) - 1, pairs[i][1]) for i in range(len(pairs)))
    ),
)

Call = Callable[[Estimator, float], object]


def _sends(count: int, size: int) -> Call:
    def call(estimator: Estimator, now: float) -> None:
        for index in range(count):
            estimator.on_sent(size, now + index / 1000)

    return call


def _probes(wanted_bps: float, length: int) -> Call:
    def call(estimator: Estimator, now: float) -> None:
        if estimator.next_probe(now, wanted_bps):
            _sends(length, 1000)(estimator, now)
            estimator.on_probe_sent(now)

    return call


calls = (
    st.builds(_sends, st.integers(0, 100), st.integers(0, 1500))
    | feedbacks.map(lambda feedback: lambda estimator, now: estimator.on_feedback(feedback, now))
    | st.integers(0, 1 << 40).map(lambda bps: lambda estimator, now: estimator.on_remb(bps, now))
    | st.just(Estimator.on_timer)
    | st.builds(_probes, st.floats(0, 1e8), st.integers(1, 20))
)


def _size(value: object, seen: set[int]) -> int:
    """How many things hang on an object, the ring left out."""
    if id(value) in seen or isinstance(value, (SendHistory, type)):
        return 0
    seen.add(id(value))
    return 1 + sum(_size(inner, seen) for inner in gc.get_referents(value))


@given(st.lists(st.tuples(st.floats(0, 2), calls), max_size=60))
def test_whatever_a_receiver_says_the_estimate_stays_in_its_bounds(steps: list[tuple[float, Call]]) -> None:
    twins = [Estimator(min_bps=30_000, max_bps=3 * MBPS, history=SendHistory(256)) for _ in range(2)]
    now = NOW
    for elapsed, call in steps:
        now += elapsed
        for estimator in twins:
            call(estimator, now)
        assert 30_000 <= twins[0].estimate_bps <= 3 * MBPS
        assert twins[0].estimate_bps == twins[1].estimate_bps
    assert _size(twins[0], set()) < 2000
    assert twins[0].snapshot() == twins[1].snapshot()


def test_what_it_holds_does_not_grow() -> None:
    short = scenarios.constant(2 * MBPS, seconds=20).flows[0].estimator
    long = scenarios.constant(2 * MBPS, seconds=100).flows[0].estimator
    assert _size(long, set()) < _size(short, set()) + 50


def test_feedback_goes_through_its_wire_format_unchanged() -> None:
    class ByWire(Estimator):
        def on_feedback(self, feedback: TransportFeedback, now: float) -> None:
            (parsed,) = parse_compound(feedback.pack())
            assert isinstance(parsed, TransportFeedback)
            super().on_feedback(parsed, now)

    ends = []
    for kind in (Estimator, ByWire):
        clock = Clock(NOW)
        flow = MediaFlow(clock, Link(1.5 * MBPS, loss=0.02), Adaptive(), start_s=NOW, estimator=kind())
        clock.run(NOW + 5)
        ends.append(flow.estimator.snapshot())
    assert ends[0] == ends[1]
