from __future__ import annotations

from benchmarks.decisions import measure


def test_the_benchmark_of_decisions_measures_something_in_a_small_room() -> None:
    costs = measure(12)
    assert costs.participants == 12
    assert min(costs.join, costs.leave, costs.mute, costs.resize, costs.page, costs.tick) > 0
    # An estimate that wobbles has no more decisions made than those that are due by themselves, and some for its falls.
    assert 1 <= costs.decisions <= 11
