"""How long packets wait on the way to a receiver, and what the link carries while they do."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from typing import Final

from zvonim_sfu.bandwidth.reports import Report

# The shortest delay of so long at least, and of twice as long at most, is that of an empty queue; in that time clocks
# drift apart by a few ms. A way that has become longer is known after it.
WINDOW_S: Final = 15.0
# A delay that differs by more is that of a receiver whose clock was set.
CLOCK_JUMP_S: Final = 3.0
# Of packets that waited less, jitter may be the reason.
MIN_WAIT_S: Final = 0.005
# A queue in which everything waits for so long is no matter of a keyframe, nor of a probe.
LASTING_QUEUE_S: Final = 0.05
# While packets came one behind the other for so long, the link was full; what it carried lately is asked for.
MIN_RUN_S: Final = 0.08
MAX_RUN_S: Final = 0.2
MEMORY_S: Final = 0.5
# So long is enough to see that it is another link.
LATEST_S: Final = 0.1


class Queueing:
    """The queue on the way, by one-way delays against the shortest one.

    A packet that was sent before the one ahead of it came, by more than the way takes, waited for it: between the two
    arrivals the link carried just this packet. Unlike a rate over a window, that of such packets is the link's own,
    however little was sent.
    """

    __slots__ = (
        "_before",
        "_highest",
        "_latest",
        "_latest_since",
        "_recent",
        "_short_at",
        "is_growing",
        "lasted_s",
        "wait_s",
    )

    wait_s: float
    """How long the packet of the last report waited that waited least, in seconds."""

    is_growing: bool
    """Whether that is longer than in the report before."""

    lasted_s: float
    """For how long everything has waited for `LASTING_QUEUE_S`, in seconds."""

    def __init__(self) -> None:
        self.wait_s = self.lasted_s = 0.0
        self.is_growing = False
        # When a packet came last, by the receiver's clock, that did not wait for long.
        self._short_at = -math.inf
        self._recent: deque[Report] = deque()
        # The highest number that came.
        self._highest = -1
        self._reset(math.inf, -math.inf)

    def _reset(self, delay_s: float, at: float) -> None:
        # Shortest delays (s, clocks' difference included) of the window that is over and the one that lasts, and since
        # when it does, by the receiver's clock.
        self._before = self._latest = delay_s
        self._latest_since = at
        self._recent.clear()

    def forget(self) -> None:
        """Begin anew, for the way has changed: the next packets are the first that do not wait."""
        self._reset(math.inf, -math.inf)

    @property
    def _shortest_s(self) -> float:
        return min(self._before, self._latest)

    def add(self, report: Report) -> None:
        """Take a report with at least one packet that came.

        What came after it had been told to be missing is left out: it may have been sent again under the same number,
        as sounds are, and when that was is not known.
        """
        if report.recovered and report.numbers[0] <= self._highest:
            first = bisect_right(report.numbers, self._highest)
            if first == len(report.numbers):
                return
            report = Report(
                report.numbers[first:],
                report.sent_at[first:],
                report.arrived_at[first:],
                report.sizes[first:],
                report.missing,
                report.missing_bytes,
                recovered=0,
            )
        self._highest = max(self._highest, report.numbers[-1])
        shortest = math.inf
        sent, arrived = report.sent_at, report.arrived_at
        for i in range(len(sent)):
            delay_s = arrived[i] - sent[i]
            shortest = min(shortest, delay_s)
        at = report.arrived_at[-1]
        if not abs(shortest - self._shortest_s) < CLOCK_JUMP_S:
            self._reset(shortest, at)
        elif at - self._latest_since >= WINDOW_S:
            self._before, self._latest, self._latest_since = self._latest, shortest, at
        elif shortest < self._latest:
            self._latest = shortest
        wait_s = shortest - self._shortest_s
        self.is_growing = wait_s > self.wait_s
        self.wait_s = wait_s
        if wait_s < LASTING_QUEUE_S:
            self._short_at = at
        self.lasted_s = at - self._short_at
        recent = self._recent
        recent.append(report)
        while at - recent[0].arrived_at[-1] > MEMORY_S:
            recent.popleft()

    def link_bps(self) -> float | None:
        """Return what the link carried when it was full lately, in bit/s; None if it was not for long enough."""
        way_s = self._shortest_s + MIN_WAIT_S
        # Backwards from the last packet: of the run that is looked at, its end, and the bytes that came after its
        # first packet; the packet behind the one in hand, which tells whether the run goes on.
        end = sent_after = arrived_after = size_after = carried = 0.0
        is_run = False
        for report in reversed(self._recent):
            for sent_at, arrived_at, size in zip(
                reversed(report.sent_at), reversed(report.arrived_at), reversed(report.sizes), strict=True
            ):
                if size_after and sent_after + way_s <= arrived_at <= arrived_after:
                    if not is_run:
                        is_run, end, carried = True, arrived_after, 0.0
                    carried += size_after
                    if end - arrived_at >= MAX_RUN_S:
                        return carried * 8 / (end - arrived_at)
                elif is_run:
                    if end - arrived_after >= MIN_RUN_S:
                        return carried * 8 / (end - arrived_after)
                    is_run = False
                sent_after, arrived_after, size_after = sent_at, arrived_at, size
        if is_run and end - arrived_after >= MIN_RUN_S:
            return carried * 8 / (end - arrived_after)
        return None

    def latest_bps(self) -> float | None:
        """Return what the link has carried in the last tenth of a second, in bit/s.

        None if it was not full up to the last packet, or if most of that time nothing came at all: whatever carries
        packets may stop for a moment, and says nothing of its rate by it.
        """
        way_s = self._shortest_s + MIN_WAIT_S
        end = sent_after = arrived_after = size_after = carried = longest_s = 0.0
        for report in reversed(self._recent):
            for sent_at, arrived_at, size in zip(
                reversed(report.sent_at), reversed(report.arrived_at), reversed(report.sizes), strict=True
            ):
                if not size_after:
                    end = arrived_at
                elif sent_after + way_s <= arrived_at <= arrived_after:
                    carried += size_after
                    longest_s = max(longest_s, arrived_after - arrived_at)
                    took_s = end - arrived_at
                    if took_s >= LATEST_S:
                        return carried * 8 / took_s if longest_s <= took_s / 2 else None
                else:
                    return None
                sent_after, arrived_after, size_after = sent_at, arrived_at, size
        return None
