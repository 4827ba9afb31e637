from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import WSMsgType

from zvonim_sfu import __version__, cli
from zvonim_sfu.config import Settings, flag_name, variable_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOOPBACK = ("--port=0", "--media-host=127.0.0.1", "--media-port=0")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ZVONIM_")}
STOP_WITHIN_S = 5.0


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in set(os.environ) - set(ENVIRONMENT):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; only for what ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "zvonim_sfu", *arguments],
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@dataclass
class Command:
    """The command, serving."""

    process: asyncio.subprocess.Process
    url: str
    stdout: str = ""
    stderr: str = ""

    async def end(self, number: signal.Signals) -> float:
        """Send a signal, wait for the end, return the seconds that it took."""
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        self.process.send_signal(number)
        async with asyncio.timeout(20):
            stdout, stderr = await self.process.communicate()
        self.stdout, self.stderr = stdout.decode(), stderr.decode()
        return loop.time() - sent_at


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[Command]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-X", "dev", "-m", "zvonim_sfu"),
        *arguments,
        env=ENVIRONMENT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            opened = (await process.stdout.readline()).decode()
        assert opened.startswith("Open http"), opened
        yield Command(process, opened.split()[1].rstrip("/"))
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def join(client: aiohttp.ClientSession, url: str, name: str) -> aiohttp.ClientWebSocketResponse:
    async with client.post(f"{url}/api/room/join", json={"room_id": "r", "user_name": name}) as answer:
        user_id = (await answer.json())["user_id"]
    ws = await client.ws_connect(f"{url}/ws?room_id=r&user_id={user_id}")
    await ws.send_json({"type": "join", "user_id": user_id, "user_name": name})
    assert (await ws.receive_json(timeout=10))["type"] == "room-state"
    return ws


async def goodbye(ws: aiohttp.ClientWebSocketResponse) -> int:
    """Read to the end; the code with which the server closed."""
    while True:
        message = await ws.receive(timeout=10)
        if message.type in {WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING}:
            assert ws.close_code is not None
            return ws.close_code


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_in_good_order(number: signal.Signals) -> None:
    async with serving(*LOOPBACK) as command, aiohttp.ClientSession() as client:
        sockets = [await join(client, command.url, name) for name in ("a", "b")]
        took_s, *codes = await asyncio.gather(command.end(number), *map(goodbye, sockets))
        assert codes == [1001, 1001]
        assert took_s < STOP_WITHIN_S
        assert command.process.returncode == 0, command.stderr
        for trouble in ("Traceback", "never retrieved", "was destroyed", "Warning", "[error", "unclosed"):
            assert trouble not in command.stderr, command.stderr
        assert f"signal={number.name}" in command.stderr
        assert "server stopped" in command.stderr


@pytest.mark.asyncio
async def test_clients_that_do_not_answer_cannot_hold_the_server() -> None:
    async with serving(*LOOPBACK) as command, aiohttp.ClientSession() as client:
        async with client.post(f"{command.url}/api/room/join", json={"user_name": "deaf"}) as answer:
            joined = await answer.json()
        host, port = command.url.removeprefix("http://").split(":")
        handshake = (
            f"GET /ws?room_id={joined['room_id']}&user_id={joined['user_id']} HTTP/1.1\r\nHost: {host}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        half_a_request = (
            "POST /api/room/join HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        )
        with (
            closing(socket.create_connection((host, int(port)))) as deaf,
            closing(socket.create_connection((host, int(port)))) as slow,
        ):
            deaf.sendall(handshake.encode())
            assert b"101 Switching" in await asyncio.to_thread(deaf.recv, 4096)
            slow.sendall(half_a_request.encode())
            assert await command.end(signal.SIGTERM) < STOP_WITHIN_S
        assert command.process.returncode == 0, command.stderr
        assert "Traceback" not in command.stderr


@pytest.mark.asyncio
async def test_a_second_signal_ends_the_server_at_once() -> None:
    async with serving(*LOOPBACK) as command, aiohttp.ClientSession() as client:
        async with client.post(f"{command.url}/api/room/join", json={"user_name": "deaf"}) as answer:
            assert answer.status == 200
        command.process.send_signal(signal.SIGTERM)
        await command.end(signal.SIGTERM)
        assert command.process.returncode in {0, -signal.SIGTERM}
        assert "Traceback" not in command.stderr


@pytest.mark.asyncio
async def test_https_with_a_self_signed_certificate(tmp_path: Path) -> None:
    async with serving(*LOOPBACK, "--tls=self-signed", f"--state-dir={tmp_path}") as command:
        assert command.url.startswith("https://127.0.0.1:")
        async with aiohttp.ClientSession() as client, client.get(f"{command.url}/healthz", ssl=False) as answer:
            assert answer.status == 200
        assert await command.end(signal.SIGTERM) < STOP_WITHIN_S
        assert command.process.returncode == 0, command.stderr


def test_help_explains_each_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert flag_name(name) in text
        assert variable_name(name) in text
        if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
            assert f"default {field.default}" in text
        assert " ".join((field.description or "?").split())[:40] in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"zvonim-sfu {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["--port=http"], {}, "--port = 'http': must be a whole number from 0 to 65535."),
        ([], {"ZVONIM_ANNOUNCE": "here"}, "ZVONIM_ANNOUNCE[0]: 'here' is no address: write an IP address"),
        (["--config=none.toml"], {}, "none.toml is no file"),
        (["check", "--tls=on"], {}, "--tls = 'on': must be one of off, self-signed."),
    ],
)
def test_wrong_settings_are_said_and_end_with_code_2(
    arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    ended = run(*arguments, **environment)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"zvonim-sfu: {sentence}")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [["--prot=1"], ["serve"], ["--por=1"]])
def test_unknown_arguments_end_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: zvonim-sfu" in capsys.readouterr().err


def test_a_taken_port_is_said_and_ends_with_code_1() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        ended = run(*LOOPBACK, f"--port={port}")
        assert ended.returncode == 1
        assert f"zvonim-sfu: TCP port {port} cannot be opened on 127.0.0.1: Address already in use. " in ended.stderr
        assert "Traceback" not in ended.stderr
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken_udp:
        taken_udp.bind(("127.0.0.1", 0))
        port = taken_udp.getsockname()[1]
        ended = run(*LOOPBACK, f"--media-port={port}")
        assert ended.returncode == 1
        assert f"zvonim-sfu: UDP port {port} cannot be opened on 127.0.0.1: " in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_certificate_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    ended = run(*LOOPBACK, f"--tls-cert={tmp_path}/none", f"--tls-key={tmp_path}/none")
    assert ended.returncode == 1
    assert "none cannot be read: No such file or directory." in ended.stderr
    assert "Traceback" not in ended.stderr
