"""What a room makes of who speaks: whose microphone is forwarded, who has slots, what clients are told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from tests.rooms.support import Call, Client, settle
from tests.support.warp import run_warped
from zvonim_sfu.rooms.conversation import MAX_METERS
from zvonim_sfu.rooms.events import AudioLevel, AudioLevels, DominantSpeaker
from zvonim_sfu.rooms.limits import Limits
from zvonim_sfu.rooms.speakers import HOLD_S, TICK_S
from zvonim_sfu.rooms.view import View, Wish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.support.fake_peer import FakeTrack
    from tests.support.warp import WarpLoop

SLOTS = "microphone camera pairs={} audio={}"


def warped(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in a loop whose time passes at once."""

    def run(**arguments: object) -> None:
        async def work() -> None:
            await test(**arguments)

        run_warped(work())

    run.__name__, run.__doc__, run.__wrapped__ = test.__name__, test.__doc__, test  # type: ignore[attr-defined]
    return run


def enter(call: Call, *names: str, pairs: int = 16, audio: int = 0) -> list[Client]:
    return [call.enter(name, slot_mode=True, offer=SLOTS.format(pairs, audio)) for name in names]


def microphone(client: Client) -> FakeTrack:
    return client.peer.up["microphone"]


def heard(clients: Sequence[Client]) -> list[Client]:
    return [client for client in clients if not microphone(client).is_paused]


async def speak(seconds: float, *speakers: Client, level: int = 28) -> None:
    """Let these people speak, and time pass; no more than a packet of 20 ms at a time."""
    for _ in range(round(seconds / 0.02)):
        for client in speakers:
            microphone(client).levels.append(level)
        await asyncio.sleep(0.02)


def seen(client: Client) -> set[str]:
    """Whose cameras are in its slots."""
    return {
        track.participant_id for mid, track in client.peer.assigned.items() if track is not None and mid.startswith("v")
    }


@warped
async def test_who_speaks_is_told_to_clients_with_slots_and_to_no_others() -> None:
    call = Call()
    ann, bob = enter(call, "ann", "bob")
    old = call.enter("old", offer="microphone camera")
    await speak(1)
    assert ann.connection.take(DominantSpeaker) == []
    await speak(0.95, bob)
    for client in (ann, bob):
        messages = [m for m in client.connection.messages if isinstance(m, DominantSpeaker | AudioLevels)]
        assert messages == [DominantSpeaker(bob.id), *[AudioLevels((AudioLevel(bob.id, -28),))] * 4]
    assert all(not isinstance(m, DominantSpeaker | AudioLevels) for m in old.connection.messages)


@warped
async def test_the_message_comes_within_300_ms_of_the_first_word() -> None:
    call = Call()
    ann, bob = enter(call, "ann", "bob")
    await speak(1.03)
    ann.connection.messages.clear()
    await speak(0.3, bob)
    assert ann.connection.take(DominantSpeaker) == [DominantSpeaker(bob.id)]


@warped
async def test_levels_come_five_times_a_second_at_most_and_end_with_silence() -> None:
    call = Call()
    ann, bob = enter(call, "ann", "bob")
    for level in range(20, 40):
        await speak(0.1, bob, level=level)
    told = ann.connection.take(AudioLevels)
    assert 9 <= len(told) <= 10
    # Who is behind with reading gets none, but is told of silence.
    ann.connection.is_behind = True
    await speak(0.4, bob)
    assert ann.connection.take(AudioLevels) == []
    await speak(2)
    assert ann.connection.take(AudioLevels) == [AudioLevels(())]
    await speak(2)
    assert ann.connection.messages == []


@warped
async def test_levels_are_bounded_however_many_speak() -> None:
    call = Call(Limits(microphones_heard=0))
    people = enter(call, *map(str, range(MAX_METERS + 4)), pairs=0)
    people[0].connection.messages.clear()
    await speak(1, *people)
    assert {len(told.levels) for told in people[0].connection.take(AudioLevels)} == {MAX_METERS}


@warped
async def test_who_comes_later_is_told_of_the_dominant_speaker() -> None:
    call = Call()
    ann, bob = enter(call, "ann", "bob")
    await speak(1, bob)
    (cem,) = enter(call, "cem")
    assert cem.connection.take(DominantSpeaker) == [DominantSpeaker(bob.id)]
    # The floor falls free with its holder.
    ann.connection.messages.clear()
    bob.participant.leave()
    await speak(0.5)
    assert ann.connection.take(DominantSpeaker) == [DominantSpeaker(None)]


@warped
async def test_up_to_one_more_than_the_number_everybody_is_heard() -> None:
    call = Call(Limits(microphones_heard=3))
    people = enter(call, *"abcd")
    await speak(3, people[3])
    assert heard(people) == people


