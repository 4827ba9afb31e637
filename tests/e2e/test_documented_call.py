"""Proof that a call works for clients that know nothing but the documented messages."""

from __future__ import annotations

import aiohttp
import pytest

from tests.support.documented_client import DocumentedClient
from tests.support.eventually import until
from tests.support.in_process import serve

RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 170, 30), (30, 30, 200), (190, 190, 30)


@pytest.mark.asyncio
async def test_three_in_a_room_then_one_leaves_and_one_comes_late() -> None:
    async with serve() as server, aiohttp.ClientSession() as http:
        ann = await DocumentedClient.enter(http, server.url, None, "Ann", colour=RED, hertz=440)
        room = ann.room_id
        bob = await DocumentedClient.enter(http, server.url, room, "Bob", nested=True, colour=GREEN, hertz=660)
        eve = await DocumentedClient.enter(http, server.url, room, "Eve", colour=BLUE, hertz=880)
        members = {ann: (RED, 440), bob: (GREEN, 660), eve: (BLUE, 880)}
        try:
            assert set(eve.users_in_room) == {client.user_id for client in members}

            def all_see_all() -> bool:
                pairs = ((me, other) for me in members for other in members if me is not other)
                return all(me.sees_and_hears(other, *members[other]) for me, other in pairs)

            await until(all_see_all, 20)
            assert ann.said("user-joined", user_id=bob.user_id, user_name="Bob")
            assert not eve.said("user-joined", user_id=bob.user_id), "who was there before is told by room-state"
            assert {p["user_id"] for p in eve.said("room-state")[0]["participants"]} >= {ann.user_id, bob.user_id}

            # Two members may talk to each other past the server; what they say is relayed as it is.
            for sdp in ("v=0 one", "v=0 two"):
                await ann.send("offer", to=bob.user_id, sdp=sdp)
            await bob.send("answer", to=ann.user_id, sdp="v=0 three")
            await bob.send("ice-candidate", to=ann.user_id, candidate="candidate:1 1 udp 1 192.0.2.1 9 typ host")
            await until(lambda: bool(bob.said("offer", sdp="v=0 two")) and bool(ann.said("ice-candidate")))
            assert bob.said("offer", **{"from": ann.user_id, "to": bob.user_id, "sdp": "v=0 one"})
            assert ann.said("answer", **{"from": bob.user_id, "to": ann.user_id, "sdp": "v=0 three"})
            assert not eve.said("offer", **{"from": ann.user_id})

            await bob.leave()
            del members[bob]
            await until(lambda: all(client.said("user-left", user_id=bob.user_id) for client in members))
            await until(lambda: all(client.media.heard_from(bob.user_id, "camera") is None for client in members))

            late = await DocumentedClient.enter(http, server.url, room, "Liv", nested=True, colour=YELLOW, hertz=550)
            members[late] = (YELLOW, 550)
            await until(all_see_all, 20)
            assert len(ann.media.pc.getTransceivers()) == 4, "the m-sections that Bob left behind carry Liv"
        finally:
            for client in (*members, bob):
                await client.close()


@pytest.mark.asyncio
async def test_who_only_watches_sends_no_offer() -> None:
    async with serve() as server, aiohttp.ClientSession() as http:
        watcher = await DocumentedClient.enter(http, server.url, None, "Wim")
        ann = await DocumentedClient.enter(http, server.url, watcher.room_id, "Ann", colour=RED, hertz=440)
        try:
            await until(lambda: watcher.sees_and_hears(ann, RED, 440), 20)
            assert len(watcher.said("offer")) == 1, "two tracks of one publisher are one offer"
        finally:
            await watcher.close()
            await ann.close()
