from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.rooms.pictures import (
    CAMERA,
    HIDDEN,
    LARGE,
    MIDDLE,
    PAUSED,
    SMALL,
    Link,
    ladder,
    level_of,
    picture,
)
from zvonim_sfu.media.layer import Rung, Selection
from zvonim_sfu.rooms.filling import STRETCH, Menu, cost_of, fill, options_of, worth_of
from zvonim_sfu.rooms.quality import (
    FIRST_PATIENCE_S,
    MAX_RISES,
    MOST_PATIENCE_WIDER_S,
    NOTHING,
    SEEN_AGAIN_S,
    TOLERANCE,
    Allotment,
    Choice,
    Picture,
    Reason,
    distribute,
    exchange,
)
from zvonim_sfu.rooms.view import Tile


def only(
    estimate: float | None, tile: Tile | None = LARGE, of: tuple[Rung, ...] = CAMERA, is_screen: bool = False
) -> Choice:
    return distribute([picture("v", tile, of, is_screen=is_screen)], estimate, NOTHING, 0.0).choices["v"]


def rate(allotment: Allotment) -> int:
    return sum(choice.rung.bitrate for choice in allotment.choices.values() if choice.rung is not None)


@pytest.mark.parametrize(
    ("tile", "spatial", "reason", "wants_more"),
    [
        (None, 2, Reason.BEST, True),
        (LARGE, 2, Reason.BEST, False),
        (Tile(1281, 721), 2, Reason.BEST, False),
        (Tile(1920, 1080), 2, Reason.PUBLISHER, True),
        (MIDDLE, 1, Reason.TILE, False),
        (Tile(720, 400), 2, Reason.BEST, False),
        (SMALL, 0, Reason.TILE, False),
        (Tile(1, 1), 0, Reason.TILE, False),
    ],
)
@pytest.mark.parametrize("estimate", [None, 1e8])
def test_a_picture_is_as_large_as_its_tile_needs(
    tile: Tile | None, spatial: int, reason: Reason, wants_more: bool, estimate: float | None
) -> None:
    choice = only(estimate, tile)
    assert (choice.selection, choice.reason) == (Selection(spatial, 2), reason)
    assert choice.wants_more == wants_more


def test_a_hidden_picture_is_not_sent_whatever_there_is() -> None:
    choice = only(None, HIDDEN)
    assert (choice.rung, choice.selection, choice.reason, choice.wants_more) == (None, None, Reason.HIDDEN, False)


@pytest.mark.parametrize(("estimate", "highest"), [(None, True), (1e6, False)])
def test_what_sends_nothing_is_waited_for(estimate: float | None, highest: bool) -> None:
    choice = only(estimate, of=())
    assert (choice.rung, choice.reason, choice.wants_more) == (None, Reason.SOURCE, True)
    assert choice.selection is not None
    assert (choice.selection.spatial > 2) == highest


@pytest.mark.parametrize(
    ("estimate", "selection"),
    [
        (2_000_000, (2, 2)),
        (1_400_000, (2, 1)),
        (700_000, (1, 2)),
        (450_000, (1, 1)),
        (200_000, (0, 2)),
        (140_000, (0, 1)),
        (104_000, (0, 0)),
        (80_000, None),
    ],
)
def test_one_picture_is_as_good_as_the_link_holds_less_a_margin(
    estimate: int, selection: tuple[int, int] | None
) -> None:
    choice = only(estimate)
    assert choice.selection == selection
    assert (choice.reason is Reason.LINK) == (selection != (2, 2))
    assert choice.needed_bps == 1_500_000
    assert choice.available_bps == min(estimate, 1_500_000)


def test_sounds_are_reserved_for() -> None:
    allotment = distribute([picture()], 600_000, NOTHING, 0.0, reserved_bps=200_000)
    assert allotment.choices["v"].selection == (0, 2)
    assert allotment.wanted_bps == 1_700_000
    assert allotment.is_limited


def test_everybody_is_seen_before_anybody_is_seen_better_and_the_last_is_paused_first() -> None:
    pictures = [picture(str(k)) for k in range(5)]
    shown = [
        [distribute(pictures, estimate, NOTHING, 0.0).choices[str(k)].rung is not None for k in range(5)]
        for estimate in (460_000, 380_000, 100_000)
    ]
    assert shown == [[True] * 5, [True] * 4 + [False], [True] + [False] * 4]


