"""Print the figures of all scenarios: python -m tests.support.links."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.support.links import scenarios
from tests.support.links.scenarios import KBPS, MBPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.links.scenarios import Run

Spans = list[tuple[float, float]]

SCENARIOS: list[tuple[str, Callable[[], Run], Spans]] = [
    *(
        (f"constant, {bps / MBPS:g} Mbit/s", lambda bps=bps: scenarios.constant(bps), [(0.0, 10.0), (10.0, 60.0)])
        for bps in (150 * KBPS, 300 * KBPS, 1 * MBPS, 2 * MBPS, 8 * MBPS)
    ),
    ("feedback every 250 ms", lambda: scenarios.constant(2 * MBPS, feedback_s=0.25), [(10, 60)]),
    ("jitter of 30 ms", lambda: scenarios.constant(2 * MBPS, jitter_s=0.03), [(10, 60)]),
    *(
        (f"loss of {loss:.0%}", lambda loss=loss: scenarios.constant(2 * MBPS, loss=loss), [(20.0, 60.0)])
        for loss in (0.02, 0.05, 0.1)
    ),
    ("queue of 20 ms", lambda: scenarios.constant(2 * MBPS, queue_s=0.02), [(20, 60)]),
    ("5.1 variable capacity", scenarios.variable_capacity, [(10, 40), (40, 60), (60, 65), (65, 80), (80, 100)]),
    ("5.1 and jitter", lambda: scenarios.variable_capacity(0.03), [(10, 40), (40, 60), (60, 65), (65, 80), (80, 100)]),
    ("5.2 the same for two", scenarios.variable_capacity_two, [(10, 25), (30, 50), (55, 75), (80, 100), (105, 125)]),
    ("5.3 congested feedback", lambda: scenarios.congested_feedback()[0], [(10, 20), (22, 40), (42, 60), (70, 100)]),
    ("5.3 the other way", lambda: scenarios.congested_feedback()[1], [(10, 35), (37, 70), (80, 100)]),
    ("5.4 three flows", lambda: scenarios.competing(3, 3.5 * MBPS), [(50, 120)]),
    ("5.4 two flows", lambda: scenarios.competing(2, 2 * MBPS), [(30, 120)]),
    ("5.5 round trips", scenarios.round_trip_fairness, [(50, 300)]),
    ("5.6 long TCP", scenarios.long_tcp, [(15, 120)]),
    ("5.6 and a queue of 1 s", lambda: scenarios.long_tcp(queue_s=1.0), [(15, 120)]),
    (
        "TCP from 20 to 80 s",
        lambda: scenarios.long_tcp(start_s=20, stop_s=80, media_s=0),
        [(25, 80), (80, 90), (90, 120)],
    ),
    ("5.7 short TCPs", scenarios.short_tcp, [(10, 300)]),
    ("5.7, 100 to 1000 kB", lambda: scenarios.short_tcp(kilobytes=(100, 1000)), [(10, 300)]),
    ("5.8 pause, 40 to 60 s", scenarios.pause_and_resume, [(10, 40), (45, 60), (60, 65), (65, 120)]),
    ("1.5 to 0.1 and back", lambda: scenarios.fall_and_return(100 * KBPS), [(10, 40), (50, 80), (80, 90), (90, 120)]),
    ("1.5 to 0.4 and back", lambda: scenarios.fall_and_return(400 * KBPS), [(10, 40), (50, 80), (80, 90), (90, 120)]),
    ("no feedback for 10 s", scenarios.broken_way_back, [(10, 20), (20, 30), (30, 40), (40, 60)]),
    *(
        (f"layers, {bps / MBPS:g} Mbit/s", lambda bps=bps: scenarios.layers((0, bps)), [(10.0, 60.0)])
        for bps in (300 * KBPS, 700 * KBPS, 1 * MBPS, 2 * MBPS, 20 * MBPS)
    ),
    (
        "layers, down and up",
        scenarios.down_and_up,
        [(at + 2, at + 30) for at, _, _ in scenarios.DOWN_AND_UP],
    ),
    ("layers, nine pictures", scenarios.grid, [(10, 30), (32, 60), (62, 90), (92, 120), (120, 150)]),
]


# What follows them does not aim at 0.8 of the link.
UNSETTLED = ("5.6", "5.7", "TCP", "layers", "no feedback")
COLUMNS = ("case", "seconds", "0.8 after", "used", "queue p50", "p95", "highest", "Mbit/s of each")


def rows(name: str, run: Run, spans: Spans) -> Iterator[tuple[str, ...]]:
    """Return the figures of each span of time in which the link stays as it is."""
    shown = None
    for start, end in spans:
        changed = run.link_changed_at(start)
        settled_s = None if changed == shown or name.startswith(UNSETTLED) else run.settled_s(changed, end)
        shown = changed
        yield (
            name if (start, end) == spans[0] else "",
            f"{start:.0f}-{end:.0f}",
            "" if settled_s is None else f"{settled_s:.1f} s",
            f"{run.utilisation(start, end):.2f}",
            f"{run.queue_ms(start, end, 50):.0f} ms",
            f"{run.queue_ms(start, end):.0f} ms",
            f"{run.overshoot(start, end):.2f}",
            " ".join(f"{rate / MBPS:.2f}" for rate in run.rates(start, end)),
        )


def main() -> None:
    """Run and print them, as a table in Markdown."""
    began = time.process_time()
    simulated_s = 0.0
    widths = (23, 7, 9, 4, 9, 6, 7, 24)
    for row in (COLUMNS, tuple("-" * width for width in widths)):
        print(_line(row, widths))
    for name, scenario, spans in SCENARIOS:
        run = scenario()
        simulated_s += spans[-1][1] * len(run.flows)
        for row in rows(name, run, spans):
            print(_line(row, widths))
    took_s = time.process_time() - began
    print(f"\n{simulated_s:.0f} seconds of flows in {took_s:.1f} s of CPU time: {simulated_s / took_s:.0f} a second")


def _line(cells: tuple[str, ...], widths: tuple[int, ...]) -> str:
    return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"


if __name__ == "__main__":
    main()
