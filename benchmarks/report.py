"""What people read of a result: tables in Markdown, pictures, the capacity card. The README's part is made here."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import charts
from benchmarks.capacity import MAX_P99_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.results import Capacity, Churn, LargeCall, Micro, Results, Round, ShapeResult

ROOT: Final = Path(__file__).parent.parent
REFERENCE: Final = ROOT / "benchmarks" / "reference.json"
"""The result that the README shows."""
README: Final = ROOT / "README.md"
CPU_PICTURE: Final = ROOT / "docs" / "benchmarks-cpu.svg"
LOAD_PICTURE: Final = ROOT / "docs" / "benchmarks-load.svg"
BEGIN: Final = "<!-- made by `python -m benchmarks report --write`; changes here are lost -->"
END: Final = "<!-- end of what is made -->"
OWN: Final = "zvonim"
LARGE_CALL: Final = (
    "A large call: everybody publishes three encodings (as long as somebody takes them), sees nine others (one at "
    "1280x720, two at 640x360, six at 320x180) and hears three. Beside it two calls in which nothing is to be chosen: "
    "plain fan-out is three cameras and microphones to as many people, so that 97 share a packet that comes in; plain "
    "meetings are eleven of nine people, where eight share a picture, as they do in the large call:"
)


def readme(results: Results) -> str:
    """Return the README's part, without the marks around it."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in results.servers.items())
    parts = [
        f"CPU time for each forwarded packet, and delay in the server, with {results.srtp_profile}; "
        f"{machine.processors} cores of {machine.processor}, Linux {machine.kernel}, Python {machine.python}, "
        f"{results.date:%Y-%m-%d}; {versions}. "
        f"Median of {_rounds(results)} interleaved rounds (least to most):",
        shape_table(results.shapes),
    ]
    if results.shapes:
        parts.append(f"![CPU time for each forwarded packet](docs/{CPU_PICTURE.name})")
    if results.churn or results.memory:
        parts.append(people_table(results))
    if results.capacity:
        parts += [capacity_table(results.capacity), f"![Delay and CPU against load](docs/{LOAD_PICTURE.name})"]
    if results.large_call is not None:
        parts += [LARGE_CALL, large_call_table(results.large_call)]
    parts.append("What is not like for like:\n" + "\n".join(f"- {remark}" for remark in results.not_equalised))
    return "\n\n".join(parts)


def shape_table(shapes: Sequence[ShapeResult]) -> str:
    """Return CPU and delay of each shape and server, and how Zvonim's CPU compares."""
    rows = [["shape", "server", "µs per packet", "Zvonim by it", "p50 ms", "p99 ms", "delivered"]]
    for shape in shapes:
        for name, rounds in shape.rounds.items():
            values = [round_.cpu_us for round_ in rounds]
            own = shape.ratios(OWN, name) if OWN in shape.rounds and name != OWN else []
            rows.append(
                [
                    shape.title if name == next(iter(shape.rounds)) else "",
                    name,
                    spread(values, 1),
                    spread(own, 2) if own else "",
                    f"{shape.delay_ms(name, 'p50'):.2f}",
                    f"{shape.delay_ms(name, 'p99'):.1f}",
                    f"{statistics.median(round_.delivered for round_ in rounds):.2%}",
                ]
            )
    return table(rows)


def people_table(results: Results) -> str:
    """Return what joins and participants cost."""
    rows = [["", *results.servers]]

    def row(title: str, cells: Sequence[str]) -> None:
        rows.append([title, *cells])

    sizes = [churn.present for churn in next(iter(results.churn.values()), [])]
    for index, size in enumerate(sizes):
        found = {name: churns[index] for name, churns in results.churn.items()}
        row(
            f"a join to a room of {size} and the leave: CPU ms",
            [f"{found[name].cpu_ms:.1f}" if name in found else "" for name in results.servers],
        )
        if any(churn.join_cpu_ms is not None for churn in found.values()):
            row("... join / leave alone", [_parts(found.get(name)) for name in results.servers])
        row(
            "... first media packet after, p50 / p95 ms",
            [
                f"{found[name].latency_ms.p50:.0f} / {found[name].latency_ms.p95:.0f}" if name in found else ""
                for name in results.servers
            ],
        )
    memory = [results.memory.get(name) for name in results.servers]
    if results.memory:
        row("memory at rest, MB", [f"{found.rest_mb:.0f}" if found else "" for found in memory])
        row("... of a participant, with 7 others' tracks", [f"{m.participant_mb:.2f}" if m else "" for m in memory])
        row("... of a track to a receiver", [f"{found.down_track_mb:.4f}" if found else "" for found in memory])
    return table(rows)


