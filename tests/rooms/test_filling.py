from __future__ import annotations

import itertools
import math
import random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rooms.pictures import Link, ladder, picture
from zvonim_sfu.media.layer import Rung
from zvonim_sfu.rooms.filling import FLUENT, SLIDES, Menu, options_of, worth_of
from zvonim_sfu.rooms.quality import NOTHING, distribute


class Seen(NamedTuple):
    """What somebody sees: lines, and frames per second."""

    lines: int
    rate: float


def worths(of: tuple[Rung, ...], *, is_screen: bool = False) -> dict[Seen, float]:
    return {
        Seen(option.rung.height, option.rung.frame_rate): option.worth for option in options_of(of, None, is_screen)
    }


def order(of: tuple[Rung, ...], *, is_screen: bool = False) -> list[Seen]:
    """From the least to the best."""
    return list(worths(of, is_screen=is_screen))


def shown(of: tuple[Rung, ...], bps: float) -> Seen | None:
    """What one subscriber gets whose link holds so much, a voice beside it."""
    choice = distribute([picture(of=of)], bps, NOTHING, 0.0, reserved_bps=56_000).choices["v"]
    return None if choice.rung is None else Seen(choice.rung.height, choice.rung.frame_rate)


def simulcast(fps: float, layers: int = 3) -> tuple[Rung, ...]:
    """What the web client publishes, with this camera."""
    return ladder(150_000, 500_000, 1_500_000, layers=layers, fps=fps)


def svc(fps: float) -> tuple[Rung, ...]:
    """VP9 or AV1 with spatial layers: the rates of what is above hold what is below."""
    return ladder(120_000, 420_000, 1_300_000, fps=fps)


LADDERS = {"simulcast": simulcast, "svc": svc}


@pytest.mark.parametrize("kind", LADDERS)
def test_of_a_usual_camera_the_smaller_picture_that_moves_is_better_than_the_larger_one_that_jerks(kind: str) -> None:
    assert order(LADDERS[kind](30)) == [
        (180, 7.5),
        (360, 7.5),
        (180, 15),
        (180, 30),
        (720, 7.5),
        (360, 15),
        (360, 30),
        (720, 15),
        (720, 30),
    ]


@pytest.mark.parametrize("kind", LADDERS)
@pytest.mark.parametrize("fps", [8, 10, 12, 15])
def test_a_slow_camera_is_not_made_slower_for_the_next_size(kind: str, fps: float) -> None:
    best = order(LADDERS[kind](fps))
    whole, half, quarter = fps, fps / 2, fps / 4
    for small, large in itertools.pairwise((180, 360, 720)):
        assert best.index(Seen(large, half)) < best.index(Seen(small, whole))
        assert best.index(Seen(large, quarter)) < best.index(Seen(small, half))
    # It is not made tiny for it either.
    assert best.index(Seen(180, whole)) < best.index(Seen(720, half))
    assert best[-2:] == [(360, whole), (720, whole)]


@pytest.mark.parametrize("fps", [20, 24, 25, 30, 50, 60])
def test_a_fast_camera_is_made_slower_before_it_is_made_smaller(fps: float) -> None:
    best = order(simulcast(fps))
    for small, large in itertools.pairwise((180, 360, 720)):
        assert best.index(Seen(large, fps / 2)) > best.index(Seen(small, fps))


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (30, [(720, 30), (720, 15), (360, 30), (360, 15), (180, 30), None]),
        (12, [(720, 12), (360, 12), (360, 12), (180, 12), (180, 12), None]),
        (9, [(720, 9), (360, 9), (360, 9), (180, 9), (180, 9), None]),
    ],
)
def test_what_links_hold_is_used_for_motion_first(fps: float, expected: list[Seen | None]) -> None:
    rates = (2_000_000, 1_500_000, 800_000, 520_000, 300_000, 100_000)
    assert [shown(simulcast(fps), bps) for bps in rates] == expected


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("fps", [9, 12, 30])
def test_a_link_that_holds_more_shows_no_less(fps: float, layers: int) -> None:
    of = simulcast(fps, layers)
    worth = worths(of)
    seen = [shown(of, bps) for bps in range(50_000, 2_000_000, 10_000)]
    got = [-math.inf if one is None else worth[one] for one in seen]
    assert got == sorted(got)


