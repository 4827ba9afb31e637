"""What is run in virtual time: test cases after RFC 8867, and others that a forwarding server meets.

Of the RFC's cases capacities, times, delays and queues are as written there (section 4.4: 50 ms one way, a drop-tail
queue of 300 ms); jitter is evenly distributed up to its 30 ms where a case has any.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Final

from tests.support.links.clock import Clock
from tests.support.links.link import Link
from tests.support.links.media import MediaFlow
from tests.support.links.sources import Adaptive, Layered, Slow
from tests.support.links.tcp import TcpFlow

if TYPE_CHECKING:
    from typing import Unpack

    from tests.support.links.link import LinkOptions

# Where virtual time begins: a monotonic clock's zero is never near.
START_S: Final = 1000.0
KBPS: Final = 1000.0
MBPS: Final = 1_000_000.0


@dataclass
class Run:
    """A scenario that has been run; times are in seconds since its beginning."""

    link: Link
    flows: list[MediaFlow]

    def rates(self, start: float, end: float) -> list[float]:
        """Return what each flow received, in bit/s."""
        return [flow.rate(START_S + start, START_S + end) for flow in self.flows]

    def utilisation(self, start: float, end: float) -> float:
        """Return which share of the capacity media took, TCP and padding left out."""
        capacity = self.link.mean_capacity(START_S + start, START_S + end)
        return sum(self.rates(start, end)) / capacity

    def queue_ms(self, start: float, end: float, percentile: float = 95) -> float:
        """Return how long that share of packets waited at most, in milliseconds."""
        return _percentile_ms(self.link.waits(START_S + start, START_S + end), percentile)

    def sound_ms(self, start: float, end: float, percentile: float = 95) -> float:
        """The same for the first flow's sound."""
        sound = [wait for at, wait in self.flows[0].sound if START_S + start <= at < START_S + end]
        return _percentile_ms(sound, percentile)

    def switches(self, picture: int = 0) -> list[tuple[float, int]]:
        """Return when the first flow's picture came at another layer, and at which; -1 for none."""
        source = self.flows[0].source
        assert isinstance(source, Layered)
        return [(at - START_S, layer) for at, index, layer in source.switches if index == picture]

    def shown(self, picture: int, start: float, end: float) -> list[tuple[int, float]]:
        """Return the layers at which it came in a span of time, and for how long (s) each."""
        changes = [(at, layer) for at, layer in self.switches(picture) if start < at < end]
        before = [layer for at, layer in self.switches(picture) if at <= start]
        times = [start, *(at for at, _ in changes), end]
        layers = [before[-1] if before else -1, *(layer for _, layer in changes)]
        return [(layer, b - a) for (a, b), layer in zip(pairwise(times), layers, strict=True)]

    def wrong_layer_s(self, layer: int, start: float, end: float) -> float:
        """Return for how much of a span of time the first picture was not at that layer, in seconds."""
        return sum(seconds for index, seconds in self.shown(0, start, end) if index != layer)

    def converged_s(self, bps: float, after: float, flow: int = 0) -> float:
        """Return how long after a moment a flow received that much over a second, in seconds."""
        return self.flows[flow].reached(bps, START_S + after)

    def link_changed_at(self, time: float) -> float:
        """Return since when the capacity has been what it is at a time."""
        return max(self.link.capacity_since(START_S + time) - START_S, 0.0)

    def settled_s(self, after: float, end: float) -> float | None:
        """Return how long after a moment all flows together took 0.8 of the capacity over a second; None: never."""
        at = after
        while at + 1 <= end:
            if self.utilisation(at, at + 1) >= 0.8:
                return at - after
            at += 0.1
        return None

    def overshoot(self, start: float, end: float, flow: int = 0) -> float:
        """Return the highest estimate against the capacity."""
        capacity = self.link.mean_capacity(START_S + start, START_S + end)
        return self.flows[flow].highest_estimate(START_S + start, START_S + end) / capacity


def _percentile_ms(waits: list[float], percentile: float) -> float:
    return sorted(waits)[int(len(waits) * percentile / 100)] * 1000


def steps(*capacity: tuple[float, float]) -> list[tuple[float, float]]:
    """Return a capacity over time, from pairs of seconds since the beginning and bit/s."""
    return [(START_S + at if at else 0.0, bps) for at, bps in capacity]


def _run(clock: Clock, run: Run, seconds: float) -> Run:
    clock.run(START_S + seconds)
    return run


def constant(bps: float, *, seconds: float = 60, feedback_s: float = 0.05, **link: Unpack[LinkOptions]) -> Run:
    """One flow on a link that stays as it is."""
    clock = Clock(START_S)
    bottleneck = Link(bps, **link)
    flow = MediaFlow(clock, bottleneck, Adaptive(), start_s=START_S, feedback_s=feedback_s)
    return _run(clock, Run(bottleneck, [flow]), seconds)