def test_who_is_in_focus_gets_more() -> None:
    for number in range(4):
        pictures = [picture(str(k), is_focus=k == number) for k in range(4)]
        choices = distribute(pictures, 1_200_000, NOTHING, 0.0).choices
        best = max(choices, key=lambda mid: level_of(choices[mid]))
        assert best == str(number)
        assert all(choice.rung is not None for choice in choices.values())


def test_a_screen_is_sharp_first_and_never_slower_than_its_floor() -> None:
    screen = ladder(200_000, 600_000, 1_200_000, top=(1920, 1080), fps=15.0)
    tile = Tile(1920, 1080)
    for estimate in range(200_000, 2_000_000, 50_000):
        choice = only(estimate, tile, screen, is_screen=True)
        assert choice.rung is None or choice.rung.frame_rate >= 5
        camera = only(estimate, tile, screen)
        if choice.rung is not None and camera.rung is not None:
            assert choice.rung.width >= camera.rung.width
    still = ladder(200_000, 600_000, fps=1.0)
    assert only(700_000, tile, still, is_screen=True).rung is not None


def test_what_is_not_known_is_assumed() -> None:
    unknown = tuple(Rung(spatial, 0, 0, 0, 0.0, rate) for spatial, rate in enumerate((100_000, 400_000)))
    assert only(None, SMALL, unknown).selection == (0, 0)
    assert only(None, MIDDLE, unknown).selection == (1, 0)
    assert only(300_000, MIDDLE, unknown).selection == (0, 0)


# In time


def most_in_a_minute(ticks: list[int]) -> int:
    return max((sum(first <= tick < first + 600 for tick in ticks) for first in ticks), default=0)


def spells(moves: list[tuple[int, int]]) -> list[int]:
    """When rises began that had a fall before them."""
    return [at for (_, last), (at, way) in itertools.pairwise([(0, -1), *moves]) if way > 0 > last]


def test_down_at_once_and_up_when_it_has_held() -> None:
    link = Link([picture()])
    assert link.go(2_000_000)["v"] == (2, 2)
    assert link.go(600_000)["v"] == (1, 2)
    assert link.go(2_000_000, int(FIRST_PATIENCE_S * 10) - 1)["v"] == (1, 2)
    assert link.go(2_000_000)["v"] == (2, 2)


def test_who_is_seen_is_paused_when_it_is_clear_that_the_link_holds_too_little() -> None:
    link = Link([picture()])
    assert link.go(104_000, 20)["v"] == (0, 0)
    assert only(80_000).selection is None
    assert link.go(80_000, 20)["v"] == (0, 0)
    assert link.go(65_000)["v"] == (-1, -1)
    assert link.go(80_000, 100)["v"] == (-1, -1)


def test_a_short_peak_is_not_taken_for_a_better_link() -> None:
    link = Link([picture()])
    link.go(600_000, 50)
    before = link.go(600_000)
    assert link.go(3_000_000, 8) == before
    assert link.go(600_000, 50) == before


def test_rises_that_fail_are_tried_less_and_less_often() -> None:
    link = Link([picture()])
    link.go(700_000, 50)
    for _ in range(3000):
        link.go(700_000 if link.history[-1]["v"] > (1, 2) else 2_000_000)
    starts = spells(link.moves("v"))
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert all(after >= before for before, after in itertools.pairwise(gaps[:-1]))
    assert max(gaps) > 400


def test_a_link_that_has_become_another_is_believed_sooner() -> None:
    link = Link([picture()])
    link.go(700_000, 50)
    for _ in range(1000):
        link.go(300_000 if link.history[-1]["v"] > (0, 2) else 1_000_000)
    assert link.history[-1]["v"] <= (0, 2)
    link.go(5_000_000, int(MOST_PATIENCE_WIDER_S * 10) + 1)
    assert link.history[-1]["v"] == (2, 2)


def test_a_larger_tile_is_served_at_once_where_the_link_holds_it() -> None:
    link = Link([picture(tile=SMALL)])
    link.go(5_000_000, 20)
    link.pictures = [picture(tile=LARGE)]
    assert link.go(5_000_000)["v"] == (2, 2)
    link.pictures = [picture(tile=HIDDEN)]
    assert link.go(5_000_000)["v"] == (-1, -1)
    link.pictures = [picture(tile=LARGE)]
    assert link.go(5_000_000)["v"] == (2, 2)


