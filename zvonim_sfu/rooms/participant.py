"""A participant: a user's identity in a room, its WebSocket, and the peer that carries its media."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from typing import TYPE_CHECKING, Final

from zvonim_sfu.media.peer import Peer
from zvonim_sfu.rooms.demand import Demand
from zvonim_sfu.rooms.events import (
    SFU_ID,
    Answer,
    CloseCode,
    Offer,
    ParticipantInfo,
    TrackInfo,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
    UserJoined,
)
from zvonim_sfu.rooms.statistics import ParticipantStatistics
from zvonim_sfu.rooms.view import EVERYTHING
from zvonim_sfu.rooms.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from zvonim_sfu.media.source import Source
    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.rooms.allocation import Claims
    from zvonim_sfu.rooms.audience import Reception
    from zvonim_sfu.rooms.events import AudioLevels, Connection, DominantSpeaker, ServerMessage, Signal
    from zvonim_sfu.rooms.room import Room
    from zvonim_sfu.rooms.steps import Steps
    from zvonim_sfu.rooms.view import View

# 192 bits.
_SECRET_BYTES: Final = 24


class Participant:
    """One user in one room. Its room makes it, and closes it when it leaves.

    It owns its peer and its timer; of its connection it is told. It is the PeerListener of its peer.
    """

    def __init__(self, room: Room, user_id: str, user_name: str, *, log: FilteringBoundLogger) -> None:
        self.user_id = user_id
        self.user_name = user_name
        self.secret = secrets.token_urlsafe(_SECRET_BYTES)
        "What only its own client is told, in the answer to the REST join: proves that a request is its own."
        self.nested_form = False
        "The JSON form that its client speaks. Its sessions set it; it is kept for the next one's first words."
        self._room = room
        self._log = log
        self._connection: Connection | None = None
        self._joined = False
        self._peer: Peer | None = None
        self._viewer: Viewer | None = None
        "There is one for each peer."
        self._demand: Demand | None = None
        "The same."
        self._slot_mode = False
        self._tracks: dict[str, UpTrack] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._expire_after(room.limits.join_timeout_s)

    def is_proven_by(self, secret: str | None) -> bool:
        """Whether this is its secret; how long that takes tells nothing about it."""
        return secret is not None and hmac.compare_digest(secret.encode(errors="replace"), self.secret.encode())

    @property
    def is_online(self) -> bool:
        """Whether its WebSocket is open."""
        return self._connection is not None

    @property
    def is_joined(self) -> bool:
        """Whether it ever sent `join`, and was announced to the others."""
        return self._joined

    @property
    def connection(self) -> Connection | None:
        """Its open WebSocket."""
        return self._connection

    @property
    def tracks(self) -> Sequence[UpTrack]:
        """Its up tracks, in the order of their publication."""
        return tuple(self._tracks.values())

    @property
    def info(self) -> ParticipantInfo:
        """What the others may know."""
        tracks = tuple(TrackInfo(track.id, track.source, track.muted) for track in self._tracks.values())
        return ParticipantInfo(self.user_id, self.user_name, self.is_online, tracks)

    def statistics(self) -> ParticipantStatistics:
        """What the operator may know."""
        media = self._peer.statistics() if self._peer is not None else None
        slots = list(self._viewer.qualities.entries()) if self._viewer is not None else []
        return ParticipantStatistics(self.user_id, self.user_name, self.is_online, media, slots)

    # The WebSocket

    def attach(self, connection: Connection) -> None:
        """Take over an open WebSocket, and close the one before it."""
        self._cancel_timer()
        replaced, self._connection = self._connection, connection
        if replaced is not None:
            replaced.close(CloseCode.REPLACED)
        if self._peer is not None:
            self._peer.resume()
            self._forget_told()

    def detach(self, connection: Connection) -> None:
        """Note that a WebSocket is gone. Unless it was replaced, the grace time begins."""
        if self._connection is connection:
            self._connection = None
            self._expire_after(self._room.limits.grace_s)

    def send(self, message: ServerMessage) -> None:
        """Send a message, or drop it while there is no WebSocket: `room-state` makes good for it later."""
        if self._connection is not None:
            self._connection.send(message)

    def tell_of_speakers(self, message: DominantSpeaker | AudioLevels, *, is_sample: bool = False) -> None:
        """Send a message that only clients in slot mode know; a sample may be left out, since a newer one follows."""
        if self._connection is not None and self._joined and self._slot_mode:
            (self._connection.sample if is_sample else self._connection.send)(message)

    def relay(self, signal: Signal) -> bool:
        """Send another participant's message. False: there is no WebSocket, or it is far behind."""
        return self._connection is not None and self._connection.relay(signal)

    # What the client asks for

    def join(self, user_name: str | None, *, slot_mode: bool) -> None:
        """Enter the room, or come back to it after a lost WebSocket: the client learns all there is to know."""
        first, self._joined = not self._joined, True
        if first and user_name is not None:
            self.user_name = user_name
        if self._peer is not None and (slot_mode != self._slot_mode or self._peer.connection_state == "failed"):
            self.close_peer()
        self._slot_mode = slot_mode
        self._require_peer()
        self.set_view(EVERYTHING)  # this may be another page, with other tiles
        self.send(self._room.state_for(self))
        if self._room.dominant.user_id is not None:
            self.tell_of_speakers(self._room.dominant)
        self._forget_told()
        if first:
            self._log.info("joined", slot_mode=slot_mode)
            self._room.broadcast(UserJoined(self.user_id, self.user_name), sender=self)

    def leave(self) -> None:
        """Leave the room for good."""
        self._room.remove(self.user_id, "left")

    def handle_offer(self, sdp: str, sources: Mapping[str, Source]) -> None:
        """Answer the client's offer. Raises NegotiationError."""
        answer = self._require_peer().handle_offer(sdp, sources)
        self.send(Answer(SFU_ID, self.user_id, answer))
        self._forget_told()

    def handle_answer(self, sdp: str) -> None:
        """Take the client's answer to the server's offer. Raises NegotiationError."""
        self._require_peer().handle_answer(sdp)

    def set_muted(self, track_id: str, *, muted: bool) -> bool:
        """Note that the client muted a track of its own, or unmuted it. False: it has no such track."""
        track = self._tracks.get(track_id)
        if track is None:
            return False
        if track.muted != muted:
            track.muted = muted
            self._room.on_track_muted()
            self._room.broadcast(TrackMuted(self.user_id, track_id, muted), sender=self)
        return True

    def set_view(self, view: View) -> bool:
        """Note what is on the client's screen. False: it joined without slots, which tiles stand for."""
        if self._viewer is not None:
            self._viewer.set_view(view)
            self._room.schedule_update(self)
        return self._slot_mode

    # What the room wants

    def update(self, steps: Steps[UpTrack], claims: Claims) -> Reception | None:
        """Receive what the others publish, as far as there are slots; `claims` says who goes first.

        Returns what it receives now; None while it has no peer.
        """
        return None if self._viewer is None else self._viewer.update(steps, claims)

    def follow_speakers(self, claims: Claims) -> None:
        """Somebody else speaks: where not all fits the link, that is to be seen best."""
        if self._viewer is not None:
            self._viewer.qualities.claims = claims
            if self._viewer.qualities.is_limited:
                self._viewer.qualities.schedule()

    def follow_ladders(self) -> None:
        """There is something else to be had of a track that it receives."""
        if self._viewer is not None:
            self._viewer.qualities.schedule()

    def close_peer(self) -> None:
        """End the media of this participant. The next `join` or offer begins anew."""
        peer, self._peer = self._peer, None
        if self._viewer is not None:
            self._viewer.close()
        self._viewer = None
        if peer is not None:
            peer.close()  # which takes its tracks away, see on_up_track_removed
        if self._demand is not None:
            self._demand.close()
        self._demand = None

    def close(self, code: CloseCode) -> None:
        """End everything that is its own. Called by its room, which has forgotten it already."""
        self._cancel_timer()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(code)
        self._tracks.clear()  # the others learn that the participant left, and need not hear of each track
        self.close_peer()

    # PeerListener

    def on_up_track_added(self, track: UpTrack) -> None:
        """Tell the others of a new track, and give it to them."""
        self._tracks[track.id] = track
        self._log.debug("track published", track=track.id, source=track.source)
        message = TrackPublished(self.user_id, track.id, track.source, track.muted)
        self._room.broadcast(message, sender=self)
        demand = self._demand.add(track) if self._demand is not None and track.kind == "video" else None
        self._room.on_track_added(track, demand)

    def on_up_track_removed(self, track: UpTrack) -> None:
        """Take a track away from the others."""
        if self._tracks.get(track.id) is not track:
            return  # the participant has left
        del self._tracks[track.id]
        if self._demand is not None:
            self._demand.remove(track)
        self._log.debug("track unpublished", track=track.id)
        self._room.broadcast(TrackUnpublished(self.user_id, track.id), sender=self)
        self._room.on_track_removed(track)

    def on_ladder_changed(self, track: UpTrack) -> None:
        """Let those who receive a track choose again."""
        self._room.on_ladder_changed(track)

    def on_estimate(self, now: float) -> None:
        """Let what is received follow the link."""
        if self._viewer is not None:
            self._viewer.qualities.on_estimate()

    def on_offer(self, sdp: str) -> None:
        """Send the server's own offer. While there is no WebSocket it waits in the peer, see Peer.resume."""
        self.send(Offer(SFU_ID, self.user_id, sdp))

    def on_track_unsupported(self, track: UpTrack) -> None:
        """Tell the client that it cannot receive a track."""
        self.send(self._room.unsupported(track))

    def on_connection_state(self, state: str) -> None:
        """Log the state, for who debugs: its transport has told the operator. All else is the peer's own affair."""
        self._log.debug("media connection", state=state)

    # Its own affairs

    def _require_peer(self) -> Peer:
        if self._peer is None:
            self._peer = Peer(
                self._room.node,
                self.user_id,
                listener=self,
                slot_mode=self._slot_mode,
                max_up_tracks=self._room.limits.up_tracks_per_participant,
                log=self._log,
            )
            self._viewer = Viewer(self.user_id, self._peer, self.send, self._room, slot_mode=self._slot_mode)
            self._demand = Demand(self.send, is_told=self._slot_mode)
            self._room.schedule_update(self)
        return self._peer

    def _forget_told(self) -> None:
        """Have all told again: this may be another page, with another session, behind the same WebSocket."""
        if self._viewer is not None:
            self._viewer.forget_told()
        if self._demand is not None:
            self._demand.tell_again()
        self._room.schedule_update(self)

    def _expire_after(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._room.remove(self.user_id, "expired")

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
