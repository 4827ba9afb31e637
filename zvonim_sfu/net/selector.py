"""What the event loop waits with: it reads media sockets by itself, and returns when there is something else to do.

The twin of selector_compiled.pyx, see net.kernel. A turn of asyncio's loop costs several times what it takes to wait
and to read a datagram, and finds nothing to do where the compiled kernel has dealt with all packets.
"""

from __future__ import annotations

import time
from selectors import EpollSelector
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from selectors import SelectorKey


class MediaSelector(EpollSelector):
    """An EpollSelector some of whose sockets are read within `select`."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[int, Callable[[], bool]] = {}
        """What to call when a registered socket, by its number, can be read. It raises nothing, and returns whether
        anybody but the kernel was called: then the loop may have something to do."""

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Wait, as any selector, for up to `timeout` seconds; returns what other sockets are ready."""
        end = time.monotonic() + timeout if timeout is not None else None
        while True:
            found = []
            has_run = False
            for key, events in super().select(timeout):
                reader = self.readers.get(key.fd)
                if reader is None:
                    found.append((key, events))
                elif reader():
                    has_run = True
            if found or has_run or (timeout is not None and timeout <= 0):
                return found
            if end is not None:
                timeout = end - time.monotonic()