def variable_capacity(jitter_s: float = 0.0) -> Run:
    """One flow, capacity up and down (RFC 8867, section 5.1)."""
    clock = Clock(START_S)
    link = Link(steps((0, 1 * MBPS), (40, 2.5 * MBPS), (60, 0.6 * MBPS), (80, 1 * MBPS)), jitter_s=jitter_s)
    return _run(clock, Run(link, [MediaFlow(clock, link, Adaptive(), start_s=START_S, audio=True)]), 100)


def variable_capacity_two() -> Run:
    """Two flows, capacity up and down (RFC 8867, section 5.2)."""
    clock = Clock(START_S)
    link = Link(steps((0, 4 * MBPS), (25, 2 * MBPS), (50, 3.5 * MBPS), (75, 1 * MBPS), (100, 2 * MBPS)))
    flows = [MediaFlow(clock, link, Adaptive(), start_s=START_S, seed=seed) for seed in (1, 2)]
    return _run(clock, Run(link, flows), 125)


def congested_feedback() -> tuple[Run, Run]:
    """A flow each way; the feedback of each takes the other's link (RFC 8867, section 5.3). Returns both ways."""
    clock = Clock(START_S)
    there = Link(steps((0, 2 * MBPS), (20, 1 * MBPS), (40, 0.5 * MBPS), (60, 2 * MBPS)))
    back = Link(steps((0, 2 * MBPS), (35, 0.8 * MBPS), (70, 2 * MBPS)))
    flows = [
        MediaFlow(clock, there, Adaptive(), back=back, start_s=START_S, audio=True, seed=1),
        MediaFlow(clock, back, Adaptive(), back=there, start_s=START_S, audio=True, seed=2),
    ]
    clock.run(START_S + 100)
    return Run(there, flows[:1]), Run(back, flows[1:])


def fall_and_return(low_bps: float) -> Run:
    """A link that falls for 40 s and is as before then."""
    clock = Clock(START_S)
    link = Link(steps((0, 1.5 * MBPS), (40, low_bps), (80, 1.5 * MBPS)))
    return _run(clock, Run(link, [MediaFlow(clock, link, Adaptive(), start_s=START_S)]), 120)


def fall_below_a_slow_camera(every: int, seed: int) -> tuple[Run, float]:
    """A link of 1.5 Mbit/s that becomes one of 0.4, beside probes, where 0.53 are sent; with when it does (s)."""
    clock = Clock(START_S)
    fall_s = 30 + 0.037 * seed
    link = Link(steps((0, 1.5 * MBPS), (fall_s, 0.4 * MBPS)), queue_s=0.2, delay_s=0.02)
    source = Slow(530 * KBPS, every, 1.5 * MBPS)
    flow = MediaFlow(clock, link, source, start_s=START_S, audio=True, feedback_s=0.06, seed=seed)
    return _run(clock, Run(link, [flow]), fall_s + 3), fall_s


def slow_camera(seed: int) -> Run:
    """A link of 1.5 Mbit/s, and 0.56 sent as 7.5 frames per second, each of which takes 50 ms to get through."""
    clock = Clock(START_S)
    link = Link(1.5 * MBPS, delay_s=0.02)
    source = Slow(560 * KBPS, 4, 1.75 * MBPS)
    flow = MediaFlow(clock, link, source, start_s=START_S, audio=True, feedback_s=0.0625, seed=seed)
    return _run(clock, Run(link, [flow]), 60)


def stalling(seed: int) -> Run:
    """A small picture and a voice on a link that holds far more, but carries nothing for 0.2 s now and then."""
    clock = Clock(START_S)
    starts = [at + 0.071 * seed for at in range(5, 60, 3)]
    stalls = [pair for at in starts for pair in ((at, 1 * KBPS), (at + 0.2, 3 * MBPS))]
    link = Link(steps((0, 3 * MBPS), *stalls), delay_s=0.02, jitter_s=0.05, queue_s=2, seed=seed)
    flow = MediaFlow(clock, link, Adaptive(45 * KBPS), start_s=START_S, audio=True, feedback_s=0.0625, seed=seed)
    return _run(clock, Run(link, [flow]), 60)


def fall_below_a_small_picture(seed: int) -> tuple[Run, float]:
    """A small picture and a voice on a link that comes to hold half of them; with when it does (s)."""
    clock = Clock(START_S)
    fall_s = 30 + 0.037 * seed
    link = Link(steps((0, 3 * MBPS), (fall_s, 50 * KBPS)), queue_s=2, delay_s=0.02)
    flow = MediaFlow(clock, link, Adaptive(60 * KBPS), start_s=START_S, audio=True, feedback_s=0.0625, seed=seed)
    return _run(clock, Run(link, [flow]), fall_s + 3), fall_s


def competing(count: int, bps: float, *, apart_s: float = 20, seed: int = 1, seconds: float = 120) -> Run:
    """Flows of one kind that come one after the other (RFC 8867, section 5.4)."""
    clock = Clock(START_S)
    link = Link(bps)
    flows = [
        MediaFlow(clock, link, Adaptive(), start_s=START_S + apart_s * index, seed=seed * 100 + index)
        for index in range(count)
    ]
    return _run(clock, Run(link, flows), seconds)


