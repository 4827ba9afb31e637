"""Networks and servers that fail under a call in the real client, with the interruption measured in decoded frames."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

import pytest

from tests.browser import client
from tests.browser.client import join, observe
from tests.browser.senses import HERE
from tests.support.chromium import ChromiumTab, chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.in_process import serve
from tests.support.relay import Relay
from tests.support.server import running_server
from tests.support.tcp_proxy import tcp_proxy

Measured = Callable[[str, object], None]
"""pytest's record_property: what was measured stands in the report (--junit-xml)."""
SCRIPTS: Final = client.SCRIPTS + (HERE / "interruptions.js").read_text()
STATE: Final = "() => interruptions.state()"
UFRAG: Final = "() => interruptions.ufrag()"
WATCH: Final = "() => interruptions.watch()"
LONGEST: Final = "() => interruptions.longest()"
NO_INTERRUPTION_MS: Final = 1000
"""Frames come every 50 ms; two browsers and a server on two busy cores are late by some hundreds at times."""
CHECKED_WITHIN_MS: Final = 3500
"""A client is followed to another address by its next ICE check: Chromium sends one every 2.5 s."""
MEMBERS: Final = 20
ENTER: Final = """
  async (count) => {
    const { Signaling } = await import("/static/signaling.js");
    window.entered = Array.from({ length: count }, () => []);
    window.members = entered.map((times, index) => {
      const member = new Signaling("many", `M${index}`, {
        onOpen: (user_id) => member.send({ type: "join", user_id, user_name: `M${index}`, delivery: "slots" }),
        onMessage: ({ type }) => type === "room-state" && times.push(Date.now()),
        onWaiting() {},
        onEnd: (reason) => console.error("ended", reason),
      });
      member.start(null);
      return member;
    });
  }
"""
"""A page that is many members, without media: how they come back is the business of signaling.js alone."""


@asynccontextmanager
async def tabs(count: int) -> AsyncIterator[list[ChromiumTab]]:
    async with playwright_driver() as playwright, chromium(playwright) as browser:
        yield [await browser.new_tab(preload=SCRIPTS) for _ in range(count)]


async def call_of_two(ann: ChromiumTab, bob: ChromiumTab, url: str) -> None:
    """Join, and wait until the camera of each moves at the other's."""
    await join(ann, url, "two", "Ann")
    await join(bob, url, "two", "Bob")
    for tab in (ann, bob):
        await both_seen(tab, within=20)


async def both_seen(tab: ChromiumTab, *, within: float) -> None:
    def two_pictures(view: client.View) -> bool:
        return len(view.tiles) == 2 and all(tile["picture"] is not None for tile in view.tiles)

    await eventually(partial(observe, tab), two_pictures, within=within, what="two pictures in sight")
    await frames_come(tab, within=within)


async def frames_come(tab: ChromiumTab, *, within: float) -> None:
    """Wait until the others' frames are decoded again."""

    async def decoded() -> int:
        return sum(row["decoded"] for row in await tab.evaluate("() => probe.inbound()"))

    before = await decoded()
    await eventually(decoded, lambda now: now > before + 5, within=within, what="frames are decoded")


async def users(tab: ChromiumTab) -> dict[str, str]:
    return {tile["name"]: tile["user"] for tile in (await observe(tab)).tiles}


@pytest.mark.asyncio
async def test_media_goes_on_while_the_websocket_breaks_and_comes_back(record_property: Measured) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve())
        proxy = await stack.enter_async_context(tcp_proxy(server.url))
        ann, bob = await stack.enter_async_context(tabs(2))
        await call_of_two(ann, bob, proxy.url)
        ids = await users(ann)
        for tab in (ann, bob):
            await tab.evaluate(WATCH)

        seen: list[dict[str, Any]] = []
        before = proxy.accepted
        proxy.cut()
        for _ in range(20):
            seen.append(await ann.evaluate(STATE))
            await asyncio.sleep(0.1)
        assert proxy.accepted >= before + 2, "each opened a WebSocket again"
        assert {state["connection"] for state in seen} == {"connected"}, "nobody is told of what nobody notices"
        assert all(state["notices"] == [] for state in seen)

        # A network that went away says nothing: the next sign of a change makes the client ask.
        ufrag, before = await ann.evaluate(UFRAG), proxy.accepted
        proxy.mute()
        await ann.evaluate("() => window.dispatchEvent(new Event('online'))")
        await eventually(partial(ann.evaluate, UFRAG), lambda now: now != ufrag, within=8, what="ICE is restarted")
        assert proxy.accepted > before, "over another WebSocket"

        for tab in (ann, bob):
            await frames_come(tab, within=5)
            longest_ms = await tab.evaluate(LONGEST)
            record_property("interruption by a broken WebSocket, ms", longest_ms)
            assert longest_ms < NO_INTERRUPTION_MS
            assert (await tab.evaluate(STATE))["peers"] == 1
        assert await users(ann) == ids


