"""Debian's coturn on loopback ports of its own, which takes credentials made of a shared secret and no others."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOST: Final = "127.0.0.1"
RELAY_PORTS: Final = 64
START_TIMEOUT_S: Final = 10
BINDING_REQUEST: Final = bytes.fromhex("000100002112a442")
"""A STUN message (RFC 8489 section 5) but for the transaction id: without attributes, and so without credentials."""


@dataclass(frozen=True)
class TurnServer:
    """A server that answers."""

    port: int
    secret: str
    relay_ports: range

    @property
    def url(self) -> str:
        return f"turn:{HOST}:{self.port}?transport=udp"


def executable() -> str:
    """Where coturn is; it is a test's requirement, so its absence is an error that says what to do."""
    path = shutil.which("turnserver", path="/usr/bin:/usr/local/bin:/usr/sbin")
    if path is None:
        raise RuntimeError("coturn is missing: apt-get install coturn (make test does so for root on Debian)")
    return path


@asynccontextmanager
async def turn_server(folder: Path) -> AsyncIterator[TurnServer]:
    """Run coturn, and end it. What it keeps is in `folder`."""
    port = _free_port()
    server = TurnServer(port, secrets.token_hex(16), range(port + 1, port + 1 + RELAY_PORTS))
    process = await asyncio.create_subprocess_exec(
        executable(),
        "-n",  # no configuration file: Debian's is for the whole computer
        f"--listening-ip={HOST}",
        f"--listening-port={port}",
        f"--relay-ip={HOST}",
        f"--min-port={server.relay_ports.start}",
        f"--max-port={server.relay_ports.stop - 1}",
        "--use-auth-secret",
        f"--static-auth-secret={server.secret}",
        "--realm=zvonim.test",
        "--allow-loopback-peers",
        "--no-tcp",
        "--no-tls",
        "--no-dtls",
        "--no-tcp-relay",
        "--no-cli",
        f"--userdb={folder / 'turn.db'}",
        f"--pidfile={folder / 'turn.pid'}",
        f"--log-file={folder / 'turn.log'}",
        "--simple-log",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _answers(process, port)
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _free_port() -> int:
    """Return a port with room for the relay's ports behind it, below those that the kernel hands out by itself."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket(type=socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


async def _answers(process: asyncio.subprocess.Process, port: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        asking.connect((HOST, port))
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                assert process.returncode is None, f"coturn ended with code {process.returncode}"
                try:
                    asking.send(BINDING_REQUEST + secrets.token_bytes(12))
                    await asyncio.wait_for(loop.sock_recv(asking, 2048), 0.1)
                except (TimeoutError, ConnectionRefusedError):
                    await asyncio.sleep(0.05)
                else:
                    return
