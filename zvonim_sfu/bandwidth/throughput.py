"""The rate at which packets leave and the rate at which they come, by feedback alone."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from zvonim_sfu.bandwidth.reports import Report

# Some frames of video are within it: a shorter window would take every large frame for a fast link.
WINDOW_S: Final = 0.3
# For what comes through while a queue grows: then the link never rests, and the shorter, the less of the time before.
SHORT_WINDOW_S: Final = 0.1
# What is usual follows what is sent so slowly: of some frames per second each makes a peak in the window, and the next
# makes it as low as it was high.
USUAL_S: Final = 1.0
# What is older says nothing of now: the stream has paused meanwhile.
STALE_S: Final = 2.0


class _Mark(NamedTuple):
    """How much had been sent and had come by the time of one report."""

    sent_at: float
    arrived_at: float
    sent_bytes: int
    received_bytes: int


class Throughput:
    """Sent and acknowledged bit rate over the last reports, which together span `WINDOW_S` or little more.

    Sums are taken per report, not per packet. A rate is that between the last packets of two reports, so neither the
    receiver's interval nor a burst within it distorts it.
    """

    __slots__ = ("_marks", "acknowledged_bps", "sent_bps", "usual_bps")

    sent_bps: float | None
    """At which rate packets were sent, lost ones too, in bit/s; None while not enough is known."""
    usual_bps: float
    """The same, smoothed over about a second; 0 while not enough is known."""
    acknowledged_bps: float | None
    """At which rate packets came, in bit/s; None while not enough is known.

    Never more than the rate at which they were sent: what came faster had waited, or the receiver lies.
    """

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque()
        self.sent_bps = self.acknowledged_bps = None
        self.usual_bps = 0.0

    def add(self, report: Report) -> None:
        """Take a report with at least one packet that came."""
        marks = self._marks
        last = marks[-1] if marks else _Mark(0.0, 0.0, 0, 0)
        received = 0
        sent_at = arrived_at = -math.inf
        sent, arrived, sizes = report.sent_at, report.arrived_at, report.sizes
        for i in range(len(sizes)):
            received += sizes[i]
            sent_at = max(sent_at, sent[i])
            arrived_at = max(arrived_at, arrived[i])
        mark = _Mark(
            sent_at,
            arrived_at,
            last.sent_bytes + received + report.missing_bytes,
            last.received_bytes + received,
        )
        if marks and (mark.arrived_at - last.arrived_at > STALE_S or mark.sent_at - last.sent_at > STALE_S):
            marks.clear()
        elif marks and (mark.arrived_at <= last.arrived_at or mark.sent_at <= last.sent_at):
            # All of it was late: it counts, at the time of the report before.
            mark = _Mark(last.sent_at, last.arrived_at, mark.sent_bytes, mark.received_bytes)
            marks.pop()
        marks.append(mark)
        while len(marks) > 2 and mark.arrived_at - marks[1].arrived_at >= WINDOW_S:
            marks.popleft()
        first = marks[0]
        if mark.arrived_at - first.arrived_at < WINDOW_S / 2:
            self.sent_bps = self.acknowledged_bps = None
            self.usual_bps = 0.0
            return
        self.sent_bps = (mark.sent_bytes - first.sent_bytes) * 8 / (mark.sent_at - first.sent_at)
        elapsed_s = mark.arrived_at - last.arrived_at
        share = min(elapsed_s / USUAL_S, 1.0) if self.usual_bps else 1.0
        self.usual_bps += share * (self.sent_bps - self.usual_bps)
        self.acknowledged_bps = min(self.sent_bps, _acknowledged_bps(first, mark))

    @property
    def latest_bps(self) -> float | None:
        """At which rate packets came in the last tenth of a second, in bit/s: what a full link holds."""
        if self.acknowledged_bps is None:
            return None
        last = self._marks[-1]
        for mark in reversed(self._marks):
            if last.arrived_at - mark.arrived_at >= SHORT_WINDOW_S:
                return _acknowledged_bps(mark, last)
        return self.acknowledged_bps


def _acknowledged_bps(first: _Mark, last: _Mark) -> float:
    return (last.received_bytes - first.received_bytes) * 8 / (last.arrived_at - first.arrived_at)
