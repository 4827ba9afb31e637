"""Fills a link with pictures: which rungs of its ladder a picture may get, what they are worth, and who gets which.

Worth is counted in doublings of one picture's resolution or frame rate.
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
# Worth of being seen at all; more than any rise.
_SEEN: Final = 16.0
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
    slowest = max(rung.temporal for rung in useful)
    options = []
    for rung in useful:
        rate = rung.frame_rate or _ASSUMED_RATE / 2 ** (slowest - rung.temporal)
        sharpness, motion = math.log2(_area(rung)), math.log2(rate)
        worth = 2 * sharpness + 0.5 * motion if is_screen else sharpness + 1.25 * motion
        options.append(Option(rung.bitrate, worth, rung))
    return tuple(sorted(options, key=lambda option: option.worth))


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
    bitrate, worth, _ = menu.options[level]
    best: tuple[float, int] | None = None
    for k in range(level + 1, most + 1):
        option = menu.options[k]
        cost = option.bitrate - bitrate
        if cost <= left:
            gain = (option.worth - worth) * menu.weight / max(cost, 1)
            if best is None or -gain <= best[0]:
                best = (-gain, k)
    return best