def test_who_is_in_focus_is_not_shown_better_while_that_hides_others() -> None:
    pictures = [
        picture("a", of=ladder(20_000, 50_000, 160_000), is_focus=True),
        picture("b", of=ladder(165_000, layers=1)),
    ]
    # The link holds the lowest of both; what it holds for rises is less than that, and enough for the best of one.
    shown = distribute(pictures, 190_000, NOTHING, 0.0).choices
    assert [shown[mid].selection for mid in "ab"] == [Selection(0, 0)] * 2


def test_who_comes_into_focus_takes_from_others_what_they_have() -> None:
    def people(speaker: int) -> list[Picture]:
        order = sorted(range(3), key=lambda k: k != speaker)
        return [picture(str(k), is_focus=k == speaker) for k in order]

    link = Link(people(0))
    first = link.go(2_200_000, 50)
    assert first["0"] == max(first.values())
    link.pictures = people(2)
    then = link.go(2_200_000, 30)
    assert then["2"] == max(then.values()) > then["0"]


def test_a_wobbling_estimate_makes_no_flicker() -> None:
    generator = random.Random(1)
    for centre in range(300_000, 4_000_000, 310_000):
        for period in (1, 7, 30, 100, 300):
            link = Link([picture(str(k), generator.choice([LARGE, MIDDLE, SMALL])) for k in range(6)])
            for tick in range(1200):
                if tick % period == 0:
                    wobble = generator.uniform(0.85, 1.15)
                link.go(centre * wobble)
            for mid in link.history[0]:
                moves = [(at, way) for at, way in link.moves(mid) if at > 100]
                assert most_in_a_minute([at for at, _ in moves]) <= 8, (centre, period, mid)


