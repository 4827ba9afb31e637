"""What waits for one client to be read: a queue with an end."""

from __future__ import annotations

import asyncio
from collections import deque


class Outbox:
    """Messages on their way to one client. Putting never waits.

    All that waits is taken at once while the client keeps up with reading; else one task gets one after the other.
    """

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
        return True

    @property
    def waiting_bytes(self) -> int:
        """How long all messages that wait are together."""
        return self._bytes

    def can_take(self, message: str) -> bool:
        """Tell whether the outbox would be no more than half full with this message too."""
        return 2 * len(self._messages) < self._max_messages and 2 * (self._bytes + len(message)) <= self._max_bytes

    def take(self) -> list[str]:
        """Return all that waits."""
        taken = list(self._messages)
        self._messages.clear()
        self._bytes = 0
        return taken

    def wake(self) -> None:
        """Let who waits for messages have those that are there."""
        self._changed.set()

    async def get(self) -> str | None:
        """Return the next message, None after the last one; waits until there is one and `wake` was called."""
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
