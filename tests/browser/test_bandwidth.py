"""What the server makes of the reports of a real browser behind the relay: its estimates, and traces of them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Final

import pytest

from tests.browser import client
from tests.browser.measure import SCRIPTS
from tests.media.calls import Participant, publish
from tests.media.flows import DELTA, KEYFRAME
from tests.media.raw_client import RawClient, camera
from tests.media.support import VP8, rtp
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import until
from tests.support.firefox import firefox
from tests.support.in_process import serve
from tests.support.media_files import BOB, write_devices
from tests.support.namespace import network_namespace
from tests.support.relay import Profile, Relay
from zvonim_sfu.bandwidth.trace import replay
from zvonim_sfu.media.traces import Traces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.browser.senses import Tab
    from tests.support.in_process import InProcess
    from zvonim_sfu.media.peer import Peer

ROOM: Final = "bandwidth"
NEAR: Final = Profile(delay_ms=20)
LADDER_BPS: Final = (150_000, 500_000, 1_200_000, 2_500_000)
"""What a publisher with layers would send."""
FRAMES_PER_S: Final = 30
FRAGMENT_BYTES: Final = 1100
HEADROOM: Final = 1.05
"""A higher layer is taken when the estimate is above it by this, so that it does not come and go."""


@dataclass
class Picture:
    """A publisher beside the browser, who sends what the estimate allows, as an allocation would have it."""

    peer: Peer
    source: Participant[RawClient]
    _number: int = 0
    _frame: int = 0
    _level: int = 0

    async def send(self, seconds: float) -> float:
        """Go on for a while; returns the median of the estimates of the last third of it, in bit/s."""
        loop = asyncio.get_running_loop()
        count = round(seconds * FRAMES_PER_S)
        at = loop.time()
        estimates = []
        for _ in range(count):
            self.peer.wanted_bps = LADDER_BPS[-1]
            estimates.append(self.peer.estimate_bps or LADDER_BPS[0])
            self._send_frame(estimates[-1])
            at += 1 / FRAMES_PER_S
            await asyncio.sleep(at - loop.time())
        return median(estimates[-count // 3 :])

    def _send_frame(self, estimate_bps: float) -> None:
        level = max((i for i, bps in enumerate(LADDER_BPS) if bps <= estimate_bps), default=0)
        if level > self._level and estimate_bps < HEADROOM * LADDER_BPS[level]:
            level = self._level
        is_key = level != self._level or self._frame % 300 == 0
        self._level = level
        self._frame += 1
        left = LADDER_BPS[level] // FRAMES_PER_S // 8 * (4 if is_key else 1)
        payload = KEYFRAME if is_key else DELTA
        while left > 0:
            size = min(left, FRAGMENT_BYTES)
            left -= size
            self._number += 1
            packet = rtp(self._number & 0xFFFF, self._frame * 3000, payload=payload + bytes(size), marker=left == 0)
            self.source.client.send_rtp(packet)
            payload = b"\0"


@asynccontextmanager
async def page(browser: str, folder: Path) -> AsyncIterator[Tab]:
    """A page of this browser."""
    if browser == "firefox":
        async with firefox() as fox:
            yield await fox.new_tab(preload=SCRIPTS)
        return
    video, audio = write_devices(folder, BOB, 15)
    async with playwright_driver() as playwright, chromium(playwright, video=video, audio=audio) as chrome:
        yield await chrome.new_tab(preload=SCRIPTS)


@asynccontextmanager
async def picture(server: InProcess, tab: Tab) -> AsyncIterator[Picture]:
    """Let a page join, and publish into its first slot for a picture."""
    await client.join(tab, server.url, ROOM, BOB.name)
    (bob,) = server.registry.rooms[ROOM].participants.values()
    await until(lambda: bob._peer is not None and bob._peer.connection_state == "connected")
    peer = bob._peer
    assert peer is not None
    source = Participant(server.node, "source", RawClient())
    await publish(source, camera(codecs=(replace(VP8, feedback=("nack", "nack pli")),)))
    sender = Picture(peer, source)
    sender._send_frame(LADDER_BPS[0])
    await until(lambda: source.up.codec is not None)
    peer.assign({next(slot.mid for slot in peer.slots if slot.kind == "video"): source.up})
    yield sender
    source.peer.close()
    await source.client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("browser", ["chromium", pytest.param("firefox", marks=pytest.mark.long)])
async def test_the_estimate_follows_the_link_of_a_browser_and_its_trace_is_replayed(
    tmp_path: Path, browser: str
) -> None:
    with network_namespace() if browser == "firefox" else nullcontext("127.0.0.1") as host:
        async with (
            Relay((host, 0), up=NEAR, down=NEAR, seed=7, allowed=[host, "127.0.0.1"]) as relay,
            serve(announce=[relay.announced]) as server,
            page(browser, tmp_path) as tab,
        ):
            relay.set_server(("127.0.0.1", server.node.udp.addresses[0][1]))
            server.node._traces = Traces(tmp_path / "traces")
            async with picture(server, tab) as sender:
                assert await sender.send(10) > 2_000_000, "a free link carries nearly all that there is"
                relay.change(up=NEAR, down=replace(NEAR, rate_bps=1_500_000))
                assert 800_000 < await sender.send(12) < 1_500_000
                relay.change(up=NEAR, down=replace(NEAR, rate_bps=400_000))
                assert 150_000 < await sender.send(12) < 400_000
                relay.change(up=NEAR, down=NEAR)
                assert await sender.send(12) > 2_000_000, "and does so again"
                link = sender.peer.statistics().transport.link
                assert link is not None
                assert link.probes > 2
                assert tab.errors == []
    (file,) = (tmp_path / "traces").iterdir()
    with file.open() as lines:
        steps = list(replay(lines))
    assert len(steps) > 500
    assert [step.bps for step in steps] == [step.recorded_bps for step in steps]
