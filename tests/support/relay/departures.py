"""What is under way: datagrams that leave through their socket when their time has come.

One heap and one timer for all. Bounded in packets and bytes; it counts what it did not send, and how late it was.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    import socket

SockAddr = tuple[Any, ...]
"""As the socket module has it: host and port, with IPv6 two more."""

EARLY_S: Final = 0.0005
"""epoll waits in whole milliseconds, rounded up: to wake half of one early makes a departure half a millisecond early
or late instead of up to one late."""
LATE_S: Final = 0.001
"""What the relay promises; what leaves later than this is counted as late."""
SENDS_PER_WAKE_UP: Final = 256
"""So that a flood does not keep the other half of the relay from receiving."""


class Drop(StrEnum):
    """Why a datagram did not pass, other than by the link's doing."""

    OVERLOAD = "more under way than the relay keeps"
    NO_SERVER = "no server to send to yet"
    OUT_OF_REACH = "client at an address that the relay must not send to"
    TOO_MANY_CLIENTS = "no room for another client"
    NO_SOCKET = "no socket for another client"
    OVERSIZED = "datagram longer than any of WebRTC's"
    GONE = "the socket to leave by was closed meanwhile"
    RECEIVE_FAILED = "nobody at the other end, or another error of the system"
    SEND_FAILED = "refused by the system when sending"
    KERNEL = "lost in a full receive buffer, as the relay was too slow"


class Departures:
    """The datagrams under way. Its owner closes the sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, max_packets: int, max_bytes: int) -> None:
        self.drops: Counter[Drop] = Counter()
        self.late = 0
        """Datagrams that left more than LATE_S late."""
        self.worst_late_s = 0.0
        self._loop = loop
        self._time = loop.time
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        # The number keeps equal times in order, and keeps the heap from comparing sockets.
        self._heap: list[tuple[float, int, socket.socket, SockAddr | None, bytes]] = []
        self._number = 0
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def has_room(self, length: int) -> bool:
        """Whether another datagram of that length may be added; false is counted as a drop."""
        if len(self._heap) < self._max_packets and self._bytes + length <= self._max_bytes:
            return True
        self.drops[Drop.OVERLOAD] += 1
        return False

    def add(self, at: float, sock: socket.socket, address: SockAddr | None, data: bytes) -> None:
        """Let a datagram leave at a time of the loop; `address` is None for a connected socket. Then call `flush`."""
        self._number += 1
        self._bytes += len(data)
        heappush(self._heap, (at, self._number, sock, address, data))

    def flush(self) -> None:
        """Send what is due and set the timer for the next."""
        heap, time = self._heap, self._time
        horizon = time() + EARLY_S
        for _ in range(SENDS_PER_WAKE_UP):
            if not heap or heap[0][0] > horizon:
                break
            at, _, sock, address, data = heappop(heap)
            self._bytes -= len(data)
            late = time() - at
            if late > LATE_S:
                self.late += 1
                self.worst_late_s = max(late, self.worst_late_s)
            try:
                if address is None:
                    sock.send(data)
                else:
                    sock.sendto(data, address)
            except OSError:
                self.drops[Drop.SEND_FAILED if sock.fileno() >= 0 else Drop.GONE] += 1
        if heap:
            self._wake_at(heap[0][0] - EARLY_S)

    def close(self) -> None:
        """Forget what is under way."""
        self._heap.clear()
        self._bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake_at(self, at: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.flush()
