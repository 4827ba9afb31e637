"""A UDP relay between clients and one server, with a link of its own in each direction for each client."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

from tests.support.relay.client import Client, datagrams, kernel_drops, open_socket
from tests.support.relay.departures import Departures, Drop
from tests.support.relay.link import PASS_THROUGH, Counters, Link
from tests.support.relay.reach import OutOfReachError, check_reach

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from types import TracebackType

    from tests.support.relay.client import Address
    from tests.support.relay.departures import SockAddr
    from tests.support.relay.profile import Profile

FORGET_AFTER_S: Final = 30.0
"""A client that is silent for so long makes room for another when there is none left; consent checks come every 5 s."""


class Relay:
    """Listens from the time it is made, inside a running event loop, until `close`.

    Args:
        listen: where clients send to; port 0 takes any that is free.
        server: where the server is, if that is known already; else `set_server` tells later.
        up, down: the links of each client to come, to the server and from it. `change` changes them.
        seed: of all chance. Clients differ by the order in which they appear.
        allowed: addresses besides loopback that may be used inside of a namespace that the test made.
        max_clients: clients at a time, each a socket.
        max_packets, max_bytes: what may be under way, of all clients together.

    Raises OutOfReachError for addresses beyond this machine, OSError.
    """

    def __init__(
        self,
        listen: Address = ("127.0.0.1", 0),
        server: Address | None = None,
        *,
        up: Profile = PASS_THROUGH,
        down: Profile = PASS_THROUGH,
        seed: object = 0,
        allowed: Collection[str] = (),
        max_clients: int = 64,
        max_packets: int = 16_384,
        max_bytes: int = 16 * 2**20,
    ) -> None:
        check_reach(listen[0], allowed)
        if server is not None:
            check_reach(server[0], allowed)
        self.loop = asyncio.get_running_loop()
        self.departures = Departures(self.loop, max_packets=max_packets, max_bytes=max_bytes)
        self.server = server
        self.allowed = allowed
        self.seed = seed
        self._up = _Direction("up", up)
        self._down = _Direction("down", down)
        self._max_clients = max_clients
        self._clients: dict[SockAddr, Client] = {}
        self._admitted = 0
        self.door = open_socket(listen[0])
        """The socket that clients send to."""
        try:
            self.door.bind(listen)
        except OSError:
            self.door.close()
            raise
        self.loop.add_reader(self.door, self._on_client_datagrams)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> Address:
        """Where clients send to."""
        host, port = self.door.getsockname()[:2]
        return host, port

    @property
    def announced(self) -> str:
        """The same as the server's setting `announce` takes it."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def clients(self) -> Mapping[Address, Client]:
        """The clients by their address, in the order in which they appeared."""
        return {client.address: client for client in self._clients.values()}

    def client_at(self, port: int) -> Client:
        """The client that sends from this local port, which getStats tells even where addresses are hidden."""
        return next(client for client in self._clients.values() if client.address[1] == port)

    def set_server(self, server: Address) -> None:
        """Lead to this server from now on; clients that are there already move. Raises OutOfReachError."""
        check_reach(server[0], self.allowed)
        self.server = server
        self.move()

    def change(self, *, up: Profile | None = None, down: Profile | None = None) -> None:
        """Give the links of all clients, and of those to come, other profiles; None leaves them as they are."""
        self._up.profile = up or self._up.profile
        self._down.profile = down or self._down.profile
        for client in self._clients.values():
            client.change(up=up, down=down)

    def pause(self, *, up: bool = True, down: bool = True) -> None:
        """Lose all that clients, and those to come, send or are sent from now on."""
        self._up.paused |= up
        self._down.paused |= down
        for client in self._clients.values():
            client.pause(up=up, down=down)

    def resume(self) -> None:
        """End all pauses."""
        self._up.paused = self._down.paused = False
        for client in self._clients.values():
            client.resume()

    def move(self) -> None:
        """Let the server see every client at another address."""
        for client in self._clients.values():
            client.move()

    def up(self) -> Counters:
        """What happened on all clients' links to the server."""
        return self._up.total([client.up for client in self._clients.values()])

    def down(self) -> Counters:
        """What happened on all clients' links from the server."""
        return self._down.total([client.down for client in self._clients.values()])

    def drops(self) -> Counter[Drop]:
        """What was lost in the relay itself, not on a link.

        In a test that measures this is nothing but OUT_OF_REACH: browsers try all of their host's addresses.
        """
        kernel = kernel_drops(self.door) + sum(client.kernel_drops() for client in self._clients.values())
        return +(self.departures.drops + Counter({Drop.KERNEL: kernel}))

    def close(self) -> None:
        """Close all sockets and forget what is under way. A second time does nothing."""
        if self.door.fileno() >= 0:
            for address in list(self._clients):
                self._forget(address)
            self.departures.drops[Drop.KERNEL] += kernel_drops(self.door)
            self.loop.remove_reader(self.door)
            self.door.close()
            self.departures.close()

    def _on_client_datagrams(self) -> None:
        now = self.loop.time()
        for data, address in datagrams(self.door, self.departures.drops):
            client = self._clients.get(address) or self._admit(address, now)
            if client is not None:
                client.heard_at = now
                client.to_server(data, now)
        self.departures.flush()

    def _admit(self, address: SockAddr, now: float) -> Client | None:
        """Make a client of a new address; None if that cannot be, which is counted."""
        obstacle = self._obstacle(address, now)
        if obstacle is None:
            seed = f"{self.seed}/{self._admitted}"
            try:
                client = Client(self, address, self._up.new_link(seed), self._down.new_link(seed))
            except OSError:
                obstacle = Drop.NO_SOCKET
            else:
                self._admitted += 1
                self._clients[address] = client
                return client
        self.departures.drops[obstacle] += 1
        return None

    def _obstacle(self, address: SockAddr, now: float) -> Drop | None:
        if self.server is None:
            return Drop.NO_SERVER
        try:
            check_reach(address[0], self.allowed)
        except OutOfReachError:
            return Drop.OUT_OF_REACH
        if len(self._clients) >= self._max_clients and not self._make_room(now):
            return Drop.TOO_MANY_CLIENTS
        return None

    def _make_room(self, now: float) -> bool:
        """Forget the client that has been silent longest, if that is long."""
        address, client = min(self._clients.items(), key=lambda item: item[1].heard_at)
        if now - client.heard_at < FORGET_AFTER_S:
            return False
        self._forget(address)
        return True

    def _forget(self, address: SockAddr) -> None:
        client = self._clients.pop(address)
        client.close()
        self._up.gone.add(client.up.counters)
        self._down.gone.add(client.down.counters)


class _Direction:
    """What the links of new clients are like, and what those of former ones have counted."""

    def __init__(self, name: str, profile: Profile) -> None:
        self.profile = profile
        self.paused = False
        self.gone = Counters()
        self._name = name

    def new_link(self, seed: str) -> Link:
        link = Link(self.profile, f"{seed}/{self._name}")
        link.paused = self.paused
        return link

    def total(self, links: Iterable[Link]) -> Counters:
        total = Counters()
        total.add(self.gone)
        for link in links:
            total.add(link.counters)
        return total
