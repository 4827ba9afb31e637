"""How fast a counter of octets grows."""

from __future__ import annotations


class BitrateMeter:
    """The bit rate between the last two looks at a counter: costs nothing per packet."""

    __slots__ = ("_at", "_octets", "bitrate")

    bitrate: int
    """In bit/s, between the last two updates; 0 before the second."""

    def __init__(self) -> None:
        self.bitrate = 0
        self._octets = 0
        self._at: float | None = None

    def update(self, octets: int, now: float) -> None:
        """Look at the counter: it stands at `octets` at this time (s, monotonic)."""
        if self._at is not None and now > self._at:
            self.bitrate = max(0, int((octets - self._octets) * 8 / (now - self._at)))
        self._octets, self._at = octets, now
