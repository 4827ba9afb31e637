"""Which sizes of a camera's picture are encoded, sent and seen: what tiles and links call for, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.browser.measure import SCRIPTS, counters
from tests.support.chromium import ChromiumTab, chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.relay import Profile, Relay
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import ViewportSize

    from tests.browser.measure import Row

LARGE: Final[ViewportSize] = {"width": 1600, "height": 1000}
SMALL: Final[ViewportSize] = {"width": 300, "height": 400}
"""Tiles of some 280 pixels."""
CAMERA: Final = "--use-fake-device-for-media-stream=fps=10"
"""1280x720; few pictures, since two cores encode three sizes of them."""
UNWANTED_S: Final = 3
"""The server tells a publisher so long after the last one has stopped to take a size."""
SWITCHED_WITHIN_S: Final = 1.5
"""A second is promised; two cores that three other browsers may have are late by some hundred milliseconds."""
SHOW: Final = """(state) => {
  Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
REASON: Final = """() => {
  const sign = document.querySelector(".tile:not(.tile-local) .tile-quality");
  return { reason: sign.dataset.reason, text: sign.textContent, label: sign.getAttribute("aria-label") };
}"""


@dataclass(frozen=True, slots=True)
class Call:
    """Ann shows herself, Bob watches, through a relay."""

    ann: ChromiumTab
    bob: ChromiumTab
    relay: Relay

    async def encoded(self) -> dict[str, Row]:
        """What Ann's camera is encoded in, by rid: getStats' rows, and whether each is wanted."""
        return {row["rid"]: row for row in (await counters(self.ann)).sent if row["kind"] == "video"}

    async def encoded_in(self, seconds: float) -> dict[str, int]:
        """How many frames of each size are encoded in some time, by rid."""
        before = await self.encoded()
        await asyncio.sleep(seconds)
        return {rid: row["framesEncoded"] - before[rid]["framesEncoded"] for rid, row in (await self.encoded()).items()}

    async def width(self) -> int:
        """Of the picture that Bob decodes."""
        return int((await counters(self.bob)).receiving("video").get("frameWidth", 0))

    async def octets(self) -> int:
        """Of Ann's picture at Bob's, so far."""
        return int((await counters(self.bob)).receiving("video")["bytesReceived"])

    async def sees(self, width: int, within: float) -> None:
        """Wait until Bob's picture has this width."""
        await eventually(self.width, width.__eq__, within=within, what=f"Bob sees {width} columns")

    async def is_told(self, reason: str, within: float = 3) -> dict[str, Any]:
        """Wait until Ann's tile at Bob's says so."""
        return await eventually(
            partial(self.bob.evaluate, REASON),
            lambda sign: sign["reason"] == reason,
            within=within,
            what=f"the tile says {reason}",
        )


@asynccontextmanager
async def call() -> AsyncIterator[Call]:
    """Let the two join and wait until Bob sees Ann."""
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(Relay(up=Profile(delay_ms=10), down=Profile(delay_ms=10), seed=7))
        server = await stack.enter_async_context(running_server(announce=relay.announced))
        relay.set_server(("127.0.0.1", server.media_port))
        playwright = await stack.enter_async_context(playwright_driver())
        browser = await stack.enter_async_context(chromium(playwright, arguments=[CAMERA]))
        ann, bob = await browser.new_tab(preload=SCRIPTS), await browser.new_tab(preload=SCRIPTS)
        await bob.page.set_viewport_size(LARGE)
        await bob.navigate(f"{server.url}/r/sizes?name=Bob&join=now&camera=off&microphone=off")
        await ann.navigate(f"{server.url}/r/sizes?name=Ann&join=now&microphone=off")
        two = Call(ann, bob, relay)
        # Her browser begins with little, and looks for what its link holds.
        await eventually(
            partial(counters, bob),
            lambda now: any(row.get("frameWidth") == 1280 for row in now.received),
            within=40,
            what="Bob sees Ann in full size",
        )
        yield two
        assert [ann.errors, bob.errors] == [[], []]


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_only_what_somebody_looks_at_is_encoded_and_sent() -> None:
    async with call() as two:
        await two.bob.page.set_viewport_size(SMALL)
        await two.sees(320, within=2 * SWITCHED_WITHIN_S)
        await eventually(
            two.encoded,
            lambda rows: [rid for rid, row in rows.items() if row["wanted"]] == ["q"],
            within=UNWANTED_S + 3,
            what="only the smallest size is encoded",
        )
        frames = await two.encoded_in(1)
        assert frames["f"] == frames["h"] == 0 < frames["q"]
        assert "tile" in (await two.is_told("tile"))["text"]

        await two.bob.page.set_viewport_size(LARGE)
        await eventually(
            two.encoded,
            lambda rows: rows["f"]["wanted"],
            within=SWITCHED_WITHIN_S,
            what="the full size is back",
        )
        await two.sees(1280, within=SWITCHED_WITHIN_S)

        await two.bob.evaluate(SHOW, "hidden")
        await asyncio.sleep(1)
        octets = await two.octets()
        await eventually(
            two.encoded,
            lambda rows: not any(row["wanted"] for row in rows.values()),
            within=UNWANTED_S + 3,
            what="nothing is encoded while nobody looks",
        )
        assert await two.octets() == octets
        await two.bob.evaluate(SHOW, "visible")
        await eventually(two.octets, lambda now: now > octets, within=SWITCHED_WITHIN_S, what="the picture is back")
        await two.sees(1280, within=2 * SWITCHED_WITHIN_S)


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_a_tile_says_why_its_picture_is_small_or_paused() -> None:
    async with call() as two:
        await two.is_told("best")
        two.relay.change(down=Profile(delay_ms=10, rate_bps=200_000))
        sign = await two.is_told("link", within=20)
        assert "the link holds" in sign["text"]
        assert sign["label"] == f"Picture: {sign['text']}"
        await eventually(two.width, lambda width: width < 1280, within=15, what="Bob's picture has become smaller")
        two.relay.change(down=Profile(delay_ms=10, rate_bps=30_000))
        await two.bob.wait_for(".tile:not(.tile-local)[data-paused=true] .tile-paused:not([hidden])", within=30)
        two.relay.change(down=Profile(delay_ms=10))
        await two.bob.wait_for(".tile:not(.tile-local)[data-paused=false][data-video=playing]", within=30)
