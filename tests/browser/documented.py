"""A page that knows only the documented API: no part of the real client, but of the server's own origin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.browser.senses import HERE, PROBE

if TYPE_CHECKING:
    from tests.browser.senses import Tab

SCRIPTS: Final = PROBE + (HERE / "documented_client.js").read_text()
"""To be loaded before the page."""


async def join(tab: Tab, server: str, room: str, name: str, codec: str | None = None, *, late: bool = False) -> str:
    """Join a room and publish, the video in `codec` alone if one is named; return the user_id.

    `late` is to add the tracks only in the middle of answering the server's first offer.
    """
    # The start page makes no connection; a JSON page would do, were it not for Firefox' viewer.
    await tab.navigate(f"{server}/")
    user = await tab.evaluate(
        "async (options) => { window.client = await DocumentedClient.join(options); return client.user; }",
        {"room": room, "name": name, "codec": codec, "late": late},
    )
    return str(user)


async def observe(tab: Tab, user: str) -> dict[str, Any]:
    """What is seen and heard of another user now: picture, tone, and what is decoded in which codec."""
    seen: dict[str, Any] = await tab.evaluate("() => client.observe()")
    assert seen["problems"] == [], seen["problems"]
    return {"picture": None, "tone": None, **seen["people"].get(user, {}), "inbound": seen["inbound"]}
