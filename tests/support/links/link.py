"""A bottleneck: packets wait for each other in one queue, and may get lost."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from random import Random
from typing import TypedDict


class LinkOptions(TypedDict, total=False):
    """What else a link may be told than its capacity; see `Link`."""

    delay_s: float
    queue_s: float
    loss: float
    jitter_s: float
    seed: int


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
        # The capacity at that time, and until when it lasts.
        self._rate = self._rates[0]
        self._until = 0.0
        self.dropped = 0
        # When each packet was sent, and how long it waited, its own transmission included.
        self._sent_at: list[float] = []
        self._waits: list[float] = []

    def capacity_at(self, time: float) -> float:
        return self._rates[bisect_right(self._starts, time) - 1]

    def capacity_since(self, time: float) -> float:
        """Return since when it has been what it is at a time."""
        return self._starts[bisect_right(self._starts, time) - 1]

    def mean_capacity(self, start: float, end: float) -> float:
        """Return the mean over a span of time, in bit/s."""
        edges = [start, *(step for step in self._starts if start < step < end), end]
        return sum(self.capacity_at(a) * (b - a) for a, b in pairwise(edges)) / (end - start)

    def waits(self, start: float, end: float) -> list[float]:
        """Return how long each packet waited that was sent in a span of time, in seconds."""
        return self._waits[bisect_left(self._sent_at, start) : bisect_left(self._sent_at, end)]

    def send(self, size: int, now: float) -> float | None:
        """Send a packet of `size` bytes; returns when it comes to the far end, None if it never does."""
        begin = self._free_at
        if begin < now:
            begin = now
        elif begin - now > self._queue_s:
            self.dropped += 1
            return None
        end = begin + size * 8 / self._rate if begin < self._until else self._until
        if end >= self._until:
            end = self._transmitted(size * 8, begin)
        self._free_at = end
        self._sent_at.append(now)
        self._waits.append(end - now)
        if self._loss and self._random.random() < self._loss:
            return None
        arrival = end + self.delay_s
        if self._jitter_s:
            arrival = max(arrival + self._random.random() * self._jitter_s, self._last_arrival)
            self._last_arrival = arrival
        return arrival

    def _transmitted(self, bits: float, begin: float) -> float:
        """Return when so many bits have left, from `begin` on, through all changes of capacity."""
        index = bisect_right(self._starts, begin) - 1
        while True:
            self._rate = rate = self._rates[index]
            self._until = self._starts[index + 1] if index + 1 < len(self._starts) else float("inf")
            end = begin + bits / rate if rate else float("inf")
            if end <= self._until:
                return end
            bits -= rate * (self._until - begin)
            begin = self._until
            index += 1
