"""Janus 1.x with its VideoRoom plugin, as Debian packages it, driven by its WebSocket API."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import tempfile
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from benchmarks.client import description
from benchmarks.servers import ServerError, Wishes, everybody
from zvonim_sfu.media import sdp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from benchmarks.client.generator import Generator
    from benchmarks.client.peer import Peer
    from benchmarks.client.traffic import Source

NOT_EQUALISED: Final = (
    "Janus: a participant that publishes and watches has two connections (one publisher, one multistream subscriber), "
    "which is how its VideoRoom works.",
    "Janus: ICE-lite is switched on, which is cheaper for it than its default.",
    "Janus: a thread for each connection, its default; janus_loops is the same with an event loop for each processor.",
    "Janus: when somebody joins in the churn shape, the others do not subscribe to the newcomer; with Zvonim they do.",
    "Neither numbers packets transport-wide on the way down, and retransmissions come on the SSRC itself.",
)
START_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 20.0
PLUGIN: Final = "janus.plugin.videoroom"
_PROTOCOL: Final = "janus-protocol"
_EXISTS: Final = 427

_CONFIGURATION: Final = """
general: {{
  configs_folder = "{folder}"
  debug_level = 1
  debug_colors = false
  server_name = "benchmark"
  event_loops = {event_loops}
}}
nat: {{ ice_lite = true, full_trickle = false, ice_enforce_list = "{host}" }}
media: {{ ipv6 = false }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
"""
_WEBSOCKETS: Final = """
general: {{ json = "compact", ws = true, ws_port = {port}, ws_ip = "127.0.0.1", wss = false }}
admin: {{ admin_ws = false }}
"""
_UNUSED_PLUGINS: Final = (
    "audiobridge",
    "duktape",
    "echotest",
    "lua",
    "nosip",
    "recordplay",
    "sip",
    "streaming",
    "textroom",
    "videocall",
    "voicemail",
)
_UNUSED_TRANSPORTS: Final = ("http", "mqtt", "nanomsg", "pfunix", "rabbitmq")


def missing() -> str:
    """Say how to get Debian's package."""
    return "" if shutil.which("janus") else "Janus is not installed (Debian: apt-get install janus)."


@asynccontextmanager
async def start(host: str, command: str = "", *, event_loops: int = 0) -> AsyncIterator[Janus]:
    """Run `janus` with a configuration of its own; with 0 event loops each handle has a thread, its default."""
    with tempfile.TemporaryDirectory(prefix="janus-") as name:
        folder = Path(name)
        port = _free_port()
        _configure(folder, host, port, event_loops)
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                command or "janus", "-F", name, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            async with aiohttp.ClientSession(connector=everybody()) as http:
                server = Janus(process.pid, http, f"ws://127.0.0.1:{port}")
                try:
                    await server.wait_until_ready(process)
                except ServerError as error:
                    raise ServerError(f"{error}\n{(folder / 'log').read_text(errors='replace')[-2000:]}") from None
                yield server
        finally:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _configure(folder: Path, host: str, port: int, event_loops: int) -> None:
    values = {
        "folder": folder,
        "host": host,
        "port": port,
        "event_loops": event_loops,
        "plugins": ",".join(f"libjanus_{name}.so" for name in _UNUSED_PLUGINS),
        "transports": ",".join(f"libjanus_{name}.so" for name in _UNUSED_TRANSPORTS),
    }
    (folder / "janus.jcfg").write_text(_CONFIGURATION.format(**values))
    (folder / "janus.transport.websockets.jcfg").write_text(_WEBSOCKETS.format(**values))
    (folder / "janus.plugin.videoroom.jcfg").write_text("general: { string_ids = true }\n")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Janus:
    """A server that runs."""

    def __init__(self, pid: int, http: aiohttp.ClientSession, url: str) -> None:
        self.version = ""
        self.pid = pid
        self._http = http
        self._url = url
        self._ids = count()

    async def wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        """Wait for its API, and ask it for its version. Raises ServerError."""
        for _ in range(int(START_TIMEOUT_S / 0.1)):
            if process.returncode is not None:
                raise ServerError(f"Janus ended with code {process.returncode}.")
            with suppress(aiohttp.ClientError, OSError):
                connection = await self._connect()
                info = await connection.request({"janus": "info"})
                self.version = info["version_string"]
                await connection.close()
                return
            await asyncio.sleep(0.1)
        raise ServerError("Janus did not answer in time.")

    async def join(self, generator: Generator, room: str, wishes: Wishes) -> JanusMember:
        """Open a WebSocket and a session, make the room if need be, and publish."""
        connection = await self._connect()
        session = (await connection.request({"janus": "create"}))["data"]["id"]
        member = JanusMember(
            generator, connection, session=session, room=room, wishes=wishes, id_=f"{next(self._ids):06}"
        )
        await member.enter()
        return member

    async def _connect(self) -> Connection:
        return Connection(await self._http.ws_connect(self._url, protocols=[_PROTOCOL], max_msg_size=0))


class Connection:
    """One WebSocket: requests, and the events that answer them later."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = count()
        self._reader = asyncio.create_task(self._read())

    async def request(self, message: dict[str, Any], *, answered_by_event: bool = False) -> dict[str, Any]:
        """Send a request and return its answer; `answered_by_event`: not its acknowledgement. Raises ServerError."""
        transaction = f"{'e' if answered_by_event else 'r'}{next(self._numbers)}"
        future = self._waiting[transaction] = asyncio.get_running_loop().create_future()
        await self._ws.send_json({**message, "transaction": transaction})
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            answer: dict[str, Any] = await future
        data = answer.get("plugindata", {}).get("data", {})
        if answer["janus"] == "error":
            raise ServerError(answer["error"]["reason"])
        if "error" in data and data.get("error_code") != _EXISTS:
            raise ServerError(data["error"])
        return answer

    async def close(self) -> None:
        """Close the WebSocket."""
        await self._ws.close()
        await self._reader

    async def _read(self) -> None:
        async for frame in self._ws:
            message = json.loads(frame.data)
            transaction = message.get("transaction", "")
            if message["janus"] == "ack" and transaction.startswith("e"):
                continue
            future = self._waiting.pop(transaction, None)
            if future is not None and not future.done():
                future.set_result(message)


class JanusMember:
    """Somebody in a room: a publisher's handle, and a subscriber's from `watch` on."""

    def __init__(
        self, generator: Generator, connection: Connection, *, session: int, room: str, wishes: Wishes, id_: str
    ) -> None:
        self.sources: Sequence[Source] = ()
        self._generator = generator
        self._connection = connection
        self._session = session
        self._room = room
        self._wishes = wishes
        self._id = id_
        self._handle = 0
        self._upstream: Peer | None = None
        self._downstream: Peer | None = None

    @property
    def receiver(self) -> Peer:
        """The subscriber's connection."""
        assert self._downstream is not None
        return self._downstream

    @property
    def peers(self) -> Sequence[Peer]:
        """The connections that there are."""
        return [peer for peer in (self._upstream, self._downstream) if peer is not None]

    async def enter(self) -> None:
        """Join the room, and publish what was wished. Raises ServerError."""
        self._handle = await self._attach()
        await self._ask(
            self._handle,
            request="create",
            room=self._room,
            publishers=1000,
            bitrate=0,
            audiocodec="opus",
            videocodec="vp8",
            notify_joining=False,
            record=False,
        )
        joining = {"request": "join", "ptype": "publisher", "room": self._room, "id": self._id}
        if not self._wishes.publishes:
            await self._tell(self._handle, joining)
            return
        peer = self._upstream = self._generator.new_peer()
        offered = description.offer(peer.local, self._wishes.publishes)
        answer = await self._tell(self._handle, {**joining, "request": "joinandconfigure"}, "offer", sdp.write(offered))
        answered = sdp.parse(answer["jsep"]["sdp"])
        negotiated = description.sendings(self._wishes.publishes, offered, answered)
        self.sources = [peer.publish(sending, pattern) for sending, pattern in negotiated]
        peer.begin(answered, offered=True)
        await peer.connected()

    async def watch(self) -> None:
        """Subscribe to what is published in the room now, by one connection for all."""
        wishes = self._wishes
        listed = await self._ask(self._handle, request="listparticipants", room=self._room)
        others = [who["id"] for who in listed["participants"] if who["publisher"] and who["id"] != self._id]
        # Who came first is seen, as with Zvonim; ids are in the order of arrival.
        seen = sorted(others)[: wishes.pairs + wishes.audio]
        if not seen:
            return
        handle = await self._attach()
        streams = [{"feed": feed} for feed in seen]
        joining = {"request": "join", "ptype": "subscriber", "room": self._room, "streams": streams}
        offer = await self._tell(handle, joining)
        peer = self._downstream = self._generator.new_peer()
        offered = sdp.parse(offer["jsep"]["sdp"])
        answered = sdp.write(description.answer(peer.local, offered))
        # Only now: what Janus hears of DTLS before the answer it drops, and the handshake would wait a second.
        await self._tell(handle, {"request": "start"}, "answer", answered)
        peer.begin(offered, offered=False)
        await peer.connected()

    async def leave(self) -> None:
        """End the session, and all handles with it."""
        with suppress(ServerError, ConnectionError):
            await self._connection.request({"janus": "destroy", "session_id": self._session})
        await self._connection.close()
        for peer in self.peers:
            self._generator.remove(peer)

    async def _attach(self) -> int:
        attached = await self._connection.request({"janus": "attach", "session_id": self._session, "plugin": PLUGIN})
        handle: int = attached["data"]["id"]
        return handle

    async def _ask(self, handle: int, **body: object) -> dict[str, Any]:
        """Make a synchronous request of the plugin."""
        answer = await self._connection.request(self._message(handle, body))
        data: dict[str, Any] = answer["plugindata"]["data"]
        return data

    async def _tell(self, handle: int, body: dict[str, Any], kind: str = "", text: str = "") -> dict[str, Any]:
        """Make an asynchronous request, with a description or without; returns the event that answers it."""
        message = self._message(handle, body)
        if text:
            message["jsep"] = {"type": kind, "sdp": text}
        return await self._connection.request(message, answered_by_event=True)

    def _message(self, handle: int, body: dict[str, Any]) -> dict[str, Any]:
        return {"janus": "message", "session_id": self._session, "handle_id": handle, "body": body}
