"""Delay variation between groups of packets (draft-ietf-rmcat-gcc-02, sections 5.1 and 5.2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from zvonim_sfu.bandwidth.reports import Report

# Packets that leave within it are one group: a frame, or what a pacer lets go at once.
BURST_S: Final = 0.005
# A link that holds packets back and lets them go together (Wi-Fi, a phone's radio) makes one group of several; but not
# of everything that comes for so long.
MAX_BURST_S: Final = 0.1
# So many groups that came before their predecessor are a receiver whose clock was set back.
MAX_REORDERED: Final = 3
# A receiver's clock that gains so much on ours at once was set.
CLOCK_JUMP_S: Final = 3.0


class GroupDelta(NamedTuple):
    """How one group differs from the one before it, in seconds."""

    sent: float
    """Between their last packets, as sent."""
    arrived: float
    """The same, as they came."""
    arrived_at: float
    """When the later group was complete, by the receiver's clock."""


class ArrivalGroups:
    """Puts packets into groups by the time they left, and compares each complete group with the one before.

    A burst that the link itself made is joined to the group before it, for the differences within it say nothing
    about a queue (libwebrtc; section 5.2 of the draft pre-filters it likewise).
    """

    __slots__ = (
        "_before_arrived",
        "_before_sent",
        "_first_arrived",
        "_first_sent",
        "_last_arrived",
        "_last_sent",
        "_reordered",
    )

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        # Of the group that is being filled; none when infinite.
        self._first_sent = -math.inf
        self._last_sent = -math.inf
        self._first_arrived = -math.inf
        self._last_arrived = -math.inf
        # The last packet of the group before.
        self._before_sent = -math.inf
        self._before_arrived = -math.inf
        self._reordered = 0

    def deltas(self, report: Report) -> list[GroupDelta]:
        """Return the differences of all groups that the packets of a report complete."""
        found: list[GroupDelta] = []
        # This runs for each packet that a receiver reports: in one pass, and with locals, which are C's when compiled.
        burst_s, max_burst_s, nothing = BURST_S, MAX_BURST_S, -math.inf
        first_sent, last_sent = self._first_sent, self._last_sent
        first_arrived, last_arrived = self._first_arrived, self._last_arrived
        sent, arrived = report.sent_at, report.arrived_at
        for at in range(len(sent)):
            sent_at, arrived_at = sent[at], arrived[at]
            since_first, since_last = sent_at - first_sent, sent_at - last_sent
            if since_first < 0:
                continue  # reported late, its group is over
            if since_first <= burst_s or (
                # It came on the heels of its group, faster than it was sent.
                arrived_at - last_arrived <= burst_s
                and arrived_at - last_arrived < since_last
                and arrived_at - first_arrived < max_burst_s
            ):
                if since_last > 0:
                    last_sent = sent_at
                last_arrived = arrived_at
            elif first_sent == nothing or self._close(last_sent, last_arrived, found):
                first_sent = last_sent = sent_at
                first_arrived = last_arrived = arrived_at
            else:
                first_sent = last_sent = first_arrived = last_arrived = nothing
        self._first_sent, self._last_sent = first_sent, last_sent
        self._first_arrived, self._last_arrived = first_arrived, last_arrived
        return found

    def _close(self, last_sent: float, last_arrived: float, found: list[GroupDelta]) -> bool:
        """Compare the group that ends so with the one before; False if all is to be forgotten instead."""
        if self._before_sent != -math.inf:
            sent = last_sent - self._before_sent
            arrived = last_arrived - self._before_arrived
            if arrived - sent >= CLOCK_JUMP_S:
                self._reset()
                return False
            if arrived < 0:
                self._reordered += 1
                if self._reordered >= MAX_REORDERED:
                    self._reset()
                    return False
                return True  # the group is left out, the one before still stands
            self._reordered = 0
            found.append(GroupDelta(sent, arrived, last_arrived))
        self._before_sent, self._before_arrived = last_sent, last_arrived
        return True
