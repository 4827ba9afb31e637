"""An event loop whose time passes at once: a sleep of a minute takes no time, and always the same timers fire."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class WarpLoop(asyncio.SelectorEventLoop):
    """A loop that, when nothing is left to do, moves its clock to the next timer instead of waiting for it.

    Only for code that waits for timers and for itself: what comes from threads or sockets comes too late.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_WarpSelector(self))

    def time(self) -> float:
        return self.now

    def timers(self) -> list[asyncio.TimerHandle]:
        """Return the timers that are still to come, cancelled ones too."""
        return list(self._scheduled)  # type: ignore[attr-defined]  # asyncio has no public way to see them


class _WarpSelector(selectors.SelectSelector):
    def __init__(self, loop: WarpLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            assert timeout is not None, "everybody waits, and there is no timer"
            self._loop.now += timeout
        return events


def run_warped(work: Coroutine[Any, Any, T]) -> T:
    """Run a test in a loop of that kind."""
    with asyncio.Runner(loop_factory=WarpLoop) as runner:
        return runner.run(work)
