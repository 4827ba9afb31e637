"""What the operator reads of real browsers, and what their users read of themselves."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from tests.browser import client
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.firefox import firefox
from tests.support.media_files import ANN, BOB, write_devices
from tests.support.namespace import network_namespace
from tests.support.relay import Profile, Relay
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.browser.senses import Tab

DELAYED: Final = Profile(delay_ms=60)

READ_PANEL: Final = """() => {
  const values = (card) =>
    Object.fromEntries([...card.querySelectorAll("[data-stat]")].map((one) => [one.dataset.stat, one.textContent]));
  const cards = [...document.querySelectorAll("#statistics [data-stats-track]")];
  return {
    transport: values(document.querySelector("#statistics [data-stats-transport]")),
    tracks: Object.fromEntries(cards.map((card) => [card.dataset.statsTrack, values(card)])),
  };
}"""
BROWSERS_OWN: Final = {
    "protocol", "available_bitrate", "resolution", "fps", "target_bitrate", "limited_by", "nacks", "freezes",
    "frozen_ms", "concealed", "layers", "reason",
}  # fmt: skip
"""What the server cannot know: all else has to be called as there."""
OF_BOTH: Final = {"codec", "bitrate", "packets", "octets", "lost", "loss", "jitter_ms"}
"""What both ends of every track count; a subscriber's codec is the publisher's."""
TRACKS: Final = [("camera", "video"), ("microphone", "audio")]
PANEL_IS_READ_AGAIN_S: Final = 1.5
"""The panel is filled each second."""


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
            measured: float | None = alone["media"] and alone["media"]["transport"]["round_trip_ms"]
            return measured

        # Busy machines answer late: at first by some 10 ms, and there are few answers to smooth that.
        await eventually(
            round_trip_ms, lambda ms: ms is not None and 119 < ms < 180, within=20, what="120 ms are measured"
        )


@pytest.mark.asyncio
async def test_the_panel_calls_things_as_the_operators_statistics_do(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server())
        playwright = await stack.enter_async_context(playwright_driver())
        tabs = {}
        for who in (ANN, BOB):
            video, audio = write_devices(tmp_path, who)
            browser = await stack.enter_async_context(chromium(playwright, video=video, audio=audio))
            tabs[who] = await browser.new_tab(preload=client.SCRIPTS)
            await client.join(tabs[who], server.url, "panel", who.name)
        for tab in tabs.values():
            view = await eventually(
                partial(client.observe, tab),
                lambda view: view.sees_exactly([ANN, BOB]),
                within=20,
                what="they see each other",
            )
        ann = tabs[ANN]
        await ann.page.keyboard.press("i")
        await eventually(
            lambda: ann.evaluate(READ_PANEL),
            lambda panel: len(panel["tracks"]) == 4 and all("jitter_ms" in of for of in panel["tracks"].values()),
            within=10,
            what="all tracks are in the panel, and reported on",
        )

        async def of_ann() -> dict[str, Any]:
            (media,) = [one["media"] for one in await operators(server.url) if one["user_name"] == ANN.name]
            assert isinstance(media, dict)
            return media

        before = await of_ann()
        await asyncio.sleep(PANEL_IS_READ_AGAIN_S)
        panel = await ann.evaluate(READ_PANEL)
        after = await of_ann()

        assert panel["transport"].keys() - BROWSERS_OWN == {"round_trip_ms"}
        assert "round_trip_ms" in after["transport"]
        for source, kind in TRACKS:
            (was,) = [one for one in before["up_tracks"] if one["source"] == source]
            (now,) = [one for one in after["up_tracks"] if one["source"] == source]
            own = panel["tracks"][f"{view.user(ANN)}/{source}"]
            check_names(own, now)
            assert own["codec"] == now["codec"]
            check_values(own, was, now)

            (was,) = [one for one in before["down_tracks"] if one["user_id"] and one["kind"] == kind]
            (now,) = [one for one in after["down_tracks"] if one["user_id"] and one["kind"] == kind]
            theirs = panel["tracks"][f"{view.user(BOB)}/{source}"]
            # What a subscriber asks for is counted at the up track, for all of them together.
            check_names(theirs, {*now, "codec", "keyframe_requests"})
            check_values(theirs, was, now)


def check_names(shown: dict[str, str], told: Iterable[str]) -> None:
    """See that the panel has what both know, and no name for it that the operator has not."""
    assert shown.keys() >= OF_BOTH
    assert shown.keys() - BROWSERS_OWN <= set(told)


def check_values(shown: dict[str, str], was: dict[str, Any], now: dict[str, Any]) -> None:
    """See that what the panel says was so between two answers to the operator: nothing is lost on the way."""
    packets, kilobytes = int(shown["packets"]), int(shown["octets"].removesuffix(" kB"))
    assert was["packets"] <= packets
    assert was["octets"] // 1000 <= kilobytes
    if now.get("source") != "camera":  # what is sent of a picture has the browser's probes of the link in it
        assert packets <= now["packets"]
        assert kilobytes <= now["octets"] // 1000 + 1
    assert int(shown["lost"]) == (now["lost"] or 0) == 0  # null before a subscriber's first report
