"""What an operator may know of rooms and their participants; see media.statistics for the media of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads the fields
from typing import TYPE_CHECKING

from pydantic import with_config

from zvonim_sfu.media.statistics import DESCRIBED, MediaStatistics
from zvonim_sfu.rooms.events import SlotQuality  # noqa: TC001 - pydantic reads the fields

if TYPE_CHECKING:
    from zvonim_sfu.media.totals import Totals


@with_config(DESCRIBED)
@dataclass(frozen=True, slots=True)
class ParticipantStatistics:
    """A participant of a room."""

    user_id: str
    user_name: str
    is_online: bool
    """whether the user's WebSocket is open"""
    media: MediaStatistics | None
    """null before the client's join message"""
    slots: list[SlotQuality]
    """how good the pictures are that it receives, and why no better; see docs/protocol.md, View and quality"""


@with_config(DESCRIBED)
@dataclass(frozen=True, slots=True)
class RoomStatistics:
    """A room and who is in it."""

    room_id: str
    created_at: datetime
    dominant_speaker: str | None
    """user_id of who has the floor, or had it last; null before anybody has spoken"""
    levels: dict[str, int]
    """dBov (-127 to 0) of those who are audible now, by user_id"""
    participants: list[ParticipantStatistics]


@with_config(DESCRIBED)
@dataclass(frozen=True, slots=True)
class TotalStatistics:
    """What has been counted since the server was started, those who have left included. Nothing here goes back."""

    joins: int
    """participants that were made by REST"""
    connected: int
    """transports whose handshake was done"""
    handshake_failures: dict[str, int]
    """transports that did not come up: unreached (no check arrived), timeout (DTLS did not end), refused (by DTLS)"""
    packets_received: int
    """authentic RTP packets; RTCP is not in it"""
    bytes_received: int
    """UDP payload of these"""
    packets_sent: int
    """RTP packets, repairs included"""
    bytes_sent: int
    """UDP payload of these"""
    up_lost: int
    """packets of publishers that did not come by themselves"""
    up_requested: int
    """packets that publishers were asked for again (NACK)"""
    up_repaired: int
    """packets of publishers that came as retransmissions (RTX)"""
    up_duplicates: int
    """packets of publishers that were dropped because they had come before, or came too late"""
    keyframe_requests: int
    """that were sent to publishers"""
    down_nacked: int
    """packets that subscribers asked for again (NACK)"""
    down_repaired: int
    """packets that were sent to subscribers again"""
    drops: dict[str, int]
    """datagrams that were dropped, by reason"""


@with_config(DESCRIBED)
@dataclass(frozen=True, slots=True)
class NodeStatistics:
    """Rooms, participants and tracks as they are now, and what was counted so far."""

    rooms: list[RoomStatistics]
    totals: TotalStatistics


def total_statistics(totals: Totals, joins: int) -> TotalStatistics:
    """Return what a node has counted as a value."""
    return TotalStatistics(
        joins=joins,
        connected=totals.connected,
        handshake_failures={reason.value: count for reason, count in totals.failures.items()},
        packets_received=totals.packets_received,
        bytes_received=totals.bytes_received,
        packets_sent=totals.packets_sent,
        bytes_sent=totals.bytes_sent,
        up_lost=totals.up.lost,
        up_requested=totals.up.requested,
        up_repaired=totals.up.repaired,
        up_duplicates=totals.up.duplicates,
        keyframe_requests=totals.up.keyframe_requests,
        down_nacked=totals.nacked,
        down_repaired=totals.repaired,
        drops={reason.value: count for reason, count in totals.drops.items()},
    )
