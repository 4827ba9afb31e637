"""Work that may be much at once, done in slices: packets do not wait for a room that is being rearranged."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# After this time packets have their turn.
SLICE_S: Final = 0.002
# What nobody waits for may wait for so long, and goes with whatever else is done for the same client meanwhile.
LATER_S: Final = 0.1


class Turns:
    """A queue in which each piece of work waits once. Its room owns it, and closes it."""

    def __init__(self) -> None:
        self._waiting: dict[Callable[[], None], None] = {}
        self._handle: asyncio.Handle | None = None
        self._later: dict[Callable[[], None], None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, work: Callable[[], None]) -> None:
        """Have this done soon, if it does not wait for that already."""
        self._waiting[work] = None
        self._later.pop(work, None)
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_soon(self._run)

    def add_later(self, work: Callable[[], None]) -> None:
        """Have this done within LATER_S, if nobody wants it done before."""
        if work not in self._waiting:
            self._later[work] = None
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(LATER_S, self._add_all)

    def discard(self, work: Callable[[], None]) -> None:
        """Leave this undone, if it waits."""
        self._waiting.pop(work, None)
        self._later.pop(work, None)

    def close(self) -> None:
        """Leave everything undone."""
        self._waiting.clear()
        self._later.clear()
        for handle in (self._handle, self._timer):
            if handle is not None:
                handle.cancel()
        self._handle = self._timer = None

    def _add_all(self) -> None:
        self._timer = None
        for work in tuple(self._later):
            self.add(work)

    def _run(self) -> None:
        self._handle = None
        began = time.perf_counter()
        try:
            while self._waiting and time.perf_counter() - began < SLICE_S:
                work = next(iter(self._waiting))
                del self._waiting[work]
                work()
        finally:
            if self._waiting and self._handle is None:
                self._handle = asyncio.get_running_loop().call_soon(self._run)
