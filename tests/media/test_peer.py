from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog

from tests.support.aiortc_client import AiortcClient, is_colour
from zvonim_sfu.media.node import MediaNode
from zvonim_sfu.media.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from zvonim_sfu.media.up_track import UpTrack

RED, BLUE = (200, 30, 30), (30, 30, 200)


class Participant:
    """A peer's listener that keeps what it is told, and the client at the other end."""

    def __init__(self, node: MediaNode, name: str, client: AiortcClient, *, slot_mode: bool = False) -> None:
        self.client = client
        self.offers: asyncio.Queue[str] = asyncio.Queue()
        self.states: list[str] = []
        self.unsupported: list[str] = []
        self.peer = Peer(
            node, name, listener=self, slot_mode=slot_mode, max_up_tracks=4, log=structlog.get_logger().bind()
        )

    def on_up_track_added(self, track: UpTrack) -> None: ...

    def on_up_track_removed(self, track: UpTrack) -> None: ...

    def on_offer(self, sdp: str) -> None:
        self.offers.put_nowait(sdp)

    def on_track_unsupported(self, track: UpTrack) -> None:
        self.unsupported.append(track.key)

    def on_connection_state(self, state: str) -> None:
        self.states.append(state)

    async def publish(self) -> None:
        await self.client.accept_answer(self.peer.handle_offer(await self.client.offer(), {}))

    async def answer_offer(self) -> None:
        self.peer.handle_answer(await self.client.answer(await asyncio.wait_for(self.offers.get(), 5)))


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_two_clients_see_and_hear_each_other() -> None:
    node = await MediaNode.open(["127.0.0.1"], 0)
    ann = Participant(node, "ann", AiortcClient(RED, 440))
    bob = Participant(node, "bob", AiortcClient(BLUE, 880))
    try:
        await ann.publish()
        await bob.publish()
        ann.peer.set_tracks(bob.peer.up_tracks)
        bob.peer.set_tracks(ann.peer.up_tracks)
        await ann.answer_offer()
        await bob.answer_offer()

        def seen(me: Participant, name: str, colour: tuple[int, int, int], hertz: int) -> bool:
            picture = me.client.heard_from(name, "camera")
            sound = me.client.heard_from(name, "microphone")
            return (
                picture is not None
                and sound is not None
                and is_colour(picture.colour, colour)
                and abs(sound.hertz - hertz) < 5
            )

        await until(lambda: seen(ann, "bob", BLUE, 880) and seen(bob, "ann", RED, 440))
    finally:
        for participant in (ann, bob):
            participant.peer.close()
            await participant.client.close()
        await node.close()
