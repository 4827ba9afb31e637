"""What it takes of a room that somebody comes or goes: things are counted, whatever the time that they take."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING
from unittest import mock

from tests.rooms.support import Call, Client, settle
from tests.support.fake_peer import FakeTrack, make_slots
from tests.support.warp import run_warped
from zvonim_sfu.media.source import Source
from zvonim_sfu.rooms import steps
from zvonim_sfu.rooms.allocation import NOBODY, Precedence, Published, allocate
from zvonim_sfu.rooms.events import SlotChange, SlotQualities, Slots, TrackPublished, UserJoined, UserLeft
from zvonim_sfu.rooms.qualities import TELL_INTERVAL_S, Qualities
from zvonim_sfu.rooms.quality import Reason
from zvonim_sfu.rooms.steps import Steps

if TYPE_CHECKING:
    from zvonim_sfu.media.layer import Rung

WATCHERS = 30
NOTHING_YET: tuple[Rung, ...] = ()


def watch(call: Call, number: int = WATCHERS) -> list[Client]:
    """Let so many come who publish nothing, and see and hear four others."""
    return [call.enter(f"watcher {k}", slot_mode=True, offer="pairs=4") for k in range(number)]


def come(call: Call, name: str) -> Client:
    """Let somebody come whose camera has sent nothing yet."""
    client = call.enter(name, slot_mode=True, offer="microphone camera pairs=4")
    client.peer.up["camera"].rungs = NOTHING_YET
    return client


async def rest(*clients: Client) -> None:
    await asyncio.sleep(5)
    for client in clients:
        client.connection.messages.clear()


def test_who_comes_costs_each_of_the_others_one_update_and_no_message_twice() -> None:
    async def scenario() -> None:
        call = Call()
        ann, watchers = come(call, "Ann"), watch(call)
        await rest(ann, *watchers)
        updates = [client.peer.updates for client in watchers]
        bob = come(call, "Bob")
        await settle()
        assert [client.peer.updates for client in watchers] == [count + 1 for count in updates]
        slots = Slots(
            (
                SlotChange("a1", bob.id, "microphone", Source.MICROPHONE, muted=False),
                SlotChange("v1", bob.id, "camera", Source.CAMERA, muted=False),
            )
        )
        for client in watchers:
            assert client.connection.messages == [
                UserJoined(bob.id, "Bob"),
                TrackPublished(bob.id, "microphone", Source.MICROPHONE, muted=False),
                TrackPublished(bob.id, "camera", Source.CAMERA, muted=False),
                slots,
            ]
        # It is rendered once, as it is made once.
        assert len({id(client.connection.messages[-1]) for client in watchers}) == 1
        await rest(ann, *watchers)
        bob.participant.leave()
        await settle()
        for client in watchers:
            assert [type(message) for message in client.connection.messages] == [UserLeft, Slots]

    run_warped(scenario())


def test_slots_are_assigned_once_for_all_who_are_alike() -> None:
    async def scenario() -> None:
        call = Call()
        ann, watchers = come(call, "Ann"), watch(call)
        await rest(ann, *watchers)
        with mock.patch.object(steps, "allocate", side_effect=allocate) as assign:
            bob = come(call, "Bob")
            await settle()
            # For Ann, for Bob, and for those who watch.
            assert assign.call_count == 3
            bob.participant.leave()
            await settle()
            assert assign.call_count == 5

    run_warped(scenario())


def test_nothing_is_decided_for_those_who_have_all_that_they_want() -> None:
    async def scenario() -> None:
        call = Call()
        ann, watchers = come(call, "Ann"), watch(call)
        await rest(ann, *watchers)
        with mock.patch.object(Qualities, "decide", autospec=True, side_effect=Qualities.decide) as decide:
            bob = come(call, "Bob")
            await asyncio.sleep(5 * TELL_INTERVAL_S)
            of_the_newcomer = decide.call_count
            assert of_the_newcomer <= 2
            # That nothing comes of it is told all the same.
            for client in watchers:
                (qualities,) = client.connection.take(SlotQualities)
                assert [(entry.mid, entry.reason) for entry in qualities.slots] == [("v1", Reason.SOURCE)]
            bob.participant.leave()
            await asyncio.sleep(5 * TELL_INTERVAL_S)
            assert decide.call_count == of_the_newcomer
            assert all(client.connection.take(SlotQualities) == [] for client in watchers)

    run_warped(scenario())


def test_who_is_given_a_track_that_was_muted_meanwhile_is_told_so() -> None:
    async def scenario() -> None:
        call = Call()
        first, second = watch(call, 2)
        await rest(first, second)
        ann = come(call, "Ann")
        assert call.room is not None
        call.room.catch_up(first.id)
        ann.participant.set_muted("microphone", muted=True)
        await settle()
        for client, muted in ((first, False), (second, True)):
            (message,) = client.connection.take(Slots)
            assert {change.track_id: change.muted for change in message.changes} == {
                "microphone": muted,
                "camera": False,
            }

    run_warped(scenario())


def test_what_is_kept_for_others_is_what_is_found_for_each() -> None:
    chance = random.Random(5)
    tracks = [
        FakeTrack(f"p{k}", source.value, source) for k in range(5) for source in (Source.MICROPHONE, Source.CAMERA)
    ]
    found: Steps[FakeTrack] = Steps(Published(tracks))
    carried = [None, *tracks, FakeTrack("gone", "camera", Source.CAMERA)]
    for _ in range(2000):
        slots = make_slots(chance.choice([1, 3]), chance.choice([0, 1]))
        current = {
            slot.mid: chance.choice([track for track in carried[:4] if track is None or track.kind == slot.kind])
            for slot in slots
        }
        hidden = frozenset(slot.mid for slot in slots if chance.random() < 0.1)
        user = chance.choice(["p1", "eve", "bob"])
        step = found.find(user, slots, current, hidden=hidden)
        assignment = allocate(Published(tracks), user, slots, current, Precedence(NOBODY, (), hidden))
        assert step.assignment == assignment
        carrying = {mid: track for mid, track in assignment.items() if track is not None}
        assert step.tracks == carrying
        left = dict(current)
        left.update(step.given_up)
        assert {**left, **step.taken} == assignment
        assert [change.mid for change in step.news.changes] == [
            mid for mid, track in assignment.items() if current[mid] is not track
        ]
        assert step.reception.held == {track.key for track in carrying.values()}


def test_not_more_is_kept_than_some_kinds_of_people() -> None:
    found: Steps[FakeTrack] = Steps(Published([FakeTrack("ann", "camera", Source.CAMERA)]))
    slots = make_slots(7, 0)
    current = dict.fromkeys(slot.mid for slot in slots)
    kinds = [frozenset(f"v{k}" for k in range(7) if number >> k & 1) for number in range(128)]
    with mock.patch.object(steps, "allocate", side_effect=allocate) as assign:
        for hidden in (kinds[0], kinds[0]):
            found.find("eve", slots, current, hidden=hidden)
        assert assign.call_count == 1
        for hidden in (*kinds, kinds[0]):
            found.find("eve", slots, current, hidden=hidden)
        assert assign.call_count == 1 + 127 + 1
