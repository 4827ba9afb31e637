"""Which slot carries which track: a pure function, for one subscriber in slot mode.

What is the same for all subscribers is found once (Published), and for who has no free slot it looks at the slots only.

Rules, the stronger first:

1. Tracks are of five classes (Precedence): what the client pinned, the dominant speaker's, those that have a claim (of
   somebody who speaks), what the client asks for else, and all others.
2. A track stays in its slot as long as it lives, unless one of a higher class finds no other: a slot that changes hands
   costs a keyframe and a glitch. Then the lowest class goes first; in it what is hidden, then the last in rank: who
   spoke longest ago or never.
3. A microphone and a camera of one participant share a stream (audio k, video k), and so do a screen and its sound:
   browsers keep only tracks of one stream in lip sync.
4. The higher class is served first, then what was published first.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from zvonim_sfu.media.source import Source

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from zvonim_sfu.media.peer import Slot
    from zvonim_sfu.rooms.view import Wish

# The sound that belongs to a picture.
_SOUND_OF: Final = {Source.CAMERA: Source.MICROPHONE, Source.SCREEN: Source.SCREEN_AUDIO}


class Track(Protocol):
    """What the allocation knows of an up track."""

    @property
    def key(self) -> str:
        """Names the track among all of the room."""

    @property
    def participant_id(self) -> str:
        """Who publishes it."""

    @property
    def kind(self) -> str:
        """`audio` or `video`."""

    @property
    def source(self) -> Source:
        """What it shows or carries."""


T = TypeVar("T", bound=Track)


class Published(Generic[T]):
    """The up tracks of a room at one moment; what comes first is served first."""

    def __init__(self, tracks: Iterable[T]) -> None:
        self.by_key = {track.key: track for track in tracks}

    def others_than(self, participant_id: str) -> list[T]:
        """Return those of everybody else."""
        return [track for track in self.by_key.values() if track.participant_id != participant_id]

    @cached_property
    def partners(self) -> Mapping[str, str]:
        """The key of the other half, by key: the first camera's is the first microphone, and so on."""
        return _partners(self.by_key.values())


@dataclass(frozen=True, slots=True)
class Claims:
    """Who is to have slots before others, because it speaks."""

    tracks: frozenset[str]
    """Keys of the tracks that have a claim."""
    ranks: Mapping[str, int]
    """Place of each participant, 0 the first; who is not in it comes last."""
    dominant: str | None
    """The participant before whose claims others give way."""


NOBODY: Final = Claims(frozenset(), {}, None)


class Precedence:
    """Whose tracks go before whose, for one subscriber."""

    def __init__(
        self, claims: Claims = NOBODY, wishes: Sequence[Wish] = (), hidden: Container[str] = frozenset()
    ) -> None:
        self.hidden = hidden
        """Mids of slots that nobody looks at."""
        self._claims = claims
        self._wishes = {wish.key: place for place, wish in reversed(list(enumerate(wishes)))}
        self._pinned = frozenset(wish.key for wish in wishes if wish.pinned)

    @property
    def wished(self) -> Iterable[str]:
        """Keys of the tracks that the client asks for, whether there are such or not."""
        return self._wishes

    @property
    def claimants(self) -> frozenset[str]:
        """Keys of what is not in the lowest class."""
        return self._claims.tracks.union(self._wishes)

    def of(self, track: Track) -> tuple[int, float]:
        """Return the class of a track, 0 the highest, and its place in it."""
        claims = self._claims
        if track.key in self._pinned:
            return 0, self._wishes[track.key]
        if track.key in claims.tracks:
            is_dominant = track.participant_id == claims.dominant
            return (1, 0) if is_dominant else (2, claims.ranks.get(track.participant_id, math.inf))
        if track.key in self._wishes:
            return 3, self._wishes[track.key]
        return 4, -1 if track.participant_id == claims.dominant else claims.ranks.get(track.participant_id, math.inf)


def allocate(
    published: Published[T],
    participant_id: str,
    slots: Sequence[Slot],
    current: Mapping[str, T | None],
    precedence: Precedence,
) -> dict[str, T | None]:
    """Return what the slots carry, by mid: a track or None.

    Args:
        published: all that the subscriber may get, and its own.
        participant_id: the subscriber, who is given nothing of its own.
        slots: what it negotiated, at most one of a kind in a stream.
        current: the result of the last call.
        precedence: who goes first.
    """
    held: dict[Slot, T] = {}
    streams: dict[str, int] = {}
    for slot in slots:
        holder = current.get(slot.mid)
        track = None if holder is None else published.by_key.get(holder.key)
        if track is not None and track.kind == slot.kind and track.key not in streams:
            held[slot] = track
            streams[track.key] = slot.stream
    claimants = [
        track
        for key in precedence.claimants
        if key not in streams
        and (track := published.by_key.get(key)) is not None
        and track.participant_id != participant_id
    ]
    placed: dict[str, T] = {}
    if claimants or len(held) < len(slots):
        free = _FreeSlots(slots, [slot for slot in slots if slot not in held])
        if claimants:
            claimants.sort(key=lambda track: (precedence.of(track), track.key))
            first = _make_room(claimants, _Held(held, precedence), free, published.partners)
            streams = {track.key: slot.stream for slot, track in held.items()}
            placed = _place(first, free, streams, published.partners)
        if free.has("audio") or free.has("video"):
            waiting = {
                track.key: track
                for track in published.others_than(participant_id)
                if free.has(track.kind) and track.key not in streams
            }
            if waiting:
                placed |= _place(waiting, free, streams, published.partners)
    return {slot.mid: held.get(slot) or placed.get(slot.mid) for slot in slots}


