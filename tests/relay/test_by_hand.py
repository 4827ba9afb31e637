"""The relay as a command of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import psutil
import pytest

from tests.relay.support import End, two_ends
from tests.support.eventually import until
from tests.support.relay import Profile, Relay
from tests.support.relay.__main__ import Console, main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MODULE: Final = "tests.support.relay"
RATE_BPS: Final = 20_000_000
PACKET_BYTES: Final = 1100
BURST: Final = 7
"""Packets at a time, as a frame is."""
SENDS: Final = 600
MAX_CPU_SHARE: Final = 0.4
"""Of one core, at RATE_BPS; 0.12 was measured. Browsers need the rest."""


@asynccontextmanager
async def command(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run it; yield the process and the first line that it says."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", MODULE, *arguments, stdin=pipe, stdout=pipe)
    try:
        yield process, await said(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().rstrip()


async def ask(process: asyncio.subprocess.Process, line: str) -> str:
    """Give a command and return the first line of the answer."""
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    return await said(process)


def free_port() -> int:
    with End() as end:
        return end.address[1]


@pytest.mark.asyncio
async def test_it_relays_takes_commands_and_ends_on_a_signal() -> None:
    with End() as server, End() as client:
        door = ("127.0.0.1", free_port())
        arguments = ("--listen", f"127.0.0.1:{door[1]}", "--to", f"127.0.0.1:{server.address[1]}", "--seed", "7")
        profile = ("--delay", "5", "--jitter", "1", "--down", "loss=1")
        async with command(*arguments, *profile) as (process, first):
            assert first == f"127.0.0.1:{door[1]} leads to 127.0.0.1 port {server.address[1]}; seed 7"
            assert await said(process) == "up: delay_ms=5.0 jitter_ms=1.0"
            assert await said(process) == "down: loss=1.0 delay_ms=5.0 jitter_ms=1.0"
            client.send(b"up", door)
            assert await server.receives(1) == [b"up"]
            server.send(b"lost", server.senders[0])
            assert await ask(process, "down loss=0\npause up") == "down: delay_ms=5.0 jitter_ms=1.0"
            assert await said(process) == "paused up"
            server.send(b"down", server.senders[0])
            assert await client.receives(1) == [b"down"]
            process.send_signal(signal.SIGTERM)
            assert (await said(process)).startswith("up   sent 1 delivered 1 ")
            assert (await said(process)).startswith("down sent 2 delivered 1 delivered_bytes 32 lost 1 ")
            assert (await said(process)).startswith("relay 1 clients, ")
            assert await process.wait() == 0


@pytest.mark.asyncio
async def test_it_goes_on_when_there_is_nobody_to_command_it_and_quits_when_told() -> None:
    arguments = ("--listen", f"127.0.0.1:{free_port()}", "--to", "127.0.0.1:7000")
    async with command(*arguments) as (process, _):
        await said(process)
        await said(process)
        assert await ask(process, "quit") == "bye"
        assert await process.wait() == 0
    async with command(*arguments) as (process, _):
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.sleep(0.2)
        assert process.returncode is None


@pytest.mark.asyncio
async def test_twenty_megabits_a_second_cost_little_and_pass() -> None:
    with End() as server, End() as client:
        door = ("127.0.0.1", free_port())
        arguments = ("--listen", f"127.0.0.1:{door[1]}", "--to", f"127.0.0.1:{server.address[1]}")
        async with command(*arguments, "--delay", "40", "--jitter", "10") as (process, _):
            cpu = psutil.Process(process.pid)
            before = cpu.cpu_times()
            for _ in range(SENDS):
                for _ in range(BURST):
                    client.send(bytes(PACKET_BYTES), door)
                await asyncio.sleep(BURST * PACKET_BYTES * 8 / RATE_BPS)
            # Where the kernel allows only small buffers, a busy machine loses a few before they get this far.
            await until(lambda: len(server.received) > 0.98 * SENDS * BURST)
            after = cpu.cpu_times()
            spent = after.user + after.system - before.user - before.system
            assert spent / (SENDS * BURST) < MAX_CPU_SHARE * PACKET_BYTES * 8 / RATE_BPS


@pytest.mark.asyncio
async def test_commands_do_what_the_relay_can() -> None:
    relay = Relay()
    async with two_ends(relay) as (client, server):
        console = Console(relay, Profile(loss=0.1), Profile())
        links = relay.client_at(client.address[1])
        assert console.run(" both delay=20 \n") == "up: loss=0.1 delay_ms=20.0\ndown: delay_ms=20.0"
        assert (links.up.profile, links.down.profile) == (Profile(loss=0.1, delay_ms=20), Profile(delay_ms=20))
        assert console.run("up loss=3") == "loss = 3.0: must be from 0 to 1"
        assert console.run("up loss=0") == "up: delay_ms=20.0"
        assert console.run("pause down") == "paused down"
        assert (links.up.paused, links.down.paused) == (False, True)
        assert console.run("pause") == "paused both"
        assert links.up.paused
        assert console.run("resume") == "resumed"
        assert (links.up.paused, links.down.paused) == (False, False)
        assert console.run("move") == f"the server sees: {links.seen_at}"
        assert links.seen_at != server.senders[0]
        relay.set_server(server.address)
        assert console.run("counters").count("\n") == 2
        for nonsense in ("", "help", "pause left", "resume now"):
            assert console.run(nonsense).startswith("commands: ")
        assert not console.quit.is_set()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--loss", "2"], "loss = 2.0: must be from 0 to 1"),
        (["--up", "los"], "loss = '': must be a number"),
        (["--to", "127.0.0.1"], "'127.0.0.1' has no port"),
        (["--to", "localhost:7"], "'localhost:7' is no address"),
        (["--to", "203.0.113.7:7000"], "203.0.113.7 is no loopback address"),
        (["--listen", "0.0.0.0:7000"], "is no address"),
    ],
)
def test_what_it_cannot_do_it_says(arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--listen", "127.0.0.1:9000", "--to", "127.0.0.1:7882", *arguments])
    assert ended.value.code == 2
    assert fault in capsys.readouterr().err
