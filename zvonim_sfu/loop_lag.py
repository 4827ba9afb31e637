"""How late the event loop runs what is due: the one number that tells an overloaded server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Ten looks a second find every stall of 100 ms, and most of 10 ms in a minute, for some 20 µs each.
INTERVAL_S: Final = 0.1


class LagTicker:
    """A timer that tells `observe` by how many seconds it was late, each time. Its owner stops it."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(INTERVAL_S, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        self._observe(max(0.0, now - self._timer.when()))
        self._timer = self._loop.call_at(now + INTERVAL_S, self._tick)

    def stop(self) -> None:
        """Tick no more."""
        self._timer.cancel()