class _Held(Generic[T]):
    """The slots that carry something."""

    def __init__(self, tracks: dict[Slot, T], precedence: Precedence) -> None:
        self.tracks = tracks
        self.streams = {track.key: slot.stream for slot, track in tracks.items()}
        self._precedence = precedence

    def yielding(self, claimant: T, beside: int | None) -> Slot | None:
        """Return the slot that is to change hands, if any: of the lowest class, of that the last.

        What is hidden goes first; then what is in the stream `beside`.
        """
        own, _ = self._precedence.of(claimant)
        found: tuple[tuple[int, bool, bool, float], Slot] | None = None
        for slot, track in reversed(self.tracks.items()):
            if slot.kind == claimant.kind:
                its, place = self._precedence.of(track)
                value = (its, slot.mid in self._precedence.hidden, slot.stream == beside, place)
                if its > own and (found is None or value > found[0]):
                    found = (value, slot)
        return None if found is None else found[1]


def _make_room(claimants: Sequence[T], held: _Held[T], free: _FreeSlots, partners: Mapping[str, str]) -> dict[str, T]:
    """Take slots away from lower classes, until there is one for each claimant; returns those for whom there is."""
    left = {kind: free.count(kind) for kind in ("audio", "video")}
    winners: dict[str, T] = {}
    for track in claimants:
        if left[track.kind]:
            left[track.kind] -= 1
        else:
            slot = held.yielding(track, held.streams.get(partners.get(track.key, "")))
            if slot is None:
                continue
            del held.tracks[slot]
            free.give(slot)
            held.streams[track.key] = slot.stream
        winners[track.key] = track
    return winners


def _place(
    tracks: Mapping[str, T], free: _FreeSlots, streams: dict[str, int], partners: Mapping[str, str]
) -> dict[str, T]:
    """Find slots for the tracks that have none. `streams` tells, and is told, where those that have one are."""
    waiting = dict(tracks)
    placed: dict[str, T] = {}

    def put(key: str, stream: int) -> None:
        track = waiting.pop(key)
        placed[free.take(track.kind, stream)] = track
        streams[key] = stream

    for key, track in list(waiting.items()):  # beside the other half, which is there already
        stream = streams.get(partners.get(key, ""))
        if stream is not None and free.has(track.kind, stream):
            put(key, stream)
    for key in list(waiting):  # both halves into a stream that has room for both
        partner = partners.get(key)
        if key in waiting and partner in waiting and (whole := free.whole()):
            put(key, whole[0])
            put(partner, whole[0])
    for kind in ("video", "audio"):  # sound finds a place beside any picture, so pictures choose first
        for key in [key for key, track in waiting.items() if track.kind == kind]:
            if free.has(kind):
                put(key, free.best(kind))
    return placed


class _FreeSlots:
    """The slots that carry nothing: mid by stream, for each kind."""

    def __init__(self, slots: Iterable[Slot], vacant: Iterable[Slot]) -> None:
        self._mids: dict[str, dict[int, str]] = {"audio": {}, "video": {}}
        for slot in vacant:
            self._mids[slot.kind][slot.stream] = slot.mid
        self._pairs = frozenset(slot.stream for slot in slots if slot.kind == "video")

    def has(self, kind: str, stream: int | None = None) -> bool:
        """Tell whether there is a free slot of a kind, in a certain stream if that matters."""
        return bool(self._mids[kind]) if stream is None else stream in self._mids[kind]

    def take(self, kind: str, stream: int) -> str:
        """Return the mid of a slot that is free no longer."""
        return self._mids[kind].pop(stream)

    def count(self, kind: str) -> int:
        """How many of a kind there are."""
        return len(self._mids[kind])

    def give(self, slot: Slot) -> None:
        """Take back a slot that carries nothing any more."""
        self._mids[slot.kind][slot.stream] = slot.mid

    def whole(self) -> list[int]:
        """Streams in which both slots are free."""
        return [stream for stream in self._mids["video"] if stream in self._mids["audio"]]

    def best(self, kind: str) -> int:
        """The stream for a track whose other half is not there: it may still come, but need not.

        A picture takes a whole pair if it can. A sound does so while pairs are plentiful, and else spares them:
        it takes a slot that is for sound alone, or the place beside a stranger's picture.
        """
        whole = self.whole()
        streams = self._mids[kind]
        if kind == "video" or 2 * len(whole) > len(self._pairs):
            return whole[0] if whole else next(iter(streams))
        return min(streams, key=lambda stream: (stream in self._mids["video"], stream in self._pairs))


def _partners(tracks: Iterable[Track]) -> dict[str, str]:
    by_source: defaultdict[tuple[str, Source], list[str]] = defaultdict(list)
    for track in tracks:
        by_source[track.participant_id, track.source].append(track.key)
    partners: dict[str, str] = {}
    for (participant_id, source), pictures in list(by_source.items()):
        if source in _SOUND_OF:
            for picture, sound in zip(pictures, by_source.get((participant_id, _SOUND_OF[source]), ()), strict=False):
                partners[picture] = sound
                partners[sound] = picture
    return partners