def capacity_table(capacity: dict[str, Capacity]) -> str:
    """Return the knees of all servers."""
    rows = [["the most participants of a room", *capacity]]
    for index, knee in enumerate(next(iter(capacity.values())).knees):
        cells = []
        for found in capacity.values():
            mine = found.knees[index]
            more = "" if mine.is_limit else "at least "
            cells.append(f"{more}{mine.participants} ({mine.packets_per_core_s:,.0f} packets per core-second)")
        rows.append([knee.title, *cells])
    rows.append(["joins per core-second", *(f"{found.joins_per_s:.0f}" for found in capacity.values())])
    return table(rows)


def large_call_table(found: LargeCall) -> str:
    """Return how calls of growing size fare, and beside them what has no selection."""
    rows = [["people", "encodings sent", "packets/s", "delivered", "p50 / p99 ms", "µs per packet", "of a core"]]

    def row(title: str, encodings: str, rounds: Sequence[Round]) -> None:
        def middle(get: Callable[[Round], float]) -> float:
            return statistics.median(get(round_) for round_ in rounds)

        p50, p99 = middle(lambda r: r.delay_ms.p50), middle(lambda r: r.delay_ms.p99)
        rows.append(
            [
                title,
                encodings,
                f"{middle(lambda r: r.forwarded / r.seconds):,.0f}",
                f"{middle(lambda r: r.delivered):.3%}",
                f"{p50:.1f} / {p99:.1f}",
                spread([round_.cpu_us for round_ in rounds], 1),
                f"{middle(lambda r: r.server_cores):.0%}",
            ]
        )

    for step in found.steps:
        row(str(step.participants), str(step.encodings), step.rounds)
    if found.plain:
        row("plain fan-out", "", found.plain)
    if found.meetings:
        row("plain meetings", "", found.meetings)
    if found.not_carried is not None:
        rows.append([f"{found.not_carried}: more than the load generator carries", *[""] * (len(rows[0]) - 1)])
    return table(rows)


def micro_table(found: Sequence[Micro]) -> str:
    """Return what steps of the packet path take."""
    return table([["step of the packet path", "µs"], *([step.stage, f"{step.ns / 1000:.2f}"] for step in found)])


def plain(results: Results) -> str:
    """Return all tables of a result."""
    parts = []
    if results.micro:
        parts.append(micro_table(results.micro))
    if results.shapes:
        parts.append(shape_table(results.shapes))
    if results.churn or results.memory:
        parts.append(people_table(results))
    if results.capacity:
        parts.append(capacity_table(results.capacity))
    if results.large_call is not None:
        parts.append(large_call_table(results.large_call))
    return "\n\n".join([*parts, *results.not_equalised])


def cpu_picture(results: Results) -> str:
    """Return CPU per packet of all shapes and servers as SVG."""
    groups = {}
    for shape in results.shapes:
        groups[shape.title.partition(",")[0] + _packets(shape)] = {
            name: charts.Bar(shape.cpu_us(name), min(r.cpu_us for r in rounds), max(r.cpu_us for r in rounds))
            for name, rounds in shape.rounds.items()
        }
    return charts.bars("CPU time for each forwarded packet", "µs", groups)


def load_picture(results: Results) -> str:
    """Return delay and CPU against load as SVG: the steps of the meeting that grows until it is too large."""
    steps = {
        name: next(knee for knee in found.knees if knee.shape == "meeting").steps
        for name, found in results.capacity.items()
    }

    def points(of: str) -> dict[str, list[tuple[float, float]]]:
        return {
            name: [
                (
                    round_.forwarded / round_.delivered / round_.seconds,
                    round_.cpu_us if of == "cpu" else round_.delay_ms.p99,
                )
                for round_ in rounds.values()
                if round_.delivered
            ]
            for name, rounds in steps.items()
        }

    return charts.lines(
        "A meeting that grows, until packets are late",
        "packets to forward per second",
        [
            charts.Panel("99th percentile of the delay, ms", points("p99"), limit=MAX_P99_MS),
            charts.Panel("CPU time for each packet, µs", points("cpu")),
        ],
    )


def pictures(results: Results) -> dict[Path, str]:
    """Return the README's pictures by path."""
    found = {}
    if results.shapes:
        found[CPU_PICTURE] = cpu_picture(results)
    if results.capacity:
        found[LOAD_PICTURE] = load_picture(results)
    return found


def with_part(text: str, part: str) -> str:
    """Return the README's text with its made part replaced. Raises ValueError if the marks are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The README has no part between {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n{part}\n{END}{after}"


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median of some values, and the least and the most where there are several."""
    median = f"{statistics.median(values):.{digits}f}"
    return median if len(values) == 1 else f"{median} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _parts(found: Churn | None) -> str:
    """Return what a join and a leave cost, each alone; nothing where that was not measured."""
    if found is None or found.join_cpu_ms is None or found.leave_cpu_ms is None:
        return ""
    return f"{found.join_cpu_ms:.1f} / {found.leave_cpu_ms:.1f}"


def _rounds(results: Results) -> int:
    return max((len(rounds) for shape in results.shapes for rounds in shape.rounds.values()), default=0)


def _packets(shape: ShapeResult) -> str:
    return f", {shape.forwarded_per_s / 1000:.3g}k packets/s"
