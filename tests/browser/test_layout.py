"""Large calls in the real client: pages, the speaker's view and pins, from a phone's size to a desktop's."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.browser.client import SCRIPTS, join
from tests.browser.crowd import crowd
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import ANN, BOB, write_devices
from tests.support.server import running_server

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import ViewportSize

    from tests.support.chromium import ChromiumTab

DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 800}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
LANDSCAPE: Final[ViewportSize] = {"width": 844, "height": 390}
SMALL_PHONE: Final[ViewportSize] = {"width": 320, "height": 480}
NAMES: Final = [f"Guest {number:02}" for number in range(40)]
STAGE: Final = """async () => {
  // What has just changed is shown with the next frame.
  for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
  const box = (element) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    return [left, top, right, bottom];
  };
  const page = document.querySelector("#page");
  return {
    page: page.closest("nav").hidden ? "1 of 1" : page.textContent,
    layout: document.querySelector(".stage").dataset.layout,
    stage: box(document.querySelector(".stage")),
    tiles: [...document.querySelectorAll(".stage .tile")].map((tile) => ({
      name: tile.querySelector(".tile-name").textContent,
      place: tile.dataset.place,
      box: box(tile),
    })),
  };
}"""


async def stage(tab: ChromiumTab) -> dict[str, Any]:
    """What is on the stage now, the tiles in their order."""
    seen: dict[str, Any] = await tab.evaluate(STAGE)
    return seen


def names(seen: dict[str, Any]) -> list[str]:
    """Whose tiles are on the stage."""
    return [tile["name"] for tile in seen["tiles"]]


def area(tile: dict[str, Any]) -> float:
    """How large a tile is, in square pixels."""
    left, top, right, bottom = tile["box"]
    return float((right - left) * (bottom - top))


def is_tidy(seen: dict[str, Any]) -> bool:
    """Whether all tiles are within the stage, and none covers another."""
    left, top, right, bottom = seen["stage"]
    boxes = [tile["box"] for tile in seen["tiles"]]
    return all(left <= x0 < x1 <= right and top <= y0 < y1 <= bottom for x0, y0, x1, y1 in boxes) and all(
        x1 <= a0 or a1 <= x0 or y1 <= b0 or b1 <= y0
        for (x0, y0, x1, y1), (a0, b0, a1, b1) in itertools.combinations(boxes, 2)
    )


async def tidy_page(tab: ChromiumTab, number: int) -> dict[str, Any]:
    """Wait until the page of this number is on the stage, all tiles in their places."""
    return await eventually(
        lambda: stage(tab),
        lambda now: now["page"].startswith(f"{number} of") and is_tidy(now),
        within=3,
        what=f"page {number}, with all tiles in their places",
    )


async def leaf_through(tab: ChromiumTab) -> list[list[str]]:
    """Whose tiles are on each page; begins and ends with the first."""
    pages = []
    for number in itertools.count(1):
        seen = await tidy_page(tab, number)
        pages.append(names(seen))
        if seen["page"] == f"{number} of {number}":
            break
        await tab.page.keyboard.press("PageDown")
    for _ in pages:
        await tab.page.keyboard.press("PageUp")
    return pages


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_pages_show_everybody_once_and_pinned_tiles_are_large() -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(limit_join_burst=100))
        await stack.enter_async_context(crowd(server.url, "large", NAMES))
        playwright = await stack.enter_async_context(playwright_driver())
        browser = await stack.enter_async_context(chromium(playwright))
        tab = await browser.new_tab(preload=SCRIPTS)
        await join(tab, server.url, "large", "Ann")
        await tab.wait_for("#app[data-connection=connected]", within=15)

        for view in ("grid", "focus"):
            per_page = []
            for size in (DESKTOP, PHONE, LANDSCAPE):
                await tab.page.set_viewport_size(size)
                pages = await leaf_through(tab)
                large = pages[0][:1] if view == "focus" else []
                small = [name for page in pages for name in page if name not in large]
                assert sorted([*small, *large]) == sorted([*NAMES, "Ann"])
                assert "Ann" in pages[0]
                per_page.append(len(pages[0]))
            assert min(per_page) >= (3 if large else 6)
            assert large or per_page[0] > per_page[1]
            await tab.page.keyboard.press("g")

        # By keyboard alone: two tiles are pinned, and let go again.
        await tab.page.set_viewport_size(DESKTOP)
        for name in NAMES[1:3]:
            await tab.page.locator(f".tile[aria-label^='{name}'] .tile-pin").focus()
            await tab.page.keyboard.press("Enter")
        seen = await tidy_page(tab, 1)
        assert [tile["name"] for tile in seen["tiles"] if tile["place"] == "pinned"] == names(seen)[:2] == NAMES[1:3]
        assert min(map(area, seen["tiles"][:2])) > 4 * max(map(area, seen["tiles"][2:]))
        for _ in range(2):
            await tab.page.locator(".tile[data-place=pinned] .tile-pin").first.focus()
            await tab.page.keyboard.press("Enter")
        assert (await stage(tab))["layout"] == "grid"
        assert tab.errors == []


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_who_speaks_comes_to_the_first_page_and_one_other_tile_moves(tmp_path: Path) -> None:
    video, audio = write_devices(tmp_path, BOB)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(limit_join_burst=100))
        playwright = await stack.enter_async_context(playwright_driver())
        browser = await stack.enter_async_context(chromium(playwright, video=video, audio=audio))
        ann, bob = await browser.new_tab(preload=SCRIPTS), await browser.new_tab(preload=SCRIPTS)
        await stack.enter_async_context(crowd(server.url, "speaks", NAMES[:12]))
        await bob.navigate(f"{server.url}/r/speaks?name=Bob&join=now&quality=180&processing=off&microphone=off")
        await bob.wait_for("#app[data-connection=connected]", within=15)
        await ann.page.set_viewport_size(SMALL_PHONE)
        await ann.navigate(f"{server.url}/r/speaks?name={ANN.name}&join=now&quality=180&microphone=off&camera=off")
        await ann.wait_for("#app[data-connection=connected]", within=15)
        before = names(await eventually(lambda: stage(ann), lambda now: len(now["tiles"]) > 2, within=5, what="tiles"))
        assert BOB.name not in before
        await bob.click("#toggle-microphone")
        after = names(
            await eventually(lambda: stage(ann), lambda now: BOB.name in names(now), within=3, what="Bob is in sight")
        )
        assert len(after) == len(before)
        assert sum(was != now for was, now in zip(before, after, strict=True)) == 1
        await ann.wait_for(".tile[data-dominant=true][data-video=playing]", within=5)
        # In the speaker's view he is large.
        await ann.click("#layout")
        await ann.wait_for(".stage[data-layout=focus] .tile[data-place=speaker][data-dominant=true]", within=1)
        assert ann.errors == []
