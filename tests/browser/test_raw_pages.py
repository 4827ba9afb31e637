"""Two Chromium pages that know only the documented API, through the real server, in each codec."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.senses import HERE, PROBE, shows, sounds
from tests.support.chromium import ChromiumTab, chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import ANN, BOB, Appearance, write_devices
from tests.support.server import running_server

if TYPE_CHECKING:
    from pathlib import Path

CLIENT = (HERE / "documented_client.js").read_text()
JOIN = "async (options) => { window.client = await DocumentedClient.join(options); return client.user; }"
OBSERVE = "() => client.observe()"


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
            tabs.append(await browser.new_tab(preload=PROBE + CLIENT))
        for codec in ("VP8", "VP9", "H264", "AV1"):
            users = []
            for tab, who in zip(tabs, people, strict=True):
                # A page of the server's own origin, but not its client.
                await tab.navigate(f"{server.url}/healthz")
                users.append(await tab.evaluate(JOIN, {"room": codec.lower(), "name": who.name, "codec": codec}))
            for tab, user, who in zip(tabs, reversed(users), reversed(people), strict=True):
                await _receives(tab, user, who, codec)


async def _receives(tab: ChromiumTab, user: str, who: Appearance, codec: str) -> None:
    def is_so(seen: dict[str, Any]) -> bool:
        person = seen["people"].get(user)
        return (
            person is not None
            and shows(person["picture"], who)
            and sounds(person["tone"], who)
            and {row["codec"] for row in seen["inbound"] if row["decoded"] > 10} == {f"video/{codec}"}
        )

    seen = await eventually(
        lambda: tab.evaluate(OBSERVE), is_so, within=20, what=f"{who.name} seen in {codec} and heard"
    )
    assert seen["problems"] == []
    mark = seen["people"][user]["picture"]["mark"]
    await eventually(
        lambda: tab.evaluate(OBSERVE),
        lambda later: later["people"][user]["picture"]["mark"] != mark,
        within=5,
        what="the picture moves",
    )
