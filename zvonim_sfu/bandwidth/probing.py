"""Probes: short bursts above the estimate that find out whether a link holds more, before anybody depends on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zvonim_sfu.bandwidth.reports import Report

# Long enough that some ms of jitter do not matter, short enough that the queue of one that is too high is gone soon.
# One that is little above the estimate is longer, for its queue is short even if the link holds no more.
DURATION_S: Final = 0.05
MAX_DURATION_S: Final = 0.15
# Fewer bytes would measure the link's grain. More would hold up a thin link: these take a tenth of a second of
# 150 kbit/s, and sound waits behind them.
MIN_BYTES: Final = 1800
# No probe has more, even if nobody tells where it ends.
MAX_PACKETS: Final = 2000

# The first probe of a transport against the start, the next against what the one before has found.
START_FACTOR: Final = 3.0
FACTOR: Final = 2.0
# No higher than a little above what would be used: the estimate that it yields is to be enough for that, and for what
# an allocation keeps in reserve before it goes up.
WANTED_FACTOR: Final = 1.3
# One that raises less is not worth its padding.
MIN_GAIN: Final = 1.1
# Between probes that were no success, and after which the intervals grow to the second figure. A link that has become
# free is noticed within the latter.
INTERVAL_S: Final = 2.0
MAX_INTERVAL_S: Final = 5.0
# A link on which a queue has grown so lately is full: a probe would find nothing, and disturb who shares it.
CALM_S: Final = 5.5
# ... unless by a probe that had just found so much more: what is sent has not followed it yet, and the reduction by
# what comes through was too deep.
LEAP: Final = 1.6
LEAP_S: Final = 1.0
LEAP_CALM_S: Final = 2.0
# A fall by so much, at once or in steps, may have been a moment's: it is tried once whether most of it is there again
# (libwebrtc), when for some time no queue has grown.
FALL: Final = 0.66
RECOVERY_FACTOR: Final = 0.85
RECOVERY_AFTER_S: Final = 1.5
RECOVERY_WINDOW_S: Final = 5.0
# Feedback on the last packet of a probe takes no longer.
RESULT_TIMEOUT_S: Final = 1.0

# Of the packets of a probe, and of their bytes: with less there is no result.
MIN_RECEIVED: Final = 0.8
# Packets that come much faster than they were sent were held back on the way.
MAX_SPEED_UP: Final = 2.0
# A link that slows the packets down is full; then a little below what it held.
UNSATURATED: Final = 0.9
UTILISATION: Final = 0.95
# One that loses so many of them is full too: its queue is too short to slow them down.
LOSSLESS: Final = 0.95
# For so long after a probe, delays tell of the queue that it has made itself.
AFTERMATH_S: Final = 0.4
# What is sent follows an estimate that a probe has raised within this time, or not at all.
SETTLED_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What to send: `size` bytes, media first and padding for the rest, evenly at `bps`."""

    bps: float
    size: int
    """In bytes."""

    @property
    def duration_s(self) -> float:
        """How long it takes, in seconds."""
        return self.size * 8 / self.bps

    @classmethod
    def at(cls, bps: float, estimate_bps: float) -> Probe:
        """Return the probe of a rate."""
        excess = max(bps / estimate_bps - 1, DURATION_S / MAX_DURATION_S)
        duration_s = max(DURATION_S / excess, DURATION_S)
        return cls(bps, max(round(bps * duration_s / 8), MIN_BYTES))


class ProbeCluster:
    """The packets of one probe and what came of them.

    They are all that is sent from one moment to another, media among them, hence a range of numbers. Feedback on the
    first may come before the last is sent.

    Args:
        first: the number of the first packet.
    """

    __slots__ = ("_arrivals", "_end", "_first", "_sizes", "_times")

    def __init__(self, first: int) -> None:
        self._first = first
        self._end: int | None = None
        self._times: list[float] = []
        self._arrivals: list[float] = []
        self._sizes: list[int] = []

    def sent(self, end: int) -> None:
        """Note that the last packet has been sent; `end` is the next number."""
        self._end = end

    def add(self, report: Report) -> bool:
        """Take a report; returns whether it tells of the last packet, or of one behind it."""
        end = math.inf if self._end is None else self._end
        if not report.numbers or report.numbers[-1] < self._first:
            return False
        for number, sent_at, arrived_at, size in zip(
            report.numbers, report.sent_at, report.arrived_at, report.sizes, strict=True
        ):
            if self._first <= number < end and len(self._sizes) < MAX_PACKETS:
                self._times.append(sent_at)
                self._arrivals.append(arrived_at)
                self._sizes.append(size)
        return report.numbers[-1] >= end - 1

    def result_bps(self) -> tuple[float, bool] | None:
        """Return what the link held, and whether it was full; None if too few packets came or their times are odd.

        A packet at the edge counts only as the end of an interval, as in libwebrtc: the last when sent, the first as it
        came.
        """
        assert self._end is not None  # it is complete
        count, sent = len(self._sizes), self._end - self._first
        if count < max(MIN_RECEIVED * sent, 2):
            return None
        sent_s = max(self._times) - min(self._times)
        arrived_s = max(self._arrivals) - min(self._arrivals)
        if sent_s <= 0 or arrived_s <= 0:
            return None
        total = sum(self._sizes)
        sent_bps = (total - self._sizes[-1]) * 8 / sent_s
        arrived_bps = (total - self._sizes[0]) * 8 / arrived_s
        if arrived_bps > MAX_SPEED_UP * sent_bps:
            return None
        if arrived_bps < UNSATURATED * sent_bps or count < LOSSLESS * sent:
            return UTILISATION * min(sent_bps, arrived_bps), True
        return min(sent_bps, arrived_bps), False


