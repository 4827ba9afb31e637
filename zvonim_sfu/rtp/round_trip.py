"""How long it takes to a peer and back, by what its reports measure."""

from __future__ import annotations

import math
from typing import Final

# Before the first measurement: a transatlantic path.
DEFAULT_S: Final = 0.1
# Of the smoothed value, as TCP's (RFC 6298 section 2).
_GAIN: Final = 1 / 8
# For how long at least the shortest one stands: some measurements even at a report in 5 s, and soon enough gone when
# the path has become longer.
_WINDOW_S: Final = 10.0
# What takes longer is a report that lies.
_LONGEST_S: Final = 10.0


class RoundTrip:
    """The smoothed round trip, and the shortest of the last 10 to 20 s; a guess until something `is_measured`.

    Jitter lengthens most round trips. Where it matters that one has certainly passed or may just have passed, the
    shortest one tells: it is the path's own.
    """

    __slots__ = ("_before", "_latest", "_latest_since", "is_measured", "smoothed_s")

    def __init__(self) -> None:
        self.smoothed_s = DEFAULT_S
        self.is_measured = False
        self._before = math.inf
        self._latest = DEFAULT_S
        self._latest_since = -math.inf

    @property
    def shortest_s(self) -> float:
        """In seconds."""
        return min(self._before, self._latest)

    def measured(self, seconds: float, now: float) -> None:
        """Take a measurement made at `now` (s, monotonic); what cannot be true is left out."""
        if not 0 <= seconds < _LONGEST_S:
            return
        if not self.is_measured:
            self.is_measured = True
            self.smoothed_s = self._latest = seconds
            self._latest_since = now
            return
        self.smoothed_s += (seconds - self.smoothed_s) * _GAIN
        if now - self._latest_since >= _WINDOW_S:
            self._before, self._latest, self._latest_since = self._latest, seconds, now
        else:
            self._latest = min(self._latest, seconds)
