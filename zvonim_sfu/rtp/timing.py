"""NTP time, and the clock that a publisher tells by its sender reports."""

from __future__ import annotations

from typing import Final

from zvonim_sfu.rtp.sequence import ts_delta

NTP_EPOCH_S: Final = 2_208_988_800  # from 1900, NTP's beginning, to 1970, Unix's (RFC 868)
# Two reports of an honest clock agree to some milliseconds; a camera that was switched, a set system clock or
# nonsense do not.
JUMP_S: Final = 0.5


def ntp_from_unix(seconds: float) -> int:
    """Return Unix time as an NTP timestamp: 64-bit fixed point, modulo 2^64 (RFC 3550, section 4)."""
    return round((seconds + NTP_EPOCH_S) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF


def unix_from_ntp(ntp: int) -> float:
    """Return an NTP timestamp as Unix time in seconds; read as within 1900 to 2036."""
    return ntp / (1 << 32) - NTP_EPOCH_S


def middle32(ntp: int) -> int:
    """Return the middle 32 bits of an NTP timestamp, in 1/65536 s (RFC 3550, section 6.4.1, LSR)."""
    return ntp >> 16 & 0xFFFFFFFF


class SenderClock:
    """Maps RTP timestamps of one source to its sender's NTP time and back, by its sender reports.

    The newest report is the anchor. NTP time is in seconds since 1900 by the sender's clock, which need not be right;
    layers and tracks of one sender share it.

    Args:
        clock_rate: of the RTP timestamps, in Hz.
    """

    __slots__ = ("_clock_rate", "_ntp_s", "_rtp_timestamp", "known")

    known: bool
    """Whether there was a report. Before it the two conversions mean nothing."""

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._ntp_s = 0.0
        self._rtp_timestamp = 0
        self.known = False

    def update(self, ntp: int, rtp_timestamp: int) -> bool:
        """Take the times of a sender report.

        Args:
            ntp: 64-bit fixed point.
            rtp_timestamp: of the same moment.

        Returns:
            True when the mapping is new: the first report, or one that contradicts the last by more than 0.5 s. What
            was derived from the mapping before is then void.
        """
        ntp_s = ntp / (1 << 32)
        moved = not self.known or abs(self.seconds_of(rtp_timestamp) - ntp_s) > JUMP_S
        self._ntp_s = ntp_s
        self._rtp_timestamp = rtp_timestamp
        self.known = True
        return moved

    def seconds_of(self, rtp_timestamp: int) -> float:
        """Return the NTP time of a timestamp in seconds; taken as within 2^31 ticks of the last report."""
        return self._ntp_s + ts_delta(rtp_timestamp, self._rtp_timestamp) / self._clock_rate

    def rtp_at(self, ntp_s: float) -> int:
        """Return the RTP timestamp (32 bits) of an NTP time in seconds."""
        return self._rtp_timestamp + round((ntp_s - self._ntp_s) * self._clock_rate) & 0xFFFFFFFF
