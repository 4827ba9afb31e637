from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from tests.support.in_process import serve
from tests.test_app import running
from zvonim_sfu import loop_lag
from zvonim_sfu.config import Settings
from zvonim_sfu.loop_lag import LagTicker
from zvonim_sfu.net.drops import DropReason

if TYPE_CHECKING:
    from tests.test_app import Client

pytestmark = pytest.mark.asyncio

Samples = dict[tuple[str, str], float]


async def scrape(client: Client) -> Samples:
    """Every sample, by its name and the value of its label."""
    async with client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert answer.headers["Cache-Control"] == "no-store"
        families = list(text_string_to_metric_families(await answer.text()))
    assert all(family.documentation for family in families), "each is explained"
    return {(s.name, next(iter(s.labels.values()), "")): s.value for f in families for s in f.samples}


async def test_what_is_not_there_yet_has_its_line_too() -> None:
    async with running() as client:
        samples = await scrape(client)
    for name in (
        "zvonim_rooms",
        "zvonim_joins_total",
        "zvonim_keyframe_requests_total",
        "zvonim_rtp_lost_packets_total",
    ):
        assert samples[name, ""] == 0
    for name in ("rtp_packets", "rtp_bytes", "nack_packets", "repaired_packets"):
        for direction in ("in", "out"):
            assert samples[f"zvonim_{name}_total", direction] == 0
    for reason in DropReason:
        assert samples["zvonim_dropped_datagrams_total", reason.value] == 0
    assert samples["zvonim_handshake_failures_total", "refused"] == 0
    assert samples["zvonim_up_tracks", "camera"] == samples["zvonim_down_tracks", "audio"] == 0
    assert samples["zvonim_transports", "connected"] == 0
    assert samples["process_resident_memory_bytes", ""] > 0


async def test_rooms_participants_and_joins_are_counted() -> None:
    async with running() as client:
        for room in ("a", "a", "b"):
            joined = await (await client.post("/api/room/join", json={"room_id": room, "user_name": "x"})).json()
        query = f"room_id=b&user_id={joined['user_id']}"
        async with client.ws_connect(f"/ws?{query}"):
            samples = await scrape(client)
        assert samples["zvonim_rooms", ""] == 2
        assert (samples["zvonim_participants", "true"], samples["zvonim_participants", "false"]) == (1, 2)
        assert samples["zvonim_joins_total", ""] == 3
        await client.post("/api/room/leave", json={"room_id": "b", "user_id": joined["user_id"]})
        samples = await scrape(client)
        assert samples["zvonim_participants", "true"] == 0
        assert samples["zvonim_joins_total", ""] == 3


async def test_datagrams_that_are_no_business_of_the_server_are_counted_by_reason() -> None:
    async with serve() as server:
        loop = asyncio.get_running_loop()
        address = ("127.0.0.1", server.node.udp.port)
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)
        for _ in range(3):
            transport.sendto(b"\x80" + bytes(50))
        transport.close()
        async with asyncio.timeout(5):
            while server.registry.totals().drops.get("unknown-address") != 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_only_the_operator_may_scrape() -> None:
    settings = Settings(media_host=("127.0.0.1",), media_port=0, operator_token=SecretStr("0123456789abcdef"))
    async with running(settings) as client:
        for headers, status in (
            ({}, 200),
            ({"X-Forwarded-For": "192.0.2.7"}, 401),
            ({"Host": "calls.example"}, 401),
            ({"Host": "calls.example", "Authorization": "Bearer 0123456789abcdef"}, 200),
        ):
            for path in ("/metrics", "/api/statistics"):
                assert (await client.get(path, headers=headers)).status == status
    async with running() as client:
        assert (await client.get("/metrics", headers={"Forwarded": "for=192.0.2.7"})).status == 403


async def test_a_token_that_is_no_text_is_a_wrong_one() -> None:
    settings = Settings(media_host=("127.0.0.1",), media_port=0, operator_token=SecretStr("0123456789abcdef"))
    async with running(settings) as client:
        # As it stands: aiohttp's own client would not send this.
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
        writer.close()
        await writer.wait_closed()


async def test_a_second_application_in_the_process_has_metrics_of_its_own() -> None:
    async with running() as one, running() as other:
        await one.post("/api/room/join", json={"user_name": "x"})
        assert (await scrape(one))["zvonim_joins_total", ""] == 1
        assert (await scrape(other))["zvonim_joins_total", ""] == 0


async def test_a_blocked_event_loop_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "INTERVAL_S", 0.02)
    seen: list[float] = []
    ticker = LagTicker(seen.append)
    await asyncio.sleep(0.01)
    time.sleep(0.2)  # noqa: ASYNC251 - what must not happen
    await asyncio.sleep(0.03)
    ticker.stop()
    assert max(seen) > 0.15
    assert min(seen) >= 0
    count = len(seen)
    await asyncio.sleep(0.05)
    assert len(seen) == count


async def test_the_documentation_names_every_metric() -> None:
    text = (Path(__file__).parents[1] / "docs" / "operation.md").read_text()
    async with running() as client, client.get("/metrics") as answer:
        names = re.findall(r"^# TYPE (zvonim_\w+)", await answer.text(), re.MULTILINE)
    told = re.findall(r"`(zvonim_\w+)`", text)
    # prometheus_client tells when a histogram was made.
    assert set(told) == {name for name in names if not name.endswith("_created")}
