"""Captures the offers in tests/data/offers from Chromium, Firefox and aiortc.

`python -m tests.support.capture_offers [chromium] [firefox] [aiortc]`: run it again when a new browser comes, and
read the difference. Addresses of this machine are replaced by documentation ones (RFC 5737, RFC 3849).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from tests.support.captures import OFFERS
from tests.support.chromium import chromium, playwright_driver
from tests.support.firefox import firefox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

SCENARIOS: Final = Path(__file__).with_suffix(".js").read_text()
CHROMIUM_ONLY: Final = {"prefers-h264", "prefers-av1"}
"""Debian's Firefox has no H264, and its AV1 adds nothing to what the other files say."""


class _Tab(Protocol):
    async def navigate(self, url: str) -> None: ...
    async def evaluate(self, function: str, argument: object = None) -> object: ...


def clean(sdp: str) -> str:
    """Replace this machine's addresses by 192.0.2.2 and 2001:db8::2; all else stays byte for byte."""

    def replacement(found: re.Match[str]) -> str:
        try:
            address = ipaddress.ip_address(found[0])
        except ValueError:
            return found[0]
        if address.is_unspecified or address.is_loopback:
            return found[0]
        return "192.0.2.2" if address.version == 4 else "2001:db8::2"

    lines = sdp.split("\r\n")
    changed = [
        re.sub(r"(?<=[ ])[0-9a-fA-F]*[.:][0-9a-fA-F.:]+(?= |$)", replacement, line)
        if line.startswith(("a=candidate:", "c=IN ", "o=", "a=rtcp:"))
        else line
        for line in lines
    ]
    return "\r\n".join(changed)


def keep(client: str, name: str, sdp: str) -> None:
    """Write one offer to its file."""
    (OFFERS / f"{client}-{name}.sdp").write_bytes(clean(sdp).encode())
    print(f"{client}-{name}: {len(sdp)} characters, {sdp.count('m=')} sections")  # noqa: T201


@asynccontextmanager
async def blank_origin() -> AsyncIterator[str]:
    """An empty page on loopback: a secure context, which about:blank is not."""

    async def blank(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>capture</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", blank)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def capture_browser(client: str, tab: _Tab, origin: str) -> None:
    """Run every scenario in a page of its own."""
    await tab.navigate(origin)
    names = await tab.evaluate(SCENARIOS)
    assert isinstance(names, list)
    for name in names:
        if client != "chromium" and name in CHROMIUM_ONLY:
            continue
        await tab.navigate(origin)
        sdp = await tab.evaluate(SCENARIOS, name)
        assert isinstance(sdp, str)
        keep(client, name, sdp)


async def _aiortc_scenario(name: str, pc: RTCPeerConnection, other: RTCPeerConnection) -> str:
    async def offered() -> str:
        await pc.setLocalDescription(await pc.createOffer())
        return pc.localDescription.sdp

    async def negotiated() -> None:
        await offered()
        await other.setRemoteDescription(pc.localDescription)
        await other.setLocalDescription(await other.createAnswer())
        await pc.setRemoteDescription(other.localDescription)

    if name not in {"video-only", "watch-only", "data-channel-only"}:
        pc.addTrack(AudioStreamTrack())
    if name not in {"audio-only", "watch-only", "data-channel-only"}:
        pc.addTrack(VideoStreamTrack())
    match name:
        case "watch-only":
            for kind in ("audio", "video"):
                pc.addTransceiver(kind, direction="recvonly")
        case "two-cameras-and-screen":
            for _ in range(2):
                pc.addTrack(VideoStreamTrack())
        case "slots":
            for transceiver in pc.getTransceivers():
                transceiver.direction = "sendonly"
            for _ in range(4):
                for kind in ("audio", "video"):
                    pc.addTransceiver(kind, direction="recvonly")
        case "data-channel" | "data-channel-only":
            pc.createDataChannel("chat")
        case "track-removed":
            await negotiated()
            pc.getTransceivers()[1].direction = "inactive"
    return await offered()


AIORTC_SCENARIOS: Final = (
    "audio-video",
    "audio-video-balanced",
    "audio-only",
    "video-only",
    "watch-only",
    "two-cameras-and-screen",
    "slots",
    "data-channel",
    "data-channel-only",
    "track-removed",
)


async def capture_aiortc() -> None:
    """The same scenarios with aiortc, as far as it knows them."""
    for name in AIORTC_SCENARIOS:
        # Its default policy gives each section a transport, with candidates and credentials, of its own.
        balanced = name.endswith("-balanced")
        policy = RTCBundlePolicy.BALANCED if balanced else RTCBundlePolicy.MAX_BUNDLE
        pc, other = (RTCPeerConnection(RTCConfiguration(bundlePolicy=policy)) for _ in range(2))
        try:
            keep("aiortc", name, await _aiortc_scenario(name.removesuffix("-balanced"), pc, other))
        finally:
            await pc.close()
            await other.close()


async def capture_chromium() -> None:
    async with (
        blank_origin() as origin,
        playwright_driver() as playwright,
        chromium(playwright) as browser,
    ):
        await capture_browser("chromium", await browser.new_tab(), origin)


async def capture_firefox() -> None:
    async with blank_origin() as origin, firefox() as browser:
        await capture_browser("firefox", await browser.new_tab(), origin)


async def main(clients: list[str]) -> None:
    """Capture the clients named, or all."""
    known: dict[str, Callable[[], Awaitable[None]]] = {
        "chromium": capture_chromium,
        "firefox": capture_firefox,
        "aiortc": capture_aiortc,
    }
    OFFERS.mkdir(parents=True, exist_ok=True)
    for client in clients or list(known):
        await known[client]()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
