"""How good a picture each slot gets, and why: what its tile needs, as far as the subscriber's link holds it.

A pure function, for one subscriber. Its rules, the stronger first:

1. No picture is larger than its tile needs; a hidden one is not sent at all.
2. Everybody is seen before anybody is seen better: in the order of importance each picture gets its lowest rung. Who
   does not fit even so is paused; who is seen, not before it is clear that the link holds too little.
3. What the link holds beyond that goes where a bit is worth most. Worth grows with the logarithm of the resolution and
   of the frame rate, so the first step up is worth more than the second, and a camera that moves in jerks is not made
   larger (rooms.filling); important pictures count several times.
4. Down at once, up with patience. A picture that the link has lowered stays low for a while, longer with each rise that
   did not last; a rise has to fit into the least that the link held lately, less a margin. So within any 60 s a picture
   that stays in its slot and tile rises in at most MAX_RISES spells, whatever the estimate does. Who is not seen at all
   waits no longer than SEEN_AGAIN_S for the lowest rung, however often that has failed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.media.layer import HIGHEST, Rung, Selection, selection_of
from zvonim_sfu.rooms.filling import Menu, Option, cost_of, fill, fills, options_of, worth_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zvonim_sfu.rooms.view import Tile

# What pictures count that are in the focus: screens, pinned ones, the dominant speaker.
FOCUS_WEIGHT: Final = 4.0
# Part of the link that rises leave free.
MARGIN: Final = 1.15
# Lowest rungs of those who are seen may take so much of what the link is believed to hold: an estimate of little is
# uncertain, and if it was right it goes on to fall.
TOLERANCE: Final = 1.25
# The least that a link held is looked for in this time, and the same before it.
STEADY_S: Final = 1.0
# After the link has lowered a picture: until it may rise.
FIRST_PATIENCE_S: Final = 3.0
MOST_PATIENCE_S: Final = 60.0
# No longer than the second figure on a link that holds so many times what it did when it lowered the picture: it is
# another link, or whoever it was shared with has left.
WIDER: Final = 4.0
MOST_PATIENCE_WIDER_S: Final = 15.0
# The same for a picture that was paused and can have its lowest rung: seen now and then is better than not at all.
SEEN_AGAIN_S: Final = 5.0
# A rise that lasts less has failed, and the next one waits twice as long; one that lasts makes that half as long.
LASTING_S: Final = 30.0
# Starts of spells of rises within any 60 s, see above: at 0, 3, 9, 21, 36 and 51 s, and one more from before.
MAX_RISES: Final = 7
# How much better it has to be that others get what some have, in doublings of one picture's resolution or frame rate.
WORTHWHILE: Final = 1.0


class Reason(StrEnum):
    """Why a picture is not better than it is; a client words it."""

    BEST = "best"
    """It is as good as the publisher sends it, and as the tile needs it."""
    TILE = "tile"
    """Its tile shows no more."""
    LINK = "link"
    """The subscriber's link does not hold more."""
    PUBLISHER = "publisher"
    """The publisher sends no better one, though the tile would show it."""
    KEYFRAME = "keyframe"
    """It waits for a keyframe."""
    HIDDEN = "hidden"
    """Nobody looks at it."""
    SOURCE = "source"
    """The publisher sends nothing now."""


class Picture(NamedTuple):
    """One video slot that carries a track."""

    mid: str
    key: str
    """Of the track."""
    ladder: tuple[Rung, ...]
    """What there is of it, in ascending order."""
    tile: Tile | None = None
    """None: any size."""
    is_screen: bool = False
    is_focus: bool = False
    """Whether it counts several times."""


class Memory(NamedTuple):
    """What the next decision is to know of the former ones about a picture."""

    rose_at: float = -math.inf
    lowered_at: float = -math.inf
    """When the link did that."""
    patience_s: float = FIRST_PATIENCE_S
    """From then on, until it may rise."""
    lowered_bps: float = 0.0
    """What the link held for pictures then."""


class Choice(NamedTuple):
    """What one slot gets, and why."""

    key: str
    """Of the track that it is about."""
    rung: Rung | None
    """None: nothing, or nothing is known yet."""
    selection: Selection | None
    """What to aim for; None: send nothing."""
    reason: Reason
    available_bps: int = 0
    """What the link holds for this picture."""
    needed_bps: int = 0
    """Rate of the rung that the tile would show."""
    wants_more: bool = False
    """Whether the tile would show a larger layer than any that is known."""
    memory: Memory = Memory()


