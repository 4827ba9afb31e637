"""Paced sending to one receiver: a token bucket, so that a keyframe does not fill the queue of a thin link at once."""

from __future__ import annotations

import math
from array import array
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

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

# Places in `Pacer.bucket`: bytes per second that come in, how many it holds at most and now, and since when (s).
RATE: Final = 0
BURST: Final = 1
CREDIT: Final = 2
AT: Final = 3
# Other than 0: something waits or a probe is sent, and all but audio has to go the same way.
SHUT: Final = 4
# Bytes that are left of a probe.
PROBE_LEFT: Final = 5

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

    For each packet, or for all of one wake-up together, ask `admit`, or do the same with `bucket` in compiled code;
    what it admits is sent at once and never seen by the pacer. The rest is handed to `enqueue` and comes back from
    `release`, which is to be called at `next_at`. While the link is far from full everything is admitted and no timer
    runs.

    Args:
        estimate_bps: what the link is believed to hold, in bit/s; later by `set_estimate`.
    """

    __slots__ = ("_bytes_per_s", "_probe", "_queues", "bucket", "queued_bytes")

    bucket: array[float]
    """The token bucket, see the places above; of fixed length, so that compiled code may take its buffer once."""
    queued_bytes: int
    """How much waits."""

    def __init__(self, *, estimate_bps: float) -> None:
        self._queues: tuple[deque[tuple[int, Item]], ...] = tuple(deque() for _ in Priority)
        self.queued_bytes = 0
        self._probe: Probe | None = None
        # The credit may be below zero, after a packet that was larger.
        self.bucket = array("d", (0.0, 0.0, MIN_BURST_BYTES, -math.inf, 0.0, 0.0))
        self.set_estimate(estimate_bps)

    def set_estimate(self, bps: float) -> None:
        """Take a new estimate."""
        self._bytes_per_s = bps * FACTOR / 8
        self.bucket[BURST] = max(self._bytes_per_s * BURST_S, MIN_BURST_BYTES)
        self._set_rate()

    def admit(self, size: int, now: float, priority: Priority = Priority.VIDEO) -> bool:
        """Ask whether `size` bytes may be sent at once. True also means that they were counted as sent."""
        bucket = self.bucket
        if bucket[SHUT] and priority is not Priority.AUDIO:
            return False
        if now > bucket[AT]:  # as _refill, which this most frequent way cannot afford to call
            credit = bucket[CREDIT] + bucket[RATE] * (now - bucket[AT])
            bucket[CREDIT] = credit if credit < bucket[BURST] else bucket[BURST]
            bucket[AT] = now
        credit = bucket[CREDIT]
        # A packet may overdraw, more than that is to be handed over packet by packet.
        if priority is not Priority.AUDIO and (credit <= 0 or size > credit + MAX_OVERDRAFT_BYTES):
            return False
        bucket[CREDIT] = credit - size
        bucket[PROBE_LEFT] -= size
        return True

    def enqueue(self, item: Item, size: int, priority: Priority = Priority.VIDEO) -> bool:
        """Keep a packet of `size` bytes until its time comes; False if too much waits and it is to be dropped."""
        if self.queued_bytes + size > MAX_QUEUED_BYTES:
            return False
        self._queues[priority].append((size, item))
        self.queued_bytes += size
        self._set_rate()
        return True

    def begin_probe(self, probe: Probe, now: float) -> None:
        """Send at the rate of a probe from now on, until its bytes have gone."""
        self._refill(now)
        self._probe = probe
        self.bucket[PROBE_LEFT] = probe.size
        # Nothing saved up goes into it, for its packets are to be evenly apart.
        self.bucket[CREDIT] = min(self.bucket[CREDIT], 1.0)
        self._set_rate()

    @property
    def is_probing(self) -> bool:
        """Whether a probe is being sent."""
        return self._probe is not None

    def next_at(self) -> float | None:
        """When to call `release` next (s, by the clock of `now`); None while nothing waits."""
        if self._probe is None and not self.queued_bytes:
            return None
        rate, credit, at = self.bucket[RATE], self.bucket[CREDIT], self.bucket[AT]
        if self._probe is None:
            return at + max(TICK_S, -credit / rate)
        needed = 0 if self.queued_bytes else PADDING_BYTES
        return at + max(PROBE_TICK_S, (needed - credit) / rate)

    def release(self, now: float) -> Release[Item]:
        """Return what may go now, the most urgent first."""
        self._refill(now)
        self._end_probe()
        items: list[Item] = []
        while self.bucket[CREDIT] > 0 and self.queued_bytes:
            queue = next(queue for queue in self._queues if queue)
            size, item = queue.popleft()
            self.queued_bytes -= size
            items.append(item)
            self._count(size)
        padding = 0
        if self._probe is not None and self.bucket[CREDIT] >= PADDING_BYTES:
            padding = int(self.bucket[CREDIT])
            self._count(padding)
        self._set_rate()
        return Release(items, padding)

    def pictures(self) -> list[Item]:
        """Return what waits of pictures, in order."""
        return [item for _, item in self._queues[Priority.VIDEO]]

    def discard(self, is_useless: Callable[[Item], bool]) -> list[Item]:
        """Let go of pictures and repairs that wait and are of no use any more; returns these pictures, in order."""
        found: list[Item] = []
        if self.queued_bytes:
            for priority in (Priority.REPAIR, Priority.VIDEO):
                queue = self._queues[priority]
                found = [item for _, item in queue if is_useless(item)]
                kept = [entry for entry in queue if not is_useless(entry[1])]
                queue.clear()
                queue.extend(kept)
            self.queued_bytes = sum(size for queue in self._queues for size, _ in queue)
            self._set_rate()
        return found

    def _set_rate(self) -> None:
        """Follow what has changed: the probe, what waits, the estimate."""
        if self._probe is not None:
            self.bucket[RATE] = self._probe.bps / 8
        else:
            self.bucket[RATE] = max(self._bytes_per_s, self.queued_bytes / MAX_WAIT_S)
        self.bucket[SHUT] = self._probe is not None or self.queued_bytes > 0

    def _refill(self, now: float) -> None:
        bucket = self.bucket
        if now > bucket[AT]:
            bucket[CREDIT] = min(bucket[CREDIT] + bucket[RATE] * (now - bucket[AT]), bucket[BURST])
            bucket[AT] = now

    def _count(self, size: int) -> None:
        self.bucket[CREDIT] -= size
        self.bucket[PROBE_LEFT] -= size
        self._end_probe()

    def _end_probe(self) -> None:
        if self.bucket[PROBE_LEFT] <= 0:
            self._probe = None
