"""Opus that leaves silence out (discontinuous transmission, RFC 7587 section 3.1.3): a gap is no loss."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.browser.client import join
from tests.browser.measure import SCRIPTS, counters, lip_sync_ms
from tests.browser.senses import HERE
from tests.support.chromium import ChromiumTab, chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import ANN, BOB, SAMPLE_RATE_HZ, write_microphone
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# As a page asks for it: in its own description, so that the server's answer has it too.
USE_DTX: Final = """
for (const name of ["createOffer", "createAnswer"]) {
  const make = RTCPeerConnection.prototype[name];
  RTCPeerConnection.prototype[name] = async function (...args) {
    const { type, sdp } = await make.apply(this, args);
    return { type, sdp: sdp.replaceAll("useinbandfec=1", "useinbandfec=1;usedtx=1") };
  };
}
"""
SILENCE_S: Final = 4
PACKETS_PER_S: Final = 50
SILENT_PACKETS_PER_S: Final = 10
"""Chromium sends five."""
BACK_WITHIN_S: Final = 0.5
"""From the microphone to the loudspeaker, the jitter buffer between; a busy machine adds to it."""
LIPS_MS: Final = 1000
"""By how much lips and voice may be apart on a busy machine: a gap that the timestamps do not have would be four times
as much."""
CONCEALED_S: Final = 0.15
"""Of a silence and of the voice on both sides: a stutter of a busy machine, not a gap that is taken for loss."""
AUDIBLE: Final = """() => [...document.querySelectorAll("[data-source=camera][data-speaking=true] .tile-name")].map(
  (name) => name.textContent)"""


@dataclass(frozen=True, slots=True)
class Call:
    """Ann and Bob, who see and hear each other."""

    ann: ChromiumTab
    bob: ChromiumTab

    async def shows(self, *speakers: str, within: float) -> None:
        """Wait until Bob's page shows these to be audible, and nobody else."""
        await eventually(
            partial(self.bob.evaluate, AUDIBLE),
            list(speakers).__eq__,
            within=within,
            what=f"{speakers or 'nobody'} can be heard",
        )


@asynccontextmanager
async def call(folder: Path) -> AsyncIterator[Call]:
    """Both hum or are silent as they are told, at first silent."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server())
        playwright = await stack.enter_async_context(playwright_driver())
        audio = folder / "tone.wav"
        write_microphone(audio, ANN.tone_hz)
        browser = await stack.enter_async_context(chromium(playwright, audio=audio))
        scripts = SCRIPTS + (HERE / "voice.js").read_text() + USE_DTX
        two = Call(await browser.new_tab(preload=scripts), await browser.new_tab(preload=scripts))
        for tab, who in ((two.ann, ANN), (two.bob, BOB)):
            await join(tab, server.url, "dtx", who.name)
            await tab.wait_for("#app[data-connection=connected]", within=15)
            await tab.evaluate("() => voice.hum(false)")
        await two.shows(within=5)
        yield two
        assert [two.ann.errors, two.bob.errors] == [[], []]


@dataclass(frozen=True, slots=True)
class Sound:
    """What has been sent of Ann's microphone, and has come of it to Bob."""

    sent: int
    received: int
    lost: int
    concealed: int
    """Samples that were made up, silence left out."""

    def __sub__(self, before: Sound) -> Sound:
        return Sound(
            self.sent - before.sent,
            self.received - before.received,
            self.lost - before.lost,
            self.concealed - before.concealed,
        )


async def sound(two: Call) -> Sound:
    """Read the counters of both."""
    ann, bob = await asyncio.gather(counters(two.ann), counters(two.bob))
    sent, received = ann.sending("audio"), bob.receiving("audio")
    concealed = received["concealedSamples"] - received["silentConcealedSamples"]
    return Sound(sent["packetsSent"], received["packetsReceived"], received["packetsLost"], concealed)


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_silence_is_a_gap_and_no_loss(tmp_path: Path) -> None:
    async with call(tmp_path) as two:
        await two.ann.evaluate("() => voice.hum(true)")
        await two.shows(ANN.name, within=10)
        beginning = await sound(two)
        await asyncio.sleep(1)
        hums = await sound(two) - beginning
        assert hums.sent > 0.8 * PACKETS_PER_S

        await two.ann.evaluate("() => voice.hum(false)")
        await asyncio.sleep(1)  # until the encoder has noticed
        before = await sound(two)
        await asyncio.sleep(SILENCE_S)
        silence = await sound(two) - before
        assert 0 < silence.sent < SILENT_PACKETS_PER_S * SILENCE_S
        assert abs(silence.sent - silence.received) <= 1
        await two.shows(within=1)

        heard = asyncio.create_task(two.bob.evaluate("() => voice.heard()"))
        await asyncio.sleep(0.2)
        again_at = await two.ann.evaluate("() => voice.hum(true)")
        assert 0 < await heard - again_at < 1000 * BACK_WITHIN_S
        await two.shows(ANN.name, within=3)
        for _ in range(5):
            await asyncio.sleep(0.4)
            apart_ms = lip_sync_ms(await counters(two.bob))
            assert apart_ms is not None
            assert abs(apart_ms) < LIPS_MS
        all_of_it = await sound(two) - beginning
        assert all_of_it.lost == 0
        assert all_of_it.concealed < CONCEALED_S * SAMPLE_RATE_HZ

        # While one sends next to nothing, the other is who speaks.
        await two.ann.evaluate("() => voice.hum(false)")
        await two.bob.evaluate("() => voice.hum(true)")
        await two.shows(BOB.name, within=3)
        await two.bob.wait_for(".tile-local[data-source=camera][data-dominant=true]", within=3)
