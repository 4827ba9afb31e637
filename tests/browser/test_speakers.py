"""Who speaks, as the real client shows it: the ring and the meter are where the sound is."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.browser.client import SCRIPTS, join, observe
from tests.support.chromium import ChromiumTab, chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import ANN, BOB, CID, Appearance, write_devices
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PEOPLE: Final = (ANN, BOB, CID)
RING: Final = """(user) => {
  const tile = document.querySelector(`[data-participant="${user}"][data-source=camera]`);
  return Number(getComputedStyle(tile, "::after").opacity);
}"""
METERS: Final = """() => [...document.querySelectorAll("[data-participant][data-source=camera]")].map((tile) => [
  tile.dataset.participant, tile.querySelector(".tile-level").style.getPropertyValue("--level") > 0.3])"""


async def rings(tab: ChromiumTab, ids: Mapping[Appearance, str]) -> set[Appearance]:
    """Around whom there is a ring, which is not only about to go."""
    return {who for who, user in ids.items() if await tab.evaluate(RING, user) == 1}


async def all_show_only(
    speaker: Appearance | None, tabs: Mapping[Appearance, ChromiumTab], ids: Mapping[Appearance, str]
) -> None:
    """Wait until everybody, the speaker included, sees the ring and the moving meter there and nowhere else."""
    wanted = set() if speaker is None else {speaker}
    for who, tab in tabs.items():
        await eventually(
            partial(rings, tab, ids), lambda seen: seen == wanted, within=5, what=f"{who} sees {speaker} speak"
        )
        await eventually(
            partial(tab.evaluate, METERS),
            lambda meters: all(moves == (speaker is not None and user == ids[speaker]) for user, moves in meters),
            within=3,
            what=f"{who} sees the meter of {speaker} move",
        )


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_the_ring_follows_who_speaks(tmp_path: Path) -> None:
    # One tone for all: it is heard of those whose microphones are on.
    video, audio = write_devices(tmp_path, ANN)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server())
        playwright = await stack.enter_async_context(playwright_driver())
        browser = await stack.enter_async_context(chromium(playwright, video=video, audio=audio))
        tabs = {who: await browser.new_tab(preload=SCRIPTS) for who in PEOPLE}
        for who, tab in tabs.items():
            await join(tab, server.url, "ring", who.name)
            await tab.wait_for("#app[data-connection=connected]", within=15)
        view = await eventually(
            lambda: observe(tabs[ANN]),
            lambda view: all(view.tile(who) for who in PEOPLE),
            within=10,
            what="all are there",
        )
        ids = {who: view.user(who) for who in PEOPLE}
        await asyncio.gather(*(tab.click("#toggle-microphone") for tab in tabs.values()))
        await all_show_only(None, tabs, ids)
        for speaker in (BOB, CID, ANN):
            await tabs[speaker].click("#toggle-microphone")
            await all_show_only(speaker, tabs, ids)
            label = '[data-participant="{}"][data-source=camera][aria-label$=", speaking"]'
            await tabs[CID].wait_for(label.format(ids[speaker]), within=1)
            await tabs[speaker].click("#toggle-microphone")
        await all_show_only(None, tabs, ids)
        assert [tab.errors for tab in tabs.values()] == [[], [], []]
