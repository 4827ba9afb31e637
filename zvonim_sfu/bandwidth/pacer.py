"""Paced sending to one receiver: a token bucket, so that a keyframe does not fill the queue of a thin link at once."""

from __future__ import annotations

import math
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from zvonim_sfu.bandwidth.probing import Probe

# Faster than the estimate: what the encoder makes comes in frames, and is not to wait for the next one.
FACTOR: Final = 1.5
# What may go at once, in time at the paced rate and in bytes: frames of a stream that is far below it pass as they are.
BURST_S: Final = 0.02
MIN_BURST_BYTES: Final = 3000
MAX_OVERDRAFT_BYTES: Final = 1500
# What waits is sent within it even if the estimate says otherwise: late pictures are of no use, and the estimate may
# have fallen while they waited.
MAX_WAIT_S: Final = 0.4
# Between two releases; in a probe less, for its rate is measured.
TICK_S: Final = 0.005
PROBE_TICK_S: Final = 0.002
# Less padding than this at once would be mostly headers.
PADDING_BYTES: Final = 250
# All that one receiver may have waiting: two large keyframes.
MAX_QUEUED_BYTES: Final = 400_000

Item = TypeVar("Item")


class Priority(IntEnum):
    """What goes first."""

    AUDIO = 0
    """Never waits, except behind audio."""
    REPAIR = 1
    VIDEO = 2


class Release(NamedTuple, Generic[Item]):
    """What to send now."""

    items: list[Item]
    padding: int
    """Bytes of padding to send behind them, for a probe."""


class Pacer(Generic[Item]):
    """Decides when packets go to one receiver.

    For each packet, or for all of one wake-up together, ask `admit`; what it admits is sent at once and never seen by
    the pacer. The rest is handed to `enqueue` and comes back from `release`, which is to be called at `next_at`. While
    the link is far from full everything is admitted and no timer runs.

    Args:
        estimate_bps: what the link is believed to hold, in bit/s; later by `set_estimate`.
    """

    __slots__ = ("_at", "_burst", "_bytes_per_s", "_credit", "_probe", "_probe_left", "_queues", "queued_bytes")

    queued_bytes: int
    """How much waits."""

    def __init__(self, *, estimate_bps: float) -> None:
        self._queues: tuple[deque[tuple[int, Item]], ...] = tuple(deque() for _ in Priority)
        self.queued_bytes = 0
        self.set_estimate(estimate_bps)
        # Bytes that may go at once; below zero after a packet that was larger.
        self._credit = float(MIN_BURST_BYTES)
        # When the credit was that.
        self._at = -math.inf
        self._probe: Probe | None = None
        self._probe_left = 0

    def set_estimate(self, bps: float) -> None:
        """Take a new estimate."""
        self._bytes_per_s = bps * FACTOR / 8
        self._burst = max(self._bytes_per_s * BURST_S, MIN_BURST_BYTES)

    def admit(self, size: int, now: float, priority: Priority = Priority.VIDEO) -> bool:
        """Ask whether `size` bytes may be sent at once. True also means that they were counted as sent."""
        if priority is Priority.AUDIO:
            self._refill(now)
            self._count(size)
            return True
        if self.queued_bytes or self._probe is not None:
            return False
        if now > self._at:  # as _refill, which this most frequent way cannot afford to call
            credit = self._credit + self._bytes_per_s * (now - self._at)
            self._credit = credit if credit < self._burst else self._burst
            self._at = now
        # A packet may overdraw, more than that is to be handed over packet by packet.
        if self._credit <= 0 or size > self._credit + MAX_OVERDRAFT_BYTES:
            return False
        self._credit -= size
        return True

    def enqueue(self, item: Item, size: int, priority: Priority = Priority.VIDEO) -> bool:
        """Keep a packet of `size` bytes until its time comes; False if too much waits and it is to be dropped."""
        if self.queued_bytes + size > MAX_QUEUED_BYTES:
            return False
        self._queues[priority].append((size, item))
        self.queued_bytes += size
        return True

    def begin_probe(self, probe: Probe, now: float) -> None:
        """Send at the rate of a probe from now on, until its bytes have gone."""
        self._refill(now)
        self._probe = probe
        self._probe_left = probe.size
        # Nothing saved up goes into it, for its packets are to be evenly apart.
        self._credit = min(self._credit, 1.0)

    @property
    def is_probing(self) -> bool:
        """Whether a probe is being sent."""
        return self._probe is not None

    def next_at(self) -> float | None:
        """When to call `release` next (s, by the clock of `now`); None while nothing waits."""
        if self._probe is None and not self.queued_bytes:
            return None
        if self._probe is None:
            return self._at + max(TICK_S, -self._credit / self._rate())
        needed = 0 if self.queued_bytes else PADDING_BYTES
        return self._at + max(PROBE_TICK_S, (needed - self._credit) / self._rate())

    def release(self, now: float) -> Release[Item]:
        """Return what may go now, the most urgent first."""
        self._refill(now)
        items: list[Item] = []
        while self._credit > 0 and self.queued_bytes:
            queue = next(queue for queue in self._queues if queue)
            size, item = queue.popleft()
            self.queued_bytes -= size
            items.append(item)
            self._count(size)
        padding = 0
        if self._probe is not None and self._credit >= PADDING_BYTES:
            padding = int(self._credit)
            self._count(padding)
        return Release(items, padding)

    def _rate(self) -> float:
        """In bytes per second."""
        if self._probe is not None:
            return self._probe.bps / 8
        return max(self._bytes_per_s, self.queued_bytes / MAX_WAIT_S)

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._credit = min(self._credit + self._rate() * (now - self._at), self._burst)
            self._at = now

    def _count(self, size: int) -> None:
        self._credit -= size
        if self._probe is not None:
            self._probe_left -= size
            if self._probe_left <= 0:
                self._probe = None
