"""One client of the relay: its links, and the socket that stands for it before the server."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final, Protocol

from tests.support.relay.departures import Departures, Drop
from tests.support.relay.reach import check_reach

if TYPE_CHECKING:
    import asyncio
    from collections import Counter
    from collections.abc import Collection, Iterator

    from tests.support.relay.departures import SockAddr
    from tests.support.relay.link import Link
    from tests.support.relay.profile import Profile

Address = tuple[str, int]

DATAGRAMS_PER_WAKE_UP: Final = 64
MAX_DATAGRAM_BYTES: Final = 2047
"""As the server: WebRTC has no use for more."""
HEADER_BYTES: Final = {socket.AF_INET: 28, socket.AF_INET6: 48}
"""IP and UDP headers, which a link carries too."""
RECEIVE_BUFFER_BYTES: Final = 2**21
"""Seconds of video: a test process that is busy for a moment is to lose nothing that no link lost."""
SO_MEMINFO: Final = 55
"""asm-generic/socket.h; Python's socket module does not name it."""
MEMINFO_WORDS: Final = 9
MEMINFO_DROPS: Final = 8
"""linux/sock_diag.h: SK_MEMINFO_VARS and SK_MEMINFO_DROPS."""


class Inside(Protocol):
    """What a client uses of its relay."""

    loop: asyncio.AbstractEventLoop
    departures: Departures
    door: socket.socket
    server: Address | None
    allowed: Collection[str]


class Client:
    """An address that datagrams come from. Raises OutOfReachError or OSError if it gets no socket of its own."""

    def __init__(self, inside: Inside, address: SockAddr, up: Link, down: Link) -> None:
        self.address: Address = address[:2]
        self.up = up
        self.down = down
        self.heard_at = 0.0
        """Time of the loop when its last datagram came."""
        self._inside = inside
        self._sockaddr = address
        self._header_bytes = HEADER_BYTES[inside.door.family]
        self._upstream = self._open("")

    @property
    def seen_at(self) -> Address:
        """Its address as the server sees it."""
        host, port = self._upstream.getsockname()[:2]
        return host, port

    def change(self, *, up: Profile | None = None, down: Profile | None = None) -> None:
        """Give its links other profiles; None leaves one as it is."""
        self.up.profile = up or self.up.profile
        self.down.profile = down or self.down.profile

    def pause(self, *, up: bool = True, down: bool = True) -> None:
        """Lose all that is sent from now on in these directions; what is under way still arrives."""
        self.up.paused |= up
        self.down.paused |= down

    def resume(self) -> None:
        """End the pause of both directions."""
        self.up.paused = self.down.paused = False

    def move(self, host: str = "") -> None:
        """Let the server see it at another port and, if given, at another address of this machine.

        What is under way from the old address, and what is sent to it, is lost. Raises OutOfReachError or OSError.
        """
        old, self._upstream = self._upstream, self._open(host)
        self._retire(old)

    def to_server(self, data: bytes, now: float) -> None:
        """Send a datagram up."""
        self._cross(self.up, data, now, self._upstream, None)

    def kernel_drops(self) -> int:
        """Datagrams of the server that were lost in this client's socket."""
        return kernel_drops(self._upstream)

    def close(self) -> None:
        """Close its socket. Its relay does this."""
        self._retire(self._upstream)

    def _open(self, host: str) -> socket.socket:
        server = self._inside.server
        assert server is not None, "a relay without a server admits no client"
        check_reach(server[0], self._inside.allowed)
        if host:
            check_reach(host, self._inside.allowed)
        sock = open_socket(server[0])
        try:
            if host:
                sock.bind((host, 0))
            sock.connect(server)
        except OSError:
            sock.close()
            raise
        self._inside.loop.add_reader(sock, self._on_server_datagrams, sock)
        return sock

    def _retire(self, sock: socket.socket) -> None:
        self._inside.departures.drops[Drop.KERNEL] += kernel_drops(sock)
        self._inside.loop.remove_reader(sock)
        sock.close()

    def _on_server_datagrams(self, sock: socket.socket) -> None:
        inside = self._inside
        now = inside.loop.time()
        for data, _ in datagrams(sock, inside.departures.drops):
            self._cross(self.down, data, now, inside.door, self._sockaddr)
        inside.departures.flush()

    def _cross(self, link: Link, data: bytes, now: float, sock: socket.socket, address: SockAddr | None) -> None:
        departures = self._inside.departures
        if departures.has_room(len(data)):
            for at in link.send(len(data) + self._header_bytes, now):
                departures.add(at, sock, address, data)


def open_socket(host: str) -> socket.socket:
    """Open a non-blocking UDP socket of this address's family."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    return sock


def datagrams(sock: socket.socket, drops: Counter[Drop]) -> Iterator[tuple[bytes, SockAddr]]:
    """Read what waits in a socket, up to what one wake-up may take."""
    for _ in range(DATAGRAMS_PER_WAKE_UP):
        try:
            data, address = sock.recvfrom(MAX_DATAGRAM_BYTES + 1)
        except BlockingIOError:
            return
        except OSError:
            drops[Drop.RECEIVE_FAILED] += 1
            return
        if len(data) > MAX_DATAGRAM_BYTES:
            drops[Drop.OVERSIZED] += 1
        else:
            yield data, address


def kernel_drops(sock: socket.socket) -> int:
    """Datagrams for this socket that the kernel dropped, mostly because its buffer was full; 0 if it is closed."""
    if sock.fileno() < 0:
        return 0
    words = struct.unpack(f"{MEMINFO_WORDS}I", sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * MEMINFO_WORDS))
    return int(words[MEMINFO_DROPS])
