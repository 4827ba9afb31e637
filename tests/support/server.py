"""The real command in a process of its own: what a test starts is what an operator starts."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMAND: Final = Path(sys.executable).with_name("zvonim-sfu")
START_TIMEOUT_S: Final = 30
STOP_TIMEOUT_S: Final = 5
"""What the server promises: it ends within this time of SIGTERM."""
MAX_LINE_BYTES: Final = 1024 * 1024
"""An event with SDP in it, at level debug, is longer than asyncio's own limit."""
DEFAULTS: Final[dict[str, object]] = {
    "host": "127.0.0.1",
    "port": "0",
    "media_host": "127.0.0.1",
    "media_port": "0",
    "log_format": "json",
}


class ServerError(AssertionError):
    """The server did not start, or did not end as it should; says what it logged."""


class RunningServer:
    """A server that answers, and what it has logged so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""
        """Base URL without a slash at its end."""
        self.events: list[dict[str, Any]] = []
        self.strays: list[str] = []
        """Lines on stderr that are no log event: warnings of the interpreter, tracebacks."""

    @property
    def media_port(self) -> int:
        """The UDP port that it has for media."""
        return int(next(event["port"] for event in self.events if event["event"] == "udp port open"))

    async def read_log(self) -> None:
        """Read until the process closes its stderr; sets `url` when the server says where it listens."""
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            line = raw.decode(errors="replace").rstrip()
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                self.strays.append(line)
                continue
            self.events.append(event)
            if event["event"] == "server started":
                self.url = event["urls"][0].rstrip("/")

    def said(self) -> str:
        """The last of what the server logged, for the message of a failed test."""
        return "\n".join([*(json.dumps(event) for event in self.events[-30:]), *self.strays[-40:]])

    def check_log(self) -> None:
        """Raise ServerError if anything went wrong inside the server."""
        wrong = [event for event in self.events if event["level"] in {"error", "critical"}]
        if wrong or self.strays:
            raise ServerError(f"the server complained:\n{self.said()}")


@asynccontextmanager
async def running_server(command: Path = COMMAND, /, **settings: object) -> AsyncIterator[RunningServer]:
    """Run `zvonim-sfu` with `settings` (fields of Settings) on loopback ports of its own; end it by SIGTERM.

    A setting that is None is left to the server's own default. `command` may be that of another installation.
    Raises ServerError if it does not start, does not end with code 0 in time, or logged an error on its way.
    """
    values = DEFAULTS | settings
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]
    own = ("ZVONIM_KERNEL",)  # as tests/conftest.py sets it
    environment = {name: value for name, value in os.environ.items() if name in own or not name.startswith("ZVONIM_")}
    # In a directory of its own, where no zvonim.toml lies.
    with tempfile.TemporaryDirectory(prefix="zvonim-server-") as folder:
        process = await asyncio.create_subprocess_exec(
            str(command),
            *flags,
            env=environment,
            cwd=folder,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
        )
        server = RunningServer(process)
        reader = asyncio.create_task(server.read_log())
        try:
            await _answers(server, reader)
            yield server
            await _ends(server, reader)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reader
    server.check_log()


async def _answers(server: RunningServer, reader: asyncio.Task[None]) -> None:
    """Wait until the server has said its address and serves it."""
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not server.url:
                if reader.done():
                    raise ServerError(f"the server ended instead of starting:\n{server.said()}")
                await asyncio.sleep(0.02)
            async with aiohttp.ClientSession() as session, session.get(f"{server.url}/healthz") as response:
                response.raise_for_status()
    except TimeoutError:
        raise ServerError(f"the server did not start in {START_TIMEOUT_S} s:\n{server.said()}") from None


async def _ends(server: RunningServer, reader: asyncio.Task[None]) -> None:
    """Tell the server to end and see that it does, in time and with code 0."""
    server.process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await asyncio.shield(reader)
            code = await server.process.wait()
    except TimeoutError:
        raise ServerError(f"the server did not end in {STOP_TIMEOUT_S} s:\n{server.said()}") from None
    if code != 0:
        raise ServerError(f"the server ended with code {code}:\n{server.said()}")
