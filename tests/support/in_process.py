"""The server in the test's own process, so that a test can look at its rooms, counters, tasks and memory."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiortc import RTCDtlsTransport

from zvonim_sfu.app import NODE, create_app
from zvonim_sfu.config import Settings
from zvonim_sfu.signaling.keys import REGISTRY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from zvonim_sfu.media.node import MediaNode
    from zvonim_sfu.rooms.registry import Registry

_CACHE: Final = type(lru_cache(len))
_CONTAINERS: Final = (tuple, list, frozenset)


def living_objects() -> Counter[str]:
    """The server's objects that are alive in this process, by class.

    Packets and reports, which come and go, are left out, and so is what the server's caches keep on purpose.
    """
    gc.unfreeze()  # a server that was started in this process may have taken what there was out of sight
    gc.collect()
    cached = _cached()
    return Counter(
        type(thing).__name__ for thing in gc.get_objects() if _is_counted(type(thing)) and id(thing) not in cached
    )


def _is_counted(kind: type) -> bool:
    module = str(kind.__module__)
    return kind is RTCDtlsTransport or (module.startswith("zvonim_sfu.") and not module.startswith("zvonim_sfu.rtp."))


def _cached() -> set[int]:
    """Identities of the values that the server's constants are and its caches refer to, and of what these consist of.

    A constant may come into a cache at any time, and would be missed from then on if it were counted before.
    """
    modules = [module for name, module in sys.modules.items() if name.startswith("zvonim_sfu.")]
    # A module that tests hide, as the compiled kernel, is None there.
    namespaces = [getattr(module, "__dict__", {}) for module in modules]
    globals_ = [thing for namespace in namespaces for thing in namespace.values()]
    caches = [thing for thing in globals_ if isinstance(thing, _CACHE)]
    seen: set[int] = set()
    ahead = [thing for thing in globals_ if _is_value(type(thing))]
    ahead += [entry for cache in caches for entry in gc.get_referents(cache)]
    while ahead:
        thing = ahead.pop()
        # Values lead to values; a cache that kept anything else, such as a participant, would hide nothing of it.
        if id(thing) not in seen and (type(thing) in _CONTAINERS or _is_value(type(thing))):
            seen.add(id(thing))
            ahead.extend(gc.get_referents(thing))
    return seen


def _is_value(kind: type) -> bool:
    parameters = getattr(kind, "__dataclass_params__", None)
    return issubclass(kind, tuple) or (parameters is not None and parameters.frozen)


@dataclass(frozen=True)
class InProcess:
    """A running server."""

    url: str
    node: MediaNode
    registry: Registry


@asynccontextmanager
async def serve(*, announce: Sequence[str] = (), **limits: float) -> AsyncIterator[InProcess]:
    """Run a server on loopback ports of its own, with other limits than the default ones where given.

    `announce` is where clients are told to send media, if not to the server itself: a relay's address.
    """
    values: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "media_host": ("127.0.0.1",), "media_port": 0}
    values["announce"] = tuple(announce)
    settings = Settings(**values | {f"limit_{name}": value for name, value in limits.items()})
    app = create_app(settings)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        host, port = runner.addresses[0]
        yield InProcess(f"http://{host}:{port}", app[NODE], app[REGISTRY])
    finally:
        await runner.cleanup()
