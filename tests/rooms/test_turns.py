from __future__ import annotations

import asyncio
import time

import pytest

from zvonim_sfu.rooms import turns
from zvonim_sfu.rooms.turns import Turns


class Work:
    """Pieces of work that note that they were done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def one(self) -> None:
        self.done.append("one")

    def other(self) -> None:
        self.done.append("other")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LATER_S", 0.03)


@pytest.mark.asyncio
async def test_what_waits_is_done_once_in_order() -> None:
    queue, work = Turns(), Work()
    for piece in (work.one, work.other, work.one):
        queue.add(piece)
    assert work.done == []
    await asyncio.sleep(0)
    assert work.done == ["one", "other"]


@pytest.mark.asyncio
async def test_what_may_wait_is_done_later_or_with_the_first_who_wants_it() -> None:
    queue, work = Turns(), Work()
    queue.add_later(work.one)
    queue.add_later(work.other)
    await asyncio.sleep(0)
    assert work.done == []
    queue.add(work.other)
    queue.add_later(work.other)
    await asyncio.sleep(0)
    assert work.done == ["other"]
    await asyncio.sleep(0.05)
    assert work.done == ["other", "one"]


@pytest.mark.asyncio
async def test_what_is_left_undone_is_not_done_later_either() -> None:
    queue, work = Turns(), Work()
    for add in (queue.add, queue.add_later):
        add(work.one)
        queue.discard(work.one)
    queue.add_later(work.other)
    queue.close()
    await asyncio.sleep(0.05)
    assert work.done == []


@pytest.mark.asyncio
async def test_much_work_leaves_the_loop_turns_of_its_own() -> None:
    queue, work = Turns(), Work()

    def slow() -> None:
        time.sleep(2 * turns.SLICE_S)

    queue.add(slow)
    queue.add(work.one)
    seen = []
    for _ in range(3):
        await asyncio.sleep(0)
        seen.append(tuple(work.done))
    assert () in seen
    assert seen[-1] == ("one",)
