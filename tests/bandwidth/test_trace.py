from __future__ import annotations

import json

import pytest

from tests.support.links.clock import Clock
from tests.support.links.link import Link
from tests.support.links.media import MediaFlow
from tests.support.links.sources import Adaptive
from zvonim_sfu.bandwidth.estimator import Estimator
from zvonim_sfu.bandwidth.trace import Recorder, TraceError, replay

NOW = 1000.0


def record(seconds: float) -> tuple[list[str], MediaFlow]:
    """A flow on a link that gets thinner, with loss and jitter; all that its estimator is told is recorded."""
    lines: list[str] = []
    clock = Clock(NOW)
    link = Link([(0.0, 2e6), (NOW + 10, 7e5)], loss=0.02, jitter_s=0.01)
    recorder = Recorder(Estimator(), lines.append)
    flow = MediaFlow(clock, link, Adaptive(), start_s=NOW, recorder=recorder)
    clock.at(NOW + 5, lambda: recorder.on_remb(1_200_000, clock.now))
    clock.at(NOW + 12, lambda: setattr(link, "delay_s", 0.3))
    clock.run(NOW + seconds)
    return lines, flow


def test_a_replay_is_bit_identical() -> None:
    lines, flow = record(30)
    steps = list(replay(lines))
    assert len(steps) == len(lines) - 1 > 800
    assert all(step.bps == step.recorded_bps for step in steps)
    assert steps[-1].bps == flow.estimator.estimate_bps
    assert len({step.bps for step in steps}) > 100
    kinds = set().union(*(json.loads(line) for line in lines[1:]))
    assert kinds == {"now", "bps", "sent", "feedback", "remb_bps", "timer", "wanted_bps", "probe", "probe_sent"}


def test_a_trace_holds_no_media_and_few_bytes() -> None:
    lines, flow = record(10)
    assert all(line.endswith("}\n") for line in lines)
    assert sum(map(len, lines)) < 100 * flow.estimator.history.next_number


def test_a_replay_shows_what_a_change_would_have_done() -> None:
    lines, _ = record(10)
    header = json.loads(lines[0])
    lines[0] = json.dumps({**header, "max_bps": 800_000})
    assert max(step.bps for step in replay(lines)) == 800_000
    assert max(step.recorded_bps for step in replay(lines)) > 800_000


def test_more_than_the_ring_holds_is_recorded_as_far_as_it_is_kept() -> None:
    lines: list[str] = []
    recorder = Recorder(Estimator(), lines.append)
    for index in range(10_000):
        recorder.estimator.on_sent(100, NOW + index / 1000)
    recorder.on_timer(NOW + 10)
    first, times, sizes = json.loads(lines[1])["sent"]
    assert (first, len(times), len(sizes)) == (10_000 - 4096, 4096, 4096)
    assert next(iter(replay(lines))).bps == recorder.estimator.estimate_bps


GOOD = '{"version": 1, "start_bps": 6e5, "min_bps": 5e4, "max_bps": 2e7, "capacity": 4096}'


@pytest.mark.parametrize(
    "lines",
    [
        ["no JSON"],
        ["[]"],
        ["{}"],
        [GOOD.replace('"version": 1', '"version": 2')],
        [GOOD.replace("4096", "100")],
        [GOOD, "null"],
        [GOOD, '{"now": 1.0, "bps": 1.0}'],
        [GOOD, '{"now": 1.0, "bps": 1.0, "feedback": [1, 2]}'],
        [GOOD, '{"now": "soon", "bps": 1.0, "remb_bps": 5}'],
        [GOOD, '{"now": 1.0, "bps": 1.0, "timer": true, "sent": [0, [1.0], []]}'],
        [GOOD, '{"now": 1.0, "bps": 1.0, "timer": true, "sent": [-1, [1.0], [1]]}'],
    ],
)
def test_what_is_no_trace_is_refused(lines: list[str]) -> None:
    with pytest.raises(TraceError, match=rf"^line {len(lines)} is not of a trace"):
        list(replay(lines))
