"""How much a publisher should send, for one that negotiated goog-remb but not transport-wide congestion control.

By loss and throughput alone, as libwebrtc did before it measured delays: slowly more while packets come through, less
when they do not. It finds out that a link is full when the link drops, not when its queue grows, and takes a link that
loses more than a tenth of everything for a full one.
"""

from __future__ import annotations

from typing import Final

START_BPS: Final = 1_000_000
# Below it, video is not worth sending; audio needs less.
MIN_BPS: Final = 100_000
MAX_BPS: Final = 10_000_000

# A publisher follows within a second; shorter intervals would judge by a few packets.
INTERVAL_S: Final = 1.0
# A timer that is due once a second is sometimes early.
_INTERVAL_SLACK_S: Final = 0.1
# So few say nothing of the link: a muted camera, a pause in speech.
MIN_PACKETS: Final = 10
# The bounds of libwebrtc's loss-based control: below the lower one loss is the air's, above the higher the queue's.
LOW_LOSS: Final = 0.02
HIGH_LOSS: Final = 0.1
RISE_PER_S: Final = 1.08
# What was never used was never tested: the estimate stays within reach of what comes.
MAX_HEADROOM: Final = 1.5


class RembEstimator:
    """Turns counts of what a publisher sent and what came of it into a bitrate.

    Args:
        start_bps: the first bitrate, in bit/s as all others.
        min_bps: never less.
        max_bps: never more.
    """

    __slots__ = ("_at", "_expected", "_max_bps", "_min_bps", "_octets", "_received", "bitrate")

    bitrate: float
    """The estimate, in bit/s of RTP."""

    def __init__(self, *, start_bps: float = START_BPS, min_bps: float = MIN_BPS, max_bps: float = MAX_BPS) -> None:
        self.bitrate = min(max(start_bps, min_bps), max_bps)
        self._min_bps = min_bps
        self._max_bps = max_bps
        self._at: float | None = None
        self._octets = 0
        self._expected = 0
        self._received = 0

    def update(self, *, octets: int, expected: int, received: int, now: float) -> int | None:
        """Take the counters of all that the publisher has sent since the beginning; they may restart.

        Args:
            octets: that came.
            expected: packets that were sent, as their numbers tell.
            received: packets that came, repairs left out.
            now: seconds, monotonic.

        Returns:
            The bitrate to send in a REMB now, None until a second has passed since the last.
        """
        elapsed_s = INTERVAL_S if self._at is None else now - self._at
        if elapsed_s < INTERVAL_S - _INTERVAL_SLACK_S:
            return None
        if self._at is not None:
            self._adjust(octets - self._octets, expected - self._expected, received - self._received, elapsed_s)
        self._at = now
        self._octets, self._expected, self._received = octets, expected, received
        return int(self.bitrate)

    def _adjust(self, octets: int, expected: int, received: int, elapsed_s: float) -> None:
        if expected < MIN_PACKETS or received < 0 or octets < 0:
            return
        loss = min(1.0, max(0.0, 1 - received / expected))
        throughput = octets * 8 / elapsed_s
        if loss > HIGH_LOSS:
            # What came through is what the link holds, but the first look may come in the middle of the fall.
            lower = min(self.bitrate * (1 - loss / 2), throughput)
            self.bitrate = max(lower, self._min_bps)
        elif loss < LOW_LOSS:
            higher = min(self.bitrate * RISE_PER_S**elapsed_s, throughput * MAX_HEADROOM, self._max_bps)
            self.bitrate = max(higher, self.bitrate)
