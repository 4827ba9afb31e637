"""The real client where the server asks for a secret: it proves itself, also after a reload, and others cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.browser.client import SCRIPTS, join, observe
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import ANN, write_devices
from tests.support.server import running_server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.asyncio
async def test_a_reload_goes_on_as_the_same_user_where_identity_is_strict(tmp_path: Path) -> None:
    video, audio = write_devices(tmp_path, ANN)
    async with (
        running_server(identity="strict") as server,
        playwright_driver() as playwright,
        chromium(playwright, video=video, audio=audio) as browser,
        aiohttp.ClientSession() as http,
    ):
        tab = await browser.new_tab(preload=SCRIPTS)

        async def user() -> str:
            view = await eventually(
                lambda: observe(tab), lambda view: view.sees_exactly([ANN]), within=20, what="Ann is in the call"
            )
            return view.user(ANN)

        await join(tab, server.url, "strict", ANN.name)
        before = await user()
        await tab.reload()
        assert await user() == before

        named = {"room_id": "strict", "user_id": before}
        async with http.ws_connect(f"{server.url}/ws", params=named) as thief:
            await thief.receive(5)
            assert thief.close_code == 4006
        async with http.post(f"{server.url}/api/room/leave", json=named) as refused:
            assert refused.status == 403
        assert await user() == before

        await tab.click("#leave")

        async def users() -> list[object]:
            async with http.get(f"{server.url}/api/room/strict/info") as answer:
                people: list[object] = (await answer.json())["users"]
                return people

        await eventually(users, lambda people: people == [], within=5, what="she has left")
        assert tab.errors == []
