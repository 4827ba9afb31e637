"""One run: servers that are up, and what is measured on them."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from benchmarks import large_call
from benchmarks import servers as adapters
from benchmarks.capacity import LADDERS, find_knee
from benchmarks.churn import SIZES, churn, joins_per_second
from benchmarks.client.dtls import SRTP_PROFILE
from benchmarks.client.generator import Generator
from benchmarks.machine import machine
from benchmarks.memory import memory
from benchmarks.results import Capacity, Results, ShapeResult
from benchmarks.rounds import build_alive
from benchmarks.servers import zvonim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from benchmarks.progress import Progress
    from benchmarks.results import Round
    from benchmarks.servers import Server
    from benchmarks.shapes import Shape

SETTLE_S: Final = 12.0
"""Until servers that estimate links have found out that these hold everything."""


@dataclass(slots=True)
class Session:
    """Measures one thing after the other; `results` has what came of it."""

    host: str
    commands: Mapping[str, str]
    """The executable of each server; empty: the usual one."""
    progress: Progress
    results: Results
    reports_arrivals: bool = False
    """Whether receivers report on transport-wide numbers."""

    @asynccontextmanager
    async def _running(self, names: Sequence[str]) -> AsyncIterator[tuple[dict[str, Server], Generator]]:
        async with AsyncExitStack() as stack:
            found: dict[str, Server] = {}
            for name in names:
                start = adapters.adapter(name).start
                found[name] = await stack.enter_async_context(start(self.host, self.commands[name]))
                self.results.servers[name] = found[name].version
            yield found, await stack.enter_async_context(Generator(self.host, reports_arrivals=self.reports_arrivals))

    async def shapes(self, shapes: Sequence[Shape], rounds: int, seconds: float) -> None:
        """Measure shapes on all servers, which take turns: what the machine does besides hits all of them."""
        async with self._running(list(self.commands)) as (servers, generator):
            for shape in shapes:
                self.progress.begin(shape.title)
                stages = {
                    name: await build_alive(server, generator, shape, self.progress.say)
                    for name, server in servers.items()
                }
                if self.reports_arrivals:
                    for stage in stages.values():
                        await stage.settle(SETTLE_S)
                found: dict[str, list[Round]] = {name: [] for name in stages}
                for _ in range(rounds):
                    for name, stage in stages.items():
                        round_ = await stage.measure(seconds)
                        found[name].append(round_)
                        self.progress.step(
                            f"{name}: {round_.cpu_us:.1f} us a packet, p99 {round_.delay_ms.p99:.1f} ms, "
                            f"{round_.delivered:.2%} delivered"
                        )
                for stage in stages.values():
                    await stage.close()
                self.results.shapes.append(
                    ShapeResult(
                        shape=shape.name,
                        title=shape.title,
                        participants=shape.participants,
                        forwarded_per_s=shape.forwarded_per_s,
                        rounds=found,
                    )
                )

    async def churn(self) -> None:
        """Measure joins, one server after the other: who is idle costs nothing, but a machine has two cores."""
        for name in self.commands:
            async with self._running([name]) as (servers, generator):
                self.progress.begin(f"joins, {name}")
                for size in SIZES:
                    result = await churn(servers[name], generator, size)
                    self.results.churn.setdefault(name, []).append(result)
                    self.progress.step(
                        f"{name}: room of {size}: {result.join_cpu_ms:.1f} ms of CPU for a join, "
                        f"{result.leave_cpu_ms:.1f} for a leave; media after "
                        f"{result.latency_ms.p50:.0f} ms, p95 {result.latency_ms.p95:.0f} ms"
                    )

    async def memory(self) -> None:
        """Measure memory, each server started anew."""
        for name, command in self.commands.items():
            self.progress.begin(f"memory, {name}")
            result = await memory(adapters.adapter(name), self.host, command)
            self.results.memory[name] = result
            self.progress.step(f"{name}: {result.rest_mb:.0f} MB at rest, {result.participant_mb:.2f} a participant")

    async def large_call(self) -> None:
        """Look how large a call may be."""
        self.progress.begin("large call")
        async with (
            zvonim.start(
                self.host, self.commands.get("zvonim", ""), limit_microphones_heard=large_call.VOICES
            ) as server,
            Generator(self.host) as generator,
        ):
            self.results.servers["zvonim"] = server.version
            self.results.large_call = await large_call.large_call(server, generator, self.progress.step)

    async def capacity(self) -> None:
        """Look for the knees of each server, alone on the machine with the generator."""
        for name in self.commands:
            async with self._running([name]) as (servers, generator):
                knees = []
                for ladder in LADDERS:
                    self.progress.begin(f"capacity, {name}: {ladder.shape.name}")
                    knees.append(await find_knee(servers[name], generator, ladder, self.progress.step))
                self.progress.begin(f"capacity, {name}: joins")
                rate, cpu_ms = await joins_per_second(servers[name], generator)
                self.progress.step(f"{rate:.0f} joins/s")
                self.results.capacity[name] = Capacity(knees=knees, joins_per_s=rate, join_cpu_ms=cpu_ms)


def session(host: str, commands: Mapping[str, str], progress: Progress, *, reports_arrivals: bool = False) -> Session:
    """Make a session with empty results."""
    remarks = dict.fromkeys(remark for name in commands for remark in adapters.adapter(name).NOT_EQUALISED)
    if reports_arrivals:
        remarks["Receivers report on transport-wide numbers: Zvonim, alone, estimates links, paces and probes."] = None
    results = Results(
        date=datetime.now(UTC),
        machine=machine(),
        servers={},
        srtp_profile=SRTP_PROFILE.decode(),
        not_equalised=list(remarks),
    )
    return Session(host, commands, progress, results, reports_arrivals)
