"""The overuse detector: groups of packets, and the line through their delays."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.support.reports import report_of
from zvonim_sfu.bandwidth.groups import ArrivalGroups, GroupDelta
from zvonim_sfu.bandwidth.trendline import THRESHOLD_MAX_MS, Trendline, Usage

if TYPE_CHECKING:
    from zvonim_sfu.bandwidth.reports import Report


def report(*packets: tuple[float, float]) -> Report:
    """Of send and arrival times in milliseconds."""
    sent = [at / 1000 for at, _ in packets]
    arrived = [at / 1000 for _, at in packets]
    return report_of(sent, arrived, [1200] * len(packets))


def in_ms(deltas: list[GroupDelta]) -> list[tuple[float, float]]:
    return [(round(delta.sent * 1000, 3), round(delta.arrived * 1000, 3)) for delta in deltas]


def test_groups_are_compared_by_their_last_packets() -> None:
    deltas = ArrivalGroups().deltas(report((0, 50), (4, 58), (20, 70), (24, 79), (40, 90)))
    assert in_ms(deltas) == [(20, 21)]


def test_groups_go_on_from_report_to_report() -> None:
    groups = ArrivalGroups()
    assert groups.deltas(report((0, 50))) == []
    assert groups.deltas(report((20, 70))) == []
    assert in_ms(groups.deltas(report((40, 95)))) == [(20, 20)]
    assert in_ms(groups.deltas(report((60, 110)))) == [(20, 25)]


def test_what_the_link_lets_go_at_once_is_one_group() -> None:
    # Three groups held back until 100 ms: their differences tell of the radio, not of a queue.
    deltas = ArrivalGroups().deltas(report((0, 50), (20, 100), (40, 101), (60, 102), (80, 130), (100, 150)))
    assert in_ms(deltas) == [(60, 52), (20, 28)]


def test_a_burst_has_an_end() -> None:
    packets = [(10.0 * index, 50.0 + 4 * index) for index in range(60)]
    assert len(ArrivalGroups().deltas(report(*packets))) >= 1


def test_a_packet_of_a_group_that_is_over_changes_nothing() -> None:
    straight = ((0, 50), (20, 70), (40, 90), (60, 110))
    assert in_ms(ArrivalGroups().deltas(report(*straight[:3], (20, 95), straight[3]))) == in_ms(
        ArrivalGroups().deltas(report(*straight))
    )


@pytest.mark.parametrize("jump", [10_000, -10_000])
def test_a_receiver_whose_clock_is_set_starts_anew(jump: float) -> None:
    packets = [(20.0 * index, 50.0 + 20 * index + (jump if index >= 5 else 0)) for index in range(20)]
    deltas = in_ms(ArrivalGroups().deltas(report(*packets)))
    assert set(deltas) == {(20, 20)}
    assert len(deltas) >= 10


def run(trendline: Trendline, delays_ms: list[float], *, interval_ms: float = 20) -> list[Usage]:
    """Give it a group every 20 ms with these one-way delays; returns the verdicts."""
    usages = []
    for index in range(1, len(delays_ms)):
        change = delays_ms[index] - delays_ms[index - 1]
        trendline.add(GroupDelta(interval_ms / 1000, (interval_ms + change) / 1000, index * interval_ms / 1000))
        usages.append(trendline.usage)
    return usages


def test_a_delay_that_stays_is_normal_use() -> None:
    assert set(run(Trendline(), [50.0] * 100)) == {Usage.NORMAL}


def test_a_queue_that_grows_is_overuse_within_half_a_second() -> None:
    usages = run(Trendline(), [50.0] * 60 + [50 + 4.0 * index for index in range(25)])
    assert Usage.OVERUSE not in usages[:59]
    assert Usage.OVERUSE in usages


def test_a_queue_that_drains_is_underuse_and_then_normal() -> None:
    usages = run(Trendline(), [250.0 - 4 * index for index in range(50)] + [50.0] * 100)
    assert Usage.UNDERUSE in usages[:60]
    assert Usage.OVERUSE not in usages
    assert usages[-1] is Usage.NORMAL


def test_jitter_is_no_overuse() -> None:
    random = Random(1)
    usages = run(Trendline(), [50 + random.uniform(0, 8) for _ in range(2000)])
    assert usages.count(Usage.OVERUSE) < 20


def test_the_threshold_follows_what_it_sees() -> None:
    """Upwards slowly, so that a queue of our own is noticed, and never for spikes; downwards fast."""
    trendline = Trendline()
    run(trendline, [50.0] * 200)
    calm_ms = trendline.threshold_ms
    run(trendline, [50 + 0.6 * index for index in range(200)])
    tolerant_ms = trendline.threshold_ms
    assert calm_ms < 7 < tolerant_ms
    run(trendline, [50 + 20.0 * index for index in range(100)])
    assert trendline.threshold_ms < 2 * tolerant_ms
    run(trendline, [50.0] * 200)
    assert trendline.threshold_ms == calm_ms


@pytest.mark.parametrize("delays", [[0.0, 1e7] * 100, [0.0, -1e7] * 100, [1e9 * index for index in range(100)]])
def test_nonsense_is_survived(delays: list[float]) -> None:
    trendline = Trendline()
    run(trendline, delays)
    assert 0 < trendline.threshold_ms <= THRESHOLD_MAX_MS
    run(trendline, [50.0] * 400)
    assert trendline.usage is Usage.NORMAL
