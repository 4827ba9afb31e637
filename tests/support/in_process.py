"""The server in the test's own process, so that a test can look at its rooms, counters, tasks and memory."""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiortc import RTCDtlsTransport

from zvonim_sfu.app import NODE, create_app
from zvonim_sfu.config import Settings
from zvonim_sfu.signaling.keys import REGISTRY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from zvonim_sfu.media.node import MediaNode
    from zvonim_sfu.rooms.registry import Registry


def living_objects() -> Counter[str]:
    """The server's objects that are alive in this process, by class.

    Packets and reports, which come and go, are left out, and so are values (messages, codecs): caches keep some, and
    whoever has not let go of others is counted itself.
    """
    gc.collect()
    kinds = ((type(thing), str(type(thing).__module__)) for thing in gc.get_objects())
    return Counter(
        kind.__name__
        for kind, module in kinds
        if kind is RTCDtlsTransport
        or (module.startswith("zvonim_sfu.") and not module.startswith("zvonim_sfu.rtp.") and not _is_value(kind))
    )


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
