"""Rate control by delay: more while no queue grows, less when one does (draft-ietf-rmcat-gcc-02, section 5.5)."""

from __future__ import annotations

import math
from typing import Final

from zvonim_sfu.bandwidth.trendline import Usage

# After a queue has grown: so much of what came through meanwhile, which drains it.
BACKOFF: Final = 0.85
# Far from what the link is known to hold.
RISE_PER_S: Final = 1.08
# Near it: one packet more for each time that it takes to see what that did, this and the round trip, twice (libwebrtc).
# The round trip is one for all, so that whoever has the longer way does not end up with less.
RESPONSE_S: Final = 0.08
PACKET_BITS: Final = 1200 * 8
# ... but no more than such a part of a thin stream, except that the thinnest catch up with others on their link.
MAX_RISE_PER_S: Final = 0.12
MIN_RISE_BPS: Final = 24_000
# What was never sent was never tested (section 5.5); the constant lets the thinnest streams begin.
MAX_HEADROOM: Final = 1.5
HEADROOM_BPS: Final = 10_000
# A queue that is longer than the first is to be gone within about two seconds: so much less for each second of it.
LONG_QUEUE_S: Final = 0.05
DRAIN_PER_S: Final = 0.6
MIN_BACKOFF: Final = 0.6
# A queue in which everything waits for so long, and does not grow, is one all the same, though no slope tells of it.
STANDING_S: Final = 0.08
STANDING_FOR_S: Final = 0.5
# While somebody else fills the queue, as TCP does: a packet more for each round trip, each round trip, and after a loss
# so much of it (RFC 9438 section 4.6).
CONTENDED_BACKOFF: Final = 0.7
# A round trip with a queue in it; a shorter one is not.
MIN_CONTENDED_S: Final = 0.2
# A queue takes a round trip, itself included, and some frames to show that it drains: not reduced again before.
DETECTION_S: Final = 0.1
MAX_PAUSE_S: Final = 0.6


class LinkCapacity:
    """What came through when the link was full: the mean of such moments, and how far they scatter (libwebrtc)."""

    __slots__ = ("_kbps", "_variance")

    _GAIN: Final = 0.05
    _MIN_VARIANCE: Final = 0.4
    _MAX_VARIANCE: Final = 2.5

    def __init__(self) -> None:
        self._kbps: float | None = None
        # Of a moment, against the mean, divided by the mean: in kbit/s, like the variance of a count.
        self._variance = self._MIN_VARIANCE

    @property
    def bps(self) -> float | None:
        """The mean in bit/s, None while it is unknown."""
        return None if self._kbps is None else self._kbps * 1000

    def _spread_kbps(self) -> float:
        return 3 * math.sqrt(self._variance * (self._kbps or 0.0))

    def exclude(self, acknowledged_bps: float, *, full: bool) -> None:
        """Forget the estimate if it cannot be true: more comes through, or (when `full`) far less."""
        if self._kbps is None:
            return
        kbps, spread = acknowledged_bps / 1000, self._spread_kbps()
        if kbps > self._kbps + spread or (full and kbps < self._kbps - spread):
            self._kbps = None

    def add(self, acknowledged_bps: float) -> None:
        """Take what came through while a queue grew."""
        kbps = acknowledged_bps / 1000
        if self._kbps is None:
            self._kbps = kbps
            return
        self._kbps += self._GAIN * (kbps - self._kbps)
        error = (self._kbps - kbps) ** 2 / max(self._kbps, 1.0)
        variance = self._variance + self._GAIN * (error - self._variance)
        self._variance = min(max(variance, self._MIN_VARIANCE), self._MAX_VARIANCE)

    def reset(self) -> None:
        """Forget it."""
        self._kbps = None