@pytest.mark.asyncio
async def test_another_address_interrupts_nothing_and_a_lost_path_is_found_again_by_an_ice_restart(
    record_property: Measured,
) -> None:
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(Relay())
        server = await stack.enter_async_context(serve(announce=[relay.announced]))
        relay.set_server(("127.0.0.1", server.node.udp.port))
        ann, bob = await stack.enter_async_context(tabs(2))
        await call_of_two(ann, bob, server.url)
        ufrag = await ann.evaluate(UFRAG)

        await ann.evaluate(WATCH)
        relay.move()
        await asyncio.sleep(2)
        await frames_come(ann, within=5)
        moved_ms = await ann.evaluate(LONGEST)
        assert await ann.evaluate(UFRAG) == ufrag, "followed without signalling"

        await ann.evaluate(WATCH)
        relay.pause()
        await eventually(partial(ann.evaluate, UFRAG), lambda now: now != ufrag, within=15, what="ICE is restarted")
        relay.resume()
        resumed_at = asyncio.get_running_loop().time()
        for tab in (ann, bob):
            await frames_come(tab, within=5)
        back_s = asyncio.get_running_loop().time() - resumed_at
        await eventually(
            partial(ann.evaluate, STATE), lambda now: now["connection"] == "connected", within=5, what="connected"
        )
        assert (await ann.evaluate(STATE))["peers"] == 1, "the connection was kept"
        record_property("interruption by a move, ms", moved_ms)
        record_property("pictures after an ICE restart, s", round(back_s, 1))
        assert moved_ms < CHECKED_WITHIN_MS


async def back_in_the_call(tab: ChromiumTab) -> None:
    """Wait until the pictures come over another connection."""
    await eventually(
        partial(tab.evaluate, STATE),
        lambda state: (state["connection"], state["peers"]) == ("connected", 2),
        within=10,
        what="connected again",
    )
    await both_seen(tab, within=10)


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.asyncio
async def test_everybody_is_back_in_the_room_soon_after_a_restart_of_the_server(record_property: Measured) -> None:
    ports = {"port": free_port(socket.SOCK_STREAM), "media_port": free_port(socket.SOCK_DGRAM)}
    async with tabs(3) as (ann, bob, many):
        async with running_server(**ports) as server:
            await call_of_two(ann, bob, server.url)
            await many.navigate(f"{server.url}/")
            await many.evaluate(ENTER, MEMBERS)
            await eventually(
                partial(many.evaluate, "() => entered.filter((times) => times.length).length"),
                MEMBERS.__eq__,
                within=10,
                what="all are in",
            )
            before = await users(ann)
            await many.evaluate("() => entered.forEach((times) => times.splice(0))")
        await eventually(
            partial(ann.evaluate, STATE),
            lambda state: state["connection"] == "reconnecting" and "reconnecting" in state["notices"],
            within=5,
            what="Ann is told",
        )
        async with running_server(**ports) as server:
            back_at = await many.evaluate("() => Date.now()")
            await asyncio.gather(*(back_in_the_call(tab) for tab in (ann, bob)))
            pictures_s = (await many.evaluate("() => Date.now()") - back_at) / 1000
            entered = await eventually(
                partial(many.evaluate, "() => entered.map((times) => times[0] ?? null)"),
                lambda times: None not in times,
                within=6,
                what="all are back",
            )
            late_s = sorted((at - back_at) / 1000 for at in entered)
            after = await users(ann)
            await many.evaluate("() => members.forEach((member) => member.close())")
            for tab in (ann, bob):
                await tab.click("#leave")
        record_property("pictures after a restart of the server, s", round(pictures_s, 1))
        record_property("members after a restart of the server, s", late_s)
        assert late_s[-1] < 5
        assert all(late_s[i + MEMBERS // 2] - late_s[i] > 0.1 for i in range(MEMBERS // 2)), "not all at once"
        assert before.keys() == after.keys()
