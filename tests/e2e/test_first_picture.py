"""What the keyframe cache is good for: how long who comes in waits for the first picture, with it and without it."""

from __future__ import annotations

import asyncio
import itertools
import math
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Final

import pytest

from tests.media.calls import open_call
from tests.media.flows import DELTA, KEYFRAME
from tests.media.raw_client import camera
from tests.media.support import VP8, rtp
from tests.support.eventually import until
from tests.support.relay import Profile, Relay
from zvonim_sfu.rtp.history import MAX_AGE_S, PacketHistory
from zvonim_sfu.rtp.nack import NackRegister
from zvonim_sfu.rtp.packet import RtpPacket
from zvonim_sfu.rtp.rtcp import Nack, PictureLossIndication, ReceiverReport
from zvonim_sfu.rtp.sequence import SequenceExtender

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.media.calls import Participant
    from tests.media.raw_client import RawClient
    from zvonim_sfu.media.up_track import UpTrack

PUBLISHERS_LINK: Final = Profile(loss=0.02, delay_ms=75)
SUBSCRIBERS_LINK: Final = Profile(loss=0.02, delay_ms=50)
ROUND_TRIP_S: Final = 0.15
"""To the publisher; a subscriber's is 0.1 s."""
LATE: Final = 5
EVERY_S: Final = 0.25
"""All of them within the age to which a keyframe is kept."""
FRAME_S: Final = 1 / 30
KEYFRAME_PACKETS: Final = 8
NACKED: Final = replace(VP8, feedback=("nack", "nack pli"))
POLL_S: Final = 0.004


@dataclass
class Camera:
    """A publisher's encoder: a picture in each frame's time, a keyframe when it was asked for one, repairs."""

    client: RawClient
    keyframes: int = 0
    _sent: dict[int, bytes] = field(default_factory=dict)
    _numbers: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)

    @property
    def asked(self) -> int:
        """Requests for a keyframe that came so far."""
        return len(self.client.received(PictureLossIndication))

    async def run(self) -> None:
        answered = nacks = 0
        for frame in itertools.count():
            wanted, answered = self.asked > answered, self.asked
            parts = [KEYFRAME, *[b"\0" * 900] * (KEYFRAME_PACKETS - 1)] if wanted or frame == 0 else [DELTA]
            self.keyframes += len(parts) > 1
            for part in parts:
                number = self._numbers() & 0xFFFF
                self._sent[number] = rtp(number, int(frame * FRAME_S * 90000), payload=part, marker=part is parts[-1])
                self.client.send_rtp(self._sent[number])
            missed = self.client.received(Nack)
            for number in [number for nack in missed[nacks:] for number in nack.lost]:
                self.client.send_rtp(self._sent[number])
            nacks = len(missed)
            await asyncio.sleep(FRAME_S)


@dataclass
class Viewer:
    """A subscriber's decoder: waits for a keyframe of which nothing is missing, and asks for what is."""

    participant: Participant[RawClient]
    took_s: float = math.inf
    "From the assignment of its slot to the whole keyframe."

    async def watch(self, track: UpTrack) -> None:
        """Be given this track; return with the first picture."""
        loop = asyncio.get_running_loop()
        (slot,) = self.participant.peer.slots
        self.participant.peer.assign({slot.mid: track})
        client, (down,) = self.participant.client, self.participant.peer.down_tracks.values()
        register, extender = NackRegister(), SequenceExtender()
        kept: dict[int, RtpPacket] = {}
        started_at, read = loop.time(), 0
        while not _has_keyframe(kept):
            await asyncio.sleep(POLL_S)
            for data in client.rtp[read:]:
                packet = RtpPacket.parse(data)
                number = extender.extend(packet.sequence_number)
                kept[number] = packet
                register.received(number, loop.time())
            read = len(client.rtp)
            lost = register.requests(loop.time(), 0.1)
            if lost:
                client.send_rtcp(ReceiverReport(9), Nack(9, down.ssrc, tuple(number & 0xFFFF for number in lost)))
        self.took_s = loop.time() - started_at


def _has_keyframe(kept: dict[int, RtpPacket]) -> bool:
    for start in [number for number, packet in kept.items() if packet.payload == KEYFRAME]:
        frame = itertools.takewhile(lambda packet: packet is not None, map(kept.get, itertools.count(start)))
        if any(packet.marker for packet in frame if packet is not None):
            return True
    return False


async def connect(participant: Participant[RawClient], relay: Relay, direction: str) -> None:
    """Connect by way of the relay."""
    client = participant.client
    answer = participant.peer.handle_offer(client.offer(camera(direction=direction, codecs=(NACKED,))), {})
    assert relay.server is not None
    await client.accept_answer(answer.replace(f" {relay.server[1]} ", f" {relay.address[1]} "))


@dataclass(frozen=True)
class Joins:
    """What is measured: how long those who came late waited, and how often the publisher was asked for their sake."""

    took_s: list[float]
    requests: int

    def __str__(self) -> str:
        waits = ", ".join(f"{1000 * seconds:.0f}" for seconds in self.took_s)
        return f"first picture after {waits} ms, keyframe requests: {self.requests}"


async def several_join() -> Joins:
    """Let one come in, for whom the publisher makes a keyframe, and then others one after the other."""
    async with AsyncExitStack() as stack:
        call = await stack.enter_async_context(open_call())
        # Nothing is lost yet: handshakes are the same with the cache and without it.
        far, near = [await stack.enter_async_context(Relay(server=("127.0.0.1", call.node.udp.port))) for _ in "ab"]
        ann = call.join("ann")
        await connect(ann, far, "sendonly")
        viewers = [Viewer(call.join(f"viewer {n}", slot_mode=True)) for n in range(1 + LATE)]
        for viewer in viewers:
            await connect(viewer.participant, near, "recvonly")
        encoder = Camera(ann.client)
        running = asyncio.create_task(encoder.run())
        stack.callback(running.cancel)
        await until(lambda: ann.up.layer is not None)
        far.change(up=PUBLISHERS_LINK, down=PUBLISHERS_LINK)
        near.change(up=SUBSCRIBERS_LINK, down=SUBSCRIBERS_LINK)
        await asyncio.sleep(MAX_AGE_S + 0.5)  # the keyframe with which the camera began is not worth anything now

        first, *late = viewers
        await first.watch(ann.up)
        requests = encoder.asked
        async with asyncio.TaskGroup() as joining:
            for viewer in late:
                await asyncio.sleep(EVERY_S)
                joining.create_task(viewer.watch(ann.up))
        await asyncio.sleep(2 * ROUND_TRIP_S)  # what was asked for last is under way
        return Joins([viewer.took_s for viewer in late], encoder.asked - requests)


@pytest.mark.asyncio
async def test_the_keyframe_cache_spares_who_comes_in_the_publishers_round_trip(
    monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    cached = await several_join()
    with monkeypatch.context() as patch:
        patch.setattr(PacketHistory, "since_keyframe", lambda history, now: None)
        asked = await several_join()
    for name, joins in (("with the cache", cached), ("without it", asked)):
        print(f"{name}: {joins}")  # noqa: T201 - what was measured
        record_property(name, str(joins))
    assert cached.requests == 0
    assert asked.requests > 0
    # On its way to the subscriber alone: 50 ms. Who lost a packet of the keyframe waits for the repair, a round trip.
    assert median(cached.took_s) < 0.8 * ROUND_TRIP_S
    assert median(asked.took_s) > 2 * median(cached.took_s)
