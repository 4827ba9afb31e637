from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.budget import FLOOR_BYTES_PER_S, LOOK_BYTES, MEMORY_S, SHARE, RepairBudget

FLOOR = int(FLOOR_BYTES_PER_S * MEMORY_S)


def granted(budget: RepairBudget, *, sent: int, now: float, size: int = 100) -> int:
    """How many bytes can be had at this moment."""
    total = 0
    while budget.take(size, sent=sent, now=now):
        total += size
    return total


def test_a_receiver_has_a_little_to_begin_with() -> None:
    budget = RepairBudget(sent=12_345_678, now=50.0)
    assert granted(budget, sent=12_345_678, now=50.0) == FLOOR


def test_what_was_refused_costs_nothing() -> None:
    budget = RepairBudget(sent=0, now=0.0)
    assert not budget.take(FLOOR + 1, sent=0, now=0.0)
    assert budget.take(FLOOR, sent=0, now=0.0)


@pytest.mark.parametrize(("each", "asked"), [(5, 1), (6, 2)])
def test_repairs_of_a_fifth_of_a_constant_stream_are_all_granted(each: int, asked: int) -> None:
    """And of a sixth if the receiver asks for everything twice."""
    budget = RepairBudget(sent=0, now=0.0)
    sent = 0
    for index in range(2000):
        sent += 1200
        if index % each == 0:
            assert all(budget.take(LOOK_BYTES, sent=sent, now=index * 0.01) for _ in range(asked))
            assert budget.take(1200, sent=sent, now=index * 0.01)


@pytest.mark.parametrize("rate", [10_000, 100_000, 1_000_000])
def test_who_asks_for_everything_gets_its_share(rate: int) -> None:
    budget = RepairBudget(sent=0, now=0.0)
    granted(budget, sent=0, now=0.0)
    total = sum(granted(budget, sent=index * rate // 10, now=index / 10) for index in range(1, 101))
    assert total == pytest.approx(10 * (FLOOR_BYTES_PER_S + SHARE * rate), rel=0.1)


@pytest.mark.parametrize("minutes", [1, 60])
def test_a_quiet_time_does_not_save_up_for_a_flood(minutes: int) -> None:
    budget = RepairBudget(sent=0, now=0.0)
    rate = 100_000
    at_once = granted(budget, sent=rate * 60 * minutes, now=60.0 * minutes)
    assert at_once == pytest.approx(MEMORY_S * (FLOOR_BYTES_PER_S + SHARE * rate), rel=0.01)


def test_what_was_saved_is_forgotten_when_little_is_sent() -> None:
    budget = RepairBudget(sent=0, now=0.0)
    budget.take(0, sent=10_000_000, now=10.0)
    assert granted(budget, sent=10_000_000, now=40.0) == pytest.approx(FLOOR, abs=200)


@given(
    st.lists(
        st.tuples(st.floats(0, 10), st.integers(0, 1_000_000), st.integers(0, 1_000_000)),
        max_size=40,
    )
)
def test_never_more_than_the_share_and_the_floor(steps: list[tuple[float, int, int]]) -> None:
    budget = RepairBudget(sent=0, now=0.0)
    now, sent, total = 0.0, 0, 0
    for seconds, more, size in steps:
        now += seconds
        sent += more
        if budget.take(size, sent=sent, now=now):
            total += size
        assert total <= (FLOOR + FLOOR_BYTES_PER_S * now + SHARE * sent) * 1.001 + 1
