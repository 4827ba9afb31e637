"""The link's promises. Bounds on chance are five standard deviations wide, and seeds are fixed: no test is flaky."""

from __future__ import annotations

import math
from itertools import groupby, pairwise
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.relay import Counters, Link, Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKETS = 20_000
SEEDS = range(5)

profiles = st.builds(
    Profile,
    loss=st.sampled_from([0, 0.2]),
    burst_loss=st.sampled_from([0, 0.3]),
    delay_ms=st.sampled_from([0.0, 40.0]),
    jitter_ms=st.sampled_from([0.0, 30.0]),
    distribution=st.sampled_from(["normal", "uniform"]),
    keep_order=st.booleans(),
    reorder=st.sampled_from([0, 0.2]),
    duplicate=st.sampled_from([0, 0.2]),
    rate_bps=st.sampled_from([None, 1e5, 1e6]),
    queue_ms=st.sampled_from([0.0, 50.0]),
    queue_bytes=st.sampled_from([None, 0, 4000]),
)
Packets = list[tuple[int, float]]
packets = st.lists(st.tuples(st.integers(0, 1500), st.floats(0, 0.05)), max_size=60)


def send_all(link: Link, lengths_and_gaps: Packets) -> list[tuple[float, list[float]]]:
    """Send packets and return when each was sent and arrived."""
    now, seen = 100.0, []
    for length, gap in lengths_and_gaps:
        now += gap
        seen.append((now, link.send(length, now)))
    return seen


def steadily(link: Link, count: int = PACKETS, *, gap: float = 0.001, length: int = 1000) -> list[list[float]]:
    """Send equal packets at equal distances from time 0 and return when each arrived."""
    return [link.send(length, i * gap) for i in range(count)]


def delays(arrivals: Sequence[Sequence[float]], gap: float = 0.001) -> list[float]:
    return [times[0] - i * gap for i, times in enumerate(arrivals) if times]


def close(share: float, expected: float, deviation: float) -> bool:
    return abs(share - expected) < 5 * deviation


def test_without_a_profile_all_arrives_at_once() -> None:
    link = Link()
    assert [link.send(100, now) for now in (1.0, 1.0, 2.5)] == [[1.0], [1.0], [2.5]]
    assert link.counters == Counters(sent=3, delivered=3, delivered_bytes=300)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss", [0.01, 0.05, 0.5])
def test_random_loss_is_as_asked_for_and_each_on_its_own(loss: float, seed: int) -> None:
    lost = [not times for times in steadily(Link(Profile(loss=loss), seed))]
    deviation = math.sqrt(loss * (1 - loss) / PACKETS)
    assert close(fmean(lost), loss, deviation)
    both = fmean(a and b for a, b in pairwise(lost))
    assert close(both, loss * loss, math.sqrt(loss * loss / PACKETS))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("loss", "length"), [(0.02, 3), (0.1, 5), (0.1, 20), (0.3, 1)])
def test_bursts_have_the_mean_loss_and_length_asked_for(loss: float, length: float, seed: int) -> None:
    lost = [not times for times in steadily(Link(Profile(burst_loss=loss, burst_packets=length), seed))]
    bursts = [len(list(group)) for is_lost, group in groupby(lost) if is_lost]
    # Lengths are geometric: their variance is length * (length - 1).
    assert close(fmean(bursts), length, math.sqrt(length * (length - 1) / len(bursts)) + 1e-9)
    # A share of dependent draws varies about as much as one of PACKETS / (2 * length) independent ones.
    assert close(fmean(lost), loss, math.sqrt(loss * (1 - loss) * 2 * length / PACKETS))


def test_no_loss_and_total_loss_are_exact() -> None:
    assert all(steadily(Link(Profile(loss=0)), 1000))
    assert not any(steadily(Link(Profile(loss=1)), 1000))


def test_bursts_and_random_loss_add() -> None:
    link = Link(Profile(loss=0.1, burst_loss=0.2))
    steadily(link)
    assert link.counters.lost / PACKETS == pytest.approx(1 - 0.9 * 0.8, abs=0.02)


def test_a_delay_is_exact() -> None:
    assert delays(steadily(Link(Profile(delay_ms=40)), 100)) == pytest.approx([0.04] * 100)