@given(st.lists(st.tuples(st.integers(0, 4_000_000), st.integers(1, 80)), min_size=1, max_size=60), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_no_estimate_whatever_makes_more_switches_than_stated(steps: list[tuple[int, int]], people: int) -> None:
    link = Link([picture(str(k), is_focus=k == 0) for k in range(people)])
    for estimate, ticks in steps:
        link.go(estimate, ticks)
    for mid in link.history[0]:
        moves = link.moves(mid)
        assert most_in_a_minute(spells(moves)) <= MAX_RISES
        assert most_in_a_minute([at for at, _ in moves]) <= 2 * MAX_RISES * len(CAMERA)
        assert most_in_a_minute(link.returns(mid)) <= 60 / SEEN_AGAIN_S


def test_an_adversary_gets_no_more_switches_than_stated() -> None:
    # It takes away what was given as soon as it was given.
    for give_after in (1, 20, 100, 310):
        link = Link([picture()])
        good_for = 0
        for _ in range(6000):
            good_for = good_for + 1 if link.history and link.history[-1]["v"] == (2, 2) else 0
            link.go(80_000 if good_for >= give_after else 9_000_000)
        moves = link.moves("v")
        assert most_in_a_minute(spells(moves)) <= MAX_RISES
        assert most_in_a_minute([at for at, _ in moves]) <= 2 * MAX_RISES


def test_who_was_paused_is_seen_again_soon_however_often_that_has_failed() -> None:
    link = Link([picture()])
    for _ in range(1200):
        link.go(5_000 if link.history and link.history[-1]["v"] != PAUSED else 2_000_000)
    link.go(2_000_000, int(SEEN_AGAIN_S * 10))
    assert link.history[-1]["v"] != PAUSED
    assert 60 / SEEN_AGAIN_S / 2 <= most_in_a_minute(link.returns("v")) <= 60 / SEEN_AGAIN_S


# Properties of one moment

tiles = st.sampled_from([None, LARGE, MIDDLE, SMALL, HIDDEN, Tile(800, 600), Tile(2560, 1440)])
ladders = st.lists(st.integers(20_000, 600_000), max_size=3).flatmap(
    lambda steps: st.integers(1, 3).map(
        lambda layers: ladder(*itertools.accumulate(steps, lambda a, b: a * 2 + b), layers=layers)
    )
)
picture_lists = st.lists(
    st.builds(picture, st.uuids().map(str), tiles, ladders, is_focus=st.booleans(), is_screen=st.booleans()),
    max_size=8,
    unique_by=lambda picture: picture.mid,
)


@given(picture_lists, st.lists(st.floats(0, 3e6), min_size=2, max_size=12), st.floats(0, 3e5))
def test_more_than_the_link_holds_goes_only_into_the_lowest_of_who_is_seen(
    pictures: list[Picture], estimates: list[float], reserved: float
) -> None:
    result = NOTHING
    for tick, estimate in enumerate(estimates):
        result = distribute(pictures, estimate, result, tick * 0.7, reserved_bps=reserved)
        options = {one.mid: options_of(one.ladder, one.tile, one.is_screen) for one in pictures}
        taken = [
            next(option for option in options[mid] if option.rung == choice.rung)
            for mid, choice in result.choices.items()
            if choice.rung is not None
        ]
        spent = sum(option.bitrate for option in taken)
        if spent > max(0.0, estimate - reserved):
            assert taken == [options[mid][0] for mid, choice in result.choices.items() if choice.rung is not None]
            assert spent <= TOLERANCE * estimate - reserved


@given(picture_lists, st.none() | st.floats(0, 1e7), st.floats(0, 3e5))
def test_whatever_there_is_the_result_is_sound(
    pictures: list[Picture], estimate: float | None, reserved: float
) -> None:
    result = distribute(pictures, estimate, NOTHING, 5.0, reserved_bps=reserved)
    assert list(result.choices) == [picture.mid for picture in pictures]
    assert estimate is None or rate(result) <= max(0.0, estimate - reserved)
    left = math.inf if estimate is None else estimate - reserved
    for one in pictures:
        choice = result.choices[one.mid]
        assert choice.rung is None or choice.rung in one.ladder
        if one.tile is not None and choice.rung is not None:
            needed = [
                rung for rung in one.ladder if rung.width * rung.height * STRETCH**2 >= one.tile.width * one.tile.height
            ]
            assert not needed or choice.rung.spatial <= needed[0].spatial
        if one.tile == HIDDEN:
            assert choice.selection is None
        elif one.ladder and choice.rung is None:
            # Paused: not even the lowest fits into what those before it leave.
            assert choice.reason is Reason.LINK
            assert min(option.bitrate for option in options_of(one.ladder, one.tile, one.is_screen)) > left
        if choice.rung is not None:
            left -= options_of(one.ladder, one.tile, one.is_screen)[0].bitrate
    # A second look changes nothing.
    again = distribute(pictures, estimate, result, 5.0, reserved_bps=reserved)
    assert {mid: choice.selection for mid, choice in again.choices.items()} == {
        mid: choice.selection for mid, choice in result.choices.items()
    }


@given(picture_lists, st.none() | st.floats(1e6, 1e8), st.lists(st.booleans(), min_size=9, max_size=9))
def test_who_comes_and_goes_is_exchanged_as_if_all_were_decided_anew(
    pictures: list[Picture], estimate: float | None, leaving: list[bool]
) -> None:
    before = distribute(pictures, estimate, NOTHING, 0.0)
    assume(not before.is_limited)
    gone = [picture for picture, leaves in zip(pictures, leaving, strict=False) if leaves]
    came = [replaced._replace(key=f"{replaced.key}/other", ladder=()) for replaced in gone[::2]]
    came.append(picture("another", SMALL, ()))
    after = exchange(before, [left.mid for left in gone], came, is_measured=estimate is not None)
    expected = distribute([kept for kept in pictures if kept not in gone] + came, estimate, before, 0.0)
    assert after == replace(expected, lows=before.lows)


@given(st.lists(st.tuples(ladders, st.sampled_from([1.0, 4.0])), min_size=1, max_size=3), st.floats(0, 4e6))
@settings(max_examples=200, deadline=None)
def test_what_it_is_worth_is_no_more_than_one_step_below_the_best_there_is(
    wishes: list[tuple[tuple[Rung, ...], float]], budget: float
) -> None:
    menus = [Menu(options_of(of, None, False), weight) for of, weight in wishes]
    most = [len(menu.options) - 1 for menu in menus]
    filled = fill(menus, [-1] * len(menus), most, budget)
    shown = [range(min(0, level), top + 1 if level >= 0 else 0) for level, top in zip(filled, most, strict=True)]
    every = [levels for levels in itertools.product(*shown) if cost_of(menus, levels) <= budget]
    best = max(worth_of(menus, levels) for levels in every)
    steps = [menu.weight * (menu.options[-1].worth - menu.options[0].worth) for menu in menus if menu.options]
    assert worth_of(menus, filled) >= best - max(steps, default=0.0)


@given(picture_lists, st.floats(1e4, 1e7))
@settings(deadline=None)
def test_with_a_steady_link_everything_comes_to_rest(pictures: list[Picture], estimate: float) -> None:
    link = Link(pictures)
    link.go(estimate / 3, 5)
    link.go(estimate * 3, 5)
    settled = link.go(estimate, 100)
    assert all(state == settled for state in link.history[50:])
