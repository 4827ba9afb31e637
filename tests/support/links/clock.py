"""Virtual time."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Calls functions in the order of the times for which they were asked; time passes only in between."""

    def __init__(self, start_s: float = 0.0) -> None:
        self.now = start_s
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Have `call` called at `time` (s), at once if that has passed; ties in the order of asking."""
        self._count += 1
        heappush(self._events, (time if time > self.now else self.now, self._count, call))

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        self.at(self.now + delay_s, call)

    def run(self, until: float) -> None:
        """Let time pass."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, call = heappop(events)
            call()
        self.now = until