class ProbeControl:
    """Decides when to probe, and at which rate.

    At first as high as three times the start, then from result to result as long as the link is not full. Later from
    time to time, and soon after a deep fall. Never while a queue grows, nor for more than somebody wants.

    Args:
        max_bps: never higher.
    """

    __slots__ = (
        "_began_at",
        "_calm_s",
        "_cluster",
        "_ended_at",
        "_fallen_from",
        "_interval_s",
        "_leapt_at",
        "_max_bps",
        "_next_at",
        "_overused_at",
        "_probed",
        "_raised_at",
        "_waiting_until",
    )

    def __init__(self, *, max_bps: float) -> None:
        self._max_bps = max_bps
        self._cluster: ProbeCluster | None = None
        # A probe that was handed out and not reported as sent holds up others for a while only.
        self._waiting_until = 0.0
        self._next_at = 0.0
        self._interval_s = INTERVAL_S
        self._probed = False
        self._began_at = -math.inf
        self._ended_at = -math.inf
        self._raised_at = -math.inf
        self._overused_at = -math.inf
        self._calm_s = CALM_S
        self._leapt_at = -math.inf
        self._fallen_from = 0.0

    def next(
        self, *, now: float, number: int, wanted_bps: float, estimate_bps: float, is_application_limited: bool
    ) -> Probe | None:
        """Return a probe to send now, if any; `number` is that of the next packet."""
        if now < self._waiting_until:
            return None
        if self._cluster is not None:
            # No feedback has told of its end in time.
            self.failed(now)
        bps = self._rate(now, estimate_bps)
        bps = min(bps, wanted_bps * WANTED_FACTOR, self._max_bps)
        if bps < MIN_GAIN * estimate_bps:
            return None
        self._probed = True
        self._fallen_from = 0.0
        is_idle = is_application_limited and now - self._raised_at >= SETTLED_S
        self._began_at = now if is_idle else math.inf
        self._next_at = now + self._interval_s
        probe = Probe.at(bps, estimate_bps)
        self._waiting_until = now + probe.duration_s + RESULT_TIMEOUT_S
        self._cluster = ProbeCluster(number)
        return probe

    def _rate(self, now: float, estimate_bps: float) -> float:
        if not self._probed:
            return START_FACTOR * estimate_bps
        quiet_s = now - self._overused_at
        if estimate_bps < FALL * self._fallen_from and RECOVERY_AFTER_S <= quiet_s < RECOVERY_WINDOW_S:
            return RECOVERY_FACTOR * self._fallen_from
        is_due = now >= self._next_at and quiet_s >= self._calm_s
        return FACTOR * estimate_bps if is_due else 0.0

    def sent(self, number: int, now: float) -> None:
        """Note that the last probe has been sent; `number` is that of the packet behind it."""
        if self._cluster is not None:
            self._cluster.sent(number)
            self._ended_at = now
            self._waiting_until = now + RESULT_TIMEOUT_S

    def take(self, report: Report, now: float) -> tuple[float, bool] | None:
        """Return the result of the last probe once a report completes it."""
        cluster = self._cluster
        if cluster is None or not cluster.add(report):
            return None
        self._cluster = None
        self._waiting_until = now
        return cluster.result_bps()

    def succeeded(self, *, full: bool, gain: float, now: float) -> None:
        """Note that the last result has raised the estimate, by the factor `gain`.

        The next probe may follow at once unless the link was full.
        """
        if gain >= LEAP:
            self._leapt_at = now
        self._raised_at = now
        self._interval_s = INTERVAL_S
        self._next_at = now + (INTERVAL_S if full else 0.0)

    def failed(self, now: float) -> None:
        """Note that the last probe has found nothing."""
        self._cluster = None
        self._interval_s = min(self._interval_s * 1.5, MAX_INTERVAL_S)
        self._next_at = now + self._interval_s

    def disturbs(self, sent_at: float) -> bool:
        """Whether a queue that delays a packet sent at that time is the last probe's doing.

        Only said when media alone leaves much of the link idle. On a link that was nearly full already, the queue is as
        good a reason as any to send less.
        """
        return self._began_at <= sent_at < self._ended_at + AFTERMATH_S

    def overused(self, *, before_bps: float, now: float) -> None:
        """Note that the link was full, by its queue or by loss, and what the estimate has been before."""
        if now - self._overused_at >= RECOVERY_WINDOW_S:
            self._fallen_from = 0.0
        self._fallen_from = max(self._fallen_from, before_bps)
        self._overused_at = now
        self._calm_s = LEAP_CALM_S if now - self._leapt_at < LEAP_S else CALM_S
