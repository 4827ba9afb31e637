"""What travels over the WebSocket, in both JSON forms: the only place that reads and writes it.

Flat, as in section 4 of the documented API:  {"type": "offer", "to": "all", "sdp": "..."}
Nested, as in its Go models:                  {"type": "offer", "to": "all", "data": {"sdp": "..."}}
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from zvonim_sfu.rooms.events import (
    AudioLevels,
    CandidateInit,
    DominantSpeaker,
    ServerMessage,
    SlotQualities,
    Slots,
    SourceName,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
    UserJoined,
    UserLeft,
)

# Beyond these lengths nothing makes sense. How long a whole message may be is a setting (Limits.message_bytes).
_MAX_ID_LENGTH: Final = 256
_MAX_NAME_LENGTH: Final = 1024
_MAX_SDP_LENGTH: Final = 2**20
_MAX_SOURCES: Final = 1024
_MAX_MID_LENGTH: Final = 64
MAX_TILES: Final = 64
MAX_WANTED: Final = 64
MAX_TILE_SIDE: Final = 16384

# A type worth repeating in an error message; anything else could be a book.
_TYPE_PATTERN: Final = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)

_ENVELOPE: Final = ("type", "from", "to")

# Short messages that a whole room is told at once. Slots and their qualities too: clients of one kind number theirs
# alike, and of who came they are told the same.
_TOLD_TO_MANY: Final = (
    AudioLevels,
    DominantSpeaker,
    SlotQualities,
    Slots,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
    UserJoined,
    UserLeft,
)
# In both forms, of as much as happens in one turn of the loop.
_KEPT_TEXTS: Final = 128

_write_json: Final = json.JSONEncoder(separators=(",", ":")).encode

Id = Annotated[str, Field(max_length=_MAX_ID_LENGTH)]
Sdp = Annotated[str, Field(max_length=_MAX_SDP_LENGTH)]
Pixels = Annotated[int, Field(ge=0, le=MAX_TILE_SIDE)]


class MessageError(ValueError):
    """A message that cannot be understood.

    `code` is a stable word for programs, `message` a sentence for people, `request` the type of the message and
    `nested` its form, as far as they could be made out.
    """

    def __init__(self, code: str, message: str, request: str | None = None, *, nested: bool | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request = request
        self.nested = nested


class _ClientMessage(BaseModel):
    # A client's `from` is among the fields that are ignored: the server knows who speaks.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Join(_ClientMessage):
    """Enters the room."""

    type: Literal["join"]
    user_id: Id
    user_name: Annotated[str, Field(max_length=_MAX_NAME_LENGTH)] | None = None
    delivery: Literal["offers", "slots"] = "offers"


class ClientOffer(_ClientMessage):
    """An offer to the server, or to another participant."""

    type: Literal["offer"]
    to: Id | None = None
    sdp: Sdp
    sources: Annotated[dict[Id, SourceName], Field(max_length=_MAX_SOURCES)] = Field(default_factory=dict)


class ClientAnswer(_ClientMessage):
    """An answer to the server, or to another participant."""

    type: Literal["answer"]
    to: Id | None = None
    sdp: Sdp


class ClientCandidate(_ClientMessage):
    """A candidate for the server, which needs none, or for another participant."""

    type: Literal["ice-candidate"]
    to: Id | None = None
    candidate: Annotated[str, Field(max_length=2048)] | CandidateInit | None = None


class MuteTrack(_ClientMessage):
    """Says that a track of the client's own is muted, or no longer so."""

    type: Literal["track-muted"]
    track_id: Id
    muted: bool


class TileSize(BaseModel):
    """How large a slot's picture is on the screen."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    mid: Annotated[str, Field(max_length=_MAX_MID_LENGTH)]
    width: Pixels
    height: Pixels


class WantedTrack(BaseModel):
    """A track of another participant that the client wants to see."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    user_id: Id
    track_id: Id
    pinned: bool = False


