"""Fills a link with pictures: which rungs of its ladder a picture may get, what they are worth, and who gets which.

Worth is counted in doublings of one picture's area. A camera's motion is worth the more the less there is of it, see
`_motion`: who talks is rather seen small and moving than large in jerks. So of what a camera of 30 frames per second
sends in three sizes, 1280x720 at 15 frames per second stands before 640x360 at 30, but 640x360 at 15 before 1280x720
at 7.5; of one of 12 frames per second, 640x360 at 12 before 1280x720 at 6.
"""

from __future__ import annotations

import math
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zvonim_sfu.media.layer import Rung
    from zvonim_sfu.rooms.view import Tile

# A picture may be stretched by this much before it takes the next larger layer: nobody sees 10 %.
STRETCH: Final = 1.1
# Frames per second below which a screen is not sent, if there is more: who scrolls is to be followed.
SCREEN_FLOOR: Final = 5.0
# Of a camera, what a doubling of the frame rate is worth. Less than the next size, which is twice as wide and high (2):
# half of 30 frames per second is still a moving picture.
MOTION: Final = 1.25
# With fewer frames per second a face moves in jerks, and lips no longer go with the voice.
FLUENT: Final = 12.0
# The same below that: more than the next size. So a size at half the rate and the next smaller one at the whole are
# worth the same for a camera of 18 frames per second, well away from 15 and 20, which cameras have: rates are measured.
SLOW_MOTION: Final = 3.0
# Fewer frames per second are slides: no motion is lost with them, and the larger ones are better.
SLIDES: Final = 1.0
# For its motion a smaller picture takes the place of a larger one only if it is worth so much more. Rates are measured,
# and two that are worth the same would take turns each second.
TRADE: Final = 0.5
# Worth of being seen at all; more than any rise.
_SEEN: Final = 32.0
# Where a publisher's first packets have not told it yet.
_ASSUMED_AREA: Final = 320 * 180
_ASSUMED_RATE: Final = 30.0
# Kept for everybody who shows a track in a tile of the same size.
_KEPT_OPTIONS: Final = 4096


class Option(NamedTuple):
    """A rung that a picture may get."""

    bitrate: int
    worth: float
    rung: Rung


class Menu(NamedTuple):
    """What one picture may get."""

    options: tuple[Option, ...]
    """In ascending order of worth."""
    weight: float
    """How often it counts."""


@lru_cache(maxsize=_KEPT_OPTIONS)
def options_of(ladder: tuple[Rung, ...], tile: Tile | None, is_screen: bool) -> tuple[Option, ...]:
    """Return what a picture may get, in ascending order of worth; nothing if it is hidden or does not come."""
    if not ladder or (tile is not None and tile.is_hidden):
        return ()
    top = _top(ladder, tile)
    useful = [rung for rung in ladder if rung.spatial <= top]
    if is_screen:
        fastest: dict[int, float] = {}
        for rung in useful:
            fastest[rung.spatial] = max(fastest.get(rung.spatial, 0.0), rung.frame_rate)
        useful = [rung for rung in useful if rung.frame_rate >= min(SCREEN_FLOOR, fastest[rung.spatial])]
    rates = _screen_rates(useful) if is_screen else _camera_rates(useful)
    options = []
    for rung, rate in zip(useful, rates, strict=True):
        sharpness = math.log2(_area(rung))
        worth = 2 * sharpness + 0.5 * math.log2(rate) if is_screen else sharpness + _motion(rate)
        options.append(Option(rung.bitrate, worth, rung))
    return tuple(sorted(options, key=lambda option: option.worth))


def _screen_rates(rungs: Sequence[Rung]) -> list[float]:
    slowest = max(rung.temporal for rung in rungs)
    return [rung.frame_rate or _ASSUMED_RATE / 2 ** (slowest - rung.temporal) for rung in rungs]


