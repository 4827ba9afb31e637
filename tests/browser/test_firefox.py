"""Firefox and Chromium in one call, both ways, in a network of the test's own."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.browser import client, documented
from tests.browser.senses import Picture, Tab, changed, shows
from tests.browser.test_statistics import operators
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.firefox import firefox
from tests.support.media_files import BOB, Appearance, write_devices
from tests.support.namespace import network_namespace
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

FOX: Final = Appearance("Fox", (0, 0, 0), 0)
"""Firefox brings devices of its own: a plain picture whose colour wanders, and a tone."""
HEARD: Final = "async () => (await probe.inbound()).reduce((sum, row) => sum + row.energy, 0)"
"""Energy of all sound received: without a sound card Firefox' AudioContext stands still, its decoder does not."""
STATE: Final = "() => client.pc.connectionState"
TONE_ENERGY: Final = 0.01
"""Firefox's tone adds this in a second, Chromium's six times as much, comfort noise next to nothing."""
WITHIN_S: Final = 15


@asynccontextmanager
async def chromium_and_firefox(folder: Path, scripts: str) -> AsyncIterator[tuple[str, Tab, Tab]]:
    """Start a server and the two browsers; yield the server's address, Bob's Chromium and Fox's Firefox."""
    async with AsyncExitStack() as stack:
        stack.enter_context(network_namespace())
        # Media where the server itself chooses: on all addresses, as after `make run`.
        server = await stack.enter_async_context(running_server(media_host=None))
        playwright = await stack.enter_async_context(playwright_driver())
        video, audio = write_devices(folder, BOB)
        browser = await stack.enter_async_context(chromium(playwright, video=video, audio=audio))
        fox = await stack.enter_async_context(firefox())
        yield server.url, await browser.new_tab(preload=scripts), await fox.new_tab(preload=scripts)


async def see_each_other(
    bob_in_firefox: Callable[[], Awaitable[Picture]], fox_in_chromium: Callable[[], Awaitable[Picture]]
) -> None:
    """Wait until Bob is seen and moves, and Fox is seen and its colour wanders."""
    bob = await eventually(bob_in_firefox, lambda seen: shows(seen, BOB), within=WITHIN_S, what="Fox sees Bob")
    fox = await eventually(fox_in_chromium, lambda seen: seen is not None, within=WITHIN_S, what="Bob sees Fox")
    await eventually(bob_in_firefox, partial(changed, bob), within=5, what="Bob's picture moves")
    await eventually(fox_in_chromium, partial(changed, fox), within=5, what="Fox's picture changes colour")


async def hear_each_other(*tabs: Tab) -> None:
    """Wait until each tab has received a good deal of sound."""
    for tab in tabs:
        enough = await tab.evaluate(HEARD) + TONE_ENERGY
        await eventually(partial(tab.evaluate, HEARD), enough.__lt__, within=5, what="the other's tone is heard")


async def estimates(server: str) -> None:
    """Wait until the server knows, from what each browser reports, that its link holds what comes through."""

    async def links() -> list[dict[str, Any] | None]:
        return [person["media"]["transport"]["link"] for person in await operators(server)]

    await eventually(
        links,
        lambda found: (
            len(found) == 2
            and all(link is not None and link["estimate"] > link["acknowledged_bitrate"] > 0 for link in found)
        ),
        within=WITHIN_S,
        what="both browsers report on transport-wide numbers",
    )


@pytest.mark.asyncio
async def test_firefox_and_chromium_share_a_call_in_the_real_client(tmp_path: Path) -> None:
    async with chromium_and_firefox(tmp_path, client.SCRIPTS) as (server, bob, fox):
        await client.join(bob, server, "real", BOB.name)
        await client.join(fox, server, "real", FOX.name)

        async def picture(tab: Tab, who: Appearance) -> Picture:
            return ((await client.observe(tab)).tile(who) or {}).get("picture")

        await see_each_other(lambda: picture(fox, BOB), lambda: picture(bob, FOX))
        await hear_each_other(bob, fox)
        await estimates(server)
        assert (bob.errors, fox.errors) == ([], [])


@pytest.mark.asyncio
async def test_firefox_and_chromium_need_no_more_than_the_documented_messages(tmp_path: Path) -> None:
    async with chromium_and_firefox(tmp_path, documented.SCRIPTS) as (server, bob, fox):
        # Fox is there first: Bob's tracks come to it by an offer of the server's, and its own to Bob by an answer.
        foxs_id = await documented.join(fox, server, "raw", FOX.name)
        await eventually(partial(fox.evaluate, STATE), "connected".__eq__, within=WITHIN_S, what="Fox is connected")
        bobs_id = await documented.join(bob, server, "raw", BOB.name)

        async def picture(tab: Tab, user: str) -> Picture:
            seen: Picture = (await documented.observe(tab, user))["picture"]
            return seen

        await see_each_other(lambda: picture(fox, bobs_id), lambda: picture(bob, foxs_id))
        await hear_each_other(bob, fox)
        await estimates(server)
