"""The event loop of a server: asyncio's own, which reads media sockets while it waits."""

from __future__ import annotations

import asyncio
from selectors import EVENT_READ
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from zvonim_sfu.net.selector import MediaSelector


class MediaLoop(asyncio.SelectorEventLoop):
    """An event loop to which media sockets can be given.

    Args:
        selector: of the kernel that will read them.
    """

    def __init__(self, selector: MediaSelector) -> None:
        super().__init__(selector)
        self._media_selector = selector

    def add_media_reader(self, sock: socket.socket, read: Callable[[], bool]) -> None:
        """Have `read` called whenever this socket can be read.

        It returns whether anybody was called who may have given the loop something to do, be it a timer: until then the
        loop goes on waiting. What it raises is the exception handler's.
        """

        def read_safely() -> bool:
            try:
                return read()
            except Exception as error:  # noqa: BLE001 - as in any callback of the loop
                self.call_exception_handler({"message": "a media socket could not be read", "exception": error})
                return True

        self._media_selector.readers[sock.fileno()] = read_safely
        self._media_selector.register(sock, EVENT_READ)

    def remove_media_reader(self, sock: socket.socket) -> None:
        """Read this socket no more."""
        self._media_selector.unregister(sock)
        del self._media_selector.readers[sock.fileno()]
