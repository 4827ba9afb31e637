"""People come and go; what they used comes back."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Final

import aiohttp
import psutil
import pytest

from tests.support.documented_client import DocumentedClient
from tests.support.eventually import until
from tests.support.in_process import InProcess, living_objects, serve
from tests.support.server import running_server

RED, GREEN = (200, 30, 30), (30, 170, 30)
AT_A_TIME: Final = 5
# A participant has 0.3 MB: of the fifty that the test counts, 15 MB would stay if none were let go. What refers to
# itself stays until the collector's next full round, after some two hundred guests: 20 KB of each.
MEMORY_SLACK_BYTES: Final = 2 * 2**20


def in_use(server: InProcess) -> Counter[str]:
    """What a participant takes: tasks, sockets, addresses, and living objects of the server by class."""
    counts = Counter({f"in room {room.id}": len(room.participants) for room in server.registry.rooms.values()})
    counts += living_objects()
    counts += Counter(f"task {getattr(task.get_coro(), '__qualname__', '')}" for task in asyncio.all_tasks())
    counts["files"] = len(os.listdir("/proc/self/fd"))
    counts["agents"] = len(server.node.udp._agents)
    counts["ssrcs"] = len(server.node._ssrcs)
    return counts


def client_session() -> aiohttp.ClientSession:
    """Connections that a client keeps for later requests would count as sockets that were left behind."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


async def come_and_go(http: aiohttp.ClientSession, url: str, stayer: DocumentedClient) -> None:
    """Join, see and hear, and leave, several at a time."""

    async def one() -> None:
        guest = await DocumentedClient.enter(http, url, stayer.room_id, "Guest", colour=GREEN, hertz=660)
        try:
            await until(lambda: guest.sees_and_hears(stayer, RED, 440), 20)
        finally:
            await guest.leave()

    before = len(stayer.said("user-left"))
    await asyncio.gather(*(one() for _ in range(AT_A_TIME)))
    await until(lambda: len(stayer.said("user-left")) == before + AT_A_TIME)
    await asyncio.sleep(0.1)  # connections that end are closed in the next turns of the loop


@pytest.mark.asyncio
@pytest.mark.minute
@pytest.mark.timeout(240)  # 40 s of computing, and other tests beside it
async def test_a_hundred_join_and_leave_in_turns_and_leave_nothing_behind() -> None:
    async with serve(joins_per_second=1000, join_burst=1000, empty_room_s=0.1) as server, client_session() as http:
        stayer = await DocumentedClient.enter(http, server.url, None, "Stayer", colour=RED, hertz=440)
        try:
            await come_and_go(http, server.url, stayer)
            (room,) = server.registry.rooms.values()
            await until(lambda: set(room.statistics().levels) == {stayer.user_id})  # the last sample is of who is here
            before = in_use(server)
            for _ in range(100 // AT_A_TIME):
                await come_and_go(http, server.url, stayer)
            try:
                # Who stays may have less than before: its levels are not told in silence.
                await until(lambda: not in_use(server) - before)
            except TimeoutError:
                raise AssertionError(f"left behind: {dict(in_use(server) - before)}") from None
        finally:
            await stayer.leave()
        await until(lambda: not server.registry.rooms)
        assert not server.node.udp._agents
        assert not server.node._ssrcs


@pytest.mark.asyncio
@pytest.mark.minute
@pytest.mark.timeout(240)  # 40 s of computing, and other tests beside it
async def test_memory_of_the_server_stays_where_it_was() -> None:
    async with running_server(limit_joins_per_second=1000, limit_join_burst=1000) as server, client_session() as http:
        process = psutil.Process(server.process.pid)
        stayer = await DocumentedClient.enter(http, server.url, None, "Stayer", colour=RED, hertz=440)
        try:
            for _ in range(10):  # caches and the allocator's own reserves fill first
                await come_and_go(http, server.url, stayer)
            before = process.memory_info().rss, process.num_fds()
            for _ in range(10):
                await come_and_go(http, server.url, stayer)
            after = process.memory_info().rss, process.num_fds()
        finally:
            await stayer.leave()
        assert after[0] - before[0] < MEMORY_SLACK_BYTES
        assert after[1] <= before[1]
