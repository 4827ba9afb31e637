"""What a benchmark has to know of a server. Each other module of this package is the adapter of one.

To add a server write one module here with `missing` and `start`; its name is what commands call it by.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Protocol, cast

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from benchmarks.client.generator import Generator
    from benchmarks.client.peer import Peer
    from benchmarks.client.traffic import Pattern, Simulcast, Source


class ServerError(Exception):
    """The server did not start, refused what a benchmark needs, or ended."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How somebody takes part."""

    publishes: tuple[Pattern | Simulcast, ...] = ()
    """At most one of each kind."""
    pairs: int = 0
    """How many others it can see and hear at a time."""
    audio: int = 0
    """How many more it can hear."""


class Member(Protocol):
    """Somebody in a room."""

    sources: Sequence[Source]
    """What it publishes; it sends when they are resumed."""

    @property
    def receiver(self) -> Peer:
        """Where media comes in."""

    @property
    def peers(self) -> Sequence[Peer]:
        """All its connections."""

    async def watch(self) -> None:
        """Receive what is published in the room now, as far as it was wished. Raises ServerError."""

    async def leave(self) -> None:
        """Say goodbye, and close all connections."""


class Server(Protocol):
    """A server that runs."""

    @property
    def version(self) -> str:
        """As the server itself tells it."""

    @property
    def pid(self) -> int:
        """Of its main process."""

    async def join(self, generator: Generator, room: str, wishes: Wishes) -> Member:
        """Enter a room, which is made if need be, and connect what publishes. Raises ServerError."""


class Adapter(Protocol):
    """A module of this package."""

    NOT_EQUALISED: Sequence[str]
    """In what the comparison with other servers is not like for like; sentences."""

    def missing(self) -> str:
        """Say what to install so that the server can be started; empty if nothing."""

    def start(self, host: str, command: str = "") -> AbstractAsyncContextManager[Server]:
        """Run the server until the context ends, its API on loopback and its media on `host`, an address of this
        machine; `command` names another executable than the usual one.

        Raises ServerError.
        """


def everybody() -> aiohttp.TCPConnector:
    """Return a connector for as many WebSockets as there are participants: aiohttp's own stops at 100."""
    return aiohttp.TCPConnector(limit=0)


def names() -> list[str]:
    """Return the names of all adapters."""
    found = (module.name for module in iter_modules(__path__))
    return sorted(name for name in found if hasattr(import_module(f"{__name__}.{name}"), "start"))


def adapter(name: str) -> Adapter:
    """Return an adapter by name."""
    return cast("Adapter", import_module(f"{__name__}.{name}"))