class RateControl:
    """The delay-based estimate.

    Args:
        start_bps: the first estimate.
        min_bps: never less.
        max_bps: never more.
    """

    __slots__ = (
        "_capacity",
        "_changed_at",
        "_is_draining",
        "_lost_at",
        "_max_bps",
        "_min_bps",
        "_reduced_at",
        "_restored_bps",
        "_standing_since",
        "bps",
    )

    bps: float
    """The estimate in bit/s."""

    def __init__(self, *, start_bps: float, min_bps: float, max_bps: float) -> None:
        self.bps = min(max(start_bps, min_bps), max_bps)
        self._min_bps = min_bps
        self._max_bps = max_bps
        self._capacity = LinkCapacity()
        # Since when the estimate has been as it is; None before the first update.
        self._changed_at: float | None = None
        # After a reduction the estimate is held until the queue is gone; then it is this much.
        self._is_draining = False
        self._restored_bps = 0.0
        # When it was lowered last: for the sake of a queue, and of a loss.
        self._reduced_at = -math.inf
        self._lost_at = -math.inf
        # Since when all packets have waited.
        self._standing_since: float | None = None

    def update(self, usage: Usage, acknowledged_bps: float, *, wait_s: float, round_trip_s: float, now: float) -> bool:
        """Follow the detector's verdict; returns whether the link was full.

        Args:
            usage: that verdict.
            acknowledged_bps: what comes through.
            wait_s: how long the packets of now wait at least, in seconds.
            round_trip_s: how long it takes now until feedback tells what has become of a packet, in seconds.
            now: seconds, monotonic.
        """
        if self._changed_at is None:
            self._changed_at = now
        if wait_s < STANDING_S:
            self._standing_since = None
        elif self._standing_since is None:
            self._standing_since = now
        pause_s = min(round_trip_s + DETECTION_S, MAX_PAUSE_S)
        if usage is Usage.OVERUSE:
            # What comes through of a few large frames differs from moment to moment: so little shows another link only
            # where everything waits for it.
            is_other = acknowledged_bps < self.bps / 2 and wait_s >= LONG_QUEUE_S
            if now - self._changed_at >= pause_s or not self._is_draining or is_other:
                self._reduce(acknowledged_bps, wait_s, now)
            return True
        if usage is Usage.UNDERUSE:
            # The queue drains: more now would keep it.
            self._drain()
        elif self._is_standing(now) and now - self._reduced_at >= STANDING_FOR_S + round_trip_s:
            self._reduce(acknowledged_bps, wait_s, now)
            return True
        elif self._is_draining:
            if self._standing_since is None:
                self._is_draining = False
                self.bps = max(self.bps, self._restored_bps)
                self._changed_at = now
        else:
            self._raise(acknowledged_bps, now)
        return False

    def contend(self, *, is_lossy: bool, acknowledged_bps: float, round_trip_s: float, now: float) -> None:
        """Take a share of a link on which somebody else fills the queue: by loss alone, as that one does.

        Args:
            is_lossy: whether packets were lost that were sent lately.
            acknowledged_bps: what comes through.
            round_trip_s: smoothed, in seconds.
            now: seconds, monotonic.
        """
        self._is_draining = False
        self._standing_since = None
        elapsed_s = min(now - (self._changed_at or now), 1.0)
        if is_lossy:
            if now - self._lost_at >= round_trip_s:
                self._lost_at = now
                self.bps = max(min(self.bps, acknowledged_bps) * CONTENDED_BACKOFF, self._min_bps)
        else:
            bound_bps = min(MAX_HEADROOM * acknowledged_bps + HEADROOM_BPS, self._max_bps)
            risen_bps = self.bps + PACKET_BITS / max(round_trip_s, MIN_CONTENDED_S) ** 2 * elapsed_s
            self.bps = max(self.bps, min(risen_bps, bound_bps))
        self._changed_at = now

    def set(self, bps: float, now: float) -> None:
        """Take an estimate that was found otherwise: by a probe, or given up for want of feedback."""
        if bps > self.bps:
            self._capacity.reset()
        self.bps = min(max(bps, self._min_bps), self._max_bps)
        self._changed_at = now

    @property
    def is_draining(self) -> bool:
        """Whether it was lowered for a queue that is not known to be gone yet."""
        return self._is_draining

    def _is_standing(self, now: float) -> bool:
        return self._standing_since is not None and now - self._standing_since >= STANDING_FOR_S

    def _drain(self) -> None:
        if not self._is_draining:
            self._is_draining = True
            self._restored_bps = 0.0

    def _reduce(self, acknowledged_bps: float, wait_s: float, now: float) -> None:
        reduced_bps = BACKOFF * acknowledged_bps
        if reduced_bps > self.bps and self._capacity.bps is not None:
            # A burst of what had waited: the link does not hold that much.
            reduced_bps = BACKOFF * self._capacity.bps
        reduced_bps = min(reduced_bps, self.bps)
        self._drain()
        self._reduced_at = now
        self._restored_bps = reduced_bps
        share = max(BACKOFF - DRAIN_PER_S * max(wait_s - LONG_QUEUE_S, 0.0), MIN_BACKOFF) / BACKOFF
        self.bps = max(reduced_bps * share, self._min_bps)
        self._capacity.exclude(acknowledged_bps, full=True)
        self._capacity.add(acknowledged_bps)
        self._changed_at = now

    def _raise(self, acknowledged_bps: float, now: float) -> None:
        self._capacity.exclude(acknowledged_bps, full=False)
        elapsed_s = min(now - (self._changed_at or 0.0), 1.0)
        self._changed_at = now
        # What a probe has found may stand above this bound; it is not raised further then, but not lowered either.
        bound_bps = min(MAX_HEADROOM * acknowledged_bps + HEADROOM_BPS, self._max_bps)
        if self.bps >= bound_bps:
            return
        if self._capacity.bps is None:
            raised_bps = self.bps * RISE_PER_S**elapsed_s + 1000 * elapsed_s
        else:
            raised_bps = self.bps + self._rise_near_capacity() * elapsed_s
        self.bps = min(raised_bps, bound_bps)

    def _rise_near_capacity(self) -> float:
        """Return by how much to rise, in bit/s for each second: by a packet for each response time."""
        return min(PACKET_BITS / (2 * RESPONSE_S), max(MAX_RISE_PER_S * self.bps, MIN_RISE_BPS))
