"""What participants and their tracks take of the server's memory."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from benchmarks.client.generator import Generator
from benchmarks.client.traffic import MICROPHONE, camera
from benchmarks.results import Memory
from benchmarks.rounds import Stage, build
from benchmarks.servers import process
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    from benchmarks.servers import Adapter

_PATTERNS: Final = (camera(50, 2), MICROPHONE)
FIRST: Final = 16
"""Participants that are there before memory is looked at: what is made once belongs to nobody."""
MORE: Final = 24
TRAFFIC_S: Final = 3.0
_SIZES: Final = (8, 2)


async def memory(adapter: Adapter, host: str, command: str = "") -> Memory:
    """Fill a fresh server with rooms of 8, and another with rooms of 2. Raises ServerError.

    The difference between both tells what a participant takes by itself, and what each track that it receives.
    """
    slopes = []
    for size in _SIZES:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(adapter.start(host, command))
            generator = await stack.enter_async_context(Generator(host))
            rest = process.memory(server.pid)
            shape = Shape(f"rooms-of-{size}", f"rooms of {size}", size, 0, _PATTERNS, rooms=FIRST // size)
            stages: list[Stage] = []
            used = []
            for participants in (FIRST, MORE):
                rooms = Shape(shape.name, shape.title, size, 0, _PATTERNS, rooms=participants // size)
                stages.append(await build(server, generator, rooms, name=f"{participants}-"))
                for stage in stages:
                    await stage.measure(TRAFFIC_S)
                used.append(process.memory(server.pid).uss)
            slopes.append((used[1] - used[0]) / MORE)
            for stage in stages:
                await stage.close()
    tracks = [(size - 1) * len(_PATTERNS) for size in _SIZES]
    track = (slopes[0] - slopes[1]) / (tracks[0] - tracks[1])
    return Memory(
        rest_mb=round(rest.uss / 1e6, 1),
        rest_rss_mb=round(rest.rss / 1e6, 1),
        participant_mb=round(slopes[0] / 1e6, 3),
        bare_participant_mb=round((slopes[1] - tracks[1] * track) / 1e6, 3),
        down_track_mb=round(track / 1e6, 4),
    )
