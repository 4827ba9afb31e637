"""A TCP proxy in front of a server on loopback: cuts connections, or lets them go silent."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHUNK_BYTES = 64 * 1024


class TcpProxy:
    """Passes bytes both ways; `url` is what browsers open."""

    def __init__(self, port: int) -> None:
        self.accepted = 0
        """How many connections there have been."""
        self.url = ""
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._deaf: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """End all connections as a failing network does: by a reset."""
        for writer in list(self._writers):
            writer.transport.abort()

    def mute(self) -> None:
        """Pass nothing more on the connections that there are now, and say nothing of it."""
        self._deaf |= self._writers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection."""
        self.accepted += 1
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ends = {writer, server_writer}
        self._writers |= ends
        ways = [
            asyncio.create_task(self._pump(one, other))
            for one, other in ((reader, server_writer), (server_reader, writer))
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in ends:
                end.transport.abort()
            self._writers -= ends
            self._deaf -= ends

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                if writer not in self._deaf:
                    writer.write(data)
        except ConnectionError:
            return


@asynccontextmanager
async def tcp_proxy(url: str) -> AsyncIterator[TcpProxy]:
    """Listen on a loopback port for the server at `url`."""
    proxy = TcpProxy(int(url.rsplit(":", 1)[1]))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await asyncio.sleep(0.05)  # the handlers end
