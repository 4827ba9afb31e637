"""What one participant receives: which tracks, in which slots, and how good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zvonim_sfu.rooms.allocation import Precedence, allocate
from zvonim_sfu.rooms.audience import OFFERED, Reception
from zvonim_sfu.rooms.demand import ALL_WANTED
from zvonim_sfu.rooms.events import SlotChange, Slots
from zvonim_sfu.rooms.qualities import Qualities

if TYPE_CHECKING:
    from collections.abc import Callable

    from zvonim_sfu.media.peer import Peer
    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.rooms.allocation import Claims, Published
    from zvonim_sfu.rooms.events import ServerMessage
    from zvonim_sfu.rooms.room import Room
    from zvonim_sfu.rooms.view import View


class Viewer:
    """Gives a peer its tracks, and tells its client. Its participant owns it, and makes another for another peer."""

    def __init__(
        self,
        user_id: str,
        peer: Peer,
        send: Callable[[ServerMessage], None],
        room: Room,
        *,
        slot_mode: bool,
    ) -> None:
        self.slot_mode = slot_mode
        self.qualities = Qualities(peer, room, send if slot_mode else None)
        self._user_id = user_id
        self._peer = peer
        self._send = send
        self._assignment: dict[str, UpTrack | None] = {}
        self._told: dict[str, str | None] = {}  # key of the track that the client believes to be in a slot, by mid

    def set_view(self, view: View) -> None:
        """Note what is on the client's screen. The room is to call `update` for what it asks for."""
        self.qualities.view = view
        self.qualities.schedule()

    def update(self, published: Published[UpTrack], claims: Claims) -> Reception:
        """Receive what the others publish, as far as there are slots; `claims` says who goes first."""
        self.qualities.claims = claims
        if not self.slot_mode:
            tracks = published.others_than(self._user_id)
            self._peer.set_tracks(tracks)
            self.qualities.take({track.key: ALL_WANTED for track in tracks if track.kind == "video"})
            return OFFERED
        view = self.qualities.view
        hidden = {mid for mid, tile in view.tiles.items() if tile.is_hidden}
        precedence = Precedence(claims, view.wishes, hidden)
        assignment = allocate(published, self._user_id, self._peer.slots, self._assignment, precedence)
        if assignment != self._assignment or assignment.keys() != self._told.keys():
            self._assign(assignment)
        held = frozenset(track.key for track in assignment.values() if track is not None)
        waiting = (published.by_key.get(key) for key in precedence.claimants - held)
        return Reception(
            has_slots=True,
            held=held,
            wished=frozenset(wish.key for wish in view.wishes),
            open=frozenset(slot.kind for slot in self._peer.slots if assignment[slot.mid] is None),
            lacks=any(track is not None and track.participant_id != self._user_id for track in waiting),
        )

    def _assign(self, assignment: dict[str, UpTrack | None]) -> None:
        """Let the slots carry these. What is chosen for a track is known to the peer before the track comes."""
        before, self._assignment = self._assignment, assignment
        tracks = {mid: track for mid, track in assignment.items() if track is not None}
        given_up = {mid: None for mid, track in before.items() if track is not None and tracks.get(mid) is not track}
        if given_up:
            self._peer.assign(given_up)
        is_news = self.qualities.carry(tracks)
        taken = {mid: track for mid, track in tracks.items() if before.get(mid) is not track}
        if taken:
            self._peer.assign(taken)
        self._tell_slots()
        if is_news:
            self.qualities.report()

    def close(self) -> None:
        """Receive nothing any more. The peer is its participant's to close."""
        self.qualities.close()

    def forget_told(self) -> None:
        """Have all slots told again with the next update: this may be another page behind the same WebSocket."""
        self._told = {}

    def _tell_slots(self) -> None:
        """Send the slots that carry something else than the client believes."""
        changes = tuple(
            SlotChange(mid, None, None, None, muted=False)
            if track is None
            else SlotChange(mid, track.participant_id, track.id, track.source, track.muted)
            for mid, track in self._assignment.items()
            if mid not in self._told or self._told[mid] != _key(track)
        )
        if changes:
            self._send(Slots(changes))
            self.qualities.forget_told(change.mid for change in changes)
        self._told = {mid: _key(track) for mid, track in self._assignment.items()}


def _key(track: UpTrack | None) -> str | None:
    return None if track is None else track.key
