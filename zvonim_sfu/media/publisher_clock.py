"""A publisher's wall clock against the server's, learned from its sender reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zvonim_sfu.rtp.timing import SenderClock

# A report that is this far from what the others said tells of a clock that was set, not of the network.
_STEP_S: Final = 5.0
# How fast the offset follows what reports say: twice the 50 ppm by which clocks drift apart.
_SLEW: Final = 100e-6


class PublisherClock:
    """One offset for all tracks of a publisher, so that audio and video keep their distance (lip sync).

    Offset = server time at arrival - publisher's time when sent, of the first report; the way's delay is part of it. It
    then follows the clocks' drift, and not the jitter of single reports: browsers fit a line through the last twenty
    sender reports of a track, so that a step of 10 ms tilts that line, and puts sound and picture apart for 20 s.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._reported_at = 0.0

    def on_sender_report(self, ntp_seconds: float, now: float) -> None:
        """A report written at `ntp_seconds` of the publisher's clock has arrived at `now` (s, server's clock)."""
        offset = now - ntp_seconds
        if self._offset is None or abs(offset - self._offset) > _STEP_S:
            self._offset = offset
        else:
            most = _SLEW * (now - self._reported_at)
            self._offset += max(-most, min(offset - self._offset, most))
        self._reported_at = now

    def capture_time(self, clock: SenderClock, timestamp: int, now: float) -> float:
        """When what bears this RTP timestamp was captured, in the server's time; `now` as long as that is unknown."""
        if self._offset is None or not clock.known:
            return now
        # A publisher can write what it likes into its reports; what it captures does not come from the future, and
        # what arrives now is not minutes old.
        captured_at = clock.seconds_of(timestamp) + self._offset
        return captured_at if now - _STEP_S < captured_at <= now else now

    def timestamp_at(self, clock: SenderClock, now: float) -> int | None:
        """The RTP timestamp that the publisher's sampling clock shows at `now`; None before its first report."""
        if self._offset is None or not clock.known:
            return None
        return clock.rtp_at(now - self._offset)
