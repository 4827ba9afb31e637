"""Records the streams in tests/data/streams from Chromium and Firefox.

`python -m tests.support.record_streams [vp9-l3t3-key ...]`: run it again when a new browser comes, and read what the
tests say. A keyframe is asked for in the middle of each, so that a switch that waits for one has one.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from aioice.ice import get_host_addresses

from tests.media.calls import Participant
from tests.support.capture_offers import blank_origin
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.firefox import firefox
from tests.support.streams import STREAMS, RecordedStream
from zvonim_sfu.media.node import MediaNode

if TYPE_CHECKING:
    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.outlets import Outlet
    from zvonim_sfu.rtp.description import Description
    from zvonim_sfu.rtp.packet import RtpPacket

DESCRIPTOR: Final = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

PUBLISH: Final = """async ({ encoding, mode, width, height, frameRate, maxBitrate }) => {
  const video = { width, height, frameRate };
  const [track] = (await navigator.mediaDevices.getUserMedia({ video })).getTracks();
  window.pc = new RTCPeerConnection();
  const sendEncodings = [{ maxBitrate, ...(mode && { scalabilityMode: mode }) }];
  const transceiver = pc.addTransceiver(track, { direction: "sendonly", sendEncodings });
  const { codecs } = RTCRtpSender.getCapabilities("video");
  transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === `video/${encoding}`));
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}"""
ACCEPT: Final = "(sdp) => pc.setRemoteDescription({ type: 'answer', sdp })"


class Tab(Protocol):
    """A page of either browser."""

    async def navigate(self, url: str) -> None: ...
    async def evaluate(self, function: str, argument: object = None) -> Any: ...
    async def close(self) -> None: ...


class Scenario(NamedTuple):
    """What is to be published."""

    encoding: str
    mode: str
    width: int
    height: int
    max_bitrate: int
    seconds: float = 5
    frame_rate: int = 20
    descriptor: bool = True
    """Whether a dependency descriptor is to be taken where it is offered: with one, Chromium leaves out of VP8 what it
    says already."""
    browser: str = "chromium"


# Chromium sends three spatial layers from 960x540 on.
SCENARIOS: Final = {
    "vp8-l1t3": Scenario("VP8", "L1T3", 320, 180, 250_000, descriptor=False),
    "vp8-l1t3-descriptor": Scenario("VP8", "L1T3", 320, 180, 200_000, 3),
    "vp8-firefox": Scenario("VP8", "", 320, 180, 200_000, 3, browser="firefox"),
    "vp9-l1t3": Scenario("VP9", "L1T3", 320, 180, 200_000),
    "vp9-l3t3-key": Scenario("VP9", "L3T3_KEY", 960, 540, 1_000_000, 2),
    "vp9-l3t3": Scenario("VP9", "L3T3", 960, 540, 1_000_000, 2),
    "av1-l1t3": Scenario("AV1", "L1T3", 320, 180, 200_000),
    "av1-l3t3-key": Scenario("AV1", "L3T3_KEY", 960, 540, 1_000_000, 2),
    "av1-l3t3": Scenario("AV1", "L3T3", 960, 540, 1_000_000, 2),
    "h264": Scenario("H264", "", 320, 180, 200_000, 3),
    "h264-l1t3": Scenario("H264", "L1T3", 320, 180, 200_000, 3),
}


@dataclass(eq=False)
class Recorder:
    """A receiver of a layer that keeps what it gets."""

    data: list[bytes] = field(default_factory=list)

    def forward(self, packet: RtpPacket, layer: Layer, sequence: int, description: Description, now: float) -> None:
        if description.keyframe or self.data:
            self.data.append(packet.data)

    def steady_sender(self, layer: Layer) -> None: ...
    def outlet_in(self, layer: Layer) -> None: ...
    def wanted_of(self, layer: Layer) -> None: ...
    def move(self, layer: Layer, outlet: Outlet, sequence: int, now: float) -> None: ...


async def record(tab: Tab, scenario: Scenario) -> RecordedStream:
    """Publish in a page, and keep what comes: from a keyframe on, with another one in the middle."""
    # Firefox never reaches a server on loopback alone.
    hosts = ["127.0.0.1"] if scenario.browser == "chromium" else get_host_addresses(use_ipv4=True, use_ipv6=False)
    node = await MediaNode.open(hosts, 0)
    participant = Participant(node, "publisher", tab)
    offer = await tab.evaluate(
        PUBLISH,
        {
            "encoding": scenario.encoding,
            "mode": scenario.mode,
            "width": scenario.width,
            "height": scenario.height,
            "frameRate": scenario.frame_rate,
            "maxBitrate": scenario.max_bitrate,
        },
    )
    if not scenario.descriptor:
        offer = "".join(line for line in str(offer).splitlines(keepends=True) if DESCRIPTOR not in line)
    await tab.evaluate(ACCEPT, participant.peer.handle_offer(offer, {}))
    up_track = participant.up

    async def sends() -> int:
        return up_track.counters().packets

    # Time for the estimate to grow until all layers are sent.
    await eventually(sends, lambda packets: packets > 0, within=20, what="the page sends")
    await asyncio.sleep(6)
    recorder = Recorder()
    layer = up_track.layer
    assert layer is not None  # packets have come
    layer.outlets.join(recorder)
    layer.request_keyframe(time.monotonic())
    await asyncio.sleep(scenario.seconds / 2)
    layer.request_keyframe(time.monotonic())
    await asyncio.sleep(scenario.seconds / 2)
    descriptor = up_track.extension_ids.get(DESCRIPTOR, 0)
    participant.peer.close()
    await asyncio.sleep(0.1)
    await node.close()
    return RecordedStream(scenario.encoding, scenario.mode, descriptor, tuple(recorder.data))


async def main(names: list[str]) -> None:
    """Record the streams named, or all."""
    STREAMS.mkdir(parents=True, exist_ok=True)
    async with blank_origin() as origin, playwright_driver() as playwright:
        for name in names or list(SCENARIOS):
            scenario = SCENARIOS[name]
            # A browser each: an encoder that is still at work for the former takes the time of the next.
            async with AsyncExitStack() as stack:
                tab: Tab
                if scenario.browser == "chromium":
                    tab = await (await stack.enter_async_context(chromium(playwright))).new_tab()
                else:
                    tab = await (await stack.enter_async_context(firefox())).new_tab()
                await tab.navigate(origin)
                stream = await record(tab, scenario)
            size = stream.save(name)
            print(f"{name}: {len(stream.data)} packets, {size} bytes, descriptor {stream.descriptor}")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