@dataclass(frozen=True, slots=True)
class Allotment:
    """What all slots of one subscriber get."""

    choices: Mapping[str, Choice] = field(default_factory=lambda: MappingProxyType({}))
    """By mid."""
    wanted_bps: int = 0
    """What would be sent if the link held it, the reserve included."""
    spent_bps: int = 0
    """What will be, the reserve included."""
    is_limited: bool = False
    """Whether anybody would get more on a better link."""
    lows: tuple[float, float, float] = (-math.inf, math.inf, math.inf)
    """Since when the least estimate is looked for; it, and the one of the time before."""


NOTHING: Final = Allotment()
# Who comes back from these starts anew.
_NOT_SHOWN: Final = frozenset({Reason.HIDDEN, Reason.SOURCE})


class _Standing(NamedTuple):
    """Where a picture begins when it is decided anew."""

    level: int
    """The option that it has; -1: none."""
    memory: Memory
    is_new: bool = False


class _Budgets(NamedTuple):
    """What all pictures together may take, bit/s."""

    seen: float
    """In the lowest option each, so that none is paused."""
    present: float
    """In what they have."""
    rises: float
    """In more than that."""


def distribute(
    pictures: Sequence[Picture],
    estimate_bps: float | None,
    before: Allotment,
    now: float,
    *,
    reserved_bps: float = 0.0,
) -> Allotment:
    """Return what each slot gets.

    Args:
        pictures: the most important first.
        estimate_bps: what the link holds; None: nobody knows, so all that is wanted.
        before: the result of the last call.
        now: s, monotonic.
        reserved_bps: what is sent whatever the pictures are: sounds.
    """
    menus = [
        Menu(
            options_of(picture.ladder, picture.tile, picture.is_screen),
            FOCUS_WEIGHT if picture.is_focus or picture.is_screen else 1.0,
        )
        for picture in pictures
    ]
    wanted = sum(menu.options[-1].bitrate for menu in menus if menu.options)
    stood = [_standing(picture, menu.options, before) for picture, menu in zip(pictures, menus, strict=True)]
    lows = NOTHING.lows if estimate_bps is None else _note(before.lows, estimate_bps, now)
    budget = left = math.inf
    if estimate_bps is None:
        levels = [len(menu.options) - 1 for menu in menus]
    else:
        budget = estimate_bps - reserved_bps
        budgets = _Budgets(
            seen=budget if any(past.is_new for past in stood) else TOLERANCE * estimate_bps - reserved_bps,
            present=budget,
            rises=min(lows[1:]) / MARGIN - reserved_bps,
        )
        levels = _settle(menus, stood, budgets, now)
        left = max(0.0, budget - cost_of(menus, levels))
    choices = {
        picture.mid: _choice(picture, menu.options, level, left, _remember(former, level, budget, now))
        for picture, menu, level, former in zip(pictures, menus, levels, stood, strict=True)
    }
    is_limited = any(choice.reason is Reason.LINK for choice in choices.values())
    spent = cost_of(menus, levels) + reserved_bps
    return Allotment(choices, int(wanted + reserved_bps), int(spent), is_limited, lows)


def exchange(before: Allotment, gone: Iterable[str], came: Iterable[Picture], *, is_measured: bool) -> Allotment:
    """Return what each slot gets when some carry other pictures, of which nothing has come yet; the rest keeps its own.

    It is what `distribute` would return where nobody is limited: what is not known yet costs nothing, and what goes
    leaves nobody more than all. So who comes and who goes costs those who stay no decision.

    Args:
        before: the last result, not limited.
        gone: mids of the slots that carry their picture no longer.
        came: pictures without ladders, and in which slots.
        is_measured: whether there is an estimate of the link.
    """
    choices = dict(before.choices)
    wanted, spent = before.wanted_bps, before.spent_bps
    for choice in [choices.pop(mid) for mid in gone if mid in choices]:
        wanted -= choice.needed_bps
        spent -= choice.rung.bitrate if choice.rung is not None else 0
    left = 0.0 if is_measured else math.inf
    choices |= {picture.mid: _choice(picture, (), -1, left, Memory()) for picture in came}
    return Allotment(choices, wanted, spent, before.is_limited, before.lows)


def _note(lows: tuple[float, float, float], estimate_bps: float, now: float) -> tuple[float, float, float]:
    """Return the least estimates of late, this one among them."""
    since, lowest, former = lows
    if now - since < STEADY_S:
        return since, min(lowest, estimate_bps), former
    return now, estimate_bps, lowest if now - since < 2 * STEADY_S else math.inf


