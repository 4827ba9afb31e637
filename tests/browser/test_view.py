"""What the real client shows decides what it is sent, and what others encode."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import pytest

from tests.browser.client import SCRIPTS
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import until
from tests.support.in_process import serve
from zvonim_sfu.rooms.demand import LOWER_AFTER_S
from zvonim_sfu.rooms.quality import Reason

if TYPE_CHECKING:
    from playwright.async_api import ViewportSize

    from zvonim_sfu.rooms.events import SlotQuality
    from zvonim_sfu.rooms.room import Room
    from zvonim_sfu.rooms.statistics import ParticipantStatistics

LARGE: Final[ViewportSize] = {"width": 1280, "height": 800}
TINY: Final[ViewportSize] = {"width": 240, "height": 320}
"""One tile on a page, and one's own is on the first."""
AGAIN_WITHIN_S: Final = 2.0
"""Half a second for the publisher, and a second for what is seen; the tests' machines are slow."""


def named(room: Room, name: str) -> ParticipantStatistics:
    return next(person for person in room.statistics().participants if person.user_name == name)


def encoded(room: Room) -> int:
    """How many packets of Ann's camera have come."""
    media = named(room, "Ann").media
    assert media is not None
    return sum(track.packets for track in media.up_tracks if track.source == "camera")


def seen(room: Room) -> SlotQuality | None:
    """How Bob gets it."""
    slots = named(room, "Bob").slots
    return slots[0] if slots else None


def is_shown(room: Room) -> bool:
    entry = seen(room)
    return entry is not None and not entry.paused and entry.reason is not Reason.KEYFRAME


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_what_nobody_sees_is_not_sent_and_then_not_encoded_until_somebody_looks() -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve())
        playwright = await stack.enter_async_context(playwright_driver())
        browser = await stack.enter_async_context(chromium(playwright))
        ann, bob = [await browser.new_tab(preload=SCRIPTS) for _ in range(2)]
        await bob.page.set_viewport_size(LARGE)
        await ann.navigate(f"{server.url}/r/view?name=Ann&join=now&microphone=off&quality=180")
        await bob.navigate(f"{server.url}/r/view?name=Bob&join=now&microphone=off&camera=off")
        await bob.wait_for("#app[data-connection=connected]", within=15)
        room = server.registry.rooms["view"]
        await until(lambda: is_shown(room), 20)

        await bob.page.set_viewport_size(TINY)
        await until(lambda: (entry := seen(room)) is not None and entry.reason is Reason.HIDDEN, 3)
        await asyncio.sleep(LOWER_AFTER_S + 1.5)
        before = encoded(room)
        await asyncio.sleep(1)
        assert encoded(room) == before

        await bob.page.set_viewport_size(LARGE)
        await until(lambda: encoded(room) > before and is_shown(room), AGAIN_WITHIN_S)
        assert ann.errors == bob.errors == []
