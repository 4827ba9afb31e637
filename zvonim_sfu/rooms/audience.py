"""Whom a change concerns: who receives a track, who would if it came, who wants it.

A room asks it instead of everybody in it, so what a change costs does not grow with those whom it does not concern.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zvonim_sfu.rooms.allocation import Track


class Reception(NamedTuple):
    """What a participant receives, and could."""

    has_slots: bool
    """Whether it declared slots; else it is offered everything."""
    held: frozenset[str] = frozenset()
    """Keys of the tracks in its slots."""
    wished: frozenset[str] = frozenset()
    """Keys of the tracks that it asks for by name, whether there are such or not."""
    open: frozenset[str] = frozenset()
    """Kinds of which it has free slots."""
    lacks: bool = False
    """Whether there is a track that it asks for, or that has a claim, and no slot for it."""


OFFERED: Final = Reception(has_slots=False)
"""What a documented client receives: everything."""


class Audience:
    """An index of receptions, by user_id. Its room keeps it true."""

    def __init__(self) -> None:
        self._receptions: dict[str, Reception] = {}
        self._offered: set[str] = set()
        self._slotted: set[str] = set()
        self._open: defaultdict[str, set[str]] = defaultdict(set)
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        self._wishing: defaultdict[str, set[str]] = defaultdict(set)
        self._lacking: set[str] = set()

    def note(self, user_id: str, reception: Reception) -> None:
        """Take over what a participant receives from now on."""
        before = self._receptions.get(user_id)
        if before == reception:
            return
        if before is None or before.has_slots != reception.has_slots:
            self.forget(user_id)
            (self._slotted if reception.has_slots else self._offered).add(user_id)
            before = Reception(reception.has_slots)
        self._receptions[user_id] = reception
        _move(self._open, user_id, before.open, reception.open)
        _move(self._holders, user_id, before.held, reception.held)
        _move(self._wishing, user_id, before.wished, reception.wished)
        (self._lacking.add if reception.lacks else self._lacking.discard)(user_id)

    def forget(self, user_id: str) -> None:
        """Take note that a participant receives nothing any more."""
        before = self._receptions.pop(user_id, None)
        if before is not None:
            self._offered.discard(user_id)
            self._slotted.discard(user_id)
            self._lacking.discard(user_id)
            _move(self._open, user_id, before.open, frozenset())
            _move(self._holders, user_id, before.held, frozenset())
            _move(self._wishing, user_id, before.wished, frozenset())

    def holders(self, key: str) -> Iterable[str]:
        """Who has a track in a slot."""
        return self._holders.get(key, ())

    def concerned_by_arrival(self, track: Track) -> set[str]:
        """Who may receive a track that came."""
        return self._offered.union(self._open.get(track.kind, ()), self._wishing.get(track.key, ()))

    def concerned_by_end(self, key: str) -> set[str]:
        """Who received a track that ended."""
        return self._offered.union(self.holders(key))

    def concerned_by_claims(self, keys: Iterable[str], *, lapsed: bool) -> set[str]:
        """Who has slots, but not all of these tracks in them; if claims have lapsed, who waited for that, too."""
        concerned = set(self._lacking) if lapsed else set()
        for key in keys:
            concerned |= self._slotted.difference(self.holders(key))
        return concerned


def _move(index: defaultdict[str, set[str]], user_id: str, before: frozenset[str], after: frozenset[str]) -> None:
    for key in after - before:
        index[key].add(user_id)
    for key in before - after:
        index[key].discard(user_id)
        if not index[key]:
            del index[key]
