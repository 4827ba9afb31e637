"""Whether a queue grows on the way to a receiver: the slope of delays against an adaptive threshold.

The draft (draft-ietf-rmcat-gcc-02, sections 5.3 and 5.4) smooths delay variations by a Kalman filter; libwebrtc has
replaced it by the slope of a line through the last delays, which is simpler and reacts as fast. The threshold is the
draft's. Values without another unit are libwebrtc's and were tuned there over years of calls.
"""

from __future__ import annotations

from array import array
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zvonim_sfu.bandwidth.groups import GroupDelta

WINDOW: Final = 20
"""Groups that the line goes through."""
SMOOTHING: Final = 0.9
"""The weight of the past in a smoothed delay."""
GAIN: Final = 4.0
MAX_COUNTED: Final = 60
"""A slope is worth more the longer the stream has been seen, up to so many groups."""

# Slopes are compared after gain; the unit is that of libwebrtc's figures, ms.
THRESHOLD_START_MS: Final = 12.5
THRESHOLD_MIN_MS: Final = 6.0
THRESHOLD_MAX_MS: Final = 600.0
# The threshold rises slowly towards slopes above it and sinks fast towards slopes below, in 1/ms: so that a competing
# TCP, which fills queues, does not starve us, and yet a queue of our own is noticed (section 5.4).
RISE_PER_MS: Final = 0.0087
SINK_PER_MS: Final = 0.039
# A spike that far above is a route that changed, not a reason to grow tolerant.
SPIKE_MS: Final = 15.0
MAX_STEP_MS: Final = 100.0
# How long a slope must last, in time between groups as sent.
OVERUSE_S: Final = 0.01


class Usage(Enum):
    """What the delays say of the link."""

    NORMAL = "normal"
    OVERUSE = "overuse"
    """A queue grows."""
    UNDERUSE = "underuse"
    """A queue drains."""


class Trendline:
    """The overuse detector. Give it each group's delay variation; `usage` is its verdict."""

    __slots__ = (
        "_above",
        "_above_s",
        "_delay_ms",
        "_first_at",
        "_groups",
        "_last_at",
        "_slope",
        "_smoothed_ms",
        "_xs",
        "_ys",
        "threshold_ms",
        "usage",
    )

    usage: Usage
    threshold_ms: float
    """What slopes are compared with, after gain."""

    def __init__(self) -> None:
        self.usage = Usage.NORMAL
        # Of the last groups, when they came and the smoothed delay (ms), a ring; and how many there were.
        self._xs = array("d", bytes(8 * WINDOW))
        self._ys = array("d", bytes(8 * WINDOW))
        self._groups = 0
        self._first_at = 0.0
        self._last_at = 0.0
        # The one-way delay against that of the first group, and smoothed.
        self._delay_ms = 0.0
        self._smoothed_ms = 0.0
        self._slope = 0.0
        self.threshold_ms = THRESHOLD_START_MS
        # For how long and how many groups the slope has been above the threshold.
        self._above_s = 0.0
        self._above = 0

    def add(self, delta: GroupDelta) -> None:
        """Take the next group."""
        sent, arrived, arrived_at = delta
        if self._groups == 0:
            self._first_at = self._last_at = arrived_at
        self._delay_ms += (arrived - sent) * 1000
        self._smoothed_ms = SMOOTHING * self._smoothed_ms + (1 - SMOOTHING) * self._delay_ms
        at = self._groups % WINDOW
        self._groups += 1
        self._xs[at] = (arrived_at - self._first_at) * 1000
        self._ys[at] = self._smoothed_ms
        self._judge(self._fit() if self._groups >= WINDOW else self._slope, sent, arrived_at)

    def _fit(self) -> float:
        """Return the slope of the least-squares line, in ms of delay per ms."""
        xs, ys = self._xs, self._ys
        window = len(xs)
        mean_x = product = square = 0.0
        for i in range(window):
            mean_x += xs[i]
        mean_x /= window
        for i in range(window):
            x = xs[i] - mean_x
            square += x * x
            product += x * ys[i]
        # No mean of the delays is needed, for the sum of `xs` is nothing.
        return product / square if square > 0 else self._slope

    def _judge(self, slope: float, sent: float, arrived_at: float) -> None:
        threshold_ms = self.threshold_ms
        signal_ms = min(self._groups, MAX_COUNTED) * slope * GAIN
        if signal_ms > threshold_ms:
            # Of the time before the first group above, half is taken to have been above too.
            self._above_s += sent if self._above else sent / 2
            self._above += 1
            if self._above_s > OVERUSE_S and self._above > 1 and slope >= self._slope:
                self._above_s, self._above = 0.0, 0
                self.usage = Usage.OVERUSE
        else:
            self._above_s, self._above = 0.0, 0
            self.usage = Usage.UNDERUSE if signal_ms < -threshold_ms else Usage.NORMAL
        self._slope = slope
        self._adapt(abs(signal_ms), threshold_ms, arrived_at)

    def _adapt(self, signal_ms: float, threshold_ms: float, at: float) -> None:
        step_ms = (at - self._last_at) * 1000
        self._last_at = at
        # No time passes for a group that came before its predecessor.
        if step_ms <= 0 or signal_ms > threshold_ms + SPIKE_MS:
            return
        step_ms = min(step_ms, MAX_STEP_MS)
        factor = SINK_PER_MS if signal_ms < threshold_ms else RISE_PER_MS
        threshold_ms += factor * (signal_ms - threshold_ms) * step_ms
        if threshold_ms < THRESHOLD_MIN_MS:
            threshold_ms = THRESHOLD_MIN_MS
        elif threshold_ms > THRESHOLD_MAX_MS:
            threshold_ms = THRESHOLD_MAX_MS
        self.threshold_ms = threshold_ms
