"""Browsers publish one picture in three encodings, or with layers; a page gets what is selected for it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest

from tests.media.calls import Participant, remains
from tests.media.calls import publish as send
from tests.media.raw_client import RawClient
from tests.media.support import AV1, VP9, section
from tests.support.capture_offers import blank_origin
from tests.support.chromium import ChromiumTab, chromium, playwright_driver
from tests.support.eventually import eventually, until
from tests.support.firefox import firefox
from tests.support.namespace import ADDRESS, network_namespace
from tests.support.streams import RecordedStream
from zvonim_sfu.media.layer import HIGHEST, Selection
from zvonim_sfu.media.node import MediaNode
from zvonim_sfu.media.sdp import Extension
from zvonim_sfu.media.terms import DESCRIPTOR_EXTENSION
from zvonim_sfu.rtp.sequence import ts_delta

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.firefox import FirefoxTab
    from zvonim_sfu.media.up_track import UpTrack

Page: TypeAlias = "ChromiumTab | FirefoxTab"

PUBLISH: Final = """async ({ rids }) => {
  const video = { width: 640, height: 360, frameRate: 15 };
  window.stream = await navigator.mediaDevices.getUserMedia({ video });
  window.pc = new RTCPeerConnection();
  const sendEncodings = rids.map((rid) => ({
    rid, scaleResolutionDownBy: { q: 4, h: 2, f: 1 }[rid], maxBitrate: { q: 100e3, h: 250e3, f: 600e3 }[rid],
  }));
  const [track] = stream.getVideoTracks();
  window.sender = pc.addTransceiver(track, { direction: "sendonly", sendEncodings }).sender;
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}"""
PUBLISH_SVC: Final = """async ({ codec, mode }) => {
  const video = { width: 640, height: 360, frameRate: 15 };
  const [track] = (await navigator.mediaDevices.getUserMedia({ video })).getVideoTracks();
  window.pc = new RTCPeerConnection();
  const sendEncodings = [{ scalabilityMode: mode, maxBitrate: 600e3 }];
  const transceiver = pc.addTransceiver(track, { direction: "sendonly", sendEncodings });
  const { codecs } = RTCRtpSender.getCapabilities("video");
  transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === `video/${codec}`));
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}"""
# For so many pictures a page gets what was selected before something else is. Chromium that is switched within its
# first half second, to pictures of Firefox, which have no picture ids, may decode none of those that come with the
# third keyframe, and asks for another one after 3 s: it has all packets, in order. Why is not known.
SETTLED_PICTURES: Final = 8
ACCEPT: Final = "(sdp) => pc.setRemoteDescription({ type: 'answer', sdp })"
ACTIVATE: Final = """async (active) => {
  const parameters = sender.getParameters();
  for (const encoding of parameters.encodings) {
    encoding.active = active.includes(encoding.rid);
  }
  await sender.setParameters(parameters);
}"""
WATCH: Final = """async () => {
  window.pc = new RTCPeerConnection();
  const transceiver = pc.addTransceiver("video", { direction: "recvonly" });
  // Chromium does not offer by itself to receive what it needs to tell AV1's spatial layers apart.
  const extensions = transceiver.getHeaderExtensionsToNegotiate();
  extensions.find(({ uri }) => uri.includes("dependency-descriptor")).direction = "sendrecv";
  transceiver.setHeaderExtensionsToNegotiate(extensions);
  pc.ontrack = ({ track }) => {
    const video = document.createElement("video");
    Object.assign(video, { muted: true, autoplay: true, srcObject: new MediaStream([track]) });
    document.body.append(video);
  };
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}"""
SEEN: Final = """async () => {
  const [row] = [...(await pc.getStats()).values()].filter(({ type }) => type === "inbound-rtp");
  const { frameWidth, framesDecoded, framesPerSecond, packetsLost, totalFreezesDuration } = row ?? {};
  return { frameWidth, framesDecoded, framesPerSecond, packetsLost, totalFreezesDuration };
}"""


class Watcher:
    """A page that is sent one track."""

    def __init__(self, node: MediaNode, tab: ChromiumTab) -> None:
        self.node = node
        self.tab = tab
        self.participant = Participant(node, "watcher", tab)

    async def watch(self, track: UpTrack) -> None:
        """Offer to receive it."""
        offer = str(await self.tab.evaluate(WATCH))
        self.participant.peer.set_tracks([track])
        await self.tab.evaluate(ACCEPT, self.participant.peer.handle_offer(offer, {}))

    async def seen(self) -> dict[str, Any]:
        """What the page says of what it decodes."""
        seen: dict[str, Any] = await self.tab.evaluate(SEEN)
        return seen

    async def gets(self, selection: Selection | None, width: int, within: float = 10) -> dict[str, Any]:
        """Select, and wait until pictures of this width are decoded, SETTLED_PICTURES of them."""
        self.participant.peer.select({"0": selection})
        first = await self.sees(width, within)
        enough = first["framesDecoded"] + SETTLED_PICTURES
        what = f"{SETTLED_PICTURES} pictures follow"
        return await eventually(self.seen, lambda seen: seen["framesDecoded"] >= enough, within=within, what=what)

    async def sees(self, width: int, within: float = 10) -> dict[str, Any]:
        """Wait until pictures of this width are decoded."""
        return await eventually(
            self.seen, lambda seen: seen.get("frameWidth") == width, within=within, what=f"{width} pixels are seen"
        )


@asynccontextmanager
async def watching(*others: str) -> AsyncIterator[tuple[Watcher, list[Any]]]:
    """Chromium to watch a node of its own, and a page in each of these browsers."""
    async with AsyncExitStack() as stack:
        stack.enter_context(network_namespace())
        origin = await stack.enter_async_context(blank_origin())
        playwright = await stack.enter_async_context(playwright_driver())
        # Chromium sends three encodings of pictures this small only when it is told to.
        trial = "--force-fieldtrials=WebRTC-LegacySimulcastLayerLimit/Disabled/"
        browser = await stack.enter_async_context(chromium(playwright, arguments=[trial]))
        pages: list[Any] = [await browser.new_tab()]
        for other in others:
            opened = await stack.enter_async_context(firefox()) if other == "firefox" else browser
            pages.append(await opened.new_tab())
        for page in pages:
            await page.navigate(origin)
        node = await MediaNode.open([ADDRESS], 0)
        watcher = Watcher(node, pages[0])
        try:
            yield watcher, pages[1:]
        finally:
            watcher.participant.peer.close()
            await node.close()
    assert remains(node) == {}


@asynccontextmanager
async def call(publisher: str) -> AsyncIterator[tuple[Participant[Page], Watcher]]:
    """A publisher, and Chromium to watch it."""
    async with watching(publisher) as (watcher, (page,)):
        sender: Participant[Page] = Participant(watcher.node, "publisher", page)
        try:
            yield sender, watcher
        finally:
            sender.peer.close()


async def publish(sender: Participant[Page], rids: str) -> None:
    """Publish these encodings, and wait until all of them come."""
    offer = str(await sender.client.evaluate(PUBLISH, {"rids": list(rids)}))
    await sender.client.evaluate(ACCEPT, sender.peer.handle_offer(offer, {}))
    await until(lambda: len([layer for layer in sender.up.ordered if layer.is_up and layer.width]) == len(rids), 30)


@pytest.mark.asyncio
@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_a_page_gets_the_encoding_that_is_selected_for_it(browser: str) -> None:
    async with call(browser) as (sender, watcher):
        await publish(sender, "qhf")
        assert [(layer.rid, layer.width) for layer in sender.up.ordered] == [("q", 160), ("h", 320), ("f", 640)]
        await watcher.watch(sender.up)
        await watcher.sees(640)
        # With all their temporal layers: four pictures a second, of the lowest alone, would count as freezes.
        before = await watcher.gets(Selection(0, 7), 160)
        await watcher.gets(Selection(1, 7), 320)
        switched = await watcher.gets(HIGHEST, 640)
        assert switched["totalFreezesDuration"] < 0.5
        # Nothing is lost when nothing is sent.
        watcher.participant.peer.select({"0": None})
        after = await watcher.gets(Selection(0, 0), 160)
        assert after["packetsLost"] == 0
        assert after["framesDecoded"] > before["framesDecoded"]


@pytest.mark.asyncio
async def test_an_encoding_that_its_page_switches_off_is_replaced_and_taken_again() -> None:
    async with call("chromium") as (sender, watcher):
        await publish(sender, "qhf")
        await watcher.watch(sender.up)
        await watcher.sees(640)
        await sender.client.evaluate(ACTIVATE, ["q", "h"])
        await watcher.sees(320)
        # Chromium's VP8 has temporal layers too: some rungs have the same size.
        assert {rung.width for rung in sender.up.ladder(sender.up.ordered[0].last_at)} == {160, 320}
        await sender.client.evaluate(ACTIVATE, ["q"])
        await watcher.sees(160)
        await sender.client.evaluate(ACTIVATE, ["q", "h", "f"])
        seen = await watcher.sees(640, within=20)
        assert seen["packetsLost"] == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("codec", ["VP9", "AV1"])
async def test_a_page_gets_the_layers_that_are_selected_for_it(codec: str) -> None:
    async with call("chromium") as (sender, watcher):
        offer = str(await sender.client.evaluate(PUBLISH_SVC, {"codec": codec, "mode": "L2T3_KEY"}))
        await sender.client.evaluate(ACCEPT, sender.peer.handle_offer(offer, {}))

        def rungs() -> list[tuple[int, int]]:
            up = sender.peer.up_tracks[0]
            return [rung[:2] for rung in up.ladder(up.layer.last_at)] if up.layer is not None else []

        await until(lambda: rungs() == [(s, t) for s in range(2) for t in range(3)], 30)
        await watcher.watch(sender.up)
        await watcher.sees(640)
        await watcher.gets(Selection(0, 2), 320)
        switched = await watcher.gets(HIGHEST, 640)
        assert switched["totalFreezesDuration"] < 0.5

        async def rate_is(least: float, most: float) -> None:
            await eventually(
                watcher.seen,
                lambda seen: least <= (seen["framesPerSecond"] or 0) <= most,
                within=10,
                what=f"{least} to {most} frames come in a second",
            )

        await rate_is(10, 16)
        await watcher.gets(Selection(0, 0), 320)
        await rate_is(2, 6)  # a quarter of 15
        await watcher.gets(HIGHEST, 640)
        await rate_is(10, 16)
        assert (await watcher.seen())["packetsLost"] == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["vp9-l3t3-key", "av1-l3t3-key"])
async def test_pictures_go_on_when_their_encoder_leaves_out_what_is_above(name: str) -> None:
    stream = RecordedStream.load(name)
    packets = stream.without_upper_frames([False] * 10 + [True] * 100)
    loop = asyncio.get_running_loop()
    async with watching() as (watcher, _):
        publisher = Participant(watcher.node, "publisher", RawClient())
        try:
            await send(
                publisher,
                section(
                    "video",
                    "0",
                    "sendonly",
                    codecs=(replace({"VP9": VP9, "AV1": AV1}[stream.encoding], payload_type=packets[0].payload_type),),
                    extensions=(Extension(stream.descriptor, DESCRIPTOR_EXTENSION),),
                ),
            )
            await watcher.watch(publisher.up)
            await until(lambda: watcher.participant.states[-1:] == ["connected"], 10)
            started = loop.time()
            for packet in packets:
                captured = started + ts_delta(packet.timestamp, packets[0].timestamp) / 90_000
                await asyncio.sleep(captured - loop.time())
                publisher.client.send_rtp(packet.data)
            pictures = len({packet.timestamp for packet in packets})
            # The last one waits for the next, and one or the other may have come too late to be shown.
            await eventually(
                watcher.seen,
                lambda seen: seen.get("framesDecoded", 0) >= pictures - 4,
                within=5,
                what=f"nearly all of {pictures} pictures are decoded",
            )
        finally:
            publisher.peer.close()
            await publisher.client.close()
