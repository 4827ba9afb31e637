from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.sequence import SequenceExtender, seq_delta, ts_delta


@pytest.mark.parametrize(
    ("a", "b", "delta"),
    [
        (5, 3, 2),
        (3, 5, -2),
        (0, 65535, 1),
        (65535, 0, -1),
        (32767, 0, 32767),
        (32768, 0, -32768),
        (0, 32768, -32768),
    ],
)
def test_seq_delta_is_the_short_way_round(a: int, b: int, delta: int) -> None:
    assert seq_delta(a, b) == delta


@pytest.mark.parametrize(
    ("a", "b", "delta"),
    [
        (3000, 0, 3000),
        (0, 0xFFFFFFFF, 1),
        (0xFFFFFFFF, 0, -1),
        (0x7FFFFFFF, 0, 0x7FFFFFFF),
        (0x80000000, 0, -0x80000000),
    ],
)
def test_ts_delta_is_the_short_way_round(a: int, b: int, delta: int) -> None:
    assert ts_delta(a, b) == delta


@pytest.mark.parametrize(
    ("numbers", "extended"),
    [
        ([7, 8, 9], [7, 8, 9]),
        ([65534, 65535, 0, 1], [65534, 65535, 65536, 65537]),
        ([65534, 1, 65535, 0, 2], [65534, 65537, 65535, 65536, 65538]),  # late ones keep their place
        ([0, 65535, 1], [0, -1, 1]),
        ([5, 5, 5], [5, 5, 5]),
        ([0, 32767, 65534, 32765], [0, 32767, 65534, 98301]),
        ([0, 32768, 1], [0, -32768, 1]),  # half the circle is back, not ahead
    ],
)
def test_extender(numbers: list[int], extended: list[int]) -> None:
    extender = SequenceExtender()
    assert extender.highest is None
    assert [extender.extend(number) for number in numbers] == extended
    assert extender.highest == max(extended)


@given(st.integers(0, 65535), st.lists(st.integers(-200, 3000), max_size=200))
def test_extender_follows_any_walk_of_small_steps(start: int, steps: list[int]) -> None:
    extender = SequenceExtender()
    extender.extend(start)
    highest = start
    for step in steps:
        position = highest + step
        assert extender.extend(position & 0xFFFF) == position
        highest = max(highest, position)