@pytest.mark.parametrize(("distribution", "deviation"), [("normal", 0.01), ("uniform", 0.01 / math.sqrt(3))])
def test_jitter_has_its_distribution(distribution: str, deviation: float) -> None:
    profile = Profile(delay_ms=60, jitter_ms=10, keep_order=False).but(f"distribution={distribution}")
    spread = delays(steadily(Link(profile)))
    assert fmean(spread) == pytest.approx(0.06, abs=0.0005)
    assert stdev(spread) == pytest.approx(deviation, rel=0.05)
    if distribution == "uniform":
        assert min(spread) >= 0.05
        assert max(spread) <= 0.07


def test_jitter_never_delivers_before_sending() -> None:
    assert min(delays(steadily(Link(Profile(jitter_ms=50, keep_order=False))))) == 0


def test_jitter_reorders_only_where_allowed() -> None:
    for keep_order in (True, False):
        link = Link(Profile(delay_ms=50, jitter_ms=10, keep_order=keep_order))
        arrivals = [times[0] for times in steadily(link)]
        assert (arrivals == sorted(arrivals)) == keep_order
        assert (link.counters.reordered == 0) == keep_order


def test_reordering_delays_the_share_asked_for_and_leaves_the_rest_in_order() -> None:
    link = Link(Profile(delay_ms=10, jitter_ms=2, reorder=0.05, reorder_ms=30))
    arrivals = [times[0] for times in steadily(link)]
    on_time = [at for i, at in enumerate(arrivals) if at - i * 0.001 < 0.03]
    assert on_time == sorted(on_time)
    assert close(1 - len(on_time) / PACKETS, 0.05, math.sqrt(0.05 * 0.95 / PACKETS))
    assert link.counters.reordered == pytest.approx(PACKETS - len(on_time), abs=5)


def test_each_overtaken_packet_counts_once() -> None:
    link = Link(Profile(reorder=1, reorder_ms=50))
    late = link.send(10, 0.0)
    link.profile = Profile()
    assert [link.send(10, at) for at in (0.01, 0.02, 0.04)] == [[0.01], [0.02], [0.04]]
    assert link.counters.reordered == 1
    assert late == [0.05]
    link.send(10, 0.06)
    assert link.counters.reordered == 1


def test_duplicates_arrive_twice_at_the_rate_asked_for() -> None:
    link = Link(Profile(delay_ms=10, duplicate=0.1))
    arrivals = steadily(link)
    assert {len(times) for times in arrivals} == {1, 2}
    assert all(len(set(times)) == 1 for times in arrivals)
    assert close(link.counters.duplicated / PACKETS, 0.1, math.sqrt(0.1 * 0.9 / PACKETS))
    assert link.counters.delivered == PACKETS


def test_a_thin_link_delivers_at_its_rate_and_drops_the_rest() -> None:
    link = Link(Profile(rate_bps=500_000, queue_ms=100))
    arrivals = [times[0] for times in steadily(link, 5000, length=250) if times]  # 2 Mbit/s for 5 s
    assert link.counters.delivered_bytes * 8 / arrivals[-1] == pytest.approx(500_000, rel=0.01)
    assert link.counters.dropped == 5000 - len(arrivals)
    assert max(delays(steadily(Link(link.profile), 5000, length=250))) <= 0.1 + 2 * 0.004


def test_below_its_rate_a_thin_link_only_takes_the_time_of_sending() -> None:
    link = Link(Profile(rate_bps=1_000_000))
    assert delays(steadily(link, 100, gap=0.01, length=1000), 0.01) == pytest.approx([0.008] * 100)


def test_a_queue_in_bytes_holds_that_many() -> None:
    link = Link(Profile(rate_bps=8000, queue_bytes=3000))
    arrivals = [link.send(1000, 0.0) for _ in range(5)]
    assert arrivals == [[1.0], [2.0], [3.0], [], []]
    assert link.send(1000, 1.5) == [4.0], "the first has left"


def test_an_idle_link_takes_a_packet_longer_than_its_queue() -> None:
    link = Link(Profile(rate_bps=8000, queue_bytes=0))
    assert [link.send(1000, at) for at in (0.0, 0.5, 1.0)] == [[1.0], [], [2.0]]


