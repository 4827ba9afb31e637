"""A peer without a network and without SDP, for tests of rooms and signalling."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from zvonim_sfu.media.layer import Rung, Selection
from zvonim_sfu.media.peer import Slot
from zvonim_sfu.media.session import NegotiationError
from zvonim_sfu.media.source import Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zvonim_sfu.media.node import MediaNode
    from zvonim_sfu.media.peer_listener import PeerListener
    from zvonim_sfu.media.up_track import UpTrack


class FakeLayer(NamedTuple):
    """An encoding of an up track."""

    rid: str
    spatial: int


@dataclass(eq=False)
class FakeTrack:
    """An up track that carries nothing."""

    participant_id: str
    id: str
    source: Source
    muted: bool = False
    tells_levels: bool = True
    is_paused: bool = False
    levels: deque[int] = field(default_factory=deque)
    names: tuple[str, ...] = ("q", "h", "f")
    ordered: tuple[FakeLayer, ...] = ()
    rungs: tuple[Rung, ...] = (
        Rung(0, 0, 320, 180, 30.0, 150_000),
        Rung(1, 0, 640, 360, 30.0, 500_000),
        Rung(2, 0, 1280, 720, 30.0, 1_500_000),
    )
    "What there is of it, if it is a picture."

    def __post_init__(self) -> None:
        self.kind = self.source.kind
        self.key = f"{self.participant_id}/{self.id}"

    def ladder(self, now: float) -> tuple[Rung, ...]:
        return self.rungs if self.kind == "video" else (Rung(0, 0, 0, 0, 0.0, 32_000),)

    def pause(self) -> None:
        self.is_paused = True

    def resume(self, now: float) -> None:
        self.is_paused = False


@dataclass
class FakeDownTrack:
    """An m-section that carries a track, but nothing of it."""

    up_track: FakeTrack | None
    current: tuple[int, int] | None = None
    waiting_since: float | None = None


@dataclass
class FakeNode:
    """Stands in for MediaNode, and remembers every peer."""

    peers: dict[str, FakePeer] = field(default_factory=dict)
    "The newest of each participant, by its id."
    made: list[FakePeer] = field(default_factory=list)

    def as_node(self) -> MediaNode:
        return cast("MediaNode", self)


class FakePeer:
    """Stands in for media.peer.Peer, patched into zvonim_sfu.rooms.participant.

    An offer is a list of words: a source publishes a track, `pairs=2` and `audio=1` declare slots, `bad` is refused,
    `boom` hits a defect. Unlike the real one it offers only when a test calls `offer`.
    """

    def __init__(
        self,
        node: FakeNode,
        participant_id: str,
        *,
        listener: PeerListener,
        slot_mode: bool,
        max_up_tracks: int,
        log: object,
    ) -> None:
        self.participant_id = participant_id
        self.slot_mode = slot_mode
        self.max_up_tracks = max_up_tracks
        self.connection_state = "new"
        self.slots: tuple[Slot, ...] = ()
        self.up: dict[str, FakeTrack] = {}
        self.tracks: list[FakeTrack] = []
        "What set_tracks was given last."
        self._assigned: dict[str, FakeTrack] = {}
        "What all calls of assign add up to."
        self.selected: dict[str, Selection | None] = {}
        "What all calls of select add up to."
        self.estimate_bps: float | None = None
        self.wanted_bps = 0.0
        self.waiting_since: float | None = None
        "Since when all its m-sections wait for a keyframe."
        self.updates = 0
        "Calls of set_tracks and assign that give it something."
        self.resumed = 0
        self.answers: list[str] = []
        self.is_closed = False
        self.fails = False
        "Whether the next update hits a defect."
        self._listener = listener
        node.made.append(self)
        node.peers[participant_id] = self

    @property
    def up_tracks(self) -> tuple[UpTrack, ...]:
        return cast("tuple[UpTrack, ...]", tuple(self.up.values()))

    def handle_offer(self, text: str, sources: Mapping[str, Source]) -> str:
        words = text.split()
        if "bad" in words:
            raise NegotiationError("invalid-sdp", "There is no v= line.")
        if "boom" in words:
            msg = "a defect"
            raise RuntimeError(msg)
        options = dict(word.split("=") for word in words if "=" in word)
        pairs, audio = int(options.get("pairs", 0)), int(options.get("audio", 0))
        self.slots = tuple(make_slots(pairs, audio)) if self.slot_mode else ()
        wanted = {word: Source(word.rstrip("-0123456789")) for word in words if "=" not in word}
        for track_id in [track_id for track_id in self.up if track_id not in wanted]:
            self._listener.on_up_track_removed(cast("UpTrack", self.up.pop(track_id)))
        for track_id, source in wanted.items():
            if track_id not in self.up:
                self.up[track_id] = FakeTrack(self.participant_id, track_id, source)
                self._listener.on_up_track_added(cast("UpTrack", self.up[track_id]))
        return f"answer to {text}"

    def handle_answer(self, text: str) -> None:
        self.answers.append(text)

    def set_tracks(self, tracks: Sequence[UpTrack]) -> None:
        self._update()
        self.tracks = list(cast("Sequence[FakeTrack]", tracks))

    def assign(self, assignment: Mapping[str, UpTrack | None]) -> None:
        if self.fails or any(assignment.values()):
            self._update()
        carried = self._assigned | cast("dict[str, FakeTrack | None]", assignment)
        self._assigned = {mid: track for mid, track in carried.items() if track is not None}

    @property
    def assigned(self) -> dict[str, FakeTrack | None]:
        """What each slot carries, by mid."""
        return dict.fromkeys(slot.mid for slot in self.slots) | self._assigned

    def select(self, choices: Mapping[str, Selection | None]) -> None:
        self.selected.update(choices)

    @property
    def down_tracks(self) -> dict[str, FakeDownTrack]:
        carried = self.assigned if self.slot_mode else dict(zip(map(str, range(999)), self.tracks, strict=False))
        return {
            mid: FakeDownTrack(track, selection and (selection.spatial, 0), self.waiting_since)
            for mid, track in carried.items()
            for selection in (self.selected.get(mid),)
        }

    def resume(self) -> None:
        self.resumed += 1

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            while self.up:
                self._listener.on_up_track_removed(cast("UpTrack", self.up.popitem()[1]))

    # What a test makes it do

    def find_estimate(self, bps: float | None) -> None:
        """Have it found what the link holds."""
        self.estimate_bps = bps
        self._listener.on_estimate(0.0)

    def change_ladder(self, track_id: str, *rungs: Rung) -> None:
        """Have other layers of a track of its client's come."""
        self.up[track_id].rungs = rungs
        self._listener.on_ladder_changed(cast("UpTrack", self.up[track_id]))

    def offer(self, text: str) -> None:
        """Have an offer of the server's own sent."""
        self._listener.on_offer(text)

    def find_unsupported(self, track: Any) -> None:
        """Have it found that the client cannot receive a track."""
        self._listener.on_track_unsupported(track)

    def _update(self) -> None:
        if self.fails:
            msg = "a defect"
            raise RuntimeError(msg)
        self.updates += 1


def make_slots(pairs: int, audio: int) -> list[Slot]:
    """Slots as a client declares them: pairs of sound and picture, and some for sound alone."""
    slots = [Slot(f"a{k}", "audio", k) for k in range(pairs + audio)]
    return slots + [Slot(f"v{k}", "video", k) for k in range(pairs)]
