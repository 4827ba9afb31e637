"""What a change in the room does to the slots of one subscriber, found once for all who are alike.

Many who watch the same few have the same slots and the same tracks in them: what comes or goes does the same to each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

from zvonim_sfu.rooms.allocation import NOBODY, Precedence, Track, allocate
from zvonim_sfu.rooms.audience import Reception
from zvonim_sfu.rooms.events import SlotChange, Slots

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from zvonim_sfu.media.peer import Slot
    from zvonim_sfu.rooms.allocation import Claims, Published
    from zvonim_sfu.rooms.view import Wish


class Told(Track, Protocol):
    """What a client is told of an up track."""

    @property
    def id(self) -> str:
        """Its name among those of its publisher."""

    @property
    def muted(self) -> bool:
        """Whether its publisher has muted it."""


T = TypeVar("T", bound=Told)

# Who watches differs in what it hides, and in when it came; of most kinds there are many.
_KEPT_STEPS: Final = 64


class Step(NamedTuple, Generic[T]):
    """From what the slots carried to what they carry; all by mid. It belongs to all who take it: nobody changes it."""

    assignment: Mapping[str, T | None]
    tracks: Mapping[str, T]
    """The slots that carry something."""
    given_up: Mapping[str, None]
    """Those that carry their track no longer."""
    taken: Mapping[str, T]
    """Those that carry a track which they did not."""
    news: Slots
    """What a client is to be told that knew all before; the same for all."""
    reception: Reception


class Steps(Generic[T]):
    """All that is published at one moment, and what follows from it for whom."""

    def __init__(self, published: Published[T]) -> None:
        self.published = published
        self._publishers = frozenset(track.participant_id for track in published.by_key.values())
        self._claims = NOBODY
        self._kept: dict[Hashable, Step[T]] = {}

    def find(
        self,
        participant_id: str,
        slots: Sequence[Slot],
        current: Mapping[str, T | None],
        *,
        claims: Claims = NOBODY,
        wishes: tuple[Wish, ...] = (),
        hidden: frozenset[str] = frozenset(),
    ) -> Step[T]:
        """Return what becomes of these slots, which carry `current` now; the other arguments as in `allocate`."""
        if wishes or participant_id in self._publishers:
            return self._find(participant_id, slots, current, Precedence(claims, wishes, hidden))
        if claims is not self._claims or len(self._kept) >= _KEPT_STEPS:
            self._claims, self._kept = claims, {}
        key = (tuple(slots), tuple(current.items()), hidden)
        step = self._kept.get(key)
        if step is None:
            step = self._kept[key] = self._find(participant_id, slots, current, Precedence(claims, (), hidden))
        return step

    def forget(self) -> None:
        """Find all anew: what clients are told of a track has changed."""
        self._kept = {}

    def _find(
        self, participant_id: str, slots: Sequence[Slot], current: Mapping[str, T | None], precedence: Precedence
    ) -> Step[T]:
        assignment = allocate(self.published, participant_id, slots, current, precedence)
        tracks = {mid: track for mid, track in assignment.items() if track is not None}
        held = frozenset(track.key for track in tracks.values())
        waiting = (self.published.by_key.get(key) for key in precedence.claimants - held)
        return Step(
            assignment,
            tracks,
            given_up={
                mid: None for mid, track in current.items() if track is not None and tracks.get(mid) is not track
            },
            taken={mid: track for mid, track in tracks.items() if current.get(mid) is not track},
            news=told(
                {
                    mid: track
                    for mid, track in assignment.items()
                    if mid not in current or _key(current[mid]) != _key(track)
                }
            ),
            reception=Reception(
                has_slots=True,
                held=held,
                wished=frozenset(precedence.wished),
                open=frozenset(slot.kind for slot in slots if assignment[slot.mid] is None),
                lacks=any(track is not None and track.participant_id != participant_id for track in waiting),
            ),
        )


def told(carried: Mapping[str, Told | None]) -> Slots:
    """Return the message that slots carry these from now on, by mid."""
    return Slots(
        tuple(
            SlotChange(mid, None, None, None, muted=False)
            if track is None
            else SlotChange(mid, track.participant_id, track.id, track.source, track.muted)
            for mid, track in carried.items()
        )
    )


def _key(track: Track | None) -> str | None:
    return None if track is None else track.key
