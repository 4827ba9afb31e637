"""Which slot carries which track: a pure function, for one subscriber in slot mode.

Rules, the stronger first:

1. A track stays in its slot as long as it lives. A slot that changes hands costs a keyframe and a glitch.
2. A microphone and a camera of one participant share a stream (audio k, video k), and so do a screen and its sound:
   browsers keep only tracks of one stream in lip sync.
3. What comes first in `tracks` is served first.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from zvonim_sfu.media.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zvonim_sfu.media.peer import Slot

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


def allocate(tracks: Sequence[T], slots: Sequence[Slot], current: Mapping[str, T | None]) -> dict[str, T | None]:
    """Return what the slots carry, by mid: a track or None.

    Args: `tracks`, all that the subscriber may get; `slots`, what it negotiated, at most one of a kind in a stream;
    `current`, the result of the last call.
    """
    result: dict[str, T | None] = {slot.mid: None for slot in slots}
    waiting = {track.key: track for track in tracks}
    free = _FreeSlots(slots)
    streams: dict[str, int] = {}
    for slot in slots:
        held = current.get(slot.mid)
        track = None if held is None else waiting.get(held.key)
        if track is not None and track.kind == slot.kind:
            result[free.take(slot.kind, slot.stream)] = track
            streams[track.key] = slot.stream
            del waiting[track.key]
    # In a large call most tracks wait, for slots that are all taken: that has to cost next to nothing.
    if free.has("audio") or free.has("video"):
        placeable = {key: track for key, track in waiting.items() if free.has(track.kind)}
        if placeable:
            result.update(_place(placeable, free, streams, _partners(tracks)))
    return result


def _place(
    waiting: dict[str, T], free: _FreeSlots, streams: Mapping[str, int], partners: Mapping[str, str]
) -> dict[str, T]:
    """Find slots for the tracks that have none. `streams` tells where those that have one are."""
    placed: dict[str, T] = {}

    def put(key: str, stream: int) -> None:
        track = waiting.pop(key)
        placed[free.take(track.kind, stream)] = track

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

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._mids: dict[str, dict[int, str]] = {"audio": {}, "video": {}}
        for slot in slots:
            self._mids[slot.kind][slot.stream] = slot.mid
        self._pairs = frozenset(self._mids["video"])

    def has(self, kind: str, stream: int | None = None) -> bool:
        """Tell whether there is a free slot of a kind, in a certain stream if that matters."""
        return bool(self._mids[kind]) if stream is None else stream in self._mids[kind]

    def take(self, kind: str, stream: int) -> str:
        """Return the mid of a slot that is free no longer."""
        return self._mids[kind].pop(stream)

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
    """Return, by key, the key of the other half: the first camera's is the first microphone, and so on."""
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
