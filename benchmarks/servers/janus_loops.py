"""Janus with an event loop for each processor instead of a thread for each connection: cheaper, and not its default."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from benchmarks.servers import janus
from benchmarks.servers.janus import missing

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ["NOT_EQUALISED", "missing", "start"]

NOT_EQUALISED: Final = janus.NOT_EQUALISED


def start(host: str, command: str = "") -> AbstractAsyncContextManager[janus.Janus]:
    """Run `janus` with `event_loops`."""
    return janus.start(host, command, event_loops=os.cpu_count() or 1)
