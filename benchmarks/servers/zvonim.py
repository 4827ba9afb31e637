"""Zvonim SFU: the real command, with the documented API and slots."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from benchmarks.client import description
from benchmarks.servers import ServerError, Wishes, everybody
from tests.support.server import COMMAND, RunningServer, running_server
from zvonim_sfu.media import sdp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from benchmarks.client.generator import Generator
    from benchmarks.client.peer import Peer
    from benchmarks.client.traffic import Source

NOT_EQUALISED: Final = (
    "Zvonim: one connection for both directions, as its web client has it; limits on joins and handshakes are lifted.",
)
ANSWER_TIMEOUT_S: Final = 15.0
LIFTED: Final = {
    "limit_joins_per_second": 10_000,
    "limit_join_burst": 10_000,
    "limit_handshakes_per_second": 10_000,
    "limit_handshake_burst": 10_000,
    "limit_participants_per_room": 1000,
    "limit_empty_room_s": 1,
    "limit_microphones_heard": 0,
}
"""What keeps one address from being a crowd; a generator is one. And all microphones are heard, as rivals have it."""


def missing() -> str:
    """Nothing: it is this project."""
    return ""


@asynccontextmanager
async def start(host: str, command: str = "", **settings: object) -> AsyncIterator[Zvonim]:
    """Run `zvonim-sfu`, with some settings of its own."""
    async with (
        running_server(Path(command) if command else COMMAND, media_host=host, **(LIFTED | settings)) as running,
        aiohttp.ClientSession(connector=everybody()) as http,
    ):
        yield Zvonim(running, http)


class Zvonim:
    """A server that runs."""

    def __init__(self, running: RunningServer, http: aiohttp.ClientSession) -> None:
        self._running = running
        self._http = http
        self.version = version("zvonim-sfu")
        self.pid = running.process.pid

    async def join(self, generator: Generator, room: str, wishes: Wishes) -> ZvonimMember:
        """Join by REST and WebSocket, and offer what is published together with slots for what is received."""
        body = {"room_id": room, "user_name": "Benchmark"}
        async with self._http.post(f"{self._running.url}/api/room/join", json=body) as response:
            if response.status != 200:
                raise ServerError(f"join was refused: {await response.text()}")
            joined = await response.json()
        query = {"room_id": joined["room_id"], "user_id": joined["user_id"], "secret": joined["secret"]}
        ws = await self._http.ws_connect(f"{self._running.url}/ws", params=query)
        member = ZvonimMember(generator, ws)
        await member.connect(joined["user_id"], wishes)
        return member


class ZvonimMember:
    """Somebody in a room."""

    def __init__(self, generator: Generator, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.sources: Sequence[Source] = ()
        self.receiver = generator.new_peer()
        self._generator = generator
        self._ws = ws
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read())
        self.video_slots: dict[str, int] = {}
        """The SSRC of each of its video slots, by mid."""
        self.shown: dict[str, str | None] = {}
        """Whose picture each of them carries, as the server says."""
        self.quality: dict[str, dict[str, Any]] = {}
        """What the server last said of the quality of each."""
        self.user_id = ""
        self.stops_encodings = True
        """Whether it encodes no more what the server says that nobody takes."""

    @property
    def peers(self) -> Sequence[Peer]:
        """The one connection."""
        return (self.receiver,)

    async def connect(self, user_id: str, wishes: Wishes) -> None:
        """Send `join` and the offer, and wait until media can flow. Raises ServerError."""
        peer = self.receiver
        self.user_id = user_id
        receives = ["audio", "video"] * wishes.pairs + ["audio"] * wishes.audio
        offered = description.offer(peer.local, wishes.publishes, receives)
        await self._ws.send_json({"type": "join", "user_id": user_id, "delivery": "slots"})
        await self._ws.send_json({"type": "offer", "to": "all", "sdp": sdp.write(offered)})
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answered = sdp.parse(await self._answer)
        slots = answered.sections[len(wishes.publishes) :]
        self.video_slots = {section.mid: section.ssrcs[0] for section in slots if section.kind == "video"}
        negotiated = description.sendings(wishes.publishes, offered, answered)
        self.sources = [peer.publish(sending, pattern) for sending, pattern in negotiated]
        peer.begin(answered, offered=True)
        await peer.connected()

    async def watch(self) -> None:
        """Nothing: the server fills the slots by itself."""

    async def show(self, tiles: Sequence[tuple[int, int]], wanted: Sequence[str]) -> None:
        """Tell how large the video slots are shown, the first first, and whose cameras are wanted above all.

        Raises ServerError when the WebSocket has ended, with what it ended by.
        """
        if self._reader.done():
            raise ServerError(f"the WebSocket ended with {self._ws.close_code}") from self._reader.exception()
        sizes = zip(self.video_slots, tiles, strict=True)
        message = {
            "type": "view",
            "tiles": [{"mid": mid, "width": width, "height": height} for mid, (width, height) in sizes],
            "wanted": [{"user_id": user, "track_id": "camera", "pinned": False} for user in wanted],
        }
        await self._ws.send_json(message)

    async def leave(self) -> None:
        """Leave by the WebSocket."""
        with suppress(ConnectionError):
            await self._ws.send_json({"type": "leave"})
        await self._ws.close()
        await self._reader
        self._generator.remove(self.receiver)

    async def _read(self) -> None:
        async for frame in self._ws:
            message: dict[str, Any] = json.loads(frame.data)
            if message["type"] == "layers-wanted":
                self._encode(message["tracks"])
            elif message["type"] == "slots":
                self.shown |= {change["mid"]: change["user_id"] for change in message["changes"]}
            elif message["type"] == "slot-quality":
                self.quality |= {entry["mid"]: entry for entry in message["slots"]}
            elif message["type"] == "error":
                self._on_error(message["message"])
            elif message["type"] == "answer" and not self._answer.done():
                self._answer.set_result(message["sdp"])

    def _encode(self, tracks: Sequence[dict[str, Any]]) -> None:
        """Send the encodings that somebody takes, and no others, as browsers do when they are told."""
        if not self.stops_encodings:
            return
        wanted = {rid for track in tracks if track["track_id"] == "camera" for rid in track["rids"]}
        for source in self.sources:
            if source.pattern.rid and any(track["track_id"] == "camera" for track in tracks):
                source.is_wanted = source.pattern.rid in wanted

    def _on_error(self, text: str) -> None:
        if self._answer.done():
            raise ServerError(text)
        self._answer.set_exception(ServerError(text))
