"""A call goes on while somebody throws everything at the server."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest
from aioice import stun

from tests.support.documented_client import DocumentedClient
from tests.support.eventually import until
from tests.support.in_process import living_objects, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.in_process import InProcess

RED, GREEN = (200, 30, 30), (30, 170, 30)
DATAGRAMS: Final = 10_000
TURNS: Final = 20
SEED: Final = 20261123

BAD_SDP = (
    "",
    "v=0",
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio x UDP/TLS/RTP/SAVPF 1e9\r\na=mid:0\r\n",
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n" + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\n" * 300,
    "v=0\r\n" + "a=fingerprint:sha-256 zz\r\n" * 5000,
    "\x00\ud7ff" * 100,
)
BAD_MESSAGES = (
    "",
    "{",
    "[]",
    "null",
    "1e999",
    '{"type": "offer"}',
    '{"type": "offer", "sdp": 1}',
    '{"type": "offer", "sdp": {"a": []}, "to": {}}',
    '{"type": "answer", "sdp": "v=0"}',
    '{"type": "join", "user_id": null}',
    '{"type": ["join"]}',
    '{"type": "no-such-thing"}',
    '{"type": "track-muted", "track_id": "camera-9", "muted": true}',
    '{"type": "track-muted", "track_id": "camera", "muted": "yes"}',
    '{"type": "view", "tiles": [{"mid": "9", "width": -1, "height": 0}]}',
    '{"type": "ice-candidate", "candidate": {"candidate": 7}}',
    '{"type": "ice-candidate", "candidate": "candidate:1 1 udp 1 203.0.113.9 9 typ host"}',
    '{"type": "offer", "to": "nobody", "sdp": "v=0"}',
    '{"data": "x", "type": "leave-please"}',
    "[" * 100_000,
    '{"type": "join", "type": "leave"}',
    '{"type": "join", "user_name": "\\ud800", "user_id": "x"}',
    "9" * 5000,
)


def hostile_datagrams(server: InProcess) -> Iterator[bytes]:
    """Random bytes, and STUN, DTLS and SRTP that are nearly right."""
    chance = random.Random(SEED)
    ufrags = list(server.node.udp._agents)
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes |= {"USERNAME": f"{ufrags[0]}:abcd", "PRIORITY": 1, "ICE-CONTROLLING": 1, "USE-CANDIDATE": None}
    request.add_message_integrity(b"not the password")
    check = bytes(request)
    seeds = (
        lambda: chance.randbytes(chance.randrange(1, 1400)),
        lambda: check,
        lambda: b"\x80" + chance.randbytes(chance.randrange(12, 1200)),
        lambda: bytes([0x80, 200 + chance.randrange(10)]) + chance.randbytes(chance.randrange(10, 200)),
        lambda: b"\x16\xfe\xfd" + chance.randbytes(chance.randrange(10, 800)),
    )
    for i in range(DATAGRAMS):
        data = bytearray(seeds[i % len(seeds)]())
        for _ in range(chance.randrange(3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        yield bytes(data)


async def flood(server: InProcess) -> int:
    """Send the hostile datagrams from strange addresses; returns how many answers came back."""
    port = server.node.udp.port
    strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
    for stranger in strangers:
        stranger.bind(("127.0.0.1", 0))
        stranger.setblocking(False)
    drops = sum(server.node.udp.drops.values())
    for i, datagram in enumerate(hostile_datagrams(server)):
        strangers[i % len(strangers)].sendto(datagram, ("127.0.0.1", port))
        if i % 50 == 49:
            for _ in range(TURNS):  # the server's, on a machine that does other things too
                await asyncio.sleep(0)
                if sum(server.node.udp.drops.values()) - drops > i:
                    break
    await asyncio.sleep(0.2)
    answers = 0
    for stranger in strangers:
        while True:
            try:
                stranger.recv(2048)
                answers += 1
            except BlockingIOError:
                break
        stranger.close()
    return answers


async def babble(http: aiohttp.ClientSession, server: InProcess, room_id: str, victim: DocumentedClient) -> None:
    """Join as a user of one's own, and say everything that is wrong, in the victim's name too."""
    async with http.post(f"{server.url}/api/room/join", json={"room_id": room_id, "user_name": "Mallory"}) as response:
        me = (await response.json())["user_id"]
    async with http.ws_connect(f"{server.url}/ws", params={"room_id": room_id, "user_id": me}) as ws:
        await ws.send_json({"type": "offer", "sdp": "v=0"})
        assert (await ws.receive_json())["code"] == "join-required"
        await ws.send_json({"type": "join", "user_id": victim.user_id, "user_name": "Not Mallory"})
        assert (await ws.receive_json())["code"] == "wrong-user"
        await ws.send_json({"type": "join", "user_id": me, "user_name": "Mallory"})
        assert (await ws.receive_json())["type"] == "room-state"
        for text in BAD_MESSAGES:
            await ws.send_str(text)
        for sdp in BAD_SDP:
            await ws.send_json({"type": "offer", "to": "all", "sdp": sdp})
        await ws.send_bytes(b"\x00\xff")
        await ws.send_json({"type": "offer", "from": victim.user_id, "to": "sfu", "sdp": "v=0"})
        errors = [message async for message in _errors(ws, 24)]
        assert all(isinstance(error["message"], str) and error["code"] != "internal" for error in errors), errors
        await ws.send_str(json.dumps({"type": "leave"}))


async def _errors(ws: aiohttp.ClientWebSocketResponse, least: int) -> AsyncIterator[dict[str, object]]:
    for _ in range(least):
        message = json.loads((await ws.receive(5)).data)
        if message["type"] == "error":
            yield message


@pytest.mark.asyncio
async def test_a_call_goes_on_under_hostile_messages_and_datagrams() -> None:
    async with serve() as server, aiohttp.ClientSession() as http:
        ann = await DocumentedClient.enter(http, server.url, None, "Ann", colour=RED, hertz=440)
        bob = await DocumentedClient.enter(http, server.url, ann.room_id, "Bob", colour=GREEN, hertz=660)
        other = await DocumentedClient.enter(http, server.url, None, "Ida", colour=GREEN, hertz=880)

        def call_works() -> bool:
            return ann.sees_and_hears(bob, GREEN, 660) and bob.sees_and_hears(ann, RED, 440)

        try:
            await until(call_works, 20)
            before = living_objects()
            said = len(other.messages)
            drops = sum(server.node.udp.drops.values())

            answers = await flood(server)
            assert answers == 0, "nothing is sent to who has not sent an authenticated check"
            counted = sum(server.node.udp.drops.values()) - drops
            assert counted > 0.9 * DATAGRAMS, "what the kernel did not lose is counted"

            for _ in range(3):
                await babble(http, server, ann.room_id, ann)
            async with http.post(f"{server.url}/api/room/join", data=b"\xff{") as response:
                assert 400 <= response.status < 500
            async with http.ws_connect(f"{server.url}/ws", params={"room_id": "x", "user_id": ann.user_id}) as ws:
                assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE
                assert ws.close_code == 4004
            # A member of another room cannot be reached.
            await ann.send("offer", to=other.user_id, sdp="v=0")
            await until(lambda: bool(ann.said("error", code="unknown-recipient")))
            assert len(other.messages) == said

            frames = [client.media.heard_from(peer.user_id, "camera") for client, peer in ((ann, bob), (bob, ann))]
            seen = [received.frames for received in frames if received is not None]
            await until(lambda: [r.frames - n > 5 for r, n in zip(frames, seen, strict=True) if r] == [True, True])
            assert call_works()
            await until(lambda: living_objects() == before)
        finally:
            for client in (ann, bob, other):
                await client.close()
