"""Participants of a call whose media are real and whose signalling is a method call."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import structlog

from tests.media.raw_client import RawClient, camera
from tests.media.support import refusal
from zvonim_sfu.media import peer as peer_module
from zvonim_sfu.media.node import MediaNode
from zvonim_sfu.media.peer import Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.support.aiortc_client import AiortcClient
    from zvonim_sfu.media.sdp import Section
    from zvonim_sfu.media.up_track import UpTrack


class Client(Protocol):
    """The other end of a peer."""

    async def close(self) -> None: ...


ClientT = TypeVar("ClientT", bound=Client)


class Participant(Generic[ClientT]):
    """A peer, the client at its other end, and what the peer's listener is told."""

    def __init__(self, node: MediaNode, name: str, client: ClientT, *, slot_mode: bool = False) -> None:
        self.client = client
        self.clients = [client]
        self.offers: asyncio.Queue[str] = asyncio.Queue()
        self.states: list[str] = []
        self.estimates: list[float | None] = []
        self.unsupported: list[str] = []
        self.published: list[str] = []
        "Keys of the up tracks that there are."
        self.peer = Peer(
            node, name, listener=self, slot_mode=slot_mode, max_up_tracks=4, log=structlog.get_logger().bind()
        )

    def on_up_track_added(self, track: UpTrack) -> None:
        self.published.append(track.key)

    def on_up_track_removed(self, track: UpTrack) -> None:
        self.published.remove(track.key)

    def on_ladder_changed(self, track: UpTrack) -> None: ...

    def on_offer(self, sdp: str) -> None:
        self.offers.put_nowait(sdp)

    def on_track_unsupported(self, track: UpTrack) -> None:
        self.unsupported.append(track.key)

    def on_connection_state(self, state: str) -> None:
        self.states.append(state)

    def on_estimate(self, now: float) -> None:
        self.estimates.append(self.peer.estimate_bps)

    def reload(self, client: ClientT) -> None:
        """Go on with another client, as a page that was loaded anew."""
        self.client = client
        self.clients.append(client)

    async def next_offer(self) -> str:
        """Wait for an offer of the server."""
        return await asyncio.wait_for(self.offers.get(), 5)

    @property
    def up(self) -> UpTrack:
        """The only track that it publishes."""
        (track,) = self.peer.up_tracks
        return track


async def publish(participant: Participant[RawClient], *sections: Section) -> None:
    """Offer m-sections and connect."""
    client = participant.client
    await client.accept_answer(participant.peer.handle_offer(client.offer(*sections), {}))


async def watch(participant: Participant[RawClient], *tracks: UpTrack) -> str:
    """Have the server offer these tracks, answer and connect; returns the offer."""
    participant.peer.set_tracks(tracks)
    offer = await participant.next_offer()
    participant.peer.handle_answer(participant.client.answer(offer))
    if participant.client.dtls.state == "new":
        await participant.client.connect(offer)
    return offer


class Call:
    """A node and those who are connected to it."""

    def __init__(self, node: MediaNode) -> None:
        self.node = node
        self.participants: list[Participant[RawClient] | Participant[AiortcClient]] = []

    def join(self, name: str, *, slot_mode: bool = False) -> Participant[RawClient]:
        """A participant with a raw client."""
        participant = Participant(self.node, name, RawClient(), slot_mode=slot_mode)
        self.participants.append(participant)
        return participant

    def join_aiortc(self, name: str, client: AiortcClient, *, slot_mode: bool = False) -> Participant[AiortcClient]:
        """A participant with a client that has codecs."""
        participant = Participant(self.node, name, client, slot_mode=slot_mode)
        self.participants.append(participant)
        return participant

    async def close(self) -> None:
        """End everything, and see that nothing is left of it."""
        for participant in self.participants:
            participant.peer.close()
        await asyncio.gather(*(client.close() for p in self.participants for client in p.clients))
        for _ in range(3):  # the turns in which cancelled tasks end
            await asyncio.sleep(0)
        assert remains(self.node) == {}
        await self.node.close()


def remains(node: MediaNode) -> dict[str, Sequence[object]]:
    """What a node still holds of its transports, by where it is."""
    udp = node.udp
    places: dict[str, Sequence[object]] = {
        "ssrcs": sorted(node._ssrcs),
        "tasks": list(node._tasks),
        "agents": list(udp._agents),
        "paths": list(udp._paths),
        "owners": [address for receiver in udp._receivers.values() for address in range(len(receiver))],
        "batch": [None] * len(udp.batch),
    }
    return {name: found for name, found in places.items() if found}


@asynccontextmanager
async def open_call() -> AsyncIterator[Call]:
    """A call on loopback."""
    call = Call(await MediaNode.open(["127.0.0.1"], 0))
    try:
        yield call
    finally:
        await call.close()


def code(participant: Participant[RawClient], text: str, *, is_answer: bool = False) -> str:
    """The code with which a description is refused."""
    peer = participant.peer
    return refusal(lambda: peer.handle_answer(text) if is_answer else peer.handle_offer(text, {}))


async def two_cameras(call: Call) -> tuple[Participant[RawClient], Participant[RawClient]]:
    """Ann and Bob, who publish a picture each."""
    ann, bob = call.join("ann"), call.join("bob")
    await publish(ann, camera())
    await publish(bob, camera())
    return ann, bob


async def settle() -> None:
    """Wait longer than an offer of the server takes."""
    await asyncio.sleep(peer_module.FIRST_OFFER_DELAY_S + peer_module.OFFER_DELAY_S)
