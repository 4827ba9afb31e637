"""A room: its participants, and which tracks each of them gets."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import structlog

from zvonim_sfu import __version__
from zvonim_sfu.rooms.allocation import Published
from zvonim_sfu.rooms.audience import Audience
from zvonim_sfu.rooms.conversation import Conversation
from zvonim_sfu.rooms.events import CloseCode, Error, RoomState, UserLeft
from zvonim_sfu.rooms.ice_servers import ice_servers_for
from zvonim_sfu.rooms.participant import Participant
from zvonim_sfu.rooms.statistics import RoomStatistics
from zvonim_sfu.rooms.steps import Steps
from zvonim_sfu.rooms.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from zvonim_sfu.media.node import MediaNode
    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.rooms.demand import TrackDemand
    from zvonim_sfu.rooms.events import AudioLevels, DominantSpeaker, IceServer, ServerMessage
    from zvonim_sfu.rooms.ice_servers import SharedSecretServer
    from zvonim_sfu.rooms.limits import Limits

# 120 bits: who knows a user_id may speak for that user.
_USER_ID_BYTES: Final = 15


class Room:
    """A call. The registry makes it; it makes its participants, and closes them.

    When it has been empty for a while it calls `on_forgotten`, once.
    """

    def __init__(
        self,
        room_id: str,
        *,
        node: MediaNode,
        limits: Limits,
        ice_servers: tuple[IceServer | SharedSecretServer, ...],
        on_forgotten: Callable[[Room], None],
    ) -> None:
        self.id = room_id
        self.created_at = datetime.now(UTC)
        self.node = node
        self.limits = limits
        self._ice_servers = ice_servers
        self._on_forgotten = on_forgotten
        self._participants: dict[str, Participant] = {}
        self._steps: Steps[UpTrack] | None = None
        "None when it has to be made anew."
        self._audience = Audience()
        self.demands: dict[str, TrackDemand] = {}
        "What is taken of each video track, by its key."
        self.turns = Turns()
        self._due: dict[str, None] = {}
        "Who is looked at next, by user_id."
        self._empty_timer: asyncio.TimerHandle | None = None
        self._conversation = Conversation(self)
        self._log = structlog.get_logger().bind(room=room_id)
        self._log.info("room opened")

    @property
    def participants(self) -> Mapping[str, Participant]:
        """Participants by user_id, in the order in which they came."""
        return MappingProxyType(self._participants)

    @property
    def dominant(self) -> DominantSpeaker:
        """What clients in slot mode are told of the dominant speaker."""
        return self._conversation.dominant

    @property
    def is_full(self) -> bool:
        """Whether it takes nobody more."""
        return len(self._participants) >= self.limits.participants_per_room

    def add(self, user_name: str) -> Participant:
        """Make a participant, which has the join timeout to open its WebSocket."""
        self._cancel_empty_timer()
        user_id = secrets.token_urlsafe(_USER_ID_BYTES)
        participant = Participant(self, user_id, user_name, log=self._log.bind(participant=user_id))
        self._participants[user_id] = participant
        return participant

    def remove(self, user_id: str, reason: str) -> None:
        """End a participant's stay, whether it is there or not, and tell the others."""
        participant = self._participants.pop(user_id, None)
        if participant is None:
            return
        for track in participant.tracks:
            self.on_track_removed(track)
        self._audience.forget(user_id)
        participant.close(CloseCode.LEFT)
        self._log.info("left", participant=user_id, reason=reason)
        self.broadcast(UserLeft(user_id), sender=participant)
        if not self._participants:
            self._conversation.close()
            loop = asyncio.get_running_loop()
            self._empty_timer = loop.call_later(self.limits.empty_room_s, self._forget)

    def broadcast(self, message: ServerMessage, *, sender: Participant) -> None:
        """Send a message to all participants but the one that it is about."""
        for participant in self._participants.values():
            if participant is not sender:
                participant.send(message)

    def tell_slot_clients(self, message: DominantSpeaker | AudioLevels, *, is_sample: bool = False) -> None:
        """Tell all clients that declared slots who speaks."""
        for participant in self._participants.values():
            participant.tell_of_speakers(message, is_sample=is_sample)

    def state_for(self, participant: Participant) -> RoomState:
        """Return what a participant has to know of the room."""
        return RoomState(
            room_id=self.id,
            user_id=participant.user_id,
            participants=tuple(other.info for other in self._participants.values()),
            ice_servers=ice_servers_for(participant.user_id, self._ice_servers, time.time()),
            server_version=__version__,
        )

    def statistics(self) -> RoomStatistics:
        """Return what the operator may know of the room."""
        participants = [participant.statistics() for participant in self._participants.values()]
        levels = {measured.user_id: measured.level for measured in self._conversation.levels.levels}
        return RoomStatistics(self.id, self.created_at, self.dominant.user_id, levels, participants)

    def unsupported(self, track: UpTrack) -> Error:
        """Return the message for a client that can decode no codec of this track."""
        publisher = self._participants.get(track.participant_id)
        name = publisher.user_name if publisher is not None else track.participant_id
        return Error(
            code="codec-unsupported",
            message=f"This client cannot receive the {track.source} of {name}: it supports none of its codecs.",
            user_id=track.participant_id,
            track_id=track.id,
        )

    def on_track_added(self, track: UpTrack, demand: TrackDemand | None) -> None:
        """Somebody publishes a track: give it to who has a place for it."""
        self._steps = None
        if demand is not None:
            self.demands[track.key] = demand
        self._schedule(self._audience.concerned_by_arrival(track))

    def on_track_removed(self, track: UpTrack) -> None:
        """Somebody publishes a track no more: take it from who has it, and fill its place."""
        self._steps = None
        self.demands.pop(track.key, None)
        self._schedule(self._audience.concerned_by_end(track.key))

    def on_track_muted(self) -> None:
        """Who is given that track from now on is told so."""
        if self._steps is not None:
            self._steps.forget()

    def on_ladder_changed(self, track: UpTrack) -> None:
        """There is something else to be had of a track: let those who receive it choose again."""
        if track.key in self.demands:
            self.demands[track.key].on_ladder_changed()
            for user_id in self._audience.concerned_by_end(track.key):
                self._participants[user_id].follow_ladders()

    def schedule_update(self, participant: Participant) -> None:
        """Give a participant the tracks that are due."""
        self._schedule((participant.user_id,))

    def _schedule(self, user_ids: Iterable[str]) -> None:
        """Look at some participants soon. All that happens in one turn of the loop is one update."""
        self._due.update(dict.fromkeys(user_ids))
        if self._due or self._steps is None:
            self.turns.add(self._update)

    def close(self, code: CloseCode) -> None:
        """End the room and everybody's stay in it."""
        self._cancel_empty_timer()
        self._conversation.close()
        participants = list(self._participants.values())
        self._participants.clear()
        self._due.clear()
        self._steps = None
        self.demands.clear()
        for participant in participants:
            participant.close(code)
        self.turns.close()

    def follow_speakers(self, keys: Iterable[str], *, lapsed: bool) -> None:
        """Give slots to these tracks, where they have none: their publishers speak; `lapsed`: others do no more."""
        self._schedule(self._audience.concerned_by_claims(keys, lapsed=lapsed))
        for participant in self._participants.values():
            participant.follow_speakers(self._conversation.claims)

    def catch_up(self, user_id: str) -> None:
        """Let a participant follow now what it is to follow soon, if anything."""
        if user_id in self._due:
            del self._due[user_id]
            participant = self._participants.get(user_id)
            if participant is not None:
                self._update_one(participant, self._up_to_date())

    def _update(self) -> None:
        """Look at one of those who are due."""
        self._up_to_date()
        if self._due:
            self.catch_up(next(iter(self._due)))
        if self._due:
            self.turns.add(self._update)

    def _up_to_date(self) -> Steps[UpTrack]:
        """Return what is published now, and what follows from it."""
        if self._steps is None:
            participants = self._participants.values()
            self._steps = Steps(Published(track for participant in participants for track in participant.tracks))
            self._conversation.follow(tuple(self._steps.published.by_key.values()))
        return self._steps

    def _update_one(self, participant: Participant, steps: Steps[UpTrack]) -> None:
        try:
            reception = participant.update(steps, self._conversation.claims)
        except Exception:  # noqa: BLE001 - whatever it was, the others go on
            # A broken assumption costs this participant its media, and nobody else theirs.
            self._log.exception("update failed", participant=participant.user_id)
            participant.close_peer()
            participant.send(Error("internal", "The server failed to send media. Join again."))
            reception = None
        if reception is None:
            self._audience.forget(participant.user_id)
        else:
            self._audience.note(participant.user_id, reception)

    def _forget(self) -> None:
        self._empty_timer = None
        self._log.info("room forgotten")
        self._on_forgotten(self)

    def _cancel_empty_timer(self) -> None:
        if self._empty_timer is not None:
            self._empty_timer.cancel()
            self._empty_timer = None
