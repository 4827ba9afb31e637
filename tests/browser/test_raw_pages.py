"""Two Chromium pages that know only the documented API, through the real server, in each codec."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.documented import SCRIPTS, join, observe
from tests.browser.senses import changed, shows, sounds
from tests.support.chromium import ChromiumTab, chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import ANN, BOB, Appearance, write_devices
from tests.support.server import running_server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.asyncio
async def test_two_pages_see_and_hear_each_other_in_every_codec(tmp_path: Path) -> None:
    people = (ANN, BOB)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server())
        playwright = await stack.enter_async_context(playwright_driver())
        tabs: list[ChromiumTab] = []
        for who in people:
            video, audio = write_devices(tmp_path, who)
            browser = await stack.enter_async_context(chromium(playwright, video=video, audio=audio))
            tabs.append(await browser.new_tab(preload=SCRIPTS))
        for codec in ("VP8", "VP9", "H264", "AV1"):
            ann, bob = [
                await join(tab, server.url, codec, who.name, codec) for tab, who in zip(tabs, people, strict=True)
            ]
            await receives(tabs[0], bob, BOB, codec)
            await receives(tabs[1], ann, ANN, codec)


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
