"""What the operator reads of real browsers, and what their users read of themselves."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from tests.browser import client
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.firefox import firefox
from tests.support.namespace import network_namespace
from tests.support.relay import Profile, Relay
from tests.support.server import running_server

if TYPE_CHECKING:
    from tests.browser.senses import Tab

DELAYED: Final = Profile(delay_ms=60)


async def operators(server: str) -> list[dict[str, Any]]:
    """What the server tells of the participants of its one room."""
    async with aiohttp.ClientSession() as http, http.get(f"{server}/api/statistics") as answer:
        (room,) = (await answer.json())["rooms"]
        participants: list[dict[str, Any]] = room["participants"]
        return participants


@pytest.mark.asyncio
@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_the_round_trip_of_who_is_alone_is_known(browser: str) -> None:
    async with AsyncExitStack() as stack:
        host = stack.enter_context(network_namespace()) if browser == "firefox" else "127.0.0.1"
        relay = await stack.enter_async_context(Relay((host, 0), up=DELAYED, down=DELAYED, seed=7, allowed=[host]))
        server = await stack.enter_async_context(running_server(announce=relay.announced))
        relay.set_server(("127.0.0.1", server.media_port))
        if browser == "firefox":
            tab: Tab = await (await stack.enter_async_context(firefox())).new_tab()
        else:
            playwright = await stack.enter_async_context(playwright_driver())
            tab = await (await stack.enter_async_context(chromium(playwright))).new_tab()
        await client.join(tab, server.url, "alone", "Ann")

        async def round_trip_ms() -> float | None:
            (alone,) = await operators(server.url)
            return alone["media"] and alone["media"]["transport"]["round_trip_ms"]  # type: ignore[no-any-return]

        # Busy machines answer late: at first by some 10 ms, and there are few answers to smooth that.
        await eventually(
            round_trip_ms, lambda ms: ms is not None and 119 < ms < 180, within=20, what="120 ms are measured"
        )
