"""Whether somebody else fills the queue: a TCP that goes on until packets are lost, whatever delay that makes.

Who gives way to delay alone gives way to such a flow until nothing is left. The draft answers by a threshold that
follows the delays (draft-ietf-rmcat-gcc-02, section 5.4), which hides queues of our own as well; here, as Copa does
(Arun and Balakrishnan, NSDI 2018), such a flow is recognised by what it does: a queue that would have drained long ago
if it were ours does not. As long as it stands, delay says nothing, and only loss does.
"""

from __future__ import annotations

from collections import deque
from typing import Final

# A queue in which something waits less is empty.
EMPTY_S: Final = 0.05
# A queue of ours is gone within it after a reduction, at the latest.
PATIENCE_S: Final = 3.0
# Such a flow empties the queue itself for a moment, when it has lost packets; it has gone if the queue stays so.
GONE_S: Final = 2.0
# It is asked again whether the queue is somebody else's after so long: two of our kind could take each other for it.
LASTS_S: Final = 45.0
# What is sent is to have fallen by so much, against what the link carried when the queue was first seen.
REDUCED: Final = 0.6
# A way that has become longer makes packets late too, but all alike.
STEADY_S: Final = 0.01
STEADY_FOR_S: Final = 2.0


class Contention:
    """Tells whether the queue is somebody else's."""

    __slots__ = ("_began_at", "_empty_since", "_full_bps", "_since", "_waits", "is_contended")

    is_contended: bool
    """Whether it is."""

    def __init__(self) -> None:
        self.is_contended = False
        self._began_at = 0.0
        # Since when the queue has not been empty, by reductions that were to empty it, and the rate at the first.
        self._since: float | None = None
        self._full_bps = 0.0
        # Since when it has been empty.
        self._empty_since: float | None = None
        # When and how long packets waited at least; of the last seconds, one for each feedback.
        self._waits: deque[tuple[float, float]] = deque(maxlen=64)

    def reduced(self, full_bps: float, now: float) -> None:
        """Note that less is sent from now on because the link was full at that rate."""
        if self._since is None:
            self._since = now
            self._full_bps = full_bps

    def update(self, *, wait_s: float, estimate_bps: float, now: float) -> bool:
        """Take how long packets wait at least; returns whether it is the way itself that has become longer."""
        if wait_s < EMPTY_S:
            self._since = None
            self._waits.clear()
            if self._empty_since is None:
                self._empty_since = now
            if now - self._empty_since >= GONE_S:
                self.is_contended = False
            return False
        self._empty_since = None
        if self.is_contended and now - self._began_at >= LASTS_S:
            self.is_contended = False
            self._since = None
        if self._since is None or self.is_contended:
            return False
        self._waits.append((now, wait_s))
        if now - self._since < PATIENCE_S or estimate_bps > REDUCED * self._full_bps:
            return False
        lately = [wait for at, wait in self._waits if now - at <= STEADY_FOR_S]
        if max(lately) - min(lately) <= STEADY_S:
            return True
        self.is_contended = True
        self._began_at = now
        return False
