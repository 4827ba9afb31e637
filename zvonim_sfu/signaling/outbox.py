"""What waits for one client to be read: a queue with an end."""

from __future__ import annotations

import asyncio
from collections import deque


class Outbox:
    """Messages on their way to one client. Putting never waits; one task gets them."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[str] = deque()
        self._bytes = 0
        self._finished = False
        self._changed = asyncio.Event()

    def put(self, message: str) -> bool:
        """Add a message, of ASCII characters. False: it would be one too many, and was not added."""
        if self._finished:
            return True  # nobody is going to read it
        if len(self._messages) >= self._max_messages or self._bytes + len(message) > self._max_bytes:
            return False
        self._messages.append(message)
        self._bytes += len(message)
        self._changed.set()
        return True

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for the client."""
        return not self._messages

    def can_take(self, message: str) -> bool:
        """Tell whether the outbox would be no more than half full with this message too."""
        return 2 * len(self._messages) < self._max_messages and 2 * (self._bytes + len(message)) <= self._max_bytes

    async def get(self) -> str | None:
        """Wait for the next message; None after the last one."""
        while not self._messages:
            if self._finished:
                return None
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self._bytes -= len(message)
        return message

    def finish(self, *, discard: bool) -> None:
        """Take no more messages, and forget those that wait if they are to be discarded."""
        if discard:
            self._messages.clear()
            self._bytes = 0
        self._finished = True
        self._changed.set()
