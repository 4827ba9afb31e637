"""Real browsers negotiate many turns with media.negotiation: each takes every description of the other."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.media.support import AUDIO_LEVEL, AV1, H264, OPUS, VP8, VP9, local, track
from tests.support.capture_offers import blank_origin
from tests.support.chromium import chromium, playwright_driver
from tests.support.firefox import firefox
from zvonim_sfu.media.negotiation import accept_answer, answer, changes_needed, make_offer
from zvonim_sfu.media.sdp import parse, write
from zvonim_sfu.media.session import NegotiationError, Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from zvonim_sfu.media.session import Track

TURNS: Final = 25
URIS: Final = (AUDIO_LEVEL, "urn:example:one", "urn:example:two")

BEGIN: Final = "() => { globalThis.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' }) }"
ADD: Final = "([kind, direction]) => { pc.addTransceiver(kind, { direction }) }"
ADD_DATA: Final = "() => { pc.createDataChannel('chat') }"
LIVE: Final = "const live = pc.getTransceivers().filter((t) => t.direction !== 'stopped'); "
STOP: Final = f"(n) => {{ {LIVE} if (live.length > 1) live[n % live.length].stop() }}"
DIRECT: Final = f"([n, direction]) => {{ {LIVE} if (live.length) live[n % live.length].direction = direction }}"
OFFER: Final = """async () => {
    const offer = await pc.createOffer()
    if (!/^a=group:BUNDLE ./m.test(offer.sdp)) return ''  // nothing to offer: no browser would take it itself
    await pc.setLocalDescription(offer)
    return offer.sdp
}"""
TAKE_ANSWER: Final = "async (sdp) => { await pc.setRemoteDescription({ type: 'answer', sdp }) }"
ANSWER: Final = """async (sdp) => {
    await pc.setRemoteDescription({ type: 'offer', sdp })  // rolls an offer of its own back
    await pc.setLocalDescription()
    return pc.localDescription.sdp
}"""
ROLL_BACK: Final = "async () => { await pc.setLocalDescription({ type: 'rollback' }) }"


class Negotiation:
    """A page, and the server's session with it."""

    def __init__(self, tab: Any, seed: int) -> None:
        self.tab = tab
        self.rng = random.Random(seed)
        self.local = local()
        self.session = Session()
        self.room: dict[str, Track] = {}
        self.published = 0
        self.turns: list[str] = []

    async def turn(self, *, with_data: bool) -> None:
        rng, tab = self.rng, self.tab
        turns = ["add", "stop", "direct", "publish", "publish", "unpublish", *["offer", "offered"] * 2, "glare"]
        if with_data:
            turns.append("data")
        self.turns.append(rng.choice(turns))
        match self.turns[-1]:
            case "add":
                direction = rng.choice(["sendrecv", "sendonly", "recvonly"])
                await tab.evaluate(ADD, [rng.choice(["audio", "video"]), direction])
            case "data":
                await tab.evaluate(ADD_DATA)
            case "stop":
                await tab.evaluate(STOP, rng.randrange(100))
            case "direct":
                direction = rng.choice(["sendrecv", "sendonly", "recvonly", "inactive"])
                await tab.evaluate(DIRECT, [rng.randrange(100), direction])
            case "publish":
                self.publish()
            case "unpublish" if self.room:
                del self.room[rng.choice(sorted(self.room))]
            case "offer":
                await self.take_offer(await tab.evaluate(OFFER))
            case "offered":
                await self.make_offer()
            case "glare" if await tab.evaluate(OFFER):
                await self.make_offer()
                await tab.evaluate(f"async () => {{ if (pc.signalingState !== 'stable') await ({ROLL_BACK})() }}")

    def publish(self) -> None:
        self.published += 1
        kind = self.rng.choice(["audio", "video"])
        codecs = [OPUS] if kind == "audio" else self.rng.sample([VP8, VP9, H264, AV1], self.rng.randint(1, 4))
        made = track(f"user-{self.published}/{kind}", kind, codecs, self.rng.sample(URIS, 2))
        self.room[made.key] = made

    async def take_offer(self, text: str) -> None:
        if text:
            tracks = list(self.room.values())
            try:
                session, said = answer(self.session, parse(text), local=self.local, tracks=tracks, max_up_tracks=99)
            except NegotiationError as error:
                assert error.code == "no-media", error.message  # noqa: PT017 - any other is a defect
                await self.tab.evaluate(ROLL_BACK)
                return
            await self.tab.evaluate(TAKE_ANSWER, write(said))
            self.session = session

    async def make_offer(self) -> None:
        tracks = list(self.room.values())
        if changes_needed(self.session, tracks):
            session, said = make_offer(self.session, tracks, local=self.local)
            self.session = accept_answer(session, parse(await self.tab.evaluate(ANSWER, write(said))))


@asynccontextmanager
async def page(browser: str) -> AsyncIterator[tuple[Any, str]]:
    """A tab, and the address of an empty page for it."""
    async with blank_origin() as origin:
        if browser == "firefox":
            async with firefox() as fox:
                yield await fox.new_tab(), origin
        else:
            async with playwright_driver() as playwright, chromium(playwright) as process:
                yield await process.new_tab(), origin


@pytest.mark.asyncio
@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_a_browser_and_the_server_take_all_that_the_other_describes(browser: str) -> None:
    async with page(browser) as (tab, origin):
        for seed in range(12):
            await tab.navigate(origin)
            await tab.evaluate(BEGIN)
            negotiation = Negotiation(tab, seed)
            try:
                for _ in range(TURNS):
                    # Chromium loses its transport when a data section, which is rejected, is first in a bundle.
                    await negotiation.turn(with_data=browser == "firefox")
            except Exception as error:
                error.add_note(f"seed {seed}: {negotiation.turns}")
                raise
