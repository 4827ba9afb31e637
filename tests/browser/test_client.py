"""Four people in the real client, each in a Chromium of its own, through everything that happens in a call."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.browser.client import SCRIPTS, View, join, observe
from tests.browser.senses import shows
from tests.support.chromium import ChromiumBrowser, ChromiumTab, chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import ANN, BOB, CID, DEE, PEOPLE, Appearance, write_devices
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection
    from pathlib import Path

SCREEN: Final = Appearance("screen", (4, 145, 2), 0)
"""What Chromium's fake screen shows, whose screen it may be."""
GRACE_S: Final = 6
"""Time for a reload; a killed tab stays in sight for so long."""
SETTLES_WITHIN_S: Final = 20
"""Four browsers on two cores that all start to encode."""


@dataclass(frozen=True, slots=True)
class Guest:
    """One participant and the browser that is its computer."""

    who: Appearance
    browser: ChromiumBrowser
    tab: ChromiumTab


@asynccontextmanager
async def guests(folder: Path) -> AsyncIterator[dict[Appearance, Guest]]:
    """Start a browser for each of the four, with its own camera and microphone."""
    async with AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(playwright_driver())

        async def one(who: Appearance) -> Guest:
            video, audio = write_devices(folder, who)
            browser = await stack.enter_async_context(chromium(playwright, video=video, audio=audio))
            return Guest(who, browser, await browser.new_tab(preload=SCRIPTS))

        yield {who: await one(who) for who in PEOPLE}


async def everyone_sees_and_hears_everyone(
    group: Collection[Guest], *, within: float, quiet: Collection[Appearance] = (), screen: Appearance | None = None
) -> None:
    """Wait until each of the group sees exactly the group under the right names, and hears who is not quiet.

    `screen` is who shares one: Chromium's fake screen has a sound, and it is the same as the microphone's.
    """
    people = [guest.who for guest in group]

    async def settles(guest: Guest) -> None:
        sources = [who for who in people if who not in quiet] + ([screen] if screen else [])
        audible = [who for who in sources if who is not guest.who]
        view = await eventually(
            lambda: observe(guest.tab),
            lambda view: view.sees_exactly(people) and view.hears_exactly(audible),
            within=within,
            what=f"{guest.who} sees {people} and hears {audible}",
        )
        await eventually(
            lambda: observe(guest.tab),
            lambda later: all(later.marks().get(key) != mark for key, mark in view.marks().items()),
            within=5,
            what=f"all pictures move at {guest.who}'s",
        )

    await asyncio.gather(*map(settles, group))


async def all_show(group: Collection[Guest], selector: str, *, within: float) -> None:
    """Wait until the selector matches in every tab of the group."""
    await asyncio.gather(*(guest.tab.wait_for(selector, within=within) for guest in group))


@pytest.mark.asyncio
@pytest.mark.timeout(180)
async def test_a_call_of_four_from_joining_to_the_last_two(tmp_path: Path) -> None:
    async with running_server(limit_grace_s=GRACE_S) as server, guests(tmp_path) as four:
        for guest in four.values():
            await join(guest.tab, server.url, "four", guest.who.name)
        await everyone_sees_and_hears_everyone(four.values(), within=SETTLES_WITHIN_S)
        ids = {who: (await observe(four[ANN].tab)).user(who) for who in PEOPLE}

        await mute_and_unmute(four, ids)
        await camera_off_and_on(four, ids)
        await share_a_screen(four)

        # A reload is no goodbye: the same participant is back, and nobody was told that it left.
        await four[DEE].tab.reload()
        await everyone_sees_and_hears_everyone(four.values(), within=SETTLES_WITHIN_S)
        assert {who: (await observe(four[ANN].tab)).user(who) for who in PEOPLE} == ids

        leaver = four.pop(BOB)
        await leaver.tab.click("#leave")
        await all_show([leaver], "[data-state=ended]", within=2)
        await everyone_sees_and_hears_everyone(four.values(), within=3)

        # Killed, a browser says nothing to the server: it is gone when its grace time is over.
        four.pop(DEE).browser.kill()
        await everyone_sees_and_hears_everyone(four.values(), within=GRACE_S + 3)
        assert {guest.who.name: guest.tab.errors for guest in four.values()} == {"Ann": [], "Cid": []}


async def mute_and_unmute(four: dict[Appearance, Guest], ids: dict[Appearance, str]) -> None:
    others = [guest for who, guest in four.items() if who is not ANN]
    await four[ANN].tab.click("#toggle-microphone")
    await all_show(others, f'[data-participant="{ids[ANN]}"][data-muted=true]', within=1)
    await everyone_sees_and_hears_everyone(four.values(), within=3, quiet=[ANN])
    await four[ANN].tab.click("#toggle-microphone")
    await all_show(others, f'[data-participant="{ids[ANN]}"][data-muted=false]', within=1)
    await everyone_sees_and_hears_everyone(four.values(), within=3)


async def camera_off_and_on(four: dict[Appearance, Guest], ids: dict[Appearance, str]) -> None:
    others = [guest for who, guest in four.items() if who is not BOB]
    await four[BOB].tab.click("#toggle-camera")
    await all_show(others, f'[data-participant="{ids[BOB]}"][data-camera=off]', within=1)
    for guest in others:
        off = (await observe(guest.tab)).tile(BOB)
        assert off is not None
        assert off["picture"] is None
    await four[BOB].tab.click("#toggle-camera")
    await all_show(others, f'[data-participant="{ids[BOB]}"][data-camera=on]', within=2)
    await everyone_sees_and_hears_everyone(four.values(), within=5)


async def share_a_screen(four: dict[Appearance, Guest]) -> None:
    async def all_have(is_so: Callable[[View], bool], *, within: float, what: str) -> None:
        await asyncio.gather(
            *(eventually(partial(observe, guest.tab), is_so, within=within, what=what) for guest in four.values())
        )

    def is_shared(view: View) -> bool:
        tile = view.tile(CID, "screen")
        return tile is not None and shows(tile["picture"], SCREEN)

    await four[CID].tab.click("#share-screen")
    await all_have(is_shared, within=10, what="Cid's screen is seen")
    await everyone_sees_and_hears_everyone(four.values(), within=10, screen=CID)
    await four[CID].tab.click("#share-screen")
    await all_have(lambda view: view.tile(CID, "screen") is None, within=3, what="Cid's screen is gone")
    await everyone_sees_and_hears_everyone(four.values(), within=5)
