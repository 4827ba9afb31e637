"""A server with rooms and WebSockets but without media, and clients of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.fake_peer import FakeNode, FakePeer
from zvonim_sfu.rooms.limits import Limits
from zvonim_sfu.rooms.registry import Registry
from zvonim_sfu.signaling.keys import ALLOWED_ORIGINS, LIMITS, REGISTRY, STRICT_IDENTITY
from zvonim_sfu.signaling.session import websocket_handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from zvonim_sfu.rooms.participant import Participant

TIMEOUT_S = 5.0


class Server:
    """A running server on 127.0.0.1."""

    def __init__(self, limits: Limits, *, strict: bool) -> None:
        self.node = FakeNode()
        self.limits = limits
        self.registry = Registry(self.node.as_node(), limits)
        app = web.Application()
        app[REGISTRY] = self.registry
        app[LIMITS] = limits
        app[ALLOWED_ORIGINS] = frozenset()
        app[STRICT_IDENTITY] = strict
        app.router.add_get("/ws", websocket_handler)
        self._server = TestServer(app, host="127.0.0.1")
        self._http: aiohttp.ClientSession | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.port}"

    @property
    def port(self) -> int:
        assert self._server.port is not None
        return self._server.port

    async def start(self) -> None:
        await self._server.start_server()
        self._http = aiohttp.ClientSession()

    async def stop(self) -> None:
        if self._http is not None:
            await self._http.close()
        await self.registry.close()
        await self._server.close()

    def join(self, name: str = "Ann", room_id: str = "room") -> Participant:
        """What the REST call does."""
        return self.registry.join(room_id, name)[1]

    async def open(self, user_id: str, room_id: str = "room", *, secret: str | None = None, **options: Any) -> Client:
        """Open a WebSocket; `secret` goes into its address."""
        assert self._http is not None
        url = f"http://{self.host}/ws"
        params = {"room_id": room_id, "user_id": user_id} | ({} if secret is None else {"secret": secret})
        return Client(self, user_id, await self._http.ws_connect(url, params=params, **options))

    async def get_status(self, user_id: str, headers: dict[str, str]) -> int:
        """Ask for a WebSocket, without opening it."""
        assert self._http is not None
        params = {"room_id": "room", "user_id": user_id}
        async with self._http.get(f"http://{self.host}/ws", params=params, headers=headers) as response:
            return response.status

    async def enter(
        self, name: str = "Ann", *, nested: bool = False, offer: str | None = None, **fields: Any
    ) -> Client:
        """Join, open a WebSocket, send `join` and perhaps an offer."""
        client = await self.open(self.join(name).user_id)
        client.nested = nested
        await client.send("join", user_id=client.id, user_name=name, **fields)
        await client.receive("room-state")
        if offer is not None:
            await client.send("offer", to="all", sdp=offer)
            await client.receive("answer")
        return client


class Client:
    """One WebSocket of one user."""

    def __init__(self, server: Server, user_id: str, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.id = user_id
        self.ws = ws
        self.nested = False
        self._server = server

    @property
    def peer(self) -> FakePeer:
        return self._server.node.peers[self.id]

    @property
    def participant(self) -> Participant | None:
        return self._server.registry.find("room", self.id)

    async def send(self, kind: str, **fields: Any) -> None:
        message: dict[str, Any] = {"type": kind, **fields}
        if self.nested:
            to = {"to": fields.pop("to")} if "to" in fields else {}
            message = {"type": kind, "data": fields, **to}
        await self.ws.send_str(json.dumps(message))

    async def next(self) -> dict[str, Any]:
        """The next message, whatever it is."""
        message = await self.ws.receive(TIMEOUT_S)
        assert message.type is aiohttp.WSMsgType.TEXT, f"closed with {self.ws.close_code}"
        fields: dict[str, Any] = json.loads(message.data)
        assert ("data" in fields) is self.nested
        return fields

    async def receive(self, kind: str) -> dict[str, Any]:
        """The next message of a type, its fields in the flat form; others are passed over."""
        while (message := await self.next())["type"] != kind:
            pass
        return {**message.pop("data"), **message} if self.nested else message

    async def closed(self) -> int:
        """Read until the server closes; return its code."""
        async with asyncio.timeout(TIMEOUT_S):
            async for _ in self.ws:
                pass
        assert self.ws.close_code is not None
        return self.ws.close_code


@asynccontextmanager
async def serving(*, strict: bool = False, **limits: Any) -> AsyncIterator[Server]:
    """Run a server, and see to it that nothing of it is left."""
    server = Server(Limits(**limits), strict=strict)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
    assert all(peer.is_closed for peer in server.node.made)


async def until(condition: Any) -> None:
    """Wait until something is true that is bound to become true soon."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - a test watches from outside
            await asyncio.sleep(0.005)
