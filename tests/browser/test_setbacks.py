"""What happens to a participant's own computer in mid-call: the client says so, and the call goes on after it."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import psutil
import pytest

from tests.browser import client
from tests.browser.client import observe
from tests.browser.senses import HERE
from tests.support.chromium import FAKE_USER_INTERFACE, ChromiumBrowser, ChromiumTab, chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SCRIPTS: Final = client.SCRIPTS + (HERE / "interruptions.js").read_text()
STATE: Final = "() => interruptions.state()"
DEVICES: Final = "--use-fake-device-for-media-stream=device-count=3"
UNPLUG: Final = """() => {
  // Nothing unplugs Chromium's fake devices: this is what a page notices when one is.
  const tracks = probe.connections.at(-1).getSenders().map((sender) => sender.track);
  const camera = tracks.find((track) => track?.kind === "video");
  camera.stop();
  camera.dispatchEvent(new Event("ended"));
}"""
NAP_S: Final = 8
"""Longer than the client takes for a busy moment, shorter than the server waits."""
SLEEP_S: Final = 45
"""Consent has ended (RFC 7675), the server has given up the connection and the participant."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Ann, to whom it happens, and Bob, who watches; each with a computer."""

    url: str
    computer: ChromiumBrowser
    ann: ChromiumTab
    bob: ChromiumTab

    async def see_each_other(self, within: float) -> None:
        """Wait until each decodes new pictures of the other."""
        for tab in (self.ann, self.bob):
            before = await decoded(tab)
            await eventually(
                partial(decoded, tab),
                (before + 5).__lt__,
                within=within,
                what="new pictures come",
            )

    async def ann_as_bob_sees_her(self) -> dict[str, object]:
        tiles = [tile for tile in (await observe(self.bob)).tiles if tile["name"] == "Ann"]
        return tiles[0] if tiles else {}


async def decoded(tab: ChromiumTab) -> int:
    rows = await tab.evaluate("() => probe.inbound()")
    return sum(row["decoded"] for row in rows if row["kind"] == "video")


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server())
        playwright = await stack.enter_async_context(playwright_driver())
        browsers = [
            await stack.enter_async_context(chromium(playwright, arguments=(DEVICES,), without=(FAKE_USER_INTERFACE,)))
            for _ in range(2)
        ]
        tabs = [await browser.new_tab(preload=SCRIPTS) for browser in browsers]
        for tab, name in zip(tabs, ("Ann", "Bob"), strict=True):
            await tab.context.grant_permissions(["camera", "microphone"], origin=server.url)
            await client.join(tab, server.url, "setbacks", name)
        two = Pair(server.url, browsers[0], *tabs)
        for tab in tabs:
            await eventually(partial(decoded, tab), (10).__lt__, within=20, what="the other is seen")
        yield two


@pytest.mark.asyncio
async def test_a_permission_that_is_taken_away_is_told_and_can_be_given_again() -> None:
    async with pair() as two:
        await two.ann.context.clear_permissions()
        await eventually(
            partial(two.ann.evaluate, STATE),
            lambda state: "problem-both" in state["notices"],
            within=5,
            what="Ann is told",
        )
        await eventually(
            two.ann_as_bob_sees_her,
            lambda ann: (ann["camera"], ann["muted"]) == (False, True),
            within=5,
            what="so is Bob",
        )
        await two.ann.context.grant_permissions(["camera", "microphone"], origin=two.url)
        await two.ann.click("[data-notice=problem-both] .button")
        await eventually(
            two.ann_as_bob_sees_her,
            lambda ann: (ann["camera"], ann["muted"]) == (True, False),
            within=5,
            what="both are on",
        )
        await two.see_each_other(within=5)
        assert (await two.ann.evaluate(STATE))["notices"] == []


@pytest.mark.asyncio
async def test_another_camera_takes_the_place_of_one_that_is_unplugged() -> None:
    async with pair() as two:
        await two.ann.evaluate(UNPLUG)
        await eventually(
            partial(two.ann.evaluate, "() => document.querySelector('.toast')?.textContent ?? ''"),
            lambda said: "fake_device" in said,
            within=5,
            what="Ann is told which camera is used now",
        )
        await two.see_each_other(within=5)


async def sleeps(two: Pair, seconds: float) -> None:
    """Let Ann's computer sleep: no process of her browser runs."""
    processes = [psutil.Process(two.computer.pid)]
    processes += processes[0].children(recursive=True)
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
    await two.see_each_other(within=15)
    await eventually(
        partial(two.ann.evaluate, STATE),
        lambda state: (state["connection"], state["notices"]) == ("connected", []),
        within=5,
        what="Ann's client is content",
    )


@pytest.mark.asyncio
async def test_a_computer_that_nods_off_is_back_in_the_call() -> None:
    async with pair() as two:
        await sleeps(two, NAP_S)


@pytest.mark.long
@pytest.mark.asyncio
async def test_a_computer_that_slept_until_the_server_gave_it_up_is_back_in_the_call() -> None:
    async with pair() as two:
        await sleeps(two, SLEEP_S)


@pytest.mark.asyncio
async def test_a_tab_that_is_frozen_in_the_background_goes_on_sending() -> None:
    async with pair() as two:
        devtools = await two.ann.context.new_cdp_session(two.ann.page)
        await devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
        await asyncio.sleep(NAP_S)
        before = await decoded(two.bob)
        await eventually(partial(decoded, two.bob), lambda now: now > before + 5, within=5, what="Bob sees Ann")
        await devtools.send("Page.setWebLifecycleState", {"state": "active"})
        await two.see_each_other(within=10)
        assert (await two.ann.evaluate(STATE))["connection"] == "connected"
