from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket

import pytest

from zvonim_sfu import serve as serve_module
from zvonim_sfu.config import Settings
from zvonim_sfu.serve import http_port_problem, open_urls, serve


@pytest.mark.parametrize(
    ("host", "bound", "urls"),
    [
        ("127.0.0.1", [("127.0.0.1", 8080)], ["http://127.0.0.1:8080/"]),
        ("::1", [("::1", 8080)], ["http://[::1]:8080/"]),
        ("localhost", [("127.0.0.1", 8080), ("::1", 8080)], ["http://localhost:8080/"]),
        ("0.0.0.0", [("0.0.0.0", 80)], ["http://192.168.1.7:80/", "http://127.0.0.1:80/"]),
        ("::", [("::", 80)], ["http://[fd00::7]:80/", "http://[::1]:80/"]),
    ],
)
def test_the_addresses_to_open(
    monkeypatch: pytest.MonkeyPatch, host: str, bound: list[tuple[str, int]], urls: list[str]
) -> None:
    monkeypatch.setattr(serve_module, "host_addresses", lambda: ("192.168.1.7", "fd00::7", "127.0.0.1", "::1"))
    assert open_urls(host, bound, tls=False) == urls
    assert open_urls(host, bound, tls=True) == [url.replace("http", "https") for url in urls]


@pytest.mark.asyncio
async def test_the_garbage_collector_does_not_go_through_what_the_start_has_made() -> None:
    before = gc.get_freeze_count()
    try:
        async with asyncio.timeout(10):
            serving = asyncio.create_task(serve(Settings(port=0, media_port=0, media_host=("127.0.0.1",))))
            while gc.get_freeze_count() == before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
            await serving
    finally:
        gc.unfreeze()


def test_why_a_tcp_port_cannot_be_opened() -> None:
    settings = Settings(port=80)
    denied = http_port_problem(settings, PermissionError(errno.EACCES, "asyncio says more"))
    assert denied.startswith("TCP port 80 cannot be opened on 127.0.0.1: Permission denied. ")
    unknown = http_port_problem(Settings(host="nowhere"), socket.gaierror(socket.EAI_NONAME, "Name not known"))
    assert unknown.startswith("The host 'nowhere' is unknown: ")
