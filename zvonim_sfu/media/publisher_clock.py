"""A publisher's wall clock against the server's, learned from its sender reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zvonim_sfu.rtp.timing import SenderClock

# A report that comes later than the fastest one by more than this tells of a clock that was set, not of the network.
_STEP_S: Final = 5.0
# How much the offset may grow per report: ten times the 50 ppm by which clocks drift apart, a report per second.
_DRIFT_PER_REPORT_S: Final = 0.0005


class PublisherClock:
    """One offset for all tracks of a publisher, so that audio and video keep their distance (lip sync).

    The least delay seen is taken for the way's own: offset = server time at arrival - publisher's time when sent.
    """

    def __init__(self) -> None:
        self._offset: float | None = None

    def on_sender_report(self, ntp_seconds: float, now: float) -> None:
        """A report written at `ntp_seconds` of the publisher's clock has arrived at `now` (s, server's clock)."""
        offset = now - ntp_seconds
        if self._offset is None or abs(offset - self._offset) > _STEP_S:
            self._offset = offset
        else:
            self._offset += min(offset - self._offset, _DRIFT_PER_REPORT_S)

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
