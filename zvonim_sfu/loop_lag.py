"""How late the event loop runs what is due: the one number that tells an overloaded server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Ten looks a second find every stall of 100 ms, and most of 10 ms in a minute.
INTERVAL_S: Final = 0.1
# Looks that are told together: of what a histogram takes for one, nine tenths are to find it in memory.
TOLD_TOGETHER: Final = 20


class LagTicker:
    """A timer that tells `observe` by how many seconds it was late, some looks at a time. Its owner stops it."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._untold: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(INTERVAL_S, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        self._untold.append(max(0.0, now - self._timer.when()))
        if len(self._untold) >= TOLD_TOGETHER:
            self._tell()
        self._timer = self._loop.call_at(now + INTERVAL_S, self._tick)

    def stop(self) -> None:
        """Tell what has not been told, and tick no more."""
        self._timer.cancel()
        self._tell()

    def _tell(self) -> None:
        for late_s in self._untold:
            self._observe(late_s)
        self._untold.clear()
