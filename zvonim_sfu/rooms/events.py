"""What a room tells its participants: the server's messages, each defined here and nowhere else.

`zvonim_sfu.signaling.messages` gives them their two JSON forms; docs/protocol.md explains them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Final, Literal, Protocol

from pydantic import ConfigDict, Field, WithJsonSchema, with_config

from zvonim_sfu.media.source import Source
from zvonim_sfu.rooms.quality import Reason

# The server's own id on the wire. No participant gets it: theirs are longer.
SFU_ID: Final = "sfu"

_STRICT: Final = ConfigDict(strict=True)
# For what is in the statistics too, where docstrings of fields explain them.
_DESCRIBED: Final = ConfigDict(strict=True, use_attribute_docstrings=True)

# Where a missing field says the same as null, and browsers take null for a value.
_OmitNone: Final = Field(exclude_if=lambda value: value is None)

# JSON has no enumerations: a source arrives as its name.
SourceName = Annotated[Source, Field(strict=False)]
ReasonName = Annotated[Reason, Field(strict=False), WithJsonSchema({"type": "string"})]


class CloseCode(IntEnum):
    """Why the server closes a WebSocket (RFC 6455 section 7.4; from 4000 on: ours)."""

    GOING_AWAY = 1001
    """The server is being stopped."""

    PROTOCOL_ERROR = 4000
    """Too many messages that no client of this protocol sends."""

    REPLACED = 4001
    """The same user opened a newer WebSocket."""

    LEFT = 4002
    """The participant left the room."""

    TOO_SLOW = 4003
    """The client did not read what it was sent."""

    UNKNOWN_PARTICIPANT = 4004
    """No such participant in such a room: it never joined, or is gone already."""

    RATE_LIMITED = 4005
    """The client went on sending more than it may."""

    INVALID_SECRET = 4006
    """The client did not prove that it is the user whom it names (identity = strict)."""


@with_config(ConfigDict(strict=False))
@dataclass(frozen=True, slots=True)
class CandidateInit:
    """An ICE candidate as browsers write it: RTCIceCandidateInit, member for member."""

    candidate: Annotated[str, Field(max_length=2048)] = ""
    sdpMid: Annotated[str, Field(max_length=64)] | None = None  # noqa: N815 - the browsers' spelling
    sdpMLineIndex: Annotated[int, Field(ge=0, le=65535)] | None = None  # noqa: N815
    usernameFragment: Annotated[str, Field(max_length=256)] | None = None  # noqa: N815


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server that clients are told to use."""

    urls: tuple[str, ...]
    username: Annotated[str | None, _OmitNone] = None
    credential: Annotated[str | None, _OmitNone] = None


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class TrackInfo:
    """An up track, as the others see it."""

    track_id: str
    source: SourceName
    muted: bool


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class ParticipantInfo:
    """A participant, as the others see it."""

    user_id: str
    user_name: str
    is_online: bool
    tracks: tuple[TrackInfo, ...]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class SlotChange:
    """What a slot carries from now on; nothing, if `user_id` is None."""

    mid: str
    user_id: str | None
    track_id: str | None
    source: SourceName | None
    muted: bool


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class UserJoined:
    """A participant has entered the room."""

    user_id: str
    user_name: str
    type: Literal["user-joined"] = "user-joined"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class UserLeft:
    """A participant has left the room, and its tracks with it."""

    user_id: str
    type: Literal["user-left"] = "user-left"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class RoomState:
    """All there is to know on entering: the answer to `join`."""

    room_id: str
    user_id: str
    participants: tuple[ParticipantInfo, ...]
    ice_servers: tuple[IceServer, ...]
    server_version: str
    type: Literal["room-state"] = "room-state"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class TrackPublished:
    """A participant sends a new track."""

    user_id: str
    track_id: str
    source: SourceName
    muted: bool
    type: Literal["track-published"] = "track-published"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class TrackUnpublished:
    """A participant no longer sends a track."""

    user_id: str
    track_id: str
    type: Literal["track-unpublished"] = "track-unpublished"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class TrackMuted:
    """A participant has muted a track, or unmuted it."""

    user_id: str
    track_id: str
    muted: bool
    type: Literal["track-muted"] = "track-muted"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Slots:
    """Slot mode: which track some slots carry from now on."""

    changes: tuple[SlotChange, ...]
    type: Literal["slots"] = "slots"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class DominantSpeaker:
    """Slot mode: who has the floor from now on; nobody, if `user_id` is None."""

    user_id: str | None
    type: Literal["dominant-speaker"] = "dominant-speaker"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class AudioLevel:
    """How loud a participant is."""

    user_id: str
    level: int
    """dBov: -127 (silence) to 0."""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class AudioLevels:
    """Slot mode: who is audible now, the loudest first. All others are silent."""

    levels: tuple[AudioLevel, ...]
    type: Literal["audio-levels"] = "audio-levels"