def _camera_rates(rungs: Sequence[Rung]) -> list[float]:
    """Return how many frames per second rungs show, all sizes in whole as many as the one that comes fastest.

    They are of the same camera. What is measured of one that has just come, which nobody took before or which its
    encoder was too busy for, is less; who got a smaller one for that would not find out when it is over, as what nobody
    takes is not encoded.
    """
    whole = {rung.spatial: rung for rung in rungs}
    fastest = max(rung.frame_rate for rung in rungs) or _ASSUMED_RATE
    rates = []
    for rung in rungs:
        top = whole[rung.spatial]
        share = (
            rung.frame_rate / top.frame_rate
            if rung.frame_rate and top.frame_rate
            else 2 ** (rung.temporal - top.temporal)
        )
        rates.append(fastest * min(share, 1.0))
    return rates


def _motion(rate: float) -> float:
    """Return what a camera's frame rate is worth: 0 where it begins to be fluent, less below."""
    doublings = math.log2(max(rate, SLIDES) / FLUENT)
    return (MOTION if doublings >= 0 else SLOW_MOTION) * doublings


def _top(ladder: Sequence[Rung], tile: Tile | None) -> int:
    """Return the spatial layer that a tile needs: the lowest that fills it, else the highest."""
    if tile is not None:
        for rung in ladder:
            if fills(rung, tile):
                return rung.spatial
    return ladder[-1].spatial


def fills(rung: Rung, tile: Tile) -> bool:
    """Tell whether a tile would show no larger picture."""
    return _area(rung) * STRETCH**2 >= tile.width * tile.height


def _area(rung: Rung) -> int:
    return rung.width * rung.height or _ASSUMED_AREA * 4**rung.spatial


def fill(menus: Sequence[Menu], start: Sequence[int], most: Sequence[int], budget: float) -> list[int]:
    """Return which option each picture gets, -1 for none: first the lowest for everybody, then the best steps up.

    Args:
        menus: of the pictures, the most important first.
        start: what they have for certain.
        most: what they may get.
        budget: bit/s for all together; what they have for certain may exceed it.
    """
    levels = list(start)
    left = budget - cost_of(menus, start)
    for k, menu in enumerate(menus):
        if levels[k] < 0 <= most[k] and menu.options[0].bitrate <= left:
            levels[k] = 0
            left -= menu.options[0].bitrate
    queue = []
    for k, menu in enumerate(menus):
        if 0 <= levels[k] < most[k] and (step := _best_step(menu, levels[k], most[k], left)):
            queue.append((*step, k))
    heapify(queue)
    while queue:
        _, level, k = heappop(queue)
        options = menus[k].options
        cost = options[level].bitrate - options[levels[k]].bitrate
        if cost <= left:
            levels[k] = level
            left -= cost
        if step := _best_step(menus[k], levels[k], most[k], left):
            heappush(queue, (*step, k))
    return levels


def cost_of(menus: Sequence[Menu], levels: Sequence[int]) -> int:
    """Return what these options take together, bit/s."""
    return sum(menu.options[level].bitrate for menu, level in zip(menus, levels, strict=True) if level >= 0)


def worth_of(menus: Sequence[Menu], levels: Sequence[int]) -> float:
    """Return what these options are worth together."""
    return sum(
        menu.weight * (_SEEN + menu.options[level].worth - menu.options[0].worth)
        for menu, level in zip(menus, levels, strict=True)
        if level >= 0
    )


def _best_step(menu: Menu, level: int, most: int, left: float) -> tuple[float, int] | None:
    """Return the step up that fits and is worth most per bit: that (negative, for the queue), and where it leads."""
    bitrate, worth, rung = menu.options[level]
    traded, spatial = worth + TRADE, rung.spatial
    best: tuple[float, int] | None = None
    for k in range(level + 1, most + 1):
        option = menu.options[k]
        cost = option.bitrate - bitrate
        if cost <= left and (option.worth >= traded or option.rung.spatial >= spatial):
            gain = (option.worth - worth) * menu.weight / max(cost, 1)
            if best is None or -gain <= best[0]:
                best = (-gain, k)
    return best
