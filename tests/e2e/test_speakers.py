"""Who speaks, over real sockets: packets with levels go in, and out come the first syllable, slots and messages."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from tests.media.raw_client import RawClient, microphone
from tests.media.support import AUDIO_LEVEL, MID, OPUS, rtp
from tests.support.eventually import until
from tests.support.in_process import serve
from zvonim_sfu.media.sdp import Extension
from zvonim_sfu.media.up_track import LEAD_IN_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from zvonim_sfu.media.sdp import Section

FRAME_S: Final = 0.02
SILENT, LOUD = 127, 25
HEARD: Final = 2
EXTENSIONS: Final = (Extension(4, MID), Extension(1, AUDIO_LEVEL))
ON_TIME_S: Final = 0.6
"""0.3 s, and what a busy machine adds."""


class Member:
    """One user of a WebSocket and a raw client; its microphone sends a numbered packet each 20 ms."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, user_id: str) -> None:
        self.user_id = user_id
        self.media = RawClient()
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.level = SILENT
        self.sent: list[tuple[float, int]] = []
        "When each packet was sent, and its level; their place here is what is in them."
        self._ws = ws

    async def join(self, sections: Sequence[Section], *, delivery: str) -> None:
        await self._say(type="join", user_id=self.user_id, delivery=delivery)
        await self._say(type="offer", to="sfu", sdp=self.media.offer(*sections))

    async def _say(self, **message: object) -> None:
        await self._ws.send_str(json.dumps(message))

    async def listen(self) -> None:
        async for frame in self._ws:
            message = json.loads(frame.data)
            self.messages.append((time.monotonic(), message))
            if message["type"] == "answer":
                await self.media.accept_answer(message["sdp"])
            elif message["type"] == "offer":
                await self._say(type="answer", to="sfu", sdp=self.media.answer(message["sdp"]))

    async def talk(self) -> None:
        """At the level of the moment, until cancelled."""
        await until(lambda: self.media.dtls.state == "connected", 10)
        due = time.monotonic()
        while True:
            number = len(self.sent)
            payload = f"{self.user_id} {number}".encode()
            extensions = [(1, bytes((self.level,)))]
            data = rtp(number, number * 960, payload_type=OPUS.payload_type, payload=payload, extensions=extensions)
            self.sent.append((time.monotonic(), self.level))
            self.media.send_rtp(data)
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def speak(self) -> tuple[float, int]:
        """Begin to; returns when, and with which packet."""
        self.level = LOUD
        await until(lambda: self.sent[-1][1] == LOUD)
        number = next(i for i in range(len(self.sent) - 1, -1, -1) if i == 0 or self.sent[i - 1][1] == SILENT)
        return self.sent[number][0], number

    def told(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at, message) for at, message in self.messages if message["type"] == kind]

    def heard(self, other: Member) -> list[int]:
        """Which of the other's packets came, in the order in which they did."""
        name = f"{other.user_id} ".encode()
        return [int(p.payload.removeprefix(name)) for p in self.media.packets if p.payload.startswith(name)]


@asynccontextmanager
async def call(talkers: int, *, pairs: int) -> AsyncIterator[tuple[Member, list[Member]]]:
    """A listener with slots, and people who send silence. One of them knows only the documented messages."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(microphones_heard=HEARD))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        tasks = []

        async def member(name: str, sections: Sequence[Section], *, slots: bool) -> Member:
            async with http.post(f"{server.url}/api/room/join", json={"room_id": "r", "user_name": name}) as response:
                user_id = (await response.json())["user_id"]
            ws = await http.ws_connect(f"{server.url}/ws", params={"room_id": "r", "user_id": user_id})
            made = Member(ws, user_id)
            tasks.append(asyncio.create_task(made.listen()))
            await made.join(sections, delivery="slots" if slots else "offers")
            stack.push_async_callback(made.media.close)
            return made

        try:
            slots = [microphone(f"a{k}", "recvonly", extensions=EXTENSIONS) for k in range(pairs)]
            listener = await member("listener", slots, slots=True)
            people = [
                await member(f"p{k}", [microphone("0", extensions=EXTENSIONS)], slots=k > 0) for k in range(talkers)
            ]
            tasks += [asyncio.create_task(person.talk()) for person in people]
            await until(lambda: all(len(person.sent) > 20 for person in people), 20)
            yield listener, people
            failures = [task.exception() for task in tasks if task.done()]
            assert failures == []
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.asyncio
async def test_who_begins_to_speak_is_heard_from_the_first_packet_and_everybody_is_told() -> None:
    async with call(talkers=5, pairs=HEARD + 1) as (listener, people):
        await asyncio.sleep(1)
        last, old = people[4], people[0]
        assert listener.heard(last) == [], "it came last, and nobody has spoken"
        began, first = await last.speak()
        await until(lambda: bool(listener.heard(last)) and bool(listener.told("dominant-speaker")))
        assert time.monotonic() - began < ON_TIME_S
        numbers = listener.heard(last)
        assert numbers[0] <= first, "the first syllable is whole"
        assert numbers[0] >= first - LEAD_IN_S / FRAME_S
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        ((_, message),) = listener.told("dominant-speaker")
        assert message["user_id"] == last.user_id
        # It has taken a slot, and the listener was told so.
        slots = [change for _, m in listener.told("slots") for change in m["changes"]]
        assert any(change["user_id"] == last.user_id for change in slots)
        await until(lambda: bool(listener.told("audio-levels")))
        assert listener.told("audio-levels")[0][1]["levels"] == [{"user_id": last.user_id, "level": -LOUD}]
        # Who knows only the documented messages hears no more and no less, and is told nothing.
        await until(lambda: bool(old.heard(last)))
        assert {m["type"] for _, m in old.messages} & {"dominant-speaker", "audio-levels", "slots"} == set()
        assert last.heard(last) == []


@pytest.mark.asyncio
async def test_no_more_than_the_number_is_forwarded_and_numbers_have_no_hole() -> None:
    async with call(talkers=5, pairs=5) as (listener, people):
        for person in people:
            await person.speak()
            await asyncio.sleep(0.7)
            person.level = SILENT
            await asyncio.sleep(1.2)
            assert listener.heard(person), "everybody who spoke was heard"
        before = [len(listener.heard(person)) for person in people]
        await asyncio.sleep(1)
        grown = [len(listener.heard(person)) > count for person, count in zip(people, before, strict=True)]
        assert grown == [False, False, False, True, True]
        by_slot: dict[int, list[int]] = {}
        for packet in listener.media.packets:
            by_slot.setdefault(packet.ssrc, []).append(packet.sequence_number)
        for numbers in by_slot.values():
            assert [(number - numbers[0]) & 0xFFFF for number in numbers] == list(range(len(numbers)))
