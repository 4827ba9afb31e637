"""Waiting in tests: ask again until it is so, and say what was seen when it never was."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
INTERVAL_S: Final = 0.1
"""Short against any deadline, long against what one question to a page costs."""


async def eventually(ask: Callable[[], Awaitable[T]], is_so: Callable[[T], bool], *, within: float, what: str) -> T:
    """Ask until `is_so(answer)`, for at most `within` seconds; return that answer.

    Raises AssertionError with `what` was expected and the last answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        answer = await ask()
        if is_so(answer):
            return answer
        if loop.time() > deadline:
            raise AssertionError(f"not within {within} s: {what}; last seen: {answer!r}")
        await asyncio.sleep(INTERVAL_S)


async def until(is_so: Callable[[], bool], within: float = 10) -> None:
    """Wait until something in this process is so; raises TimeoutError when it is not within that many seconds."""
    async with asyncio.timeout(within):
        while not is_so():  # noqa: ASYNC110 - what is asked for has no event
            await asyncio.sleep(INTERVAL_S / 5)
