"""One direction of a link as a model: when does a packet that is sent now arrive, if at all?

No clock, no sockets: times are arguments. The same seed, profile and packets give the same result, and each kind of
misfortune has its own source of chance, so that the same packets are lost whatever the jitter.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.support.relay.profile import Profile

PASS_THROUGH: Final = Profile()


@dataclass(slots=True)
class Counters:
    """What happened to packets; sent = delivered + lost + dropped + paused."""

    sent: int = 0
    delivered: int = 0
    """Without the second copies of `duplicated`."""
    delivered_bytes: int = 0
    lost: int = 0
    dropped: int = 0
    """By the queue of the bottleneck."""
    paused: int = 0
    """Sent into a pause."""
    duplicated: int = 0
    reordered: int = 0
    """Overtaken by one that was sent later (RFC 4737, section 3.3)."""

    def add(self, other: Counters) -> None:
        """Add another link's counters to these."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Link:
    """Decides about one packet after the other. `profile` and `paused` may change between any two of them.

    What was decided stays: a change is for packets that are sent after it.
    """

    def __init__(self, profile: Profile = PASS_THROUGH, seed: object = 0) -> None:
        """`seed` is told by its text: equal texts, equal luck."""
        self.paused = False
        """While true, whatever is sent is lost."""
        self.counters = Counters()
        self._loss, self._burst, self._delay, self._order, self._copy = (
            Random(f"{seed}/{kind}") for kind in ("loss", "burst", "delay", "order", "copy")
        )
        self._in_burst = False
        self._profile = PASS_THROUGH
        self._line_free_at = float("-inf")
        self._newest_arrival = float("-inf")
        # When each packet in the queue leaves it, and its length: what has left is forgotten at the next packet.
        self._queue: deque[tuple[float, int]] = deque()
        self._queued_bytes = 0
        # Arrivals of packets under way that nobody has overtaken yet, ascending.
        self._not_overtaken: deque[float] = deque()
        self.profile = profile

    @property
    def profile(self) -> Profile:
        """What the link does to packets that are sent from now on."""
        return self._profile

    @profile.setter
    def profile(self, profile: Profile) -> None:
        old, self._profile = self._profile, profile
        if (old.burst_loss, old.burst_packets) != (profile.burst_loss, profile.burst_packets):
            # Not always in the good state: the first packets are lost as often as later ones.
            self._in_burst = self._burst.random() < profile.burst_loss
        self._enter_burst = profile.enter_burst

    def send(self, length: int, now: float) -> list[float]:
        """Send a packet of `length` bytes; return when it arrives: [] if it does not, two times if it is duplicated.

        `now` is in seconds of any clock that does not go backwards, as are the times returned.
        """
        counters = self.counters
        counters.sent += 1
        if self.paused:
            counters.paused += 1
            return []
        leaves_at = self._pass_bottleneck(length, now)
        if leaves_at is None:
            counters.dropped += 1
            return []
        if self._is_lost():
            counters.lost += 1
            return []
        arrival = self._arrive(leaves_at)
        self._count_overtaken(arrival, now)
        counters.delivered += 1
        counters.delivered_bytes += length
        if self._profile.duplicate and self._copy.random() < self._profile.duplicate:
            counters.duplicated += 1
            return [arrival, arrival]
        return [arrival]

    def _pass_bottleneck(self, length: int, now: float) -> float | None:
        """Return when the packet has left the bottleneck; None if its queue is full."""
        profile = self._profile
        if profile.rate_bps is None:
            return now
        queue = self._queue
        while queue and queue[0][0] <= now:
            self._queued_bytes -= queue.popleft()[1]
        starts_at = max(now, self._line_free_at)
        if profile.queue_bytes is None:
            full = (starts_at - now) * 1000 > profile.queue_ms
        else:
            # An idle line takes a packet of any length.
            full = bool(queue) and self._queued_bytes + length > profile.queue_bytes
        if full:
            return None
        self._line_free_at = starts_at + length * 8 / profile.rate_bps
        queue.append((self._line_free_at, length))
        self._queued_bytes += length
        return self._line_free_at

    def _is_lost(self) -> bool:
        profile = self._profile
        lost = self._in_burst
        if profile.burst_loss:
            chance = self._burst.random()
            self._in_burst = chance >= 1 / profile.burst_packets if lost else chance < self._enter_burst
        if profile.loss and self._loss.random() < profile.loss:
            lost = True
        return lost

    def _arrive(self, leaves_at: float) -> float:
        profile = self._profile
        delay_ms = profile.delay_ms
        if profile.jitter_ms:
            if profile.distribution == "normal":
                delay_ms += self._delay.gauss(0.0, profile.jitter_ms)
            else:
                delay_ms += self._delay.uniform(-profile.jitter_ms, profile.jitter_ms)
        arrival = leaves_at + max(delay_ms, 0.0) / 1000
        if profile.reorder and self._order.random() < profile.reorder:
            return arrival + profile.reorder_ms / 1000
        if profile.keep_order:
            arrival = max(arrival, self._newest_arrival)
        self._newest_arrival = max(arrival, self._newest_arrival)
        return arrival

    def _count_overtaken(self, arrival: float, now: float) -> None:
        """Those under way that arrive after this one are overtaken by it; each is counted once."""
        under_way = self._not_overtaken
        while under_way and under_way[-1] > arrival:
            under_way.pop()
            self.counters.reordered += 1
        while under_way and under_way[0] <= now:
            under_way.popleft()
        under_way.append(arrival)
