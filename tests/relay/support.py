"""Both ends of a relayed path: a socket that records what comes, and can answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Self

from tests.support.eventually import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from tests.support.relay import Relay

Address = tuple[str, int]


class End:
    """A UDP socket of the test, at an address of its own. Close it, or use it as a context."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        # A test that waits for its turn on a busy machine is to lose nothing meanwhile.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**21)
        self.socket.bind((host, 0))
        self.address: Address = self.socket.getsockname()[:2]
        self.received: list[bytes] = []
        self.senders: list[Address] = []
        self.times: list[float] = []
        "When each datagram came, by time.monotonic()."
        asyncio.get_running_loop().add_reader(self.socket, self._read)

    def send(self, data: bytes, to: Address) -> None:
        self.socket.sendto(data, to)

    async def receives(self, count: int) -> list[bytes]:
        """Wait until that many have come in all."""
        await until(lambda: len(self.received) >= count)
        return self.received

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, address = self.socket.recvfrom(65536)
                self.received.append(data)
                self.senders.append(address[:2])
                self.times.append(time.monotonic())

    def close(self) -> None:
        """A second time does nothing."""
        if self.socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.socket)
            self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@contextlib.asynccontextmanager
async def two_ends(relay: Relay, host: str = "127.0.0.1", server_host: str = "") -> AsyncIterator[tuple[End, End]]:
    """A client that has been heard of, and the server, with no counts between them yet but that one datagram."""
    async with relay:
        with End(host) as client, End(server_host or host) as server:
            relay.set_server(server.address)
            client.send(b"first", relay.address)
            await server.receives(1)
            yield client, server
