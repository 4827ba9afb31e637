"""What one participant receives: which tracks, and in which slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zvonim_sfu.rooms.allocation import Precedence, allocate
from zvonim_sfu.rooms.audience import OFFERED, Reception
from zvonim_sfu.rooms.events import SlotChange, Slots
from zvonim_sfu.rooms.view import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from zvonim_sfu.media.peer import Peer
    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.rooms.allocation import Claims, Published
    from zvonim_sfu.rooms.events import ServerMessage


class Viewer:
    """Gives a peer its tracks, and tells its client. Its participant owns it, and makes another for another peer."""

    def __init__(self, user_id: str, peer: Peer, send: Callable[[ServerMessage], None], *, slot_mode: bool) -> None:
        self.slot_mode = slot_mode
        self.view = EVERYTHING
        "What is on the client's screen. Who sets it has the room call `update`."
        self._user_id = user_id
        self._peer = peer
        self._send = send
        self._assignment: dict[str, UpTrack | None] = {}
        self._told: dict[str, str | None] = {}  # key of the track that the client believes to be in a slot, by mid

    def update(self, published: Published[UpTrack], claims: Claims) -> Reception:
        """Receive what the others publish, as far as there are slots; `claims` says who goes first."""
        if not self.slot_mode:
            self._peer.set_tracks(published.others_than(self._user_id))
            return OFFERED
        view = self.view
        hidden = {mid for mid, tile in view.tiles.items() if tile.is_hidden}
        precedence = Precedence(claims, view.wishes, hidden)
        assignment = allocate(published, self._user_id, self._peer.slots, self._assignment, precedence)
        if assignment != self._assignment or assignment.keys() != self._told.keys():
            given_up = dict.fromkeys(self._assignment)
            self._assignment = assignment
            self._peer.assign(given_up | assignment)
            self._tell_slots()
        held = frozenset(track.key for track in assignment.values() if track is not None)
        waiting = (published.by_key.get(key) for key in precedence.claimants - held)
        return Reception(
            has_slots=True,
            held=held,
            wished=frozenset(wish.key for wish in view.wishes),
            open=frozenset(slot.kind for slot in self._peer.slots if assignment[slot.mid] is None),
            lacks=any(track is not None and track.participant_id != self._user_id for track in waiting),
        )

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
        self._told = {mid: _key(track) for mid, track in self._assignment.items()}


def _key(track: UpTrack | None) -> str | None:
    return None if track is None else track.key
