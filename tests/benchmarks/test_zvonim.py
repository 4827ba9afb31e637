"""The load generator against the real server: little load, and no word about how fast anything is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
import pytest_asyncio

from benchmarks import servers
from benchmarks.churn import churn
from benchmarks.client.dtls import SRTP_PROFILE
from benchmarks.client.generator import Generator
from benchmarks.client.traffic import MICROPHONE, camera
from benchmarks.rounds import build_alive
from benchmarks.servers import ServerError, zvonim
from benchmarks.shapes import Shape
from tests.support.eventually import eventually
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.servers import Server

HOST = "127.0.0.1"
SMALL = Shape("small", "two who see each other, and one who watches", 2, 1, (camera(60, 3), MICROPHONE))


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    async with zvonim.start(HOST) as running:
        yield running


@pytest_asyncio.fixture
async def generator() -> AsyncIterator[Generator]:
    async with Generator(HOST) as made:
        yield made


@pytest.mark.asyncio
async def test_a_round_counts_what_was_sent_and_what_arrived(server: Server, generator: Generator) -> None:
    stage = await build_alive(server, generator, SMALL, pytest.fail)
    round_ = await stage.measure(1.0)
    assert {member.receiver.profile for member in stage.members} == {SRTP_PROFILE.decode()}
    assert sum(member.receiver.unreadable for member in stage.members) == 0
    await stage.close()
    # A pause of the machine may shift a frame over the edge of the round; nothing gets lost.
    assert round_.delivered == pytest.approx(1.0, abs=0.05)
    assert round_.forwarded == pytest.approx(SMALL.forwarded_per_s, rel=0.3)
    assert round_.delay_ms.count > 5
    assert 0 < round_.delay_ms.p50 <= round_.delay_ms.max
    assert round_.cpu_us > 0


@pytest.mark.asyncio
@pytest.mark.parametrize("reports", [True, False])
async def test_receivers_that_report_arrivals_have_their_links_estimated(*, reports: bool) -> None:
    async with (
        running_server(media_host=HOST, **zvonim.LIFTED) as running,
        aiohttp.ClientSession() as http,
        Generator(HOST, reports_arrivals=reports) as generator,
    ):

        async def acknowledged() -> list[int]:
            """What arrives by the reports of those who sent some, in bit/s."""
            async with http.get(f"{running.url}/api/statistics") as answer:
                (room,) = (await answer.json())["rooms"]
            links = [person["media"]["transport"]["link"] for person in room["participants"]]
            return [rate for link in links if link is not None and (rate := link["acknowledged_bitrate"])]

        stage = await build_alive(zvonim.Zvonim(running, http), generator, SMALL, pytest.fail)
        stage.resume()
        if reports:
            # Each is sent 60 packets of video a second by one or two others.
            await eventually(
                acknowledged,
                lambda rates: len(rates) == 3 and min(rates) > 200_000,
                within=10,
                what="all have reported what came",
            )
        else:
            await asyncio.sleep(1)
            assert await acknowledged() == []
        await stage.close()


@pytest.mark.asyncio
async def test_who_joins_gets_media_and_leaves_nothing(server: Server, generator: Generator) -> None:
    result = await churn(server, generator, 2, joins=2, baseline_s=0.2)
    assert (result.present, result.joins, result.latency_ms.count) == (2, 2, 2)
    assert result.latency_ms.p50 > 0
    assert result.join_cpu_ms is not None
    assert result.leave_cpu_ms is not None
    assert result.cpu_ms == pytest.approx(result.join_cpu_ms + result.leave_cpu_ms, abs=0.002)
    # A handshake is in the one and not in the other.
    assert result.join_cpu_ms > result.leave_cpu_ms
    assert not generator.peers


@pytest.mark.asyncio
async def test_a_server_that_does_not_start_says_so() -> None:
    with pytest.raises((ServerError, OSError)):
        async with zvonim.start(HOST, "/nonexistent"):
            pass


def test_each_adapter_is_found_by_its_name() -> None:
    assert {"zvonim", "janus", "janus_loops"} <= set(servers.names())
    assert servers.adapter("zvonim").missing() == ""
