"""What is run in virtual time: test cases after RFC 8867, and others that a forwarding server meets."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.support.links.clock import Clock
from tests.support.links.link import Link
from tests.support.links.media import Adaptive, Layered, MediaFlow
from tests.support.links.tcp import TcpFlow

# Where virtual time begins: a monotonic clock's zero is never near.
START_S: Final = 1000.0
KBPS: Final = 1000.0
MBPS: Final = 1_000_000.0


@dataclass
class Run:
    """A scenario that has been run; times are in seconds since its beginning."""

    link: Link
    flows: list[MediaFlow]
    tcp: list[TcpFlow] = field(default_factory=list)

    def rates(self, start: float, end: float) -> list[float]:
        """Return what each flow received, in bit/s."""
        return [flow.rate(START_S + start, START_S + end) for flow in self.flows]

    def utilisation(self, start: float, end: float) -> float:
        """Return which share of the capacity media took, TCP and padding left out."""
        capacity = self.link.mean_capacity(START_S + start, START_S + end)
        return sum(self.rates(start, end)) / capacity

    def queue_ms(self, start: float, end: float, percentile: float = 95) -> float:
        """Return how long that share of packets waited at most, in milliseconds."""
        delays = sorted(delay for at, delay in self.link.delays if START_S + start <= at < START_S + end)
        return delays[int(len(delays) * percentile / 100)] * 1000

    def converged_s(self, bps: float, after: float, flow: int = 0) -> float:
        """Return how long after a moment a flow received that much over a second, in seconds."""
        return self.flows[flow].reached(bps, START_S + after)

    def overshoot(self, start: float, end: float, flow: int = 0) -> float:
        """Return the highest estimate against the capacity."""
        capacity = self.link.mean_capacity(START_S + start, START_S + end)
        return self.flows[flow].highest_estimate(START_S + start, START_S + end) / capacity


def steps(*capacity: tuple[float, float]) -> list[tuple[float, float]]:
    """Return a capacity over time, from pairs of seconds since the beginning and bit/s."""
    return [(START_S + at if at else 0.0, bps) for at, bps in capacity]


def _run(clock: Clock, run: Run, seconds: float) -> Run:
    clock.run(START_S + seconds)
    return run


def constant(bps: float, *, seconds: float = 60, feedback_s: float = 0.05, **link: float) -> Run:
    """One flow on a link that stays as it is."""
    clock = Clock(START_S)
    bottleneck = Link(bps, **link)  # type: ignore[arg-type]
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
    link = Link(steps((0, 4 * MBPS), (25, 2 * MBPS), (50, 3.5 * MBPS), (85, 1 * MBPS), (100, 2 * MBPS)))
    flows = [MediaFlow(clock, link, Adaptive(), start_s=START_S, seed=seed) for seed in (1, 2)]
    return _run(clock, Run(link, flows), 125)


def fall_and_return(low_bps: float) -> Run:
    """A link that falls for 40 s and is as before then."""
    clock = Clock(START_S)
    link = Link(steps((0, 1.5 * MBPS), (40, low_bps), (80, 1.5 * MBPS)))
    return _run(clock, Run(link, [MediaFlow(clock, link, Adaptive(), start_s=START_S)]), 120)


def competing(count: int, bps: float, *, seed: int = 1, seconds: float = 150) -> Run:
    """Flows of one kind that come one after the other, every 10 s (RFC 8867, section 5.4)."""
    clock = Clock(START_S)
    link = Link(bps)
    flows = [
        MediaFlow(clock, link, Adaptive(), start_s=START_S + 10 * index, seed=seed * 100 + index)
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
    return _run(clock, Run(link, flows), 200)


def long_tcp() -> Run:
    """A flow beside a TCP that has no end (RFC 8867, section 5.6); the TCP is there from 20 s to 80 s."""
    clock = Clock(START_S)
    link = Link(2 * MBPS)
    tcp = TcpFlow(clock, link, start_s=START_S + 20, stop_s=START_S + 80)
    return _run(clock, Run(link, [MediaFlow(clock, link, Adaptive(), start_s=START_S)], [tcp]), 120)


def short_tcp() -> Run:
    """A flow beside many short TCP transfers, as of somebody who browses (RFC 8867, section 5.7)."""
    clock = Clock(START_S)
    link = Link(2 * MBPS)
    random = Random(7)
    tcp = []
    at = START_S + 10
    while at < START_S + 110:
        tcp.append(TcpFlow(clock, link, start_s=at, size=random.randrange(30_000, 300_000)))
        at += random.expovariate(1 / 4)
    return _run(clock, Run(link, [MediaFlow(clock, link, Adaptive(), start_s=START_S)], tcp), 120)


def pause_and_resume() -> Run:
    """Three flows, of which the first is silent from 40 s to 60 s (RFC 8867, section 5.8)."""
    clock = Clock(START_S)
    link = Link(3.5 * MBPS)
    flows = [
        MediaFlow(
            clock,
            link,
            Adaptive(),
            start_s=START_S + index,
            seed=index,
            pauses=[(START_S + 40, START_S + 60)] if index == 0 else [],
        )
        for index in range(3)
    ]
    return _run(clock, Run(link, flows), 120)


def layers(bps: float) -> Run:
    """Simulcast layers of 150, 500 and 1500 kbit/s, and sound."""
    clock = Clock(START_S)
    link = Link(bps)
    source = Layered([150 * KBPS, 500 * KBPS, 1500 * KBPS])
    return _run(clock, Run(link, [MediaFlow(clock, link, source, start_s=START_S, audio=True)]), 60)


def broken_way_back() -> Run:
    """A flow whose feedback is lost from 20 s to 30 s (a part of RFC 8867, section 5.3)."""
    clock = Clock(START_S)
    link = Link(2 * MBPS)
    flow = MediaFlow(clock, link, Adaptive(), start_s=START_S)
    flow.feedback_lost = lambda now: START_S + 20 <= now < START_S + 30
    return _run(clock, Run(link, [flow]), 60)