@warped
async def test_in_a_larger_call_those_are_heard_that_spoke_last() -> None:
    call = Call(Limits(microphones_heard=3))
    people = enter(call, *"abcdef")
    await settle()
    assert heard(people) == people[:3]
    await speak(0.3, people[5])
    assert heard(people) == [*people[:2], people[5]]
    await speak(2)
    await speak(0.3, people[4])
    assert heard(people) == [people[0], *people[4:]]
    # Nobody is cut off by who begins while all speak.
    await speak(2, *people[:2], people[5])
    before = heard(people)
    await speak(2, *people[:2], people[5], people[3])
    assert heard(people) == before == [*people[:2], people[5]]
    # As some leave, the others are heard again.
    people[0].participant.leave()
    people[1].participant.leave()
    await settle()
    assert heard(people[2:]) == people[2:]


@warped
async def test_zero_is_all() -> None:
    people = enter(Call(Limits(microphones_heard=0)), *map(str, range(12)))
    await speak(1, people[3])
    assert heard(people) == people


@warped
async def test_who_tells_no_levels_is_always_heard() -> None:
    call = Call(Limits(microphones_heard=2))
    people = enter(call, *"abcdef")
    microphone(people[5]).tells_levels = False
    await speak(1, people[0], people[1])
    assert heard(people) == [*people[:2], people[5]]


@warped
async def test_who_speaks_becomes_visible_within_300_ms_and_stays_a_while() -> None:
    call = Call()
    (viewer,) = enter(call, "viewer", pairs=3)
    people = enter(call, *"abcde")
    await speak(1.03)
    assert seen(viewer) == {client.id for client in people[:3]}
    await speak(0.3, people[4])
    assert people[4].id in seen(viewer)
    for talker in (people[0], people[1], people[4]):
        await speak(0.3, talker)
        await speak(1)
    # A word of somebody else does not end it, a turn does.
    recent = {people[index].id for index in (0, 1, 4)}
    assert seen(viewer) == recent
    await speak(0.3, people[3])
    assert seen(viewer) == recent
    await speak(1, people[3])
    assert seen(viewer) == recent - {people[0].id} | {people[3].id}
    await speak(HOLD_S)
    await speak(0.3, people[2])
    assert people[2].id in seen(viewer)


@warped
async def test_the_page_that_is_asked_for_comes_back_when_who_spoke_has_fallen_silent() -> None:
    call = Call()
    (viewer,) = enter(call, "viewer", pairs=2)
    people = enter(call, *"abcd")
    await speak(1)
    page = people[2:]
    viewer.participant.set_view(View(wishes=tuple(Wish(client.id, "camera", pinned=False) for client in page)))
    await settle()
    assert seen(viewer) == {client.id for client in page}
    await speak(0.3, people[0])
    assert people[0].id in seen(viewer)
    await speak(HOLD_S + 1)
    assert seen(viewer) == {client.id for client in page}
    # What is pinned stays, whoever speaks.
    viewer.participant.set_view(View(wishes=tuple(Wish(client.id, "camera", pinned=True) for client in page)))
    await speak(1, people[0])
    assert seen(viewer) == {client.id for client in page}


@warped
async def test_only_who_does_not_see_who_speaks_is_looked_at() -> None:
    call = Call()
    people = enter(call, *"abcd")
    narrow, narrower = enter(call, "x", pairs=4, audio=2)[0], enter(call, "y", pairs=2, audio=4)[0]
    await speak(1)
    updates = [client.peer.updates for client in (*people, narrow, narrower)]
    await speak(0.5, people[3])
    assert [client.peer.updates for client in (*people, narrow, narrower)] == [*updates[:-1], updates[-1] + 1]
    assert people[3].id in seen(narrower)


@warped
async def test_who_speaks_has_a_slot_for_its_sound_where_there_are_few() -> None:
    call = Call(Limits(microphones_heard=2))
    (viewer,) = enter(call, "viewer", pairs=2)
    people = enter(call, *"abcdef")
    for talker in (*people, *reversed(people)):
        await speak(1)
        await speak(0.3, talker)
        mids = {mid for mid, track in viewer.peer.assigned.items() if track is microphone(talker)}
        assert len(mids) == 1, talker
        assert talker in heard(people)


@warped
async def test_where_there_are_slots_for_all_nothing_is_assigned_again() -> None:
    call = Call()
    people = enter(call, *"abc")
    await speak(1)
    updates = [client.peer.updates for client in people]
    for talker in people:
        await speak(1, talker)
    assert [client.peer.updates for client in people] == updates


@warped
async def test_statistics_tell_who_speaks() -> None:
    call = Call()
    ann, bob = enter(call, "ann", "bob")
    await speak(1, bob)
    assert call.room is not None
    for client in (ann, bob):
        client.peer.statistics = lambda: None  # type: ignore[attr-defined]
    statistics = call.room.statistics()
    assert (statistics.dominant_speaker, statistics.levels) == (bob.id, {bob.id: -28})


@pytest.mark.parametrize("ending", ["leave", "close"])
@warped
async def test_a_room_without_people_has_no_timer(ending: str) -> None:
    call = Call()
    people = enter(call, "ann", "bob")
    await speak(1, people[0])
    if ending == "leave":
        for client in people:
            client.participant.leave()
    else:
        await call.registry.close()
    await asyncio.sleep(5 * TICK_S)
    loop = cast("WarpLoop", asyncio.get_running_loop())
    assert not [timer for timer in loop.timers() if "tick" in repr(timer) and not timer.cancelled()]
