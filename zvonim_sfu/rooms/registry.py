"""The rooms of a node."""

from __future__ import annotations

import asyncio
import secrets
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from zvonim_sfu.rooms.events import CloseCode, IceServer
from zvonim_sfu.rooms.room import Room
from zvonim_sfu.rooms.statistics import NodeStatistics, TotalStatistics, total_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zvonim_sfu.media.node import MediaNode
    from zvonim_sfu.rooms.ice_servers import SharedSecretServer
    from zvonim_sfu.rooms.limits import Limits
    from zvonim_sfu.rooms.participant import Participant

__all__ = ["IceServer", "Registry", "RoomError"]

# Lower-case letters but those that look like digits: 24 to the power of 10 is 2^45 names, easy to read out.
_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz"
_GROUPS: Final = (3, 4, 3)

# The server has 5 s to end; clients that do not answer a close frame by then are cut off.
_CLOSE_TIMEOUT_S: Final = 3.0


class RoomError(Exception):
    """A room that cannot be entered. `code` is a stable word for programs, `message` a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Registry:
    """Owner of all rooms of this node."""

    def __init__(
        self, node: MediaNode, limits: Limits, *, ice_servers: Sequence[IceServer | SharedSecretServer] = ()
    ) -> None:
        self._node = node
        self._limits = limits
        self._ice_servers = tuple(ice_servers)
        self._rooms: dict[str, Room] = {}
        self._joins = 0

    @property
    def rooms(self) -> Mapping[str, Room]:
        """All rooms, by their id."""
        return MappingProxyType(self._rooms)

    def join(self, room_id: str | None, user_name: str) -> tuple[Room, Participant]:
        """Make a new participant of a room; of a new room, if there is none of that id or no id was given.

        The caller has checked both strings. Raises RoomError: `room-full`, `too-many-rooms`.
        """
        room = None if room_id is None else self._rooms.get(room_id)
        if room is None:
            room = self._open_room(room_id)
        if room.is_full:
            raise RoomError("room-full", "The room is full. Try again when somebody has left.")
        self._joins += 1
        return room, room.add(user_name)

    def get(self, room_id: str) -> Room | None:
        """Return the room of that id."""
        return self._rooms.get(room_id)

    def find(self, room_id: str, user_id: str) -> Participant | None:
        """Return the participant of that room with that id."""
        room = self._rooms.get(room_id)
        return None if room is None else room.participants.get(user_id)

    def leave(self, room_id: str, user_id: str) -> None:
        """End a participant's stay in a room; does nothing if there is no such room or participant."""
        room = self._rooms.get(room_id)
        if room is not None:
            room.remove(user_id, "left")

    def statistics(self) -> NodeStatistics:
        """Return what the operator may know of all rooms, and of all that were."""
        return NodeStatistics([room.statistics() for room in self._rooms.values()], self.totals())

    def totals(self) -> TotalStatistics:
        """Return what has been counted since the node was started."""
        return total_statistics(self._node.totals(), self._joins)

    async def close(self) -> None:
        """Tell all clients that the server goes away, end all rooms, and wait for the WebSockets to close."""
        rooms = list(self._rooms.values())
        self._rooms.clear()
        participants = [participant for room in rooms for participant in room.participants.values()]
        connections = [p.connection for p in participants if p.connection is not None]
        for room in rooms:
            room.close(CloseCode.GOING_AWAY)
        if connections:
            waits = [asyncio.create_task(connection.wait_closed()) for connection in connections]
            _, pending = await asyncio.wait(waits, timeout=_CLOSE_TIMEOUT_S)
            for wait in pending:
                wait.cancel()

    def _open_room(self, room_id: str | None) -> Room:
        if len(self._rooms) >= self._limits.rooms:
            self._forget_an_empty_room()
        if room_id is None:
            room_id = _room_name()
            while room_id in self._rooms:
                room_id = _room_name()
        self._rooms[room_id] = room = Room(
            room_id,
            node=self._node,
            limits=self._limits,
            ice_servers=self._ice_servers,
            on_forgotten=self._forget,
        )
        return room

    def _forget_an_empty_room(self) -> None:
        for room in self._rooms.values():
            if not room.participants:
                room.close(CloseCode.LEFT)
                self._forget(room)
                return
        raise RoomError("too-many-rooms", "This server has no room left. Try again later.")

    def _forget(self, room: Room) -> None:
        del self._rooms[room.id]


def _room_name() -> str:
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(length)) for length in _GROUPS)
