from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession, WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from zvonim_sfu import app as app_module
from zvonim_sfu import dev
from zvonim_sfu.app import NODE, create_app, find_certificate
from zvonim_sfu.config import Settings
from zvonim_sfu.signaling.errors import Fault
from zvonim_sfu.signaling.keys import REGISTRY
from zvonim_sfu.tls import TlsError
from zvonim_sfu.web_client import find_web_root

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Client = TestClient[web.Request, web.Application]

pytestmark = pytest.mark.asyncio

FILES = {
    "index.html": b"<!doctype html>",
    "main.js": b"export {};",
    "styles/base.css": b"",
    "icon.svg": b"<svg/>",
    "notes.txt": b"",
    ".hidden.js": b"",
    "tsconfig": b"",
}


@pytest.fixture
def web_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small client in place of the real one."""
    root = tmp_path / "web"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (tmp_path / "secret.js").write_bytes(b"")
    monkeypatch.setattr(app_module, "find_web_root", lambda: root)
    return root


@asynccontextmanager
async def running(settings: Settings | None = None) -> AsyncIterator[Client]:
    settings = settings or Settings(media_host=("127.0.0.1",), media_port=0)
    async with TestClient(TestServer(create_app(settings), host="127.0.0.1")) as client:
        yield client


@pytest.mark.usefixtures("web_root")
@pytest.mark.parametrize("path", ["/", "/r/abc-def", "/r/x?lang=ru"])
async def test_the_client_is_served_at_the_root_and_at_each_room(path: str) -> None:
    async with running() as client, client.get(path) as answer:
        assert await answer.read() == FILES["index.html"]
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.usefixtures("web_root")
@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/static/main.js", "text/javascript; charset=utf-8"),
        ("/static/styles/base.css", "text/css; charset=utf-8"),
        ("/static/icon.svg", "image/svg+xml"),
    ],
)
async def test_files_have_their_type_and_are_asked_for_again_by_etag(path: str, content_type: str) -> None:
    async with running() as client:
        answer = await client.get(path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
        assert answer.headers["Cache-Control"] == "no-cache"
        again = await client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.headers["Cache-Control"]) == (304, "no-cache")
        head = await client.head(path)
        assert (head.status, await head.read()) == (200, b"")


@pytest.mark.usefixtures("web_root")
@pytest.mark.parametrize(
    "path",
    [
        "/static/missing.js",
        "/static/notes.txt",
        "/static/.hidden.js",
        "/static/tsconfig",
        "/static/styles",
        "/static/../secret.js",
        "/static/%2e%2e/secret.js",
        "/static/styles/..%2f..%2f..%2fsecret.js",
        "/static//etc/hosts",
        "/static/main.js%00",
        "/static/" + "a" * 300 + ".js",
        "/static/" + "a/" * 20 + "a.js",
        "/nowhere",
        "/r/",
        "/r/a/b",
    ],
)
async def test_nothing_else_is_served(path: str) -> None:
    async with running() as client:
        # As it stands: aiohttp's own client would tidy it up.
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b'"code": "not-found"' in answer


async def test_without_a_client_the_root_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "find_web_root", lambda: None)
    async with running() as client, client.get("/") as answer:
        assert answer.status == 404
        assert "no browser client" in (await answer.json())["detail"]


async def test_a_checkout_serves_its_web_directory() -> None:
    root = find_web_root()
    assert root is not None
    assert (root / "index.html").is_file()


@pytest.mark.usefixtures("web_root")
async def test_pages_may_use_camera_and_their_own_server_and_nothing_else() -> None:
    async with running() as client, client.get("/r/abc") as answer:
        policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
        host = f"127.0.0.1:{client.port}"
        assert policy["default-src"] == "'self'"
        assert policy["connect-src"] == f"'self' ws://{host} wss://{host}"
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        permissions = answer.headers["Permissions-Policy"]
        for feature in ("camera", "microphone", "display-capture"):
            assert f"{feature}=(self)" in permissions
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.usefixtures("web_root")
@pytest.mark.parametrize("host", ["a;script-src *", "a b", "a/b", "a'", ""])
async def test_a_strange_host_header_does_not_get_into_the_policy(host: str) -> None:
    async with running() as client, client.get("/", headers={"Host": host}) as answer:
        assert "connect-src 'self';" in answer.headers["Content-Security-Policy"]


@pytest.mark.usefixtures("web_root")
@pytest.mark.parametrize("path", ["/", "/static/main.js", "/healthz", "/nowhere", "/api/room/join"])
async def test_every_answer_forbids_guessing_its_type(path: str) -> None:
    async with running() as client, client.get(path) as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_healthz() -> None:
    async with running() as client, client.get("/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_the_documentation_is_one_page_that_loads_nothing() -> None:
    async with running() as client, client.get("/docs") as answer:
        page = await answer.text()
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    for loaded in ("<script", "<link", "<img", "src=", "@import", "url("):
        assert loaded not in page
    for path in ("/api/room/join", "/api/room/{room_id}/info", "/api/room/leave"):
        assert f"<code>{path}</code>" in page
    for fault in Fault:
        assert f'id="{fault.code}"' in page


async def test_stopping_tells_the_clients_and_closes_the_media_port() -> None:
    async with running() as client, ClientSession() as other:
        joined = await (await client.post("/api/room/join", json={"user_name": "a"})).json()
        query = f"room_id={joined['room_id']}&user_id={joined['user_id']}"
        ws = await other.ws_connect(client.make_url(f"/ws?{query}"))
        assert client.app is not None
        node, registry = client.app[NODE], client.app[REGISTRY]
        port = node.udp.port
        closing = asyncio.create_task(client.server.close())
        message = await ws.receive(timeout=5)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
        await closing
        assert not registry.rooms
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", port))
    transport.close()


async def test_settings_reach_the_rooms() -> None:
    settings = Settings(
        media_host=("127.0.0.1",), media_port=0, announce=("203.0.113.7:7000",), limit_participants_per_room=1
    )
    async with running(settings) as client:
        assert client.app is not None
        assert [(c.address, c.port) for c in client.app[NODE].candidates] == [("203.0.113.7", 7000)]
        body = {"room_id": "r", "user_name": "a"}
        assert (await client.post("/api/room/join", json=body)).status == 200
        assert (await client.post("/api/room/join", json=body)).status == 409


async def test_a_certificate_is_looked_for_where_the_settings_say(tmp_path: Path) -> None:
    assert find_certificate(Settings()) is None
    made = find_certificate(Settings(tls="self-signed", state_dir=tmp_path))
    assert made is not None
    assert made.cert.parent == tmp_path
    own = find_certificate(Settings(tls_cert=made.cert, tls_key=made.key))
    assert own == made
    with pytest.raises(TlsError, match="missing"):
        find_certificate(Settings(tls_cert=tmp_path / "missing", tls_key=made.key))


async def test_adev_finds_the_application(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dev, "configure_logs", lambda *_: None)
    assert REGISTRY not in dev.app_factory()


async def test_traces_are_kept_where_the_setting_says(tmp_path: Path) -> None:
    settings = Settings(media_host=("127.0.0.1",), media_port=0, trace_dir=tmp_path / "traces")
    async with running(settings) as client:
        trace = client.app[NODE].open_trace("x")
        assert trace is not None
        trace.close()
    assert len(list((tmp_path / "traces").iterdir())) == 1
    async with running() as client:
        assert client.app[NODE].open_trace("x") is None
