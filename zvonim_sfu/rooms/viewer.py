"""What one participant receives: which tracks, in which slots, and how good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zvonim_sfu.rooms.audience import OFFERED
from zvonim_sfu.rooms.demand import ALL_WANTED
from zvonim_sfu.rooms.qualities import Qualities
from zvonim_sfu.rooms.steps import told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zvonim_sfu.media.peer import Peer
    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.rooms.allocation import Claims
    from zvonim_sfu.rooms.audience import Reception
    from zvonim_sfu.rooms.events import ServerMessage
    from zvonim_sfu.rooms.room import Room
    from zvonim_sfu.rooms.steps import Step, Steps
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
        self._assignment: Mapping[str, UpTrack | None] = {}
        "What the slots carry, by mid."
        self._has_told = False
        "Whether the client knows it."
        self._hidden: frozenset[str] = frozenset()
        "Mids of the slots that the client does not show."

    def set_view(self, view: View) -> None:
        """Note what is on the client's screen. The room is to call `update` for what it asks for."""
        self.qualities.view = view
        self._hidden = frozenset(mid for mid, tile in view.tiles.items() if tile.is_hidden)
        self.qualities.schedule()

    def update(self, steps: Steps[UpTrack], claims: Claims) -> Reception:
        """Receive what the others publish, as far as there are slots; `claims` says who goes first."""
        self.qualities.claims = claims
        if not self.slot_mode:
            tracks = steps.published.others_than(self._user_id)
            self._peer.set_tracks(tracks)
            self.qualities.take({track.key: ALL_WANTED for track in tracks if track.kind == "video"})
            return OFFERED
        step = steps.find(
            self._user_id,
            self._peer.slots,
            self._assignment,
            claims=claims,
            wishes=self.qualities.view.wishes,
            hidden=self._hidden,
        )
        if step.given_up or step.taken or step.news.changes or not self._has_told:
            self._take(step)
        self._assignment = step.assignment
        return step.reception

    def _take(self, step: Step[UpTrack]) -> None:
        """Let the slots carry what they are to. What is chosen for a track is known to the peer before it comes."""
        if step.given_up:
            self._peer.assign(step.given_up)
        is_due = self.qualities.carry(step.tracks, gone=step.given_up, came=step.taken)
        if step.taken:
            self._peer.assign(step.taken)
        message = step.news if self._has_told else told(step.assignment)
        self._has_told = True
        mids = [change.mid for change in message.changes]
        if mids:
            self._send(message)
            self.qualities.forget_told(mids)
        if is_due:
            self.qualities.report()
        else:
            self.qualities.report_later((*mids, *step.taken))

    def close(self) -> None:
        """Receive nothing any more. The peer is its participant's to close."""
        self.qualities.close()

    def forget_told(self) -> None:
        """Have all slots told again with the next update: this may be another page behind the same WebSocket."""
        self._has_told = False