def _each_once(tiles: tuple[TileSize, ...]) -> tuple[TileSize, ...]:
    if len({tile.mid for tile in tiles}) < len(tiles):
        msg = "a mid occurs twice"
        raise ValueError(msg)
    return tiles


class ClientView(_ClientMessage):
    """Says what is on the client's screen."""

    type: Literal["view"]
    # Not strict: JSON has lists only.
    tiles: Annotated[tuple[TileSize, ...], Field(max_length=MAX_TILES, strict=False), AfterValidator(_each_once)] = ()
    wanted: Annotated[tuple[WantedTrack, ...], Field(max_length=MAX_WANTED, strict=False)] = ()


class Leave(_ClientMessage):
    """Leaves the room for good."""

    type: Literal["leave"]


ClientMessage = Join | ClientOffer | ClientAnswer | ClientCandidate | MuteTrack | ClientView | Leave

_CLIENT_MESSAGE: Final[TypeAdapter[ClientMessage]] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])
SERVER_MESSAGE: Final[TypeAdapter[ServerMessage]] = TypeAdapter(Annotated[ServerMessage, Field(discriminator="type")])


def parse_message(text: str | bytes) -> tuple[ClientMessage, bool]:
    """Return a client's message, and whether it came in the nested form.

    Raises MessageError: `invalid-json`, `invalid-message`, `unknown-type`.
    """
    fields = _load(text)
    if not isinstance(fields, dict):
        raise MessageError("invalid-message", "A message has to be a JSON object.")
    data = fields.pop("data", False)
    nested = data is None or isinstance(data, dict)
    if isinstance(data, dict):
        # What is inside goes before what is outside, but for the envelope.
        fields |= {name: value for name, value in data.items() if name not in fields or name not in _ENVELOPE}
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise MessageError("invalid-message", "A message needs a type, which is a string.", nested=nested)
    request = kind if _TYPE_PATTERN.fullmatch(kind) else None
    try:
        return _CLIENT_MESSAGE.validate_python(fields), nested
    except ValidationError as exc:
        code, sentence = _explain(exc)
        raise MessageError(code, sentence, request, nested=nested) from None


def render(message: ServerMessage, *, nested: bool) -> str:
    """Return a message of the server as JSON, in one of the two forms."""
    return _render_once(message, nested) if isinstance(message, _TOLD_TO_MANY) else _render(message, nested)


def _render(message: ServerMessage, nested: bool) -> str:
    fields = SERVER_MESSAGE.dump_python(message, mode="json", by_alias=True)
    if nested:
        envelope = {name: fields.pop(name) for name in _ENVELOPE if name in fields}
        fields = {"type": envelope.pop("type"), "data": fields, **envelope}
    else:
        fields = {"type": fields.pop("type"), **fields}
    return _write_json(fields)


_render_once: Final = lru_cache(maxsize=_KEPT_TEXTS)(_render)


def _load(text: str | bytes) -> Any:
    try:
        if isinstance(text, bytes):
            text = text.decode()
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise MessageError("invalid-json", "The message is nested too deeply.") from None
    except ValueError as exc:  # JSONDecodeError, UnicodeDecodeError, numbers of more digits than Python converts
        raise MessageError("invalid-json", "The message is not JSON (RFC 8259), encoded in UTF-8.") from exc


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse objects that two readers may understand differently (RFC 8259 section 4)."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        msg = "a name occurs twice"
        raise ValueError(msg)
    return fields


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads, but which are not JSON."""
    raise ValueError(name)


def _explain(exc: ValidationError) -> tuple[str, str]:
    """Return the code and the sentence for the first fault. Neither repeats what the client sent."""
    fault = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    if fault["type"] == "union_tag_invalid":
        return "unknown-type", "The server knows no message of this type."
    # The first part of the location is the message's type; a key in it may be the client's own invention.
    field = ".".join(str(part) for part in fault["loc"][1:2])
    return "invalid-message", f"The field {field} is wrong: {fault['msg']}."
