"""What a receiver reports of one source (RFC 3550, appendix A)."""

from __future__ import annotations

from typing import Final

from zvonim_sfu.rtp.intake import NO_NUMBER, Intake
from zvonim_sfu.rtp.rtcp import ReportBlock
from zvonim_sfu.rtp.sequence import seq_delta

# A.1: a gap of more than these, forward or back, is a sender that started anew, if a second packet confirms it.
MAX_DROPOUT: Final = 3000
# More than the 100 of A.1: packets that are sent again as they were come up to a second late.
MAX_MISORDER: Final = 1000
# How far a packet that was sent again may be ahead: it is the last of a burst, whose end was lost.
MAX_AHEAD: Final = 100


class ReceptionStatistics:
    """Counts of one source's packets, and the report blocks made of them.

    Without the probation of RFC 3550, A.1: SRTP has authenticated every packet that comes here.

    Args:
        clock_rate: of the RTP timestamps, in Hz.
        intake: where it counts; None: on its own.
    """

    __slots__ = (
        "_base",
        "_expected_prior",
        "_intake",
        "_lost_before",
        "_lsr",
        "_lsr_at",
        "_received_prior",
        "_restart_at",
        "loss",
    )

    loss: float
    """Part of the packets that did not come in the interval of the latest report, 0 to 1."""

    def __init__(self, clock_rate: int, intake: Intake | None = None) -> None:
        self._intake = intake or Intake()
        self._intake.clock_rate = clock_rate
        self._lsr = 0
        self._lsr_at = 0.0
        self._lost_before = 0
        self.loss = 0.0
        self._start()

    def _start(self) -> None:
        intake = self._intake
        intake.received = 0
        intake.counted = NO_NUMBER
        intake.has_transit = False
        intake.jitter = 0.0
        self._base = 0
        self._restart_at: int | None = None
        self._expected_prior = 0
        self._received_prior = 0

    @property
    def received(self) -> int:
        """Packets since the source started (anew), duplicates included."""
        return self._intake.received

    def add(self, sequence_number: int, timestamp: int, now: float) -> int | None:
        """Count a packet that came `now` (seconds, monotonic).

        Returns:
            Its sequence number without wrap-around, which goes on by one when the source starts anew; None for a
            number far off that no second packet has confirmed, which is not counted.
        """
        intake = self._intake
        highest = intake.counted
        if (sequence_number - highest) & 0xFFFF == 1 and highest != NO_NUMBER:
            intake.counted = extended = highest + 1  # the next one, as nearly always
        elif highest == NO_NUMBER:
            self._base = intake.counted = extended = sequence_number
        else:
            ahead = seq_delta(sequence_number, highest & 0xFFFF)
            if -MAX_MISORDER < ahead < MAX_DROPOUT:
                extended = highest + ahead
                intake.counted = max(highest, extended)
            elif sequence_number != self._restart_at:
                self._restart_at = sequence_number + 1 & 0xFFFF
                return None
            else:
                intake.shift += highest + 1 - sequence_number
                self._lost_before = self.lost
                self._start()
                self._base = intake.counted = extended = sequence_number
        intake.received += 1
        # A.8: the transit time's origin means nothing, its changes do.
        transit = int(now * intake.clock_rate) - timestamp
        if intake.has_transit:
            change = (transit - intake.transit + 0x80000000 & 0xFFFFFFFF) - 0x80000000  # ts_delta, without its call
            intake.jitter += (abs(change) - intake.jitter) / 16
        intake.transit = transit
        intake.has_transit = True
        return extended + intake.shift

    def locate(self, sequence_number: int) -> int | None:
        """Return the number without wrap-around of a packet that is not counted: one that was sent again.

        None before the first packet, and for one so far ahead that it cannot have been sent yet.
        """
        highest = self._intake.counted
        if highest == NO_NUMBER:
            return None
        ahead = seq_delta(sequence_number, highest & 0xFFFF)
        return highest + ahead + self._intake.shift if ahead < MAX_AHEAD else None

    def wire_number(self, sequence: int) -> int:
        """Return what a number without wrap-around was in its packet, 16 bits."""
        return sequence - self._intake.shift & 0xFFFF

    def sender_report(self, ntp_middle32: int, now: float) -> None:
        """Remember that a sender report of this NTP time came `now`."""
        self._lsr = ntp_middle32
        self._lsr_at = now

    @property
    def lost(self) -> int:
        """How many packets have not come, those that a source missed before it started anew included.

        It goes down when a packet comes late or, where there is no RTX, as a repair.
        """
        return self._lost_before + max(0, self.expected - self.received)

    @property
    def jitter_s(self) -> float:
        """Interarrival jitter (A.8) in seconds."""
        return self._intake.jitter / self._intake.clock_rate

    @property
    def expected(self) -> int:
        """How many packets the source has sent, as its numbers tell."""
        highest = self._intake.counted
        return 0 if highest == NO_NUMBER else highest - self._base + 1

    def report(self, ssrc: int, now: float) -> ReportBlock:
        """Return the report block on this source, and begin the next interval (A.3).

        Args:
            ssrc: of the source.
            now: seconds, by the clock of `add` and `sender_report`.
        """
        expected = self.expected
        lost = expected - self.received
        expected_interval = expected - self._expected_prior
        lost_interval = expected_interval - (self.received - self._received_prior)
        self._expected_prior = expected
        self._received_prior = self.received
        self.loss = max(0, lost_interval) / expected_interval if expected_interval > 0 else 0.0
        dlsr = int((now - self._lsr_at) * 65536) if self._lsr else 0
        return ReportBlock(
            ssrc=ssrc,
            fraction_lost=min(255, int(self.loss * 256)),
            packets_lost=max(-0x800000, min(0x7FFFFF, lost)),
            highest_sequence=self._intake.counted & 0xFFFFFFFF,  # NO_NUMBER becomes 0
            jitter=int(self._intake.jitter),
            lsr=self._lsr,
            dlsr=max(0, min(0xFFFFFFFF, dlsr)),
        )
