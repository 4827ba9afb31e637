"""A client that reaches the server through a TURN server only, with credentials that the server made for it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from tests.browser.client import SCRIPTS, join, observe
from tests.support.chromium import chromium, playwright_driver
from tests.support.eventually import eventually
from tests.support.media_files import ANN, BOB, write_devices
from tests.support.server import running_server
from tests.support.turn import turn_server

if TYPE_CHECKING:
    from pathlib import Path

RELAY_ONLY: Final = """
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) {
    super({ ...configuration, iceTransportPolicy: "relay" });
    window.relayed = this;
  }
};
"""
"""A firewall, as far as the client can tell: only what a TURN server relays comes through."""
PATH: Final = """async () => {
  const stats = await window.relayed?.getStats() ?? new Map();
  const transport = [...stats.values()].find(({ type }) => type === "transport");
  const pair = stats.get(transport?.selectedCandidatePairId);
  return {
    local: stats.get(pair?.localCandidateId)?.candidateType,
    servers: window.relayed?.getConfiguration().iceServers,
  };
}"""
LIFETIME_S: Final = 600


@pytest.mark.asyncio
async def test_who_can_use_turn_only_sees_and_is_seen(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        turn = await stack.enter_async_context(turn_server(tmp_path))
        shared = [{"urls": turn.url, "secret": turn.secret, "lifetime_s": LIFETIME_S}]
        server = await stack.enter_async_context(running_server(ice_servers=json.dumps(shared)))
        playwright = await stack.enter_async_context(playwright_driver())
        tabs = {}
        for who, scripts in ((ANN, RELAY_ONLY + SCRIPTS), (BOB, SCRIPTS)):
            video, audio = write_devices(tmp_path, who)
            browser = await stack.enter_async_context(chromium(playwright, video=video, audio=audio))
            tabs[who] = await browser.new_tab(preload=scripts)
            await join(tabs[who], server.url, "turn", who.name)

        async def all_is_well(me: Any, other: Any) -> None:
            await eventually(
                lambda: observe(tabs[me]),
                lambda view: view.sees_exactly([ANN, BOB]) and view.hears_exactly([other]),
                within=20,
                what=f"{me} sees and hears {other}",
            )

        await asyncio.gather(all_is_well(ANN, BOB), all_is_well(BOB, ANN))

        path = await tabs[ANN].evaluate(PATH)
        assert path["local"] == "relay"
        (given,) = path["servers"]
        user = (await observe(tabs[ANN])).user(ANN)
        assert given["username"].endswith(f":{user}")

        # The server sends to the relay, and to nothing else of hers.
        async with aiohttp.ClientSession() as http, http.get(f"{server.url}/api/statistics") as answer:
            (room,) = (await answer.json())["rooms"]
        ports = {
            participant["user_id"]: int(participant["media"]["transport"]["address"].rpartition(":")[2])
            for participant in room["participants"]
        }
        assert ports.pop(user) in turn.relay_ports
        assert all(port not in turn.relay_ports for port in ports.values())
        for tab in tabs.values():
            assert tab.errors == []
