"""People who come and go: how long it takes until somebody gets media, and what it costs the server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from benchmarks.client.traffic import MICROPHONE, camera
from benchmarks.results import Churn, Quantiles
from benchmarks.rounds import build
from benchmarks.servers import ServerError
from benchmarks.servers.process import cpu_s
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    from benchmarks.client.generator import Generator
    from benchmarks.servers import Server, Wishes

SIZES: Final = (5, 50)
"""Of the room that is joined."""
JOINS: Final = 25
INTERVAL_S: Final = 0.2
BASELINE_S: Final = 3.0
MEDIA_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.002
_PATTERNS: Final = (camera(30, 1), MICROPHONE)
"""One speaks and is seen, at a rate that makes the room cheap beside the joins."""
SLOT_PAIRS: Final = 4
"""Of everybody: enough that a newcomer's tracks are given to all."""


async def churn(
    server: Server, generator: Generator, present: int, joins: int = JOINS, baseline_s: float = BASELINE_S
) -> Churn:
    """Let people join a room with so many in it, one each 0.2 s, and leave when they have got media.

    What the room costs without them is measured for `baseline_s` seconds before. Raises ServerError.
    """
    shape = Shape(f"churn-{present}", f"joins to a room of {present}", 1, present - 1, _PATTERNS)
    stage = await build(server, generator, shape, slots=SLOT_PAIRS)
    try:
        stage.resume()
        room = f"{shape.name}-0"
        wishes = shape.wishes(publishes=True, room_for=SLOT_PAIRS)
        await _join(server, generator, room, wishes)  # what is made once is made now
        cpu, started = cpu_s(server.pid), time.monotonic()
        await asyncio.sleep(baseline_s)
        cores_at_rest = (cpu_s(server.pid) - cpu) / (time.monotonic() - started)
        latencies = []
        cpu, started = cpu_s(server.pid), time.monotonic()
        for number in range(joins):
            latencies.append(await _join(server, generator, room, wishes))
            await asyncio.sleep(max(0.0, started + (number + 1) * INTERVAL_S - time.monotonic()))
        spent = cpu_s(server.pid) - cpu - cores_at_rest * (time.monotonic() - started)
    finally:
        await stage.close()
    return Churn(
        present=present,
        joins=joins,
        latency_ms=Quantiles.of(latencies),
        cpu_ms=round(spent / joins * 1e3, 3),
    )


async def joins_per_second(
    server: Server, generator: Generator, *, at_once: int = 6, joins: int = 60
) -> tuple[float, float]:
    """Let several join at a time, as fast as it goes.

    Returns joins that one core of the server can do in a second, and CPU milliseconds of each. Raises ServerError.
    """
    shape = Shape("joins", "joins", 1, 4, _PATTERNS)
    stage = await build(server, generator, shape, slots=SLOT_PAIRS)
    wishes = shape.wishes(publishes=True, room_for=SLOT_PAIRS)
    gate = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with gate:
            await _join(server, generator, f"{shape.name}-0", wishes)

    try:
        stage.resume()
        cpu = cpu_s(server.pid)
        await asyncio.gather(*(one() for _ in range(joins)))
        spent = cpu_s(server.pid) - cpu
    finally:
        await stage.close()
    return round(joins / spent, 1), round(spent / joins * 1e3, 3)


async def _join(server: Server, generator: Generator, room: str, wishes: Wishes) -> float:
    """Join, wait for the first media packet, and leave. Returns milliseconds from the first request to that packet."""
    started_ns = time.time_ns()
    member = await server.join(generator, room, wishes)
    try:
        await member.watch()
        async with asyncio.timeout(MEDIA_TIMEOUT_S):
            # Polled as the sockets are; the time is the kernel's.
            while not member.receiver.first_media_ns:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise ServerError(f"somebody got no media within {MEDIA_TIMEOUT_S} s of joining") from None
    finally:
        arrived_ns = member.receiver.first_media_ns
        await member.leave()
    return (arrived_ns - started_ns) / 1e6
