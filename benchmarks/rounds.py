"""Builds a shape on a server, and measures it for some seconds."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.results import Quantiles, Round
from benchmarks.servers import ServerError
from benchmarks.servers.process import cpu_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.client.generator import Generator
    from benchmarks.client.traffic import Source
    from benchmarks.servers import Member, Server
    from benchmarks.shapes import Shape

BUILDS: Final = 3
JOINS_AT_ONCE: Final = 4
MEDIA_TIMEOUT_S: Final = 4.0
WARM_UP_S: Final = 0.7
GOLDEN_RATIO: Final = 0.618034
"""Multiples of it, modulo 1, are spread evenly however many there are: no two sources send in step."""
QUIET_S: Final = 0.15
"""Before the counters are read, so that nothing is on its way."""


@dataclass(slots=True)
class Stage:
    """One shape, with everybody in place, on one server."""

    server: Server
    generator: Generator
    shape: Shape
    members: list[Member] = field(default_factory=list)

    @property
    def sources(self) -> list[Source]:
        """All that is published."""
        return [source for member in self.members for source in member.sources]

    @property
    def receivers(self) -> list[Member]:
        """Those who get something."""
        return [member for member in self.members if self.shape.receivers_of_each]

    async def is_alive(self) -> bool:
        """Whether everybody who ought to gets media, within some seconds of the sources' beginning."""
        alone = self.shape.publishers == 1
        receivers = [member.receiver for member in self.members if not (alone and member.sources)]
        self.resume()
        deadline = time.monotonic() + MEDIA_TIMEOUT_S
        while time.monotonic() < deadline and not all(peer.first_media_ns for peer in receivers):  # noqa: ASYNC110
            await asyncio.sleep(QUIET_S)
        self.pause()
        return all(peer.first_media_ns for peer in receivers)

    async def close(self) -> None:
        """Let everybody leave."""
        members, self.members = self.members, []
        await asyncio.gather(*(member.leave() for member in members))

    def expected(self) -> int:
        """How many packets ought to have arrived so far."""
        return sum(source.packets for source in self.sources) * self.shape.receivers_of_each

    def _received(self) -> tuple[int, int]:
        streams = [stream for member in self.members for peer in member.peers for stream in peer.streams.values()]
        return sum(stream.received for stream in streams), sum(stream.repaired for stream in streams)

    def resume(self) -> None:
        """Let all sources send, each at its own phase."""
        now = time.monotonic()
        for index, source in enumerate(self.sources):
            source.resume(now, index * GOLDEN_RATIO % 1)

    def pause(self) -> None:
        """Let no source send."""
        for source in self.sources:
            source.pause()

    async def settle(self, seconds: float) -> None:
        """Let all sources send for a while."""
        self.resume()
        await asyncio.sleep(seconds)
        self.pause()

    async def measure(self, seconds: float) -> Round:
        """Send for some seconds and say what came of it."""
        self.resume()
        await asyncio.sleep(WARM_UP_S)
        self.pause()
        await asyncio.sleep(QUIET_S)
        self.generator.check_alive()
        samples = self.generator.measure()
        expected, (received, repaired) = self.expected(), self._received()
        server_cpu, own_cpu, started = cpu_s(self.server.pid), time.process_time(), time.monotonic()
        self.resume()
        await asyncio.sleep(seconds)
        self.pause()
        await asyncio.sleep(QUIET_S)
        self.generator.check_alive()
        server_cpu, own_cpu = cpu_s(self.server.pid) - server_cpu, time.process_time() - own_cpu
        elapsed = time.monotonic() - started
        now_received, now_repaired = self._received()
        forwarded = now_received - received
        return Round(
            seconds=round(elapsed, 3),
            forwarded=forwarded,
            delivered=round(forwarded / max(1, self.expected() - expected), 6),
            repaired=now_repaired - repaired,
            cpu_us=round(server_cpu / max(1, forwarded) * 1e6, 3),
            server_cores=round(server_cpu / elapsed, 3),
            generator_cores=round(own_cpu / elapsed, 3),
            delay_ms=Quantiles.of(samples.delays_ms),
            late_polls=samples.late_polls,
        )


async def build_alive(
    server: Server,
    generator: Generator,
    shape: Shape,
    tell: Callable[[str], None],
    *,
    name: str = "",
    kind: type[Stage] = Stage,
) -> Stage:
    """Build a shape, and again if somebody gets nothing; `tell` hears of that. Raises ServerError after three times."""
    for attempt in range(BUILDS):
        stage = await build(server, generator, shape, name=f"{name}{attempt}-", kind=kind)
        if await stage.is_alive():
            return stage
        await stage.close()
        tell(f"{shape.title}: somebody got no media; everybody joins again")
    raise ServerError(f"{shape.title}: somebody got no media, {BUILDS} times")


async def build(
    server: Server,
    generator: Generator,
    shape: Shape,
    *,
    name: str = "",
    slots: int = 0,
    kind: type[Stage] = Stage,
) -> Stage:
    """Let everybody join, publishers first, and receive what there is. Raises ServerError.

    Args:
        server: where.
        generator: whose clients they are.
        shape: how many, and what they send.
        name: tells the rooms of several stages of one shape apart.
        slots: for how many publishers everybody is prepared, if that is more than there are.
        kind: of the stage, which tells what ought to arrive.
    """
    stage = kind(server, generator, shape)
    gate = asyncio.Semaphore(JOINS_AT_ONCE)

    async def join(room: str, *, publishes: bool) -> Member:
        async with gate:
            return await server.join(generator, room, shape.wishes(publishes=publishes, room_for=slots))

    async def watch(member: Member) -> None:
        async with gate:
            await member.watch()

    rooms = [f"{shape.name}-{name}{number}" for number in range(shape.rooms)]
    for count, publishes in ((shape.publishers, True), (shape.listeners, False)):
        # The first of a room makes it; elsewhere two would race for that.
        for room in rooms if publishes else ():
            stage.members.append(await join(room, publishes=True))
        rest = count - publishes
        stage.members += await asyncio.gather(*(join(room, publishes=publishes) for room in rooms for _ in range(rest)))
    await asyncio.gather(*map(watch, stage.members))
    return stage
