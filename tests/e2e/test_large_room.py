"""A room of forty in which a thousand things happen: everybody ends with what the server says, and no stream breaks."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import pytest

from benchmarks.client.description import CODECS
from benchmarks.client.generator import Generator
from benchmarks.client.traffic import MICROPHONE, Pattern, Simulcast
from benchmarks.servers import Wishes, zvonim
from tests.support.video_stream import VideoStream
from zvonim_sfu.rtp.packet import RtpPacket

if TYPE_CHECKING:
    from benchmarks.client.peer import Peer
    from benchmarks.servers.zvonim import Zvonim, ZvonimMember

HOST: Final = "127.0.0.1"
ROOM: Final = "large"
PEOPLE: Final = 40
EVENTS: Final = 1000
EVENT_S: Final = 0.025
SLOTS: Final = 6
VIDEO: Final = CODECS["video"].payload_type
VOICES: Final = 3
# Five pictures a second, so that forty people times six pictures can all be decrypted and judged.
CAMERA: Final = Simulcast(
    (
        Pattern("video", 5, 1, 150, 320, 180, rid="q"),
        Pattern("video", 10, 2, 250, 640, 360, rid="h"),
        Pattern("video", 15, 3, 350, 1280, 720, rid="f"),
    )
)
SILENCE: Final = replace(MICROPHONE, packets_per_s=10, loudness=-127)
TILES: Final = ((0, 0), (160, 90), (320, 180), (640, 360), (1280, 720))
LINKS: Final = (30_000, 100_000, 1_000_000)
UNLIMITED: Final = 50_000_000
SETTLE_S: Final = 60.0
AT_REST_S: Final = 0.8
WINDOW_S: Final = 1.5


@dataclass
class Guest:
    """Somebody in the room, and all the pictures that it got."""

    member: ZvonimMember
    label: int
    streams: dict[int, VideoStream]
    "By SSRC."

    def told(self) -> dict[str, tuple[str | None, int]]:
        """Whose picture each slot carries and in which encoding, -1 for none, as the server says."""
        return {
            mid: (user, self.member.quality[mid]["spatial"] if user and mid in self.member.quality else -1)
            for mid, user in self.member.shown.items()
            if mid in self.member.video_slots
        }

    def is_waiting(self, mid: str) -> bool:
        """Whether the server has yet to say what a slot carries, or says that it waits."""
        reason = self.member.quality.get(mid, {}).get("reason")
        return self.member.shown[mid] is not None and reason in (None, "keyframe")


class Room:
    """Those who are there, and those who were."""

    def __init__(self, server: Zvonim, chance: random.Random) -> None:
        self.generator = Generator(HOST, sample_every=1, inspect=self.inspect)
        self._server = server
        self._streams: defaultdict[Peer, dict[int, VideoStream]] = defaultdict(dict)
        self._chance = chance
        self.guests: list[Guest] = []
        self.gone: list[Guest] = []
        self._labels = 0

    def inspect(self, peer: Peer, data: bytes) -> None:
        packet = RtpPacket.parse(data)
        if packet.payload_type == VIDEO:
            self._streams[peer].setdefault(packet.ssrc, VideoStream()).take(packet)

    async def join(self) -> None:
        wishes = Wishes((CAMERA, SILENCE), pairs=SLOTS, audio=VOICES)
        member = await self._server.join(self.generator, ROOM, wishes)
        self._labels += 1
        guest = Guest(member, self._labels * 16, self._streams[member.receiver])
        for number, source in enumerate(member.sources):
            source.label = guest.label + number
            source.resume(time.monotonic(), self._chance.random())
        self.guests.append(guest)

    async def leave(self) -> None:
        guest = self.guests.pop(self._chance.randrange(len(self.guests)))
        self.gone.append(guest)
        await guest.member.leave()

    async def anything(self) -> None:
        """Let one of the things happen that happen in calls."""
        chance, guest = self._chance, self._chance.choice(self.guests)
        match chance.randrange(20):
            case 0 if len(self.guests) > PEOPLE // 2:
                await self.leave()
            case 0 | 1 if len(self.guests) < PEOPLE:
                await self.join()
            case number if number < 9:
                # Who speaks falls silent more often than somebody begins: a few at a time.
                voice = guest.member.sources[-1]
                voice.loudness = -20 if voice.loudness == -127 and chance.random() < 0.3 else -127
            case number if number < 12:
                guest.member.receiver.limit(chance.choice(LINKS))
            case _:
                tiles = [chance.choice(TILES) for _ in range(SLOTS)]
                wanted = chance.sample(self.guests, chance.randrange(4))
                await guest.member.show(tiles, [other.member.user_id for other in wanted if other is not guest])


@pytest.mark.asyncio
@pytest.mark.minute
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1])
async def test_after_a_thousand_events_everybody_gets_what_the_server_says(seed: int) -> None:
    chance = random.Random(seed)
    async with zvonim.start(HOST, limit_microphones_heard=VOICES) as server:
        room = Room(server, chance)
        async with room.generator:
            await _check(room, chance)


async def _check(room: Room, chance: random.Random) -> None:
    for _ in range(PEOPLE):
        await room.join()
    for _ in range(EVENTS):
        await room.anything()
        await asyncio.sleep(EVENT_S)
    for guest in room.guests:
        guest.member.sources[-1].loudness = -127
        guest.member.receiver.limit(UNLIMITED)
    # Rates may still rise one by one, where they have fallen often: each slot has to be seen when it is at rest.
    unseen = {(guest.label, mid) for guest in room.guests for mid in guest.member.video_slots}
    deadline = time.monotonic() + SETTLE_S
    while unseen:
        right, wrong = await _compare(room)
        unseen -= right
        assert time.monotonic() < deadline, f"{len(unseen)} slots carry something else than told: {wrong[:3]}"
    sent = [spatial >= 0 for guest in room.guests for _, spatial in guest.told().values()]
    assert sum(sent) > len(sent) / 2, "what is right is not that nothing is sent"
    room.generator.check_alive()
    everybody = [*room.guests, *room.gone]
    streams = [stream for guest in everybody for stream in guest.streams.values()]
    faults = [fault for stream in streams for fault in stream.faults()]
    assert not faults, f"{len(faults)} of {sum(stream.switches for stream in streams)} switches: {faults[:3]}"
    assert sum(stream.switches for stream in streams) > EVENTS
    assert not any(guest.member.receiver.unreadable for guest in everybody)
    for guest in room.guests:
        await guest.member.leave()


async def _compare(room: Room) -> tuple[set[tuple[int, str]], list[str]]:
    """Compare what comes with what the server says, in the slots of which it says the same for a while.

    Returns those in which it is the same, and what was wrong with others.
    """
    labels: dict[str | None, int] = {guest.member.user_id: guest.label for guest in room.guests}
    before = {guest.label: guest.told() for guest in room.guests}
    await asyncio.sleep(AT_REST_S)
    since = time.time_ns()
    await asyncio.sleep(WINDOW_S)
    until = time.time_ns()
    await asyncio.sleep(AT_REST_S)
    right = set()
    wrong = []
    for guest in room.guests:
        for mid, told in guest.told().items():
            if told != before[guest.label].get(mid) or guest.is_waiting(mid):
                continue
            user, spatial = told
            stream = guest.streams.get(guest.member.video_slots[mid], VideoStream())
            expected = {labels[user] + spatial} if user is not None and spatial >= 0 else set()
            if (labels_seen := stream.labels(since, until)) == expected:
                right.add((guest.label, mid))
            else:
                wrong.append(f"{labels_seen} and not {expected}, {guest.member.quality.get(mid)}")
    return right, wrong
