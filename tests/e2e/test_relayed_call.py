"""Calls through the relay: the server announces its address, so that everything passes it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest

from tests.support.documented_client import DocumentedClient
from tests.support.eventually import until
from tests.support.in_process import InProcess, serve
from tests.support.relay import Profile, Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RED, GREEN = (200, 30, 30), (30, 170, 30)
CROOKED: Final = Profile(delay_ms=20, jitter_ms=5, reorder=0.05, duplicate=0.05)
VERY_LOSSY: Final = Profile(loss=0.05, delay_ms=20, jitter_ms=5)
LOSSY: Final = Profile(loss=0.02, delay_ms=20, jitter_ms=5)


@dataclass(frozen=True)
class Call:
    """Two in a room, each behind the relay."""

    relay: Relay
    server: InProcess
    ann: DocumentedClient
    bob: DocumentedClient

    def pictures(self) -> tuple[int, int]:
        """How many each has seen of the other."""
        return self._decoded("camera")

    def sounds(self) -> tuple[int, int]:
        """How many frames each has heard of the other."""
        return self._decoded("microphone")

    async def go_on(self, *, pictures: int = 0, sounds: int = 0) -> None:
        """Wait until both have seen or heard that many more."""
        seen, heard = self.pictures(), self.sounds()
        await until(
            lambda: (
                all(now >= before + pictures for now, before in zip(self.pictures(), seen, strict=True))
                and all(now >= before + sounds for now, before in zip(self.sounds(), heard, strict=True))
            ),
            30,
        )

    def hear_each_other(self) -> bool:
        return all(
            heard is not None and abs(heard.hertz - hertz) < 5
            for heard, hertz in (
                (self.ann.media.heard_from(self.bob.user_id, "microphone"), 660),
                (self.bob.media.heard_from(self.ann.user_id, "microphone"), 440),
            )
        )

    def see_and_hear_each_other(self) -> bool:
        return self.ann.sees_and_hears(self.bob, GREEN, 660) and self.bob.sees_and_hears(self.ann, RED, 440)

    def _decoded(self, track: str) -> tuple[int, int]:
        pairs = (self.ann, self.bob), (self.bob, self.ann)
        ann, bob = (me.media.heard_from(other.user_id, track) for me, other in pairs)
        return (ann.frames if ann else 0, bob.frames if bob else 0)


@asynccontextmanager
async def call(profile: Profile) -> AsyncIterator[Call]:
    relay = Relay(up=profile, down=profile, seed=1)
    async with relay, serve(announce=[relay.announced]) as server, aiohttp.ClientSession() as http:
        relay.set_server(("127.0.0.1", server.node.udp.port))
        ann = await DocumentedClient.enter(http, server.url, None, "Ann", colour=RED, hertz=440)
        bob = await DocumentedClient.enter(http, server.url, ann.room_id, "Bob", colour=GREEN, hertz=660)
        try:
            yield Call(relay, server, ann, bob)
            assert relay.drops().total() == 0, "what was lost was lost on the links"
        finally:
            await ann.close()
            await bob.close()


@pytest.mark.asyncio
async def test_the_server_knows_clients_by_the_relays_addresses_only() -> None:
    async with call(Profile()) as two:
        await until(two.see_and_hear_each_other, 20)
        known = {path.address for paths in two.server.node.udp._paths.values() for path in paths}
        assert known == {client.seen_at for client in two.relay.clients.values()}
        assert len(known) == 2


@pytest.mark.asyncio
async def test_two_see_and_hear_each_other_through_jitter_reordering_and_duplicates() -> None:
    async with call(CROOKED) as two:
        await until(two.see_and_hear_each_other, 20)
        await two.go_on(pictures=30, sounds=100)
        assert two.see_and_hear_each_other()
        for way in (two.relay.up(), two.relay.down()):
            assert way.reordered > 0
            assert way.duplicated > 0
            assert way.delivered == way.sent


@pytest.mark.asyncio
async def test_two_hear_each_other_through_two_per_cent_of_loss() -> None:
    async with call(LOSSY) as two:
        await until(two.hear_each_other, 20)
        await two.go_on(sounds=200)
        assert two.hear_each_other()
        for way in (two.relay.up(), two.relay.down()):
            assert way.lost == pytest.approx(0.02 * way.sent, rel=0.8)
            assert way.delivered + way.lost == way.sent > 200


@pytest.mark.asyncio
async def test_two_see_each_other_through_two_per_cent_of_loss() -> None:
    async with call(LOSSY) as two:
        await until(two.see_and_hear_each_other, 20)
        await two.go_on(pictures=100)
        assert two.see_and_hear_each_other()


@pytest.mark.asyncio
async def test_what_five_per_cent_of_loss_takes_is_repaired_on_both_legs() -> None:
    async with call(VERY_LOSSY) as two:
        await until(two.see_and_hear_each_other, 20)
        await two.go_on(pictures=150)
        assert two.see_and_hear_each_other()
        rooms = two.server.registry.rooms.values()
        peers = [member._peer for room in rooms for member in room.participants.values() if member._peer is not None]
        layers = [up.layer for peer in peers for up in peer.up_tracks if up.kind == "video" and up.layer is not None]
        downs = [down for peer in peers for down in peer.down_tracks.values() if down.kind == "video"]
        assert len(layers) == len(downs) == 2
        for layer in layers:
            assert layer.register is not None
            lost = layer.statistics.expected - layer.statistics.received
            assert lost > 0
            assert layer.repaired >= 0.8 * lost
            assert layer.register.given_up <= 0.1 * lost
        for down in downs:
            assert 0 < down.statistics.repaired <= 0.3 * down.statistics.packets