def _standing(picture: Picture, options: Sequence[Option], before: Allotment) -> _Standing:
    """Return what this slot was given before, if that was of the same track; a new picture has its lowest option."""
    lowest = min(0, len(options) - 1)
    past = before.choices.get(picture.mid)
    if past is None or past.key != picture.key:
        return _Standing(lowest, Memory(), is_new=True)
    if past.reason in _NOT_SHOWN:
        return _Standing(lowest, past.memory)
    if past.rung is None:
        return _Standing(-1, past.memory)
    had = past.rung.spatial, past.rung.temporal
    level = lowest
    for k, (_, _, rung) in enumerate(options):
        place = rung.spatial, rung.temporal
        if place == had:
            return _Standing(k, past.memory)
        if place < had:
            level = k
    return _Standing(level, past.memory)


def _settle(menus: Sequence[Menu], stood: Sequence[_Standing], budgets: _Budgets, now: float) -> list[int]:
    """Return which option each picture gets, -1 for none."""
    had = kept = [standing.level for standing in stood]
    if cost_of(menus, had) > budgets.present:
        # What came anew is to be seen at once, which may cost others theirs.
        seen = fill(menus, [-1] * len(had), [min(0, level) for level in had], budgets.seen)
        kept = fill(menus, seen, had, budgets.present)
    most = [
        _most(level, len(menu.options) - 1, memory, budgets.rises, now)
        for menu, (_, memory, _), level in zip(menus, stood, kept, strict=True)
    ]
    if most == kept:
        return kept
    risen = fill(menus, kept, most, budgets.rises)
    if risen != most:
        # Who is seen stays so: the link holds that, though perhaps not with the margin that rises leave.
        others = fill(menus, [min(0, level) for level in kept], most, budgets.rises)
        if worth_of(menus, others) >= worth_of(menus, risen) + WORTHWHILE:
            return others
    return risen


def _most(level: int, highest: int, memory: Memory, steady: float, now: float) -> int:
    """Return to which option a picture may rise now."""
    waited_s = now - memory.lowered_at
    is_wider = steady >= WIDER * memory.lowered_bps
    if waited_s >= (min(memory.patience_s, MOST_PATIENCE_WIDER_S) if is_wider else memory.patience_s):
        return highest
    return min(0, highest) if level < 0 and waited_s >= SEEN_AGAIN_S else level


def _remember(stood: _Standing, level: int, budget: float, now: float) -> Memory:
    """Return what to know of a picture when it rises or is lowered next."""
    rose_at, lowered_at, patience, lowered_bps = memory = stood.memory
    if stood.is_new or level == stood.level:
        return memory
    if level > stood.level:
        return Memory(now, lowered_at, patience, lowered_bps)
    if rose_at > lowered_at:
        has_failed = now - rose_at < LASTING_S
        patience = min(2 * patience, MOST_PATIENCE_S) if has_failed else max(patience / 2, FIRST_PATIENCE_S)
    return Memory(rose_at, now, patience, max(budget, 0.0))


def _choice(picture: Picture, options: Sequence[Option], level: int, left: float, memory: Memory) -> Choice:
    """Return what a picture gets, with the reason; `left` is what is left of the link."""
    rung, needed = None, 0
    selection: Selection | None = None
    wants_more = picture.tile is None
    if picture.tile is not None and picture.tile.is_hidden:
        reason, wants_more = Reason.HIDDEN, False
    elif not options:
        # Whatever comes may come: the lowest of it where the link is narrow, until its rates are known.
        reason, wants_more = Reason.SOURCE, True
        selection = selection_of(0, HIGHEST.temporal) if math.isfinite(left) else HIGHEST
    else:
        top = options[-1].rung
        needed = top.bitrate
        is_filled = picture.tile is not None and fills(top, picture.tile)
        if level >= 0:
            rung = options[level].rung
            selection = selection_of(rung.spatial, rung.temporal)
        wants_more = not is_filled and level == len(options) - 1
        if level < len(options) - 1:
            reason = Reason.LINK
        elif picture.tile is None:
            reason = Reason.BEST
        elif not is_filled:
            reason = Reason.PUBLISHER
        else:
            reason = Reason.TILE if top.spatial < picture.ladder[-1].spatial else Reason.BEST
    available = int(min(needed, left + (rung.bitrate if rung is not None else 0)))
    return Choice(picture.key, rung, selection, reason, available, needed, wants_more, memory)
