"""Whatever people do, in whatever order, and whichever timers fire: what ought to be true of a room stays true."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule

from tests.support.fake_peer import FakeNode
from tests.support.warp import WarpLoop
from zvonim_sfu.rooms import view as sight
from zvonim_sfu.rooms.events import (
    RoomState,
    ServerMessage,
    Slots,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
    UserJoined,
    UserLeft,
)
from zvonim_sfu.rooms.limits import Limits
from zvonim_sfu.rooms.registry import Registry, RoomError
from zvonim_sfu.rooms.view import Tile, Wish

from .support import FakeConnection

if TYPE_CHECKING:
    from zvonim_sfu.rooms.participant import Participant

LIMITS = Limits(participants_per_room=5, rooms=2)

offers = st.sampled_from(
    ["pairs=2", "camera pairs=1", "microphone camera pairs=2 audio=1", "microphone", "screen camera-2 pairs=3"]
)


@dataclass
class View:
    """A room as a client sees it that adds up what it is told."""

    tracks: dict[str, dict[str, bool]] = field(default_factory=dict)
    "Whether a track is muted, by user_id and track_id."
    slots: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    is_complete: bool = False
    "Whether the room's state has been told since the WebSocket was opened."

    def apply(self, message: ServerMessage) -> None:
        match message:
            case RoomState():
                self.is_complete = True
                self.tracks = {p.user_id: {t.track_id: t.muted for t in p.tracks} for p in message.participants}
            case UserJoined():
                self.tracks.setdefault(message.user_id, {})
            case UserLeft():
                self.tracks.pop(message.user_id, None)
            case TrackPublished():
                self.tracks.setdefault(message.user_id, {})[message.track_id] = message.muted
            case TrackMuted():
                if message.user_id in self.tracks:
                    self.tracks[message.user_id][message.track_id] = message.muted
            case TrackUnpublished():
                self.tracks.get(message.user_id, {}).pop(message.track_id, None)
            case Slots():
                for change in message.changes:
                    held = change.user_id is not None and change.track_id is not None
                    self.slots[change.mid] = (str(change.user_id), str(change.track_id)) if held else None


@dataclass(eq=False)
class Person:
    """Somebody who joined a room, and what ought to be true of them."""

    room_id: str
    participant: Participant
    gone_at: float
    "When a timer removes them; infinite while the WebSocket is open."
    connection: FakeConnection | None = None
    view: View = field(default_factory=View)

    def hear(self) -> None:
        if self.connection is not None:
            for message in self.connection.messages:
                self.view.apply(message)
            self.connection.messages.clear()


class RoomLife(RuleBasedStateMachine):
    people: Bundle[Person] = Bundle("people")
    present: list[Person]
    "Those who ought to be in a room."

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=WarpLoop)
        self.node = FakeNode()
        self.present: list[Person] = []
        self.replaced: list[tuple[Person, FakeConnection]] = []

        self.registry = Registry(self.node.as_node(), LIMITS)

    def teardown(self) -> None:
        self.runner.run(self.end())
        self.runner.close()

    async def end(self) -> None:
        await self.registry.close()
        assert all(peer.is_closed for peer in self.node.made)
        assert [timer for timer in self.loop.timers() if not timer.cancelled()] == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    @property
    def loop(self) -> WarpLoop:
        loop = self.runner.get_loop()
        assert isinstance(loop, WarpLoop)
        return loop

    @rule(target=people, room_id=st.sampled_from(["one", "two"]))
    def join(self, room_id: str) -> Person | MultipleResults[Person]:
        async def work() -> Participant:
            return self.registry.join(room_id, "somebody")[1]

        if len([p for p in self.present if p.room_id == room_id]) == LIMITS.participants_per_room:
            with pytest.raises(RoomError, match="full"):
                self.runner.run(work())
            return multiple()
        participant = self.runner.run(work())
        person = Person(room_id, participant, self.loop.now + LIMITS.join_timeout_s)
        self.present.append(person)
        return person

    @rule(target=people, room_id=st.sampled_from(["one", "two"]), slot_mode=st.booleans(), offer=offers)
    def join_and_publish(self, room_id: str, slot_mode: bool, offer: str) -> Person | MultipleResults[Person]:
        person = self.join(room_id)
        if isinstance(person, Person):
            self.open_websocket(person)
            self.send_join(person, slot_mode)
            self.send_offer(person, offer)
        return person

    @rule(person=people)
    def open_websocket(self, person: Person) -> None:
        if person in self.present:
            if person.connection is not None:
                self.replaced.append((person, person.connection))
            person.connection, person.view = FakeConnection(), View()
            person.gone_at = float("inf")
            self.run(person.participant.attach, person.connection)

    @rule(person=people)
    def drop_websocket(self, person: Person) -> None:
        if person.connection is not None:
            self.run(person.participant.detach, person.connection)
            person.connection = None
            person.gone_at = self.loop.now + LIMITS.grace_s

    @rule()
    def a_replaced_websocket_closes(self) -> None:
        if self.replaced:
            person, connection = self.replaced.pop()
            assert connection.closed_with is not None
            self.run(person.participant.detach, connection)

    @rule(person=people, slot_mode=st.booleans())
    def send_join(self, person: Person, slot_mode: bool) -> None:
        if person.connection is not None:
            self.run(lambda: person.participant.join(None, slot_mode=slot_mode))

    @rule(person=people, offer=offers)
    def send_offer(self, person: Person, offer: str) -> None:
        if person.connection is not None and person.participant.is_joined:
            self.run(person.participant.handle_offer, offer, {})

    @rule(person=people, other=people, track=st.sampled_from(["camera", "screen"]), pinned=st.booleans())
    def look_at(self, person: Person, other: Person, track: str, pinned: bool) -> None:
        if person.connection is not None:
            tiles = {"v0": Tile(0, 0), "v1": Tile(320, 180)}
            wishes = (Wish(other.participant.user_id, track, pinned),)
            self.run(person.participant.set_view, sight.View(tiles, wishes))

    @rule(person=people, track=st.sampled_from(["camera", "microphone"]), muted=st.booleans())
    def mute(self, person: Person, track: str, muted: bool) -> None:
        if person.connection is not None:
            self.run(lambda: person.participant.set_muted(track, muted=muted))

    @rule(person=consumes(people))
    def leave(self, person: Person) -> None:
        self.run(self.registry.leave, person.room_id, person.participant.user_id)
        self.forget(person)

    @rule(seconds=st.sampled_from([0.01, 5.0, 19.0, 21.0, 61.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))
        for person in [person for person in self.present if person.gone_at <= self.loop.now]:
            self.forget(person)

    def run(self, action: object, *args: object) -> None:
        """Do something inside of the loop, and let everything happen that follows from it."""

        async def work() -> None:
            assert callable(action)
            action(*args)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        self.runner.run(work())

    def forget(self, person: Person) -> None:
        if person in self.present:
            self.present.remove(person)
            person.connection = None

    @invariant()
    def the_rooms_hold_exactly_the_people_who_are_there(self) -> None:
        held = {id(p) for room in self.registry.rooms.values() for p in room.participants.values()}
        assert held == {id(person.participant) for person in self.present}
        for person in self.present:
            assert person.participant.is_online == (person.connection is not None)
            assert self.registry.find(person.room_id, person.participant.user_id) is person.participant

    @invariant()
    def who_has_left_has_no_peer(self) -> None:
        there = {person.participant.user_id for person in self.present if person.participant.is_joined}
        open_peers = [peer.participant_id for peer in self.node.made if not peer.is_closed]
        assert sorted(open_peers) == sorted(there)

    @invariant()
    def everybody_receives_the_tracks_of_all_others_in_the_room(self) -> None:
        for person in self.present:
            if not person.participant.is_joined:
                continue
            peer = self.node.peers[person.participant.user_id]
            others = [p for p in self.present if p.room_id == person.room_id and p is not person]
            published = {id(track) for other in others for track in other.participant.tracks}
            if peer.slot_mode:
                given = [id(track) for track in peer.assigned.values() if track is not None]
                assert set(given) <= published
                assert len(set(given)) == len(given)
                # Nobody waits while there is a place.
                for kind in {slot.kind for slot in peer.slots if peer.assigned[slot.mid] is None}:
                    waiting = [t for o in others for t in o.participant.tracks if t.kind == kind and id(t) not in given]
                    assert waiting == []
            else:
                assert {id(track) for track in peer.tracks} == published

    @invariant()
    def who_adds_up_the_messages_knows_the_room(self) -> None:
        for person in self.present:
            person.hear()
            if person.connection is None or not person.view.is_complete:
                continue
            in_room = {p.participant.user_id: p.participant for p in self.present if p.room_id == person.room_id}
            assert person.view.tracks.keys() <= in_room.keys()
            for user_id, other in in_room.items():
                if other.is_joined and other is not person.participant:
                    assert person.view.tracks[user_id] == {track.id: track.muted for track in other.tracks}
            peer = self.node.peers[person.participant.user_id]
            if peer.slot_mode:
                for slot in peer.slots:
                    held = peer.assigned[slot.mid]
                    expected = None if held is None else (held.participant_id, held.id)
                    assert person.view.slots[slot.mid] == expected


RoomLife.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestRoomLife = RoomLife.TestCase
