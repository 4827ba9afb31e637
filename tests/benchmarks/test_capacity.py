"""The search for the knee, on a server that is only imagined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from benchmarks import capacity
from benchmarks.capacity import LADDERS, find_knee
from benchmarks.results import Quantiles, Round
from benchmarks.servers import ServerError

if TYPE_CHECKING:
    from benchmarks.client.generator import Generator
    from benchmarks.servers import Server
    from benchmarks.shapes import Shape

MEETING = LADDERS[1]


@dataclass
class ImaginedStage:
    """Says of each round what the size of the room makes of it."""

    participants: int
    loses_from: int
    late_from: int
    asked: list[int]

    async def measure(self, seconds: float) -> Round:
        self.asked.append(self.participants)
        return Round(
            seconds=seconds,
            forwarded=1000 * self.participants,
            delivered=0.99 if self.participants >= self.loses_from else 1.0,
            repaired=0,
            cpu_us=10.0,
            server_cores=0.5,
            generator_cores=0.1,
            delay_ms=Quantiles.of([80.0 if self.participants >= self.late_from else 1.0]),
            late_polls=0,
        )

    async def close(self) -> None: ...


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("loses_from", "late_from", "full_from", "participants", "asked"),
    [
        (12, 99, 99, 8, [6, 8, 12, 12]),
        (99, 16, 99, 12, [6, 8, 12, 16, 16]),
        (99, 99, 12, 8, [6, 8]),
        (1, 99, 99, 0, [6, 6]),
        (99, 99, 99, 40, list(MEETING.steps)),
    ],
)
async def test_the_knee_is_the_last_step_that_is_good(
    monkeypatch: pytest.MonkeyPatch,
    *,
    loses_from: int,
    late_from: int,
    full_from: int,
    participants: int,
    asked: list[int],
) -> None:
    measured: list[int] = []

    async def build(_server: object, _generator: object, shape: Shape, *_: object, **__: object) -> ImaginedStage:
        if shape.participants >= full_from:
            raise ServerError("The room is full.")
        return ImaginedStage(shape.participants, loses_from, late_from, measured)

    monkeypatch.setattr(capacity, "build_alive", build)
    knee = await find_knee(cast("Server", None), cast("Generator", None), MEETING, lambda _: None)
    assert (knee.participants, measured) == (participants, asked)
    assert knee.is_limit == (participants != MEETING.steps[-1])
    assert knee.packets_per_core_s == (100_000 if participants else 0)
