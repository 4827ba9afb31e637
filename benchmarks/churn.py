"""People who come and go: how long it takes until somebody gets media, and what coming and going cost the server."""

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
    from benchmarks.servers import Member, Server, Wishes

SIZES: Final = (5, 50)
"""Of the room that is joined."""
JOINS: Final = 25
SETTLE_S: Final = 0.15
"""After each join and each leave, until what follows from it has been done. Longer, and what the room costs meanwhile
would be more than what is to be measured."""
BASELINE_S: Final = 3.0
MEDIA_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.002
_PATTERNS: Final = (camera(30, 1), MICROPHONE)
"""One speaks and is seen, at a rate that makes the room cheap beside the joins."""
SLOT_PAIRS: Final = 4
"""Of everybody: enough that a newcomer's tracks are given to all."""


class _Meter:
    """Measures what a server does beyond what it does in any case, in s of CPU time."""

    def __init__(self, server: Server, cores_at_rest: float = 0.0) -> None:
        self._server = server
        self._cores_at_rest = cores_at_rest
        self._cpu, self._at = cpu_s(server.pid), time.monotonic()

    def lap(self) -> float:
        """Return what it has been since the last call."""
        cpu, at = self._cpu, self._at
        self._cpu, self._at = cpu_s(self._server.pid), time.monotonic()
        return self._cpu - cpu - self._cores_at_rest * (self._at - at)


async def churn(
    server: Server, generator: Generator, present: int, *, joins: int = JOINS, baseline_s: float = BASELINE_S
) -> Churn:
    """Let people join a room with so many in it, and leave when they have got media, one after the other.

    What the room costs without them is measured for `baseline_s` seconds before. Newcomers send no media.
    Raises ServerError.
    """
    shape = Shape(f"churn-{present}", f"joins to a room of {present}", 1, present - 1, _PATTERNS)
    stage = await build(server, generator, shape, slots=SLOT_PAIRS)
    try:
        stage.resume()
        room = f"{shape.name}-0"
        wishes = shape.wishes(publishes=True, room_for=SLOT_PAIRS)
        first, _ = await _join(server, generator, room, wishes)  # what is made once is made now
        await first.leave()
        meter = _Meter(server)
        await asyncio.sleep(baseline_s)
        meter = _Meter(server, meter.lap() / baseline_s)
        latencies, joining_s, leaving_s = [], 0.0, 0.0
        for _ in range(joins):
            member, latency_ms = await _join(server, generator, room, wishes)
            latencies.append(latency_ms)
            await asyncio.sleep(SETTLE_S)
            joining_s += meter.lap()
            await member.leave()
            await asyncio.sleep(SETTLE_S)
            leaving_s += meter.lap()
    finally:
        await stage.close()
    return Churn(
        present=present,
        joins=joins,
        latency_ms=Quantiles.of(latencies),
        cpu_ms=round((joining_s + leaving_s) / joins * 1e3, 3),
        join_cpu_ms=round(joining_s / joins * 1e3, 3),
        leave_cpu_ms=round(leaving_s / joins * 1e3, 3),
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
            member, _ = await _join(server, generator, f"{shape.name}-0", wishes)
            await member.leave()

    try:
        stage.resume()
        cpu = cpu_s(server.pid)
        await asyncio.gather(*(one() for _ in range(joins)))
        spent = cpu_s(server.pid) - cpu
    finally:
        await stage.close()
    return round(joins / spent, 1), round(spent / joins * 1e3, 3)


async def _join(server: Server, generator: Generator, room: str, wishes: Wishes) -> tuple[Member, float]:
    """Join and wait for the first media packet; returns milliseconds from the first request to that packet too."""
    started_ns = time.time_ns()
    member = await server.join(generator, room, wishes)
    try:
        await member.watch()
        async with asyncio.timeout(MEDIA_TIMEOUT_S):
            # Polled as the sockets are; the time is the kernel's.
            while not member.receiver.first_media_ns:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
    except BaseException as error:
        await member.leave()
        if isinstance(error, TimeoutError):
            raise ServerError(f"somebody got no media within {MEDIA_TIMEOUT_S} s of joining") from None
        raise
    return member, (member.receiver.first_media_ns - started_ns) / 1e6
