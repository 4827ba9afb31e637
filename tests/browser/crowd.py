"""People who are in a room and send nothing: what a large call's page is filled with, for next to nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


@asynccontextmanager
async def crowd(server: str, room: str, names: Sequence[str]) -> AsyncIterator[list[str]]:
    """Let people enter a room in this order; yields their user_ids. The server has to allow as many joins at once."""
    async with aiohttp.ClientSession() as http:
        users, readers = [], []
        for name in names:
            body = {"room_id": room, "user_name": name}
            async with http.post(f"{server}/api/room/join", json=body) as response:
                user = (await response.json())["user_id"]
            socket = await http.ws_connect(f"{server}/ws", params={"room_id": room, "user_id": user})
            await socket.send_json({"type": "join", "user_id": user, "user_name": name})
            users.append(user)
            readers.append(asyncio.create_task(_read(socket)))
        try:
            yield users
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)


async def _read(socket: aiohttp.ClientWebSocketResponse) -> None:
    async with socket:
        async for _ in socket:
            pass