@with_config(_DESCRIBED)
@dataclass(frozen=True, slots=True)
class QualityDetail:
    """The figures of a reason, those that it has."""

    available_bps: Annotated[int | None, _OmitNone] = None
    """link: bit/s that the link holds for this picture"""
    needed_bps: Annotated[int | None, _OmitNone] = None
    """link: bit/s of the picture that the tile would show"""
    width: Annotated[int | None, _OmitNone] = None
    """tile: device pixels"""
    height: Annotated[int | None, _OmitNone] = None
    """tile: device pixels"""
    waiting_ms: Annotated[int | None, _OmitNone] = None
    """keyframe: for how long already"""


@with_config(_DESCRIBED)
@dataclass(frozen=True, slots=True)
class SlotQuality:
    """Which layers of its track a slot carries, and why no more."""

    mid: str
    """of the m-section"""
    paused: bool
    """whether nothing is sent; the layers are -1 then, and sizes and rate 0"""
    spatial: int
    """the highest layer that is sent, 0 the smallest picture"""
    temporal: int
    """the same of its frame rate"""
    width: int
    """in pixels; 0 where it is not known"""
    height: int
    bitrate: int
    """bit/s of what is sent, smoothed, packet headers included"""
    reason: ReasonName
    """best, tile, link, publisher, keyframe, hidden or source"""
    detail: QualityDetail


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class SlotQualities:
    """Slot mode: how good the pictures of some slots are from now on, and why."""

    slots: tuple[SlotQuality, ...]
    type: Literal["slot-quality"] = "slot-quality"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class WantedLayers:
    """What somebody takes of a track now."""

    track_id: str
    rids: tuple[str, ...]
    """Of simulcast."""
    spatial: int
    """The highest that anybody takes; -1 for nobody."""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class LayersWanted:
    """Slot mode: what is to be encoded of the client's own tracks from now on."""

    tracks: tuple[WantedLayers, ...]
    type: Literal["layers-wanted"] = "layers-wanted"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Offer:
    """A session description that wants an answer: the server's own, or another participant's."""

    sender: Annotated[str, Field(alias="from")]
    to: str
    sdp: str
    type: Literal["offer"] = "offer"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to an offer."""

    sender: Annotated[str, Field(alias="from")]
    to: str
    sdp: str
    type: Literal["answer"] = "answer"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class IceCandidate:
    """A candidate of another participant. The server's own stand in its session descriptions."""

    sender: Annotated[str, Field(alias="from")]
    to: str
    candidate: str | CandidateInit | None
    type: Literal["ice-candidate"] = "ice-candidate"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Error:
    """Something that the client asked for was not done."""

    code: str
    message: str
    request: str | None = None
    """Type of the message that this answers."""
    user_id: Annotated[str | None, _OmitNone] = None
    """Whose track it is about."""
    track_id: Annotated[str | None, _OmitNone] = None
    """Which track it is about."""
    type: Literal["error"] = "error"


Signal = Offer | Answer | IceCandidate

ServerMessage = (
    UserJoined
    | UserLeft
    | RoomState
    | TrackPublished
    | TrackUnpublished
    | TrackMuted
    | Slots
    | DominantSpeaker
    | AudioLevels
    | SlotQualities
    | LayersWanted
    | Signal
    | Error
)


class Connection(Protocol):
    """A participant's open WebSocket, as the room sees it. No method waits, and none ever fails."""

    def send(self, message: ServerMessage) -> None:
        """Put a message into the outbox. A client that does not read loses its connection, not the room its time."""

    def sample(self, message: ServerMessage) -> None:
        """Put a message into the outbox, or forget it if the client is behind with reading: a newer one follows."""

    def relay(self, signal: Signal) -> bool:
        """Put another participant's message into the outbox, unless that could cost the client its connection."""

    def close(self, code: CloseCode) -> None:
        """Send what waits, then close. Idempotent."""

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""
