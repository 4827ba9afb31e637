"""What the operator reads while a call goes on over links that lose packets, and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.e2e.test_relayed_call import LOSSY, call
from tests.support.eventually import until

if TYPE_CHECKING:
    from tests.e2e.test_relayed_call import Call


async def read(two: Call) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.get(f"{two.server.url}/api/statistics") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        statistics: dict[str, Any] = await answer.json()
        return statistics


def track(statistics: dict[str, Any], whose: str, way: str, **fields: str) -> dict[str, Any]:
    """The one track of a participant with these fields."""
    (room,) = statistics["rooms"]
    (participant,) = [p for p in room["participants"] if p["user_id"] == whose]
    found: list[dict[str, Any]] = [t for t in participant["media"][way] if fields.items() <= t.items()]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.asyncio
async def test_loss_and_repair_of_each_track_and_of_all_together() -> None:
    async with call(LOSSY) as two:
        await until(two.hear_each_other, 20)
        await two.go_on(pictures=10, sounds=200)
        told = await read(two)
        for me, other in ((two.ann, two.bob), (two.bob, two.ann)):
            camera = track(told, me.user_id, "up_tracks", track_id="camera")
            assert (camera["codec"], camera["source"], camera["receivers"], camera["muted"]) == (
                "VP8", "camera", 1, False,
            )  # fmt: skip
            assert camera["packets"] > 10
            microphone = track(told, me.user_id, "up_tracks", track_id="microphone")
            assert microphone["packets"] > 200
            assert 0 < microphone["lost"] < microphone["packets"] / 10
            assert 0 <= microphone["loss"] < 0.3
            assert 0 < microphone["jitter_ms"] < 100
            assert microphone["bitrate"] > 1000
            heard = track(told, me.user_id, "down_tracks", user_id=other.user_id, track_id="microphone")
            assert heard["packets"] > 150
            assert heard["lost"] > 0
            assert heard["bitrate"] > 1000
        (room,) = told["rooms"]
        transports = [participant["media"]["transport"] for participant in room["participants"]]
        for transport in transports:
            assert transport["state"] == "connected"
            assert transport["address"].startswith("127.0.0.1:")
            assert transport["srtp_profile"].startswith("SRTP_A")
            assert 30 < transport["round_trip_ms"] < 400
            assert transport["bitrate_received"] > 1000
        totals = told["totals"]
        assert (totals["joins"], totals["connected"], totals["handshake_failures"]) == (2, 2, {})
        assert totals["packets_received"] >= sum(t["packets_received"] for t in transports)
        assert totals["up_lost"] > 0

        # Whoever goes takes nothing along.
        await two.bob.leave()
        after = (await read(two))["totals"]
        for name, before in totals.items():
            if isinstance(before, int):
                assert after[name] >= before, name
            else:
                assert all(after[name][reason] >= count for reason, count in before.items())
        assert len(two.server.node.transports) == len(two.server.node.track_sets) == 1