def round_trip_fairness() -> Run:
    """Five flows with one-way delays of 10 to 150 ms (RFC 8867, section 5.5)."""
    clock = Clock(START_S)
    link = Link(4 * MBPS, delay_s=0.0)
    flows = [
        MediaFlow(clock, link, Adaptive(), start_s=START_S + 10 * index, extra_delay_s=delay_s, seed=index)
        for index, delay_s in enumerate((0.01, 0.025, 0.05, 0.1, 0.15))
    ]
    return _run(clock, Run(link, flows), 300)


def long_tcp(*, queue_s: float = 0.3, start_s: float = 0, stop_s: float = 120, media_s: float = 5) -> Run:
    """A flow beside a TCP that is there before it (RFC 8867, section 5.6)."""
    clock = Clock(START_S)
    link = Link(2 * MBPS, queue_s=queue_s)
    TcpFlow(clock, link, start_s=START_S + start_s, stop_s=START_S + stop_s)
    return _run(clock, Run(link, [MediaFlow(clock, link, Adaptive(), start_s=START_S + media_s)]), 120)


def short_tcp(*, kilobytes: tuple[int, int] = (30, 50)) -> Run:
    """Two flows beside ten that fetch files, one after the other, and rest 10 s on average (RFC 8867, section 5.7).

    Two fetch from the beginning. The sizes are those of RFC 8868, section 6.1.
    """
    clock = Clock(START_S)
    link = Link(2 * MBPS)
    random = Random(7)

    def fetch(at: float) -> None:
        size = 1000 * random.randint(*kilobytes)
        TcpFlow(clock, link, start_s=at, size=size, on_end=lambda: fetch(clock.now + random.expovariate(1 / 10)))

    for index in range(10):
        fetch(START_S if index < 2 else START_S + random.expovariate(1 / 10))
    flows = [MediaFlow(clock, link, Adaptive(), start_s=START_S + 5, seed=seed) for seed in (1, 2)]
    return _run(clock, Run(link, flows), 300)


def pause_and_resume() -> Run:
    """Three flows, of which the first is silent from 40 s to 60 s (RFC 8867, section 5.8)."""
    clock = Clock(START_S)
    link = Link(3.5 * MBPS)
    flows = [
        MediaFlow(
            clock,
            link,
            Adaptive(),
            start_s=START_S,
            seed=index,
            pauses=[(START_S + 40, START_S + 60)] if index == 0 else [],
        )
        for index in range(3)
    ]
    return _run(clock, Run(link, flows), 120)


# What goes with video: one voice.
SOUND_BPS: Final = 50 * KBPS
LAYERS_BPS: Final = [150 * KBPS, 500 * KBPS, 1500 * KBPS]


def layers(*capacity: tuple[float, float], pictures: int = 1, seconds: float = 60, **link: Unpack[LinkOptions]) -> Run:
    """Pictures in simulcast layers of 150, 500 and 1500 kbit/s, and sound, on a link of a capacity over time."""
    clock = Clock(START_S)
    bottleneck = Link(steps(*capacity), **link)
    source = Layered(LAYERS_BPS, pictures=pictures, reserved_bps=SOUND_BPS)
    return _run(clock, Run(bottleneck, [MediaFlow(clock, bottleneck, source, start_s=START_S, audio=True)]), seconds)


# When the link changes, what it holds from then on, and which layer fits beside the sound, -1 for none.
DOWN_AND_UP: Final = [
    (0, 3 * MBPS, 2),
    (30, 1.5 * MBPS, 1),
    (60, 400 * KBPS, 0),
    (90, 150 * KBPS, -1),
    (120, 400 * KBPS, 0),
    (150, 1.5 * MBPS, 1),
    (180, 3 * MBPS, 2),
]


def grid() -> Run:
    """Nine pictures on a link that falls from 8 Mbit/s to 1.5 Mbit/s, to 600 kbit/s, and comes back."""
    return layers((0, 8 * MBPS), (30, 1.5 * MBPS), (60, 600 * KBPS), (90, 8 * MBPS), pictures=9, seconds=150)


def down_and_up(**link: Unpack[LinkOptions]) -> Run:
    """The same on a link that shrinks in steps until it holds little more than sound, and comes back likewise."""
    capacity = ((at, bps) for at, bps, _ in DOWN_AND_UP)
    return layers(*capacity, seconds=210, **link)


def broken_way_back() -> Run:
    """A flow whose feedback is lost from 20 s to 30 s."""
    clock = Clock(START_S)
    link = Link(2 * MBPS)
    flow = MediaFlow(clock, link, Adaptive(), start_s=START_S)
    flow.feedback_lost = lambda now: START_S + 20 <= now < START_S + 30
    return _run(clock, Run(link, [flow]), 60)
