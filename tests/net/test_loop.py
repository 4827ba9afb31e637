"""The event loop that reads media sockets while it waits."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.net.kernels import KERNELS
from zvonim_sfu.net.loop import MediaLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


class Reader:
    """A media socket, and what came by it."""

    def __init__(self, *, calls_others: bool) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.near.setblocking(False)
        self.calls_others = calls_others
        self.read: list[bytes] = []
        self.then: Callable[[], object] = lambda: None

    def __call__(self) -> bool:
        self.read.append(self.near.recv(100))
        self.then()
        return self.calls_others

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture(params=KERNELS)
def loop(request: pytest.FixtureRequest) -> Iterator[MediaLoop]:
    loop = MediaLoop(KERNELS[request.param].MediaSelector())
    yield loop
    loop.close()


@pytest.fixture(params=[False, True], ids=["kernel alone", "calls others"])
def reader(request: pytest.FixtureRequest, loop: MediaLoop) -> Iterator[Reader]:
    reader = Reader(calls_others=request.param)
    loop.add_media_reader(reader.near, reader)
    yield reader
    loop.remove_media_reader(reader.near)
    reader.close()


def run(loop: MediaLoop, work: Coroutine[Any, Any, None]) -> None:
    loop.run_until_complete(asyncio.wait_for(work, 5))


def test_media_are_read_while_the_loop_waits(loop: MediaLoop, reader: Reader) -> None:
    async def work() -> None:
        for number in range(3):
            reader.far.send(bytes([number]))
        await asyncio.sleep(0.05)
        assert reader.read == [b"\0", b"\1", b"\2"]
        await asyncio.sleep(0.05)

    run(loop, work())


def test_timers_keep_their_time_while_media_come(loop: MediaLoop, reader: Reader) -> None:
    reader.then = lambda: reader.far.send(b"again")

    async def work() -> None:
        reader.far.send(b"first")
        await asyncio.sleep(0.05)
        began = loop.time()
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert loop.time() - began >= 0.05
        reader.then = lambda: None

    run(loop, work())
    assert len(reader.read) > 10


def test_other_sockets_and_threads_have_their_turn_while_media_come(loop: MediaLoop, reader: Reader) -> None:
    reader.then = lambda: reader.far.send(b"again")

    async def work() -> None:
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            other.setblocking(False)
            reader.far.send(b"first")
            received = asyncio.ensure_future(loop.sock_recv(one, 10))
            await asyncio.sleep(0.01)
            await loop.sock_sendall(other, b"hello")
            assert await received == b"hello"
            done = asyncio.Event()
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(done.set,))
            thread.start()
            await done.wait()
            thread.join()
        reader.then = lambda: None

    run(loop, work())


def test_what_a_reader_gives_the_loop_to_do_is_done_at_once(loop: MediaLoop) -> None:
    reader = Reader(calls_others=True)
    loop.add_media_reader(reader.near, reader)

    async def work() -> None:
        done = loop.create_future()
        reader.then = lambda: loop.call_later(0.01, done.set_result, None)
        loop.call_later(0.01, reader.far.send, b"media")
        began = time.monotonic()
        await done
        assert time.monotonic() - began >= 0.02

    loop.call_later(60, lambda: None)  # what it would wait for otherwise
    run(loop, work())
    loop.remove_media_reader(reader.near)
    reader.close()


def test_what_a_reader_raises_is_told_and_ends_nothing(loop: MediaLoop, reader: Reader) -> None:
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))

    def fail() -> None:
        raise LookupError("a fault")

    reader.then = fail

    async def work() -> None:
        for _ in range(2):
            reader.far.send(b"media")
            await asyncio.sleep(0.01)

    run(loop, work())
    assert [str(context["exception"]) for context in told] == ["a fault"] * 2
    assert len(reader.read) == 2


def test_a_reader_that_was_removed_is_not_called(loop: MediaLoop) -> None:
    reader = Reader(calls_others=False)
    loop.add_media_reader(reader.near, reader)
    loop.remove_media_reader(reader.near)

    async def work() -> None:
        reader.far.send(b"media")
        await asyncio.sleep(0.02)

    run(loop, work())
    reader.close()
    assert reader.read == []


def test_a_wait_without_media_ends_when_it_should(loop: MediaLoop, reader: Reader) -> None:
    async def work() -> None:
        began = time.monotonic()
        await asyncio.sleep(0.03)
        assert time.monotonic() - began >= 0.03

    run(loop, work())
    assert reader.read == []
