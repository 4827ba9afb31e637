"""Round trips: smoothed, and the shortest of late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.round_trip import DEFAULT_S, RoundTrip


def test_a_guess_stands_until_the_first_measurement() -> None:
    round_trip = RoundTrip()
    assert not round_trip.is_measured
    assert round_trip.smoothed_s == round_trip.shortest_s == DEFAULT_S
    round_trip.measured(0.3, 1.0)
    assert round_trip.is_measured
    assert round_trip.smoothed_s == round_trip.shortest_s == 0.3


def test_jitter_moves_the_smoothed_one_and_not_the_shortest() -> None:
    round_trip = RoundTrip()
    for i, seconds in enumerate([0.05, 0.09, 0.07, 0.08]):
        round_trip.measured(seconds, float(i))
    assert round_trip.shortest_s == 0.05
    assert 0.05 < round_trip.smoothed_s < 0.09


def test_a_path_that_became_longer_is_believed_within_twenty_seconds() -> None:
    round_trip = RoundTrip()
    for now in range(10):
        round_trip.measured(0.05, float(now))
    for now in range(10, 19):
        round_trip.measured(0.2, float(now))
        assert round_trip.shortest_s == 0.05
    for now in range(19, 31):
        round_trip.measured(0.2, float(now))
    assert round_trip.shortest_s == 0.2


@pytest.mark.parametrize("seconds", [-0.001, 10.0, 65535.0])
def test_what_cannot_be_true_is_left_out(seconds: float) -> None:
    round_trip = RoundTrip()
    round_trip.measured(seconds, 1.0)
    assert not round_trip.is_measured
    assert round_trip.smoothed_s == DEFAULT_S


@given(st.lists(st.tuples(st.floats(-1, 20), st.floats(0, 30)), max_size=50))
def test_it_stays_within_what_was_measured(measurements: list[tuple[float, float]]) -> None:
    round_trip = RoundTrip()
    taken: list[float] = []
    now = 0.0
    for seconds, elapsed in measurements:
        now += elapsed
        round_trip.measured(seconds, now)
        if 0 <= seconds < 10:
            taken.append(seconds)
            assert min(taken) <= round_trip.shortest_s <= max(taken)
            assert min(taken) - 1e-9 <= round_trip.smoothed_s <= max(taken) + 1e-9
    assert round_trip.is_measured == bool(taken)