def test_when_the_rate_rises_what_has_left_takes_no_room_in_the_queue() -> None:
    link = Link(Profile(rate_bps=8000, queue_bytes=2000))
    assert [link.send(1000, 0.0) for _ in range(2)] == [[1.0], [2.0]]
    link.profile = Profile(rate_bps=8_000_000, queue_bytes=2000)
    assert link.send(1000, 1.5) == [2.001]


def test_loss_comes_after_the_bottleneck() -> None:
    link = Link(Profile(rate_bps=8000, loss=1))
    link.send(1000, 0.0)
    link.profile = Profile(rate_bps=8000, queue_ms=2000)
    assert link.send(1000, 0.0) == [2.0]


def test_a_pause_loses_what_is_sent_in_it() -> None:
    link = Link(Profile(delay_ms=10))
    before = link.send(10, 0.0)
    link.paused = True
    assert link.send(10, 0.001) == []
    link.paused = False
    assert before + link.send(10, 0.002) == pytest.approx([0.01, 0.012])
    assert link.counters == Counters(sent=3, delivered=2, delivered_bytes=20, paused=1)


def test_other_misfortunes_do_not_change_what_is_lost() -> None:
    plain = steadily(Link(Profile(loss=0.1, burst_loss=0.1), 7), 2000)
    busy = Profile(loss=0.1, burst_loss=0.1, delay_ms=40, jitter_ms=10, reorder=0.1, duplicate=0.1, keep_order=False)
    link = Link(busy, 7)
    half = steadily(link, 1000)
    link.profile = busy.but("delay=80")
    assert [bool(times) for times in plain] == [bool(times) for times in half + steadily(link, 1000)]


@given(profiles, packets, st.integers())
def test_same_seed_same_result(profile: Profile, some: Packets, seed: int) -> None:
    assert send_all(Link(profile, seed), some) == send_all(Link(profile, seed), some)


def test_other_seeds_other_losses() -> None:
    results = {tuple(map(bool, steadily(Link(Profile(loss=0.5), seed), 64))) for seed in ("a", "b", 1, 2)}
    assert len(results) == 4


@given(profiles, packets)
def test_every_packet_is_counted_once_and_never_early(profile: Profile, some: Packets) -> None:
    link = Link(profile)
    seen = send_all(link, some)
    count = link.counters
    assert count.sent == len(some) == count.delivered + count.lost + count.dropped + count.paused
    assert sum(len(times) for _, times in seen) == count.delivered + count.duplicated
    assert all(at >= now for now, times in seen for at in times)
    firsts = [times[0] for _, times in seen if times]
    overtaken = sum(any(later < first for later in firsts[i + 1 :]) for i, first in enumerate(firsts))
    assert count.reordered == overtaken


@given(st.lists(st.tuples(profiles, st.booleans(), packets), max_size=4))
def test_order_is_kept_across_changes(parts: list[tuple[Profile, bool, Packets]]) -> None:
    link, now, last = Link(), 0.0, 0.0
    for profile, paused, some in parts:
        link.profile, link.paused = profile.but("keep_order=true reorder=0"), paused
        for length, gap in some:
            now += gap
            for at in link.send(length, now):
                assert at >= last
                last = at
    assert link.counters.reordered == 0


@given(st.sampled_from([5e4, 1e6]), st.sampled_from([None, 3000]), st.floats(0, 300), packets)
def test_no_window_has_more_than_the_rate(rate: float, queue_bytes: int | None, queue_ms: float, some: Packets) -> None:
    link = Link(Profile(rate_bps=rate, queue_ms=queue_ms, queue_bytes=queue_bytes))
    seen = send_all(link, some)
    through = [(now, times[0], length) for (now, times), (length, _) in zip(seen, some, strict=True) if times]
    for i, (_, first, _) in enumerate(through):
        carried = 0.0
        for _, last, length in through[i + 1 :]:
            carried += length * 8
            assert carried <= (last - first) * rate + 1e-3
    for now, at, length in through:
        waited = at - now - length * 8 / rate
        most = queue_ms / 1000 if queue_bytes is None else queue_bytes * 8 / rate
        assert waited <= most + 1e-6


def test_it_remembers_no_more_than_what_is_under_way() -> None:
    link = Link(Profile(delay_ms=10, rate_bps=1e7, reorder=0.1, keep_order=False, jitter_ms=5))
    steadily(link, 10_000)
    assert len(link._queue) < 100
    assert len(link._not_overtaken) < 100