rates = st.floats(0.1, 120)


@given(rates, st.integers(1, 3))
def test_more_motion_and_more_size_are_never_worth_less(fps: float, layers: int) -> None:
    worth = worths(simulcast(fps, layers))
    for one, other in itertools.product(worth, repeat=2):
        if one.lines <= other.lines and one.rate <= other.rate:
            assert worth[one] <= worth[other]


@given(st.floats(2, 120))
def test_a_quarter_of_the_motion_is_not_given_for_the_next_size(fps: float) -> None:
    best = order(simulcast(fps))
    assert best.index(Seen(720, fps / 4)) < best.index(Seen(360, fps))


@given(st.floats(0.02, SLIDES))
def test_of_slides_the_largest_are_best(fps: float) -> None:
    assert [seen.lines for seen in order(simulcast(fps))] == [180] * 3 + [360] * 3 + [720] * 3


@given(st.floats(SLIDES, 120), st.floats(1.001, 1.1))
def test_what_motion_is_worth_has_no_jump(fps: float, more: float) -> None:
    (slower,), (faster,) = (worths(ladder(100_000, layers=1, fps=rate)).values() for rate in (fps, fps * more))
    assert 0 < faster - slower < 0.5


def test_a_doubling_is_worth_more_below_what_is_fluent() -> None:
    worth = list(worths(ladder(100_000, layers=3, fps=2 * FLUENT)).values())
    assert worth[1] - worth[0] > 2 > worth[2] - worth[1]


def test_being_seen_is_worth_more_than_any_rise() -> None:
    steps = tuple(Rung(k, 0, 160 << k, 90 << k, fps, 50_000 << k) for k, fps in enumerate((0.1, 15.0, 30.0, 60.0)))
    menus = [Menu(options_of(steps, None, False), 1.0)] * 2
    assert worth_of(menus, [0, 0]) > worth_of(menus, [3, -1])


def test_screens_are_sharp_whatever_moves() -> None:
    screen = ladder(200_000, 1_200_000, top=(1920, 1080), fps=15, layers=2)
    assert order(screen, is_screen=True) == [(540, 7.5), (540, 15), (1080, 7.5), (1080, 15)]
    slow = ladder(200_000, 1_200_000, top=(1920, 1080), fps=10, layers=2)
    assert order(slow, is_screen=True) == [(540, 5), (540, 10), (1080, 5), (1080, 10)]


def test_sizes_do_not_take_turns_where_they_are_worth_the_same() -> None:
    even = next(
        fps / 10 for fps in range(150, 200) if order(simulcast(fps / 10))[-3:-1] == [(360, fps / 10), (720, fps / 20)]
    )
    generator = random.Random(2)
    link = Link([])
    for _ in range(300):
        # As measured over some seconds.
        link.pictures = [picture(of=simulcast(even * generator.uniform(0.95, 1.05)))]
        link.go(1_400_000, 10)
    spatial = [state["v"][0] for state in link.history[50:]]
    assert len(set(spatial)) == 1


@pytest.mark.parametrize("fps", [8, 12, 15, 30])
@given(st.permutations([0, 1, 2]), st.sampled_from([0.0, 0.05, 0.25, 0.5]), st.sampled_from([0.125, 0.75]))
def test_no_size_is_worth_less_for_what_is_measured_of_it_alone(
    fps: float, sizes: list[int], one: float, other: float
) -> None:
    # Of one size nothing was measured yet, or it has just come; the encoder of another one is late.
    shares = dict(zip(sizes, (one, other, 1.0), strict=True))
    measured = tuple(rung._replace(frame_rate=rung.frame_rate * shares[rung.spatial]) for rung in simulcast(fps))

    def places(of: tuple[Rung, ...]) -> list[tuple[int, int]]:
        return [(option.rung.spatial, option.rung.temporal) for option in options_of(of, None, False)]

    assert places(measured) == places(simulcast(fps))
