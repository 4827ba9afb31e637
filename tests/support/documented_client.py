"""A client that uses nothing but what the documented API says, in either JSON form."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Self

from tests.support.aiortc_client import AiortcClient, is_colour

if TYPE_CHECKING:
    import aiohttp

    from tests.support.aiortc_client import Colour

Message = dict[str, Any]


class DocumentedClient:
    """One user: REST, WebSocket and an aiortc peer connection. Make one with `enter`."""

    def __init__(self, http: aiohttp.ClientSession, base: str, *, nested: bool, media: AiortcClient) -> None:
        self.media = media
        self.messages: list[Message] = []
        "What the server said, in the flat form."
        self.room_id = ""
        self.user_id = ""
        self.users_in_room: list[str] = []
        self._http = http
        self._base = base
        self._nested = nested
        self._closed = self._reloaded = False
        self._reader: asyncio.Task[None] | None = None
        self._ws: aiohttp.ClientWebSocketResponse | None = None

    @classmethod
    async def enter(
        cls,
        http: aiohttp.ClientSession,
        base: str,
        room_id: str | None,
        name: str,
        *,
        nested: bool = False,
        colour: Colour | None = None,
        hertz: float = 0.0,
    ) -> Self:
        """Join by REST, open the WebSocket, send `join` and, with a colour, offer picture and sound to `all`."""
        self = cls(http, base, nested=nested, media=AiortcClient(colour, hertz))
        body = {"user_name": name} | ({"room_id": room_id} if room_id else {})
        async with http.post(f"{base}/api/room/join", json=body) as response:
            joined = await response.json()
            assert response.status == 200, joined
        self.room_id, self.user_id, self.users_in_room = joined["room_id"], joined["user_id"], joined["users_in_room"]
        await self._open(name)
        return self

    async def _open(self, name: str) -> None:
        ids = {"room_id": self.room_id, "user_id": self.user_id}
        self._ws = await self._http.ws_connect(f"{self._base}/ws", params=ids)
        self._reader = asyncio.create_task(self._read(self._ws))
        offer = await self.media.offer() if self.media.publishes else ""
        await self.send("join", user_id=self.user_id, user_name=name)
        if offer:
            await self.send("offer", to="all", sdp=offer)

    async def reload(self, name: str, colour: Colour | None = None, hertz: float = 0.0) -> None:
        """Close everything without a word and be back as the same user, with another peer connection."""
        await self.close()
        self._closed, self._reloaded = False, True
        self.messages = []
        self.media = AiortcClient(colour, hertz)
        await self._open(name)

    async def send(self, kind: str, *, to: str | None = None, **fields: Any) -> None:
        """Send a message in this client's form."""
        message = {"type": kind} | ({"data": fields} if self._nested else fields) | ({"to": to} if to else {})
        assert self._ws is not None
        await self._ws.send_str(json.dumps(message))

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in ws:
            raw = json.loads(frame.data)
            # The server answers in the form that it was spoken to; before `join` reaches it, it speaks flat.
            if raw["type"] == "room-state" or self.said("room-state"):
                assert ("data" in raw) == self._nested, raw
            message = {**raw.pop("data", {}), **raw}
            self.messages.append(message)
            if message["type"] in ("offer", "answer") and message["from"] == "sfu":
                assert message["to"] == self.user_id
                if message["type"] == "offer" and self._is_out_of_date():
                    continue
                if message["type"] == "offer":
                    answer = await self.media.answer(message["sdp"])
                    with contextlib.suppress(ConnectionError):  # the server may have gone, or this user left
                        await self.send("answer", to="sfu", sdp=answer)
                else:
                    await self.media.accept_answer(message["sdp"])

    def _is_out_of_date(self) -> bool:
        """Whether an offer of the server's is for a peer connection that is not there any more.

        This user has left, and the server has closed it; or the page was loaded anew, and has offered itself: the
        server takes that for what it is, another peer connection's, and forgets its own. (Crossing offers else make
        the client roll back, which aiortc cannot.)
        """
        state = self.media.pc.signalingState
        return state == "closed" or (self._reloaded and state == "have-local-offer")

    def said(self, kind: str, **fields: object) -> list[Message]:
        """The server's messages of one type with these fields."""
        return [m for m in self.messages if m["type"] == kind and fields.items() <= m.items()]

    def sees_and_hears(self, other: DocumentedClient, colour: Colour, hertz: float) -> bool:
        """Whether it decodes this colour and this tone under the other's name."""
        picture = self.media.heard_from(other.user_id, "camera")
        sound = self.media.heard_from(other.user_id, "microphone")
        return (
            picture is not None
            and sound is not None
            and picture.frames > 0
            and is_colour(picture.colour, colour)
            and abs(sound.hertz - hertz) < 5
        )

    async def leave(self) -> None:
        """Leave by REST and end the peer connection."""
        body = {"room_id": self.room_id, "user_id": self.user_id}
        async with self._http.post(f"{self._base}/api/room/leave", json=body) as response:
            assert await response.json() == {"success": True}
        await self.close()

    async def close(self) -> None:
        """End WebSocket and peer connection. A second time does nothing."""
        if not self._closed:
            self._closed = True
            if self._ws is not None:
                await self._ws.close()
            if self._reader is not None:
                await self._reader
            await self.media.close()
