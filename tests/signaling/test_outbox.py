from __future__ import annotations

import asyncio

import pytest

from zvonim_sfu.signaling.outbox import Outbox


@pytest.mark.asyncio
async def test_messages_leave_in_their_order() -> None:
    outbox = Outbox(10, 100)
    waiting = asyncio.create_task(outbox.get())
    await asyncio.sleep(0)
    assert outbox.put("one")
    assert outbox.put("two")
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.wake()
    assert await waiting == "one"
    assert await outbox.get() == "two"


def test_all_that_waits_is_taken_at_once() -> None:
    outbox = Outbox(2, 100)
    outbox.put("one")
    outbox.put("two")
    assert outbox.waiting_bytes == 6
    assert outbox.take() == ["one", "two"]
    assert outbox.take() == []
    assert outbox.waiting_bytes == 0
    assert outbox.put("three")


@pytest.mark.asyncio
async def test_number_and_bytes_are_bounded() -> None:
    outbox = Outbox(2, 100)
    assert outbox.put("one")
    assert outbox.put("two")
    assert not outbox.put("three")
    assert await outbox.get() == "one"
    assert not outbox.put("x" * 98)
    assert outbox.put("x" * 97)


@pytest.mark.asyncio
async def test_what_waits_when_it_is_finished_still_leaves() -> None:
    outbox = Outbox(10, 100)
    outbox.put("last")
    outbox.finish(discard=False)
    assert outbox.put("nobody reads this")
    assert await outbox.get() == "last"
    assert await outbox.get() is None
    assert await outbox.get() is None


@pytest.mark.asyncio
async def test_what_waits_may_be_discarded() -> None:
    outbox = Outbox(10, 100)
    outbox.put("last")
    outbox.finish(discard=True)
    assert await outbox.get() is None


@pytest.mark.asyncio
async def test_finishing_wakes_who_waits() -> None:
    outbox = Outbox(10, 100)
    waiting = asyncio.create_task(outbox.get())
    await asyncio.sleep(0)
    outbox.finish(discard=False)
    assert await waiting is None


def test_only_half_of_it_can_be_taken_by_others() -> None:
    outbox = Outbox(4, 100)
    assert outbox.can_take("x" * 50)
    assert not outbox.can_take("x" * 51)
    outbox.put("one")
    assert outbox.can_take("two")
    outbox.put("two")
    assert not outbox.can_take("three")
