"""What the tests of rooms share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from tests.support.fake_peer import FakeNode, FakePeer
from zvonim_sfu.rooms.limits import Limits
from zvonim_sfu.rooms.registry import IceServer, Registry

if TYPE_CHECKING:
    from zvonim_sfu.rooms.events import CloseCode, ServerMessage, Signal
    from zvonim_sfu.rooms.participant import Participant
    from zvonim_sfu.rooms.room import Room

M = TypeVar("M")

ICE_SERVERS = (IceServer(("stun:stun.example",)),)


class FakeConnection:
    """A WebSocket that only remembers; its client never answers."""

    def __init__(self) -> None:
        self.messages: list[ServerMessage] = []
        self.closed_with: CloseCode | None = None
        self.takes_relays = True
        self.is_behind = False
        "Whether messages wait in its outbox."
        self.hangs = False
        "Whether it never finishes closing."

    def send(self, message: ServerMessage) -> None:
        assert self.closed_with is None, "sent to a closed connection"
        self.messages.append(message)

    def sample(self, message: ServerMessage) -> None:
        if not self.is_behind:
            self.send(message)

    def relay(self, signal: Signal) -> bool:
        if self.takes_relays:
            self.send(signal)
        return self.takes_relays

    def close(self, code: CloseCode) -> None:
        if self.closed_with is None:
            self.closed_with = code

    async def wait_closed(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()

    def take(self, kind: type[M]) -> list[M]:
        """Return the messages of a type that came since the last call, and forget all others."""
        taken: list[M] = [message for message in self.messages if isinstance(message, kind)]
        self.messages.clear()
        return taken


class Call:
    """A registry on a fake node, with one room, and clients in it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.node = FakeNode()
        self.registry = Registry(self.node.as_node(), limits or Limits(), ice_servers=ICE_SERVERS)
        self.room: Room | None = None

    def enter(self, name: str, *, slot_mode: bool = False, offer: str | None = None) -> Client:
        """Join, open a WebSocket, send `join`, and publish."""
        client = self.connect(name)
        client.participant.join(None, slot_mode=slot_mode)
        if offer is not None:
            client.participant.handle_offer(offer, {})
        return client

    def connect(self, name: str) -> Client:
        """Join and open a WebSocket."""
        self.room, participant = self.registry.join("room", name)
        return Client(self.node, participant)


class Client:
    """A participant with its newest WebSocket."""

    def __init__(self, node: FakeNode, participant: Participant) -> None:
        self.participant = participant
        self.id = participant.user_id
        self._node = node
        self.connection = FakeConnection()
        participant.attach(self.connection)

    @property
    def peer(self) -> FakePeer:
        return self._node.peers[self.id]

    def drop(self) -> None:
        """Lose the WebSocket."""
        self.participant.detach(self.connection)

    def reconnect(self) -> None:
        """Open a newer WebSocket."""
        self.connection = FakeConnection()
        self.participant.attach(self.connection)


async def settle() -> None:
    """Let everything happen that is to happen now."""
    for _ in range(20):
        await asyncio.sleep(0)
