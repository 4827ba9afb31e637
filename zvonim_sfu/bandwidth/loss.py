"""A bound by loss: for links that drop instead of queueing (draft-ietf-rmcat-gcc-02, section 6).

The draft stops growing above 2 % of loss and shrinks above 10 %, whatever loses the packets: over a radio link that
loses 3 % of everything it never grows, over one that loses 12 % it shrinks to nothing. Hence, as libwebrtc does since
its second loss-based estimator, loss that does not depend on the rate is told apart. What was lost while clearly less
was sent is the link's own, and only what exceeds it is an answer to what is sent. Without such a comparison it is made
by sending less.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

# Loss is judged over so long at least, and so many packets: one in ten of fewer is chance.
INTERVAL_S: Final = 0.5
MIN_PACKETS: Final = 40
MAX_INTERVAL_S: Final = 3.0
# Intervals that are remembered, and when one of them was clearly slower than the fastest.
MEMORY: Final = 20
SLOWER: Final = 0.88
# Loss at the slower ones that is this share of the loss at the others does not depend on the rate.
ALIKE: Final = 0.7
# More is not believed to be the link's own.
MAX_OWN_LOSS: Final = 0.15
# Beyond the link's own loss.
LOW_EXCESS: Final = 0.02
HIGH_EXCESS: Final = 0.05
# How many standard deviations of chance are forgiven: few packets scatter.
FORGIVEN_DEVIATIONS: Final = 2.0
RISE_PER_S: Final = 1.08


class LossBound:
    """The most that loss lets through; infinite until packets are lost.

    Args:
        min_bps: never less.
    """

    __slots__ = ("_began_at", "_history", "_min_bps", "_missing", "_received", "bps", "loss")

    bps: float
    """The bound, in bit/s."""
    loss: float
    """What was lost of the packets in the last whole interval, 0..1."""

    def __init__(self, *, min_bps: float) -> None:
        self.bps = math.inf
        self._min_bps = min_bps
        self.loss = 0.0
        # Rate and loss of each interval.
        self._history: deque[tuple[float, float]] = deque(maxlen=MEMORY)
        self._began_at: float | None = None
        self._received = 0
        self._missing = 0

    def update(
        self, *, received: int, missing: int, estimate_bps: float, sent_bps: float, is_queueing: bool, now: float
    ) -> bool:
        """Take the counts of a report; returns whether the bound was lowered.

        Args:
            received: packets that came.
            missing: packets that did not; less than 0 when some have come after all.
            estimate_bps: the estimate of now, which the bound replaces when it falls below it.
            sent_bps: at which rate was sent, lost packets too.
            is_queueing: whether packets take longer than they need; what is lost then is no loss of the link's own.
            now: seconds, monotonic.
        """
        if self._began_at is None:
            self._began_at = now
        if now < self._began_at:
            return False
        self._received += received
        self._missing += missing
        elapsed_s = now - self._began_at
        count = self._received + self._missing
        if elapsed_s < INTERVAL_S or (count < MIN_PACKETS and elapsed_s < MAX_INTERVAL_S):
            return False
        before_bps = self.bps
        if count >= MIN_PACKETS:
            self.loss = max(0.0, self._missing / count)
            self._history.append((sent_bps, 0.0 if is_queueing else self.loss))
            self._judge(count, estimate_bps, sent_bps, elapsed_s)
        self._began_at = now
        self._received = self._missing = 0
        return self.bps < before_bps

    def _judge(self, count: int, estimate_bps: float, sent_bps: float, elapsed_s: float) -> None:
        own = self._own_loss()
        chance = FORGIVEN_DEVIATIONS * math.sqrt(max(own, 1 / count) * (1 - own) / count)
        excess = self.loss - own
        if excess > HIGH_EXCESS + chance:
            # Half of what is lost is given up at once, the rest if it goes on. A reduction that would leave the
            # estimate above what is sent would be none; yet who sends little has not shown how much would get lost.
            before_bps = min(self.bps, estimate_bps, max(sent_bps, estimate_bps / 2))
            self.bps = max(before_bps * (1 - excess / 2), self._min_bps)
        elif excess < LOW_EXCESS + chance and self.bps < math.inf:
            raised_bps = self.bps * RISE_PER_S ** min(elapsed_s, 1.0)
            # Far above the estimate it bounds nothing; forgotten, so that it starts from the estimate the next time.
            self.bps = raised_bps if raised_bps < 2 * estimate_bps else math.inf

    def _own_loss(self) -> float:
        """Return what the link loses at lower rates too; 0 if less was lost then, or no such rate was tried lately."""
        slow_bps = SLOWER * max(sent_bps for sent_bps, _ in self._history)
        slow = [loss for sent_bps, loss in self._history if sent_bps <= slow_bps]
        if not slow:
            return 0.0
        fast = [loss for sent_bps, loss in self._history if sent_bps > slow_bps]
        own = sum(slow) / len(slow)
        return min(own, MAX_OWN_LOSS) if own >= ALIKE * sum(fast) / len(fast) else 0.0

    def skip(self, until: float) -> None:
        """Leave out what is reported before `until` (s): it was sent before a reduction that answers it already."""
        self._began_at = until
        self._received = self._missing = 0

    def allow(self, bps: float) -> None:
        """Raise the bound to what a probe has carried without undue loss."""
        self.bps = max(self.bps, bps)
