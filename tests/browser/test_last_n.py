"""More cameras than slots: each page of the real client shows its own, and nobody is shown as somebody else."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.browser.client import SCRIPTS, View, observe
from tests.browser.senses import HERE, shows
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import Appearance
from tests.support.server import running_server

if TYPE_CHECKING:
    from playwright.async_api import ViewportSize

PEOPLE: Final = [
    Appearance(f"Guest {index:02}", (40 + 80 * (index % 3), 40 + 80 * (index // 3 % 2), 40 + 80 * (index // 6)), 0)
    for index in range(12)
]
"""Any two are 80 apart in some channel."""
SMALL: Final[ViewportSize] = {"width": 320, "height": 480}
"""Four tiles on a page, one of which is one's own on the first."""
SLOTS: Final = 9
"""What the client declares as long as no page shows more."""
COUNT_SLOTS: Final = """() => probe.connections.at(-1).getTransceivers().filter(
  ({ receiver, direction }) => receiver.track.kind === "video" && direction === "recvonly").length"""


def all_right(view: View) -> bool:
    """Whether each tile shows who it says it shows."""
    others = [tile for tile in view.tiles if tile["name"] != "Ann"]
    looks = {who.name: who for who in PEOPLE}
    return len(others) > 0 and all(shows(tile["picture"], looks[tile["name"]]) for tile in others)


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_each_page_shows_its_own_with_fewer_slots_than_cameras() -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(limit_join_burst=100))
        playwright = await stack.enter_async_context(playwright_driver())
        browser = await stack.enter_async_context(chromium(playwright))
        many = await browser.new_tab(preload=(HERE / "cameras.js").read_text())
        await many.navigate(f"{server.url}/")
        people = [{"name": who.name, "colour": who.colour} for who in PEOPLE]
        await many.page.evaluate("(people) => cameras.enter('pages', people)", people)
        ann = await browser.new_tab(preload=SCRIPTS)
        await ann.page.set_viewport_size(SMALL)
        await ann.navigate(f"{server.url}/r/pages?name=Ann&join=now&camera=off&microphone=off")
        await ann.wait_for("#app[data-connection=connected]", within=15)

        async def page_is_right(number: int) -> set[str]:
            await ann.wait_for(f"xpath=//*[@id='page'][starts-with(text(), '{number} of')]", within=2)
            view = await eventually(
                partial(observe, ann), all_right, within=6, what=f"page {number} shows who it says it shows"
            )
            return {tile["name"] for tile in view.tiles} - {"Ann"}

        seen = [await page_is_right(1)]
        for number in (2, 3, 4):
            await ann.page.keyboard.press("PageDown")
            seen.append(await page_is_right(number))
        assert sorted(name for names in seen for name in names) == [who.name for who in PEOPLE]
        await ann.page.keyboard.press("PageUp")
        assert await page_is_right(3) == seen[2]
        assert await ann.evaluate(COUNT_SLOTS) == SLOTS < len(PEOPLE)

        # A larger window shows all of them: now there are more slots.
        await ann.page.set_viewport_size({"width": 1280, "height": 800})
        await eventually(
            partial(observe, ann),
            lambda view: len(view.tiles) == len(PEOPLE) + 1 and all_right(view),
            within=8,
            what="all are on one page, and shown",
        )
        assert await ann.evaluate(COUNT_SLOTS) > len(PEOPLE)
        assert ann.errors == []
