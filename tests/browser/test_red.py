"""Chromium's redundant audio (RED, RFC 2198) in the real client: to who takes it and to who does not."""

from __future__ import annotations

from collections import deque
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from tests.browser import client
from tests.browser.senses import sounds
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import ANN, write_devices
from tests.support.server import running_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.senses import Tab

# As a page would choose by setCodecPreferences: RED before all others, or never.
CHOOSE: Final = """
for (const name of ["createOffer", "createAnswer"]) {
  const make = RTCPeerConnection.prototype[name];
  RTCPeerConnection.prototype[name] = function (...args) {
    const { codecs } = RTCRtpSender.getCapabilities("audio");
    const isRed = ({ mimeType }) => mimeType === "audio/red";
    const others = codecs.filter((codec) => !isRed(codec));
    for (const transceiver of this.getTransceivers())
      if (transceiver.receiver.track.kind === "audio")
        transceiver.setCodecPreferences(PREFERRED ? [...codecs.filter(isRed), ...others] : others);
    return make.apply(this, args);
  };
}
"""
STEADY: Final = 10
"""Looks in a row, each at another 85 ms of the sound, in which a tone is to be heard. What no decoder was meant to be
given makes a noise of any pitch, the right one now and then."""
# Its statistics call both opus; what tells RED is the size of packets, and copies that came for nothing.
RECEIVED: Final = """async () => {
  const stats = [...(await probe.connections.at(-1).getStats()).values()];
  const [row] = stats.filter((one) => one.type === "inbound-rtp" && one.kind === "audio" && one.packetsReceived > 100);
  return row && { size: row.bytesReceived / row.packetsReceived, copies: row.packetsDiscarded };
}"""


async def codec_of_the_microphone(server: str) -> str | None:
    """What the server says that Ann's microphone sends."""
    async with aiohttp.ClientSession() as http, http.get(f"{server}/api/statistics") as answer:
        (room,) = (await answer.json())["rooms"]
    (ann,) = [person for person in room["participants"] if person["user_name"] == ANN.name]
    codecs: list[str | None] = [
        track["codec"] for track in ann["media"]["up_tracks"] if track["source"] == "microphone"
    ]
    return codecs[0] if codecs else None


async def hears_steadily(tab: Tab, *, within: float, what: str) -> None:
    """Wait until Ann's tone is heard whenever one listens, for a second and more."""
    latest: deque[list[Any]] = deque(maxlen=STEADY)

    async def listen() -> list[list[Any]]:
        latest.append((await client.observe(tab)).tones)
        return list(latest)

    await eventually(
        listen,
        lambda looks: len(looks) == STEADY and all(any(sounds(tone, ANN) for tone in tones) for tones in looks),
        within=within,
        what=what,
    )


@pytest.mark.asyncio
@pytest.mark.timeout(90)
async def test_redundant_audio_is_heard_by_who_takes_it_and_by_who_does_not(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server())
        playwright = await stack.enter_async_context(playwright_driver())
        video, audio = write_devices(tmp_path, ANN)
        browser = await stack.enter_async_context(chromium(playwright, video=video, audio=audio))
        scripts = {True: CHOOSE.replace("PREFERRED", "true"), False: CHOOSE.replace("PREFERRED", "false")}
        ann = await browser.new_tab(preload=client.SCRIPTS + scripts[True])
        listeners = {
            takes_it: await browser.new_tab(preload=client.SCRIPTS + scripts[takes_it]) for takes_it in scripts
        }
        await client.join(ann, server.url, "red", ANN.name)
        for takes_it, tab in listeners.items():
            await tab.navigate(f"{server.url}/r/red?name={takes_it}&join=now&camera=off&microphone=off")
        await eventually(
            partial(codec_of_the_microphone, server.url), "red".__eq__, within=20, what="Ann sends redundant audio"
        )

        received = {}
        for takes_it, tab in listeners.items():
            await hears_steadily(tab, within=20, what=f"Ann is heard (takes it: {takes_it})")
            received[takes_it] = await eventually(
                partial(tab.evaluate, RECEIVED), bool, within=20, what=f"packets are counted (takes it: {takes_it})"
            )
        assert received[True]["size"] > 1.5 * received[False]["size"]
        assert received[True]["copies"] > 5 * received[False]["copies"]  # as what comes late is, too
