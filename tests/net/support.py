"""Doubles for the tests of the net package: a listener that records, and a client with a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

from aioice import stun

from zvonim_sfu.net.ice import IceAgent
from zvonim_sfu.net.udp import UdpPort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from zvonim_sfu.net.drops import DropReason
    from zvonim_sfu.net.limiter import AddressLimiter
    from zvonim_sfu.net.path import Path
    from zvonim_sfu.rtp.packet import RtpPacket

REMOTE_UFRAG = "clnt"
REMOTE_PWD = "the-clients-own-password"


class RecordingListener:
    """Takes down what an agent's owner is told."""

    def __init__(self) -> None:
        self.srtcp: list[bytes] = []
        self.rtp: list[RtpPacket] = []
        self.drops: Counter[DropReason] = Counter()
        self.times: list[float] = []
        self.paths: list[Path] = []

    def on_srtcp(self, data: bytes, now: float) -> None:
        self.srtcp.append(data)
        self.times.append(now)

    def on_rtp(self, packet: RtpPacket, now: float) -> None:
        self.rtp.append(packet)
        self.times.append(now)

    def drop(self, reason: DropReason) -> None:
        self.drops[reason] += 1

    def on_path(self, path: Path) -> None:
        self.paths.append(path)


class FailingListener(RecordingListener):
    """An owner with a fault in it."""

    def on_srtcp(self, data: bytes, now: float) -> None:
        super().on_srtcp(data, now)
        raise RuntimeError("a fault in a handler")


def new_agent(listener: RecordingListener | None = None) -> IceAgent:
    agent = IceAgent(listener or RecordingListener())
    agent.set_remote(REMOTE_UFRAG, REMOTE_PWD)
    return agent


def check_message(
    agent: IceAgent,
    *,
    username: str | None = None,
    pwd: str | None = None,
    nominate: bool = False,
    role: str = "ICE-CONTROLLING",
) -> stun.Message:
    """A client's connectivity check, as a browser makes it (RFC 8445, section 7.2.4)."""
    attributes: dict[str, Any] = {
        "USERNAME": f"{agent.local_ufrag}:{REMOTE_UFRAG}" if username is None else username,
        role: 7,
        "PRIORITY": 1845501695,
    }
    if nominate:
        attributes["USE-CANDIDATE"] = None
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes=attributes)
    message.add_message_integrity((agent.local_pwd if pwd is None else pwd).encode())
    return message


class Client:
    """A socket that talks to one address of a port."""

    def __init__(self, server: tuple[str, int]) -> None:
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((server[0], 0))
        self.socket.connect(server)
        self.address = self.socket.getsockname()

    def send(self, data: bytes) -> None:
        self.socket.send(data)

    async def receive(self) -> bytes:
        async with asyncio.timeout(5):
            return await asyncio.get_running_loop().sock_recv(self.socket, 4096)

    async def check(self, agent: IceAgent, **options: Any) -> stun.Message:
        """Send a check and return the response."""
        request = check_message(agent, **options)
        self.send(bytes(request))
        response = stun.parse_message(await self.receive())
        assert response.transaction_id == request.transaction_id
        return response

    def received_nothing(self) -> bool:
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self.socket.close()


async def settle(port: UdpPort, datagrams: int) -> None:
    """Wait until the port has dropped that many datagrams in all."""
    await eventually(lambda: port.drops.total() >= datagrams)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the code under test has no events for its tests
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def open_port(
    hosts: Sequence[str] = ("127.0.0.1",), handshakes: AddressLimiter | None = None
) -> AsyncIterator[UdpPort]:
    port = await UdpPort.open(hosts, 0, handshakes)
    try:
        yield port
    finally:
        port.close()


@contextlib.contextmanager
def client_of(port: UdpPort, index: int = 0) -> Iterator[Client]:
    client = Client(port.addresses[index])
    try:
        yield client
    finally:
        client.close()
