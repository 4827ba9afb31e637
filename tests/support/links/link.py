"""A bottleneck: packets wait for each other in one queue, and may get lost."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from random import Random


class Link:
    """A link with one drop-tail queue, shared by all who send over it.

    It needs no events: what a packet will meet is known when it is sent, for the queue is first in, first out and the
    capacity's future is given. Calls must come in the order of time.

    Args:
        capacity: bit/s by time: pairs of when (s) and how much from then on; the first at 0.
        delay_s: of propagation, one way.
        queue_s: how long a packet may have to wait; one that would wait longer is dropped.
        loss: probability that a packet is lost on the way, whatever waits.
        jitter_s: added to the delay, evenly distributed up to this; order is kept.
        seed: of loss and jitter.
    """

    def __init__(
        self,
        capacity: float | list[tuple[float, float]],
        *,
        delay_s: float = 0.05,
        queue_s: float = 0.3,
        loss: float = 0.0,
        jitter_s: float = 0.0,
        seed: int = 1,
    ) -> None:
        steps = capacity if isinstance(capacity, list) else [(0.0, capacity)]
        self._starts = [start for start, _ in steps]
        self._rates = [rate for _, rate in steps]
        self.delay_s = delay_s
        self._queue_s = queue_s
        self._loss = loss
        self._jitter_s = jitter_s
        self._random = Random(seed)
        # When the last packet will have left the queue, and the receiver's end.
        self._free_at = 0.0
        self._last_arrival = 0.0
        self.dropped = 0
        self.delays: list[tuple[float, float]] = []
        """When a packet was sent, and how long it waited (s), its own transmission included."""

    def capacity_at(self, time: float) -> float:
        return self._rates[bisect_right(self._starts, time) - 1]

    def mean_capacity(self, start: float, end: float) -> float:
        """Return the mean over a span of time, in bit/s."""
        edges = [start, *(step for step in self._starts if start < step < end), end]
        return sum(self.capacity_at(a) * (b - a) for a, b in pairwise(edges)) / (end - start)

    def send(self, size: int, now: float) -> float | None:
        """Send a packet of `size` bytes; returns when it comes to the far end, None if it never does."""
        begin = max(self._free_at, now)
        if begin - now > self._queue_s:
            self.dropped += 1
            return None
        self._free_at = self._transmitted(size * 8, begin)
        self.delays.append((now, self._free_at - now))
        if self._loss and self._random.random() < self._loss:
            return None
        jitter_s = self._random.random() * self._jitter_s if self._jitter_s else 0.0
        self._last_arrival = max(self._last_arrival, self._free_at + self.delay_s + jitter_s)
        return self._last_arrival

    def _transmitted(self, bits: float, begin: float) -> float:
        """Return when so many bits have left, from `begin` on, through all changes of capacity."""
        index = bisect_right(self._starts, begin) - 1
        while True:
            rate = self._rates[index]
            end = begin + bits / rate if rate else float("inf")
            if index + 1 == len(self._starts) or end <= self._starts[index + 1]:
                return end
            bits -= rate * (self._starts[index + 1] - begin)
            begin = self._starts[index + 1]
            index += 1
