from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest

from tests.support.fake_peer import FakeNode
from tests.support.warp import WarpLoop, run_warped
from zvonim_sfu.rooms.events import CloseCode
from zvonim_sfu.rooms.limits import Limits, valid_id
from zvonim_sfu.rooms.registry import Registry, RoomError

from .support import Call


def test_an_unknown_room_is_made_and_a_known_one_is_entered() -> None:
    async def scenario() -> None:
        registry = Call().registry
        room, ann = registry.join("stand-up", "Ann")
        same, bob = registry.join("stand-up", "Bob")
        assert room is same
        assert list(room.participants) == [ann.user_id, bob.user_id]
        assert registry.get("stand-up") is room
        assert registry.find("stand-up", bob.user_id) is bob
        assert registry.find("stand-up", "nobody") is None
        assert registry.find("nowhere", bob.user_id) is None
        assert room.created_at.utcoffset() == timedelta(0)

    run_warped(scenario())


def test_a_room_without_a_name_gets_one_that_can_be_read_out() -> None:
    async def scenario() -> None:
        registry = Call().registry
        names = {registry.join(None, "Ann")[0].id for _ in range(50)}
        assert len(names) == 50
        assert all(re.fullmatch("[a-z]{3}-[a-z]{4}-[a-z]{3}", name) for name in names)

    run_warped(scenario())


def test_user_ids_cannot_be_guessed_and_are_good_in_addresses() -> None:
    async def scenario() -> None:
        registry = Call().registry
        ids = {registry.join("room", "Ann")[1].user_id for _ in range(50)}
        assert len(ids) == 50
        assert all(len(user_id) >= 16 and valid_id(user_id, 64) for user_id in ids)  # 6 bits each

    run_warped(scenario())


def test_a_full_room_refuses_until_somebody_leaves() -> None:
    async def scenario() -> None:
        registry = Call(Limits(participants_per_room=2)).registry
        _, ann = registry.join("room", "Ann")
        registry.join("room", "Bob")
        with pytest.raises(RoomError) as refusal:
            registry.join("room", "Cem")
        assert refusal.value.code == "room-full"
        registry.leave("room", ann.user_id)
        registry.join("room", "Cem")

    run_warped(scenario())


def test_a_full_node_refuses_new_rooms_but_gives_up_empty_ones_first() -> None:
    async def scenario() -> None:
        registry = Call(Limits(rooms=2)).registry
        registry.join("one", "Ann")
        _, bob = registry.join("two", "Bob")
        with pytest.raises(RoomError) as refusal:
            registry.join("three", "Cem")
        assert refusal.value.code == "too-many-rooms"
        registry.join("one", "Cem")
        registry.leave("two", bob.user_id)
        registry.join("three", "Cem")
        assert list(registry.rooms) == ["one", "three"]

    run_warped(scenario())


def test_leaving_twice_or_from_nowhere_is_fine() -> None:
    async def scenario() -> None:
        registry = Call().registry
        room, ann = registry.join("room", "Ann")
        registry.leave("room", ann.user_id)
        registry.leave("room", ann.user_id)
        registry.leave("nowhere", ann.user_id)
        assert not room.participants

    run_warped(scenario())


def test_an_empty_room_is_forgotten_after_a_while_unless_somebody_comes() -> None:
    async def scenario() -> None:
        registry = Call().registry
        room, ann = registry.join("room", "Ann")
        registry.leave("room", ann.user_id)
        await asyncio.sleep(59)
        again, bob = registry.join("room", "Bob")
        assert again is room
        await asyncio.sleep(59)  # Bob's join timeout is not over yet
        assert registry.get("room") is room
        registry.leave("room", bob.user_id)
        await asyncio.sleep(61)
        assert registry.get("room") is None

    run_warped(scenario())


def test_closing_tells_every_client_and_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        call = Call()
        ann, bob = call.enter("Ann", offer="camera"), call.enter("Bob")
        call.registry.join("other", "never came")
        bob.drop()
        await call.registry.close()
        assert ann.connection.closed_with is CloseCode.GOING_AWAY
        assert ann.peer.is_closed
        assert bob.peer.is_closed
        assert not call.registry.rooms
        assert asyncio.all_tasks() == {asyncio.current_task()}
        # No timer is left: the loop would come to it in no time.
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WarpLoop)
        assert [handle for handle in loop.timers() if not handle.cancelled()] == []

    run_warped(scenario())


def test_closing_does_not_wait_for_a_client_that_does_not_answer() -> None:
    async def scenario() -> None:
        call = Call()
        ann = call.enter("Ann")
        ann.connection.hangs = True
        before = asyncio.get_running_loop().time()
        await call.registry.close()
        assert asyncio.get_running_loop().time() - before < 5
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_warped(scenario())


def test_a_registry_without_rooms_closes_at_once() -> None:
    async def scenario() -> None:
        await Registry(FakeNode().as_node(), Limits()).close()

    run_warped(scenario())
