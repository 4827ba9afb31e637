"""What a run found out, as it is written to JSON. The committed JSON Schema is made of these models."""

from __future__ import annotations

import json
import statistics
from datetime import datetime  # noqa: TC003 - pydantic reads the annotation
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

FORMAT: Final = 1
SCHEMA: Final = Path(__file__).with_name("results.schema.json")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Machine(_Model):
    """Where it was measured."""

    processor: str
    processors: int
    """Logical ones that the run could use."""
    memory_mb: int
    kernel: str
    python: str
    load_before: float
    """Load average of the last minute before the run: what else the machine was doing."""


class Quantiles(_Model):
    """Of a set of values; all are 0 where the set is empty."""

    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    count: int

    @classmethod
    def of(cls, values: list[float]) -> Quantiles:
        """Summarise; the values need not be in order."""
        ordered = sorted(values) or [0.0]

        def at(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)

        return cls(p50=at(0.5), p90=at(0.9), p95=at(0.95), p99=at(0.99), max=at(1), count=len(values))


class Round(_Model):
    """One server under one load for some seconds."""

    seconds: float
    forwarded: int
    """Different packets that arrived at receivers."""
    delivered: float
    """Share of those that ought to have arrived."""
    repaired: int
    """Packets among them that a receiver had asked for again."""
    cpu_us: float
    """The server's CPU time for each packet that arrived, user and system, children included."""
    server_cores: float
    generator_cores: float
    """What the load generator used; near 1, it and not the server is what is measured."""
    delay_ms: Quantiles
    """From a publisher's send call to the arrival at a receiver's socket."""
    late_polls: int
    """How often the load generator did not get a processor for 20 ms: what it says of delays is then doubtful."""


class ShapeResult(_Model):
    """One shape on several servers, in rounds that took turns."""

    shape: str
    title: str
    participants: int
    forwarded_per_s: float
    """What ought to leave the server."""
    rounds: dict[str, list[Round]]
    """By server."""

    def cpu_us(self, server: str) -> float:
        """Return the median of a server's CPU time for each packet."""
        return statistics.median(round_.cpu_us for round_ in self.rounds[server])

    def ratios(self, server: str, rival: str) -> list[float]:
        """Return CPU per packet of `server` by that of `rival`, round by round."""
        pairs = zip(self.rounds[server], self.rounds[rival], strict=True)
        return [mine.cpu_us / theirs.cpu_us for mine, theirs in pairs]

    def delay_ms(self, server: str, quantile: str) -> float:
        """Return the median over the rounds of a quantile of the delay."""
        return float(statistics.median(getattr(round_.delay_ms, quantile) for round_ in self.rounds[server]))


class Churn(_Model):
    """People who join a room, get media and leave, one after the other."""

    present: int
    """Participants that are in the room all the time."""
    joins: int
    latency_ms: Quantiles
    """From the first request to the first media packet."""
    cpu_ms: float
    """The server's CPU time for one join with its leave, what the room costs anyway taken off."""
    join_cpu_ms: float | None = None
    """The part of the join, until 0.15 s after its first media packet; None in results that do not tell."""
    leave_cpu_ms: float | None = None
    """The part of the leave, until 0.15 s after it."""


class Memory(_Model):
    """Memory of the server's processes, in MB of 10^6 bytes: the part that they share with nobody (USS)."""

    rest_mb: float
    rest_rss_mb: float
    """The same with what other processes share: libraries."""
    participant_mb: float
    """For each participant of a meeting of 8, the tracks of 7 others included, beyond the first 16 participants."""
    bare_participant_mb: float
    """The part that does not depend on what a participant receives."""
    down_track_mb: float
    """For each track that a participant receives."""


class Knee(_Model):
    """How far one server can be loaded with one shape."""

    shape: str
    title: str
    steps: dict[int, Round]
    """By participants in the room."""
    participants: int
    """The most with which 99.9 % arrive and the 99th percentile of the delay is 50 ms at most; 0: none."""
    is_limit: bool
    """Whether the server could do no more: otherwise the load generator could not, or more were not tried."""
    forwarded_per_s: float
    """With so many; 0 where there is none."""
    packets_per_core_s: float
    """Packets that a second of one core can forward then."""


class Capacity(_Model):
    """What one server can do on this machine."""

    knees: list[Knee]
    joins_per_s: float
    """With several joining at a time, one core of the server being busy."""
    join_cpu_ms: float


class LargeCallStep(_Model):
    """A large call of so many."""

    participants: int
    encodings: int
    """That were sent; three of each participant would be all."""
    rounds: list[Round]
    """What is `delivered` there is told by the numbers of the packets that arrive."""

    @property
    def is_good(self) -> bool:
        """Whether a call would be fine: 99.9 % arrive, and the 99th percentile of the delay is 20 ms at most."""
        return all(round_.delivered >= 0.999 and round_.delay_ms.p99 <= 20 for round_ in self.rounds)


class LargeCall(_Model):
    """Everybody publishes three encodings, sees nine others and hears three."""

    steps: list[LargeCallStep]
    plain: list[Round]
    """Plain fan-out to as many as in one of the steps, with about as many packets."""
    meetings: list[Round]
    """Plain meetings of as many in all, each picture to about as many others as in that step."""
    not_carried: int | None
    """So many people were more than the generator carries; None if the server was full before, or nothing."""


class Micro(_Model):
    """What one step of the packet path takes."""

    stage: str
    ns: float
    """CPU time; the least of several repetitions."""


class Results(_Model, frozen=False):
    """One run, filled in as it goes on."""

    format: int = FORMAT
    date: datetime
    machine: Machine
    servers: dict[str, str]
    """Version by server."""
    srtp_profile: str
    """The same for all."""
    not_equalised: list[str]
    shapes: list[ShapeResult] = Field(default_factory=list)
    churn: dict[str, list[Churn]] = Field(default_factory=dict)
    memory: dict[str, Memory] = Field(default_factory=dict)
    capacity: dict[str, Capacity] = Field(default_factory=dict)
    large_call: LargeCall | None = None
    micro: list[Micro] = Field(default_factory=list)


def read(path: Path) -> Results:
    """Read a result file. Raises OSError, and pydantic.ValidationError if it is none."""
    return Results.model_validate_json(path.read_text())


def write(results: Results, path: Path) -> None:
    """Write a result file. Raises OSError."""
    path.write_text(results.model_dump_json(indent=1) + "\n")


def schema() -> str:
    """Return the JSON Schema as it is to be committed."""
    return json.dumps(Results.model_json_schema(), indent=1) + "\n"
