"""Two Chromium pages that know only the documented API, through the real server, in each codec."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.browser.documented import SCRIPTS, join, observe
from tests.browser.senses import changed, shows, sounds
from tests.support.chromium import ChromiumTab, chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import ANN, BOB, Appearance, write_devices
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


STATE: Final = "() => client.pc.connectionState"


@asynccontextmanager
async def two_tabs(folder: Path) -> AsyncIterator[tuple[str, ChromiumTab, ChromiumTab]]:
    """Start a server and a browser each for Ann and Bob; yield the server's address and the two tabs."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server())
        playwright = await stack.enter_async_context(playwright_driver())

        async def tab(who: Appearance) -> ChromiumTab:
            video, audio = write_devices(folder, who)
            browser = await stack.enter_async_context(chromium(playwright, video=video, audio=audio))
            return await browser.new_tab(preload=SCRIPTS)

        yield server.url, await tab(ANN), await tab(BOB)


@pytest.mark.asyncio
async def test_two_pages_see_and_hear_each_other_in_every_codec(tmp_path: Path) -> None:
    async with two_tabs(tmp_path) as (server, *tabs):
        for codec in ("VP8", "VP9", "H264", "AV1"):
            ann, bob = [
                await join(tab, server, codec, who.name, codec) for tab, who in zip(tabs, (ANN, BOB), strict=True)
            ]
            await receives(tabs[0], bob, BOB, codec)
            await receives(tabs[1], ann, ANN, codec)


@pytest.mark.asyncio
async def test_tracks_added_while_an_offer_of_the_servers_is_answered_arrive(tmp_path: Path) -> None:
    async with two_tabs(tmp_path) as (server, *tabs):
        ann = await join(tabs[0], server, "late", ANN.name, "VP8")
        await eventually(partial(tabs[0].evaluate, STATE), "connected".__eq__, within=20, what="Ann is connected")
        bob = await join(tabs[1], server, "late", BOB.name, late=True)
        await receives(tabs[1], ann, ANN, "VP8")
        await receives(tabs[0], bob, BOB, "VP8")


async def receives(tab: ChromiumTab, user: str, who: Appearance, codec: str) -> None:
    """Wait until this user is seen, decoded from this codec, is heard, and moves."""

    def is_so(seen: dict[str, Any]) -> bool:
        decoded = {row["codec"] for row in seen["inbound"] if row["decoded"] > 10}
        return shows(seen["picture"], who) and sounds(seen["tone"], who) and decoded == {f"video/{codec}"}

    seen = await eventually(lambda: observe(tab, user), is_so, within=20, what=f"{who} is seen in {codec} and heard")
    await eventually(
        lambda: observe(tab, user),
        lambda later: changed(seen["picture"], later["picture"]),
        within=5,
        what=f"{who}'s picture in {codec} moves",
    )
