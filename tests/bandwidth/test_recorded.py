"""Estimates from the reports of a real browser, as they were recorded."""

from __future__ import annotations

import gzip
from pathlib import Path
from statistics import median
from typing import Final

import pytest

from zvonim_sfu.bandwidth.trace import Step, replay

TRACES: Final = Path(__file__).parents[1] / "data" / "traces"
CHROMIUM: Final = TRACES / "chromium-free-1500-400-free.jsonl.gz"
"""Chromium 156 behind the relay, 40 ms of round trip: 8 s of a free link, 9 s each of 1.5 Mbit/s and 400 kbit/s, and
again a free one. What was sent followed the estimate in steps of 0.15, 0.5, 1.2 and 2.5 Mbit/s."""


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    return replayed()


def replayed() -> list[Step]:
    with gzip.open(CHROMIUM, "rt", encoding="ascii") as lines:
        return list(replay(lines))


def test_a_replay_is_the_same_each_time(steps: list[Step]) -> None:
    assert len(steps) > 700
    assert replayed() == steps


@pytest.mark.parametrize(
    ("start", "end", "low_bps", "high_bps"),
    [
        (2, 8, 2_000_000, 20_000_000),
        (12, 17, 800_000, 1_500_000),
        (20, 26, 200_000, 400_000),
        (35, 40, 2_000_000, 20_000_000),
    ],
)
def test_the_link_is_found_again(steps: list[Step], start: float, end: float, low_bps: float, high_bps: float) -> None:
    began_at = steps[0].now
    found = [step.bps for step in steps if start <= step.now - began_at < end]
    assert low_bps < median(found) < high_bps
