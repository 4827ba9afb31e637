"""What is on the screen in a call of eight, pixel by pixel: light and dark, on a desktop and on a phone."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np
import pytest

from tests.browser.client import SCRIPTS
from tests.browser.senses import COLOUR_TOLERANCE, HERE
from tests.browser.test_layout import DESKTOP, PHONE, area, is_tidy, names, stage
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import Appearance
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.support.chromium import ChromiumTab

PEOPLE: Final = [
    Appearance("Ada", (200, 60, 60), 0),
    Appearance("Boris", (60, 160, 80), 0),
    Appearance("Chiara", (60, 80, 200), 0),
    Appearance("Dmitri", (200, 180, 60), 0),
    Appearance("Eve", (160, 60, 180), 0),
    Appearance("Farid", (60, 180, 190), 0),
    Appearance("Grace", (230, 230, 230), 0),
]
BY_NAME: Final = {who.name: who for who in PEOPLE}
SIZES: Final = {"desktop": DESKTOP, "phone": PHONE}
LIGHT_FROM: Final = 240
DARK_TO: Final = 35
"""Of 255: what is behind tiles and text."""
PANEL: Final = """() => {
  const { left, top, right, bottom } = document.querySelector("#statistics").getBoundingClientRect();
  const card = document.querySelector("[data-stats-track$='/camera']");
  return { box: [left, top, right, bottom], sizes: card?.querySelector("[data-stat=layers]").textContent };
}"""


@dataclass(frozen=True, slots=True)
class Screen:
    """A page in one theme and size."""

    stage: dict[str, Any]
    pixels: NDArray[np.uint8]

    def colour(self, box: Sequence[float], *, across: float = 0.5, down: float = 0.3) -> list[float]:
        """The mean of a few pixels of a box, at shares of its width and height: above a picture's moving mark."""
        left, top, right, bottom = box
        x, y = round(left + (right - left) * across), round(top + (bottom - top) * down)
        area = self.pixels[y - 3 : y + 3, x - 3 : x + 3].reshape(-1, 3)
        assert len(area) == 36, f"{box} is not on the screen"
        return [float(value) for value in area.mean(0)]

    def shows_each_where_its_tile_is(self) -> bool:
        """Whether at each tile there is the colour of the one whose name it has."""
        return all(
            abs(seen - meant) <= COLOUR_TOLERANCE
            for tile in self.stage["tiles"]
            if tile["name"] in BY_NAME
            for seen, meant in zip(self.colour(tile["box"]), BY_NAME[tile["name"]].colour, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Camera:
    """Takes the screenshots of a page, and keeps them."""

    tab: ChromiumTab
    folder: Path

    async def screens(self, what: str) -> AsyncIterator[Screen]:
        """Yield the page in each size and theme once its tiles are in their places and their pictures have come."""
        for size, viewport in SIZES.items():
            await self.tab.page.set_viewport_size(viewport)
            for theme in ("light", "dark"):
                await self.tab.page.emulate_media(color_scheme=theme)
                file = self.folder / f"{what}-{size}-{theme}.png"
                screen = await eventually(
                    partial(self.take, file),
                    lambda screen: is_tidy(screen.stage) and screen.shows_each_where_its_tile_is(),
                    within=8,
                    what=f"everybody is seen in {file}",
                )
                assert is_light(screen.colour((0, 0, 12, 12), down=0.5)) == (theme == "light"), file
                yield screen

    async def take(self, file: Path) -> Screen:
        """Keep what is on the screen now."""
        seen, png = await stage(self.tab), await self.tab.screenshot()
        return Screen(seen, keep(png, file))


def keep(png: bytes, file: Path) -> NDArray[np.uint8]:
    """Write a screenshot, and return its pixels by row and column, in RGB."""
    file.write_bytes(png)
    with av.open(str(file)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.uint8)


def is_light(colour: Sequence[float]) -> bool:
    """Whether text on this is dark; raises AssertionError for what is neither light nor dark."""
    assert min(colour) >= LIGHT_FROM or max(colour) <= DARK_TO, f"{colour} is neither light nor dark"
    return min(colour) >= LIGHT_FROM


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_everybody_is_seen_in_both_themes_on_desktop_and_phone(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(limit_join_burst=100))
        playwright = await stack.enter_async_context(playwright_driver())
        browser = await stack.enter_async_context(chromium(playwright))
        many = await browser.new_tab(preload=(HERE / "cameras.js").read_text())
        await many.navigate(f"{server.url}/")
        people = [{"name": who.name, "colour": who.colour} for who in PEOPLE]
        await many.page.evaluate("(people) => cameras.enter('looks', people)", people)
        ann = await browser.new_tab(preload=SCRIPTS)
        await ann.navigate(f"{server.url}/r/looks?name=Ann&join=now&quality=180&microphone=off")
        await ann.wait_for("#app[data-connection=connected]", within=15)
        camera = Camera(ann, tmp_path)

        async for screen in camera.screens("grid"):
            assert len(names(screen.stage)) == len(PEOPLE) + 1

        await ann.page.keyboard.press("g")
        async for screen in camera.screens("speaker"):
            large, *small = screen.stage["tiles"]
            assert large["place"] == "speaker"
            assert area(large) > 3 * max(map(area, small))
        await ann.page.keyboard.press("g")

        await ann.page.locator(".tile[aria-label^='Chiara'] .tile-pin").focus()
        await ann.page.keyboard.press("Enter")
        async for screen in camera.screens("pinned"):
            assert [tile["name"] for tile in screen.stage["tiles"] if tile["place"] == "pinned"] == ["Chiara"]
        await ann.page.locator(".tile[data-place=pinned] .tile-pin").focus()
        await ann.page.keyboard.press("Enter")

        # The cameras' page looks at nobody, so Ann's picture is not encoded; the panel says so.
        await ann.page.keyboard.press("i")
        for size, viewport in SIZES.items():
            await ann.page.set_viewport_size(viewport)
            for theme in ("light", "dark"):
                await ann.page.emulate_media(color_scheme=theme)
                panel = await eventually(
                    partial(ann.evaluate, PANEL),
                    lambda panel: panel.get("sizes") == "none, as nobody looks",
                    within=8,
                    what="nothing is sent",
                )
                screen = await camera.take(tmp_path / f"panel-{size}-{theme}.png")
                left, top, right, _ = panel["box"]
                assert 0 <= left < right <= viewport["width"]
                assert is_light(screen.colour((left, top, left + 16, top + 40))) == (theme == "light")
        assert ann.errors == []
