"""What the REST routes take and return. The OpenAPI document is made of these models, and requests are held to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    WithJsonSchema,
    create_model,
)

from zvonim_sfu.rooms.limits import clean_name, valid_id

if TYPE_CHECKING:
    from zvonim_sfu.rooms.limits import Limits

# The rules of rooms/limits.py as JSON Schema writes them; a test holds one against the other.
_ID_CHARACTERS: Final = "[A-Za-z0-9_.~-]"
_NAME_REFUSED: Final = r"\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069"
# What Python trims. Dialects of regular expressions differ in what \s is.
_BLANK: Final = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def rfc3339_nano(moment: datetime) -> str:
    """Write a time as Go's time.Time does in JSON: RFC 3339 in UTC, the fraction without trailing zeros."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return text.rstrip("0").rstrip(".") + "Z"


GoTime = Annotated[
    datetime,
    PlainSerializer(rfc3339_nano, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-01T09:30:00.25Z"]}),
]


class _Request(BaseModel):
    # As Go's encoding/json: what is not known is ignored.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class JoinRequest(_Request):
    """Who wants to join, and which room; a new room, if none is named."""

    room_id: str | None = None
    user_name: str


class LeaveRequest(_Request):
    """Who leaves which room."""

    room_id: str
    user_id: str
    secret: Annotated[
        str | None,
        Field(max_length=256, description="from the answer to the join; needed if identity = strict"),
    ] = None


class JoinResponse(BaseModel):
    """The room, and the id that the server gave to the user in it."""

    room_id: str
    user_id: str
    users_in_room: Annotated[list[str], Field(description="user_ids, the caller's included")]
    secret: Annotated[str, Field(description="proves that one is this user; for `/ws` and leave, to be told to nobody")]


class User(BaseModel):
    """A user in a room."""

    user_id: str
    user_name: str
    is_online: Annotated[bool, Field(description="whether the user's WebSocket is open")]


class RoomInfo(BaseModel):
    """A room and who is in it."""

    room_id: str
    users: list[User]
    created_at: GoTime


class LeaveResponse(BaseModel):
    """The user is not in the room, or not any more."""

    success: Literal[True]


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]
    title: str
    status: int
    detail: Annotated[str, Field(description="a sentence that says what to do")]
    code: Annotated[str, Field(description="a stable word for programs")]


class Health(BaseModel):
    """The server takes requests."""

    status: Literal["ok"]


@dataclass(frozen=True, slots=True)
class RequestModels:
    """The models of requests, with the limits of this server in them."""

    join: type[JoinRequest]
    leave: type[LeaveRequest]
    path_id: TypeAdapter[str]


def request_models(limits: Limits) -> RequestModels:
    """Make the models of requests to a server with these limits."""

    def check_id(value: str) -> str:
        if not valid_id(value, limits.id_length):
            msg = f"Send an id of 1 to {limits.id_length} characters out of A-Z a-z 0-9 _ . ~ - only."
            raise ValueError(msg)
        return value

    id_schema = {
        "type": "string",
        "pattern": f"^{_ID_CHARACTERS}+$",
        "maxLength": limits.id_length,
        "description": "letters, digits and _ . ~ -",
    }
    optional_id_schema = {
        "anyOf": [id_schema | {"pattern": f"^{_ID_CHARACTERS}*$"}, {"type": "null"}],
        "default": None,
        "description": "letters, digits and _ . ~ -; none, null or an empty string: a new room",
    }
    name_schema = {
        "type": "string",
        "pattern": _name_pattern(limits.name_length),
        "description": f"1 to {limits.name_length} characters, trimmed and normalised (NFC); no control characters",
    }
    identifier = Annotated[str, AfterValidator(check_id), WithJsonSchema(id_schema)]
    optional = Annotated[identifier | None, BeforeValidator(_none_if_empty), WithJsonSchema(optional_id_schema)]
    name = Annotated[str, AfterValidator(partial(clean_name, length=limits.name_length)), WithJsonSchema(name_schema)]
    return RequestModels(
        join=create_model(
            "JoinRequest",
            __base__=JoinRequest,
            __doc__=JoinRequest.__doc__,
            room_id=(optional, None),
            user_name=(name, ...),
        ),
        leave=create_model(
            "LeaveRequest",
            __base__=LeaveRequest,
            __doc__=LeaveRequest.__doc__,
            room_id=(identifier, ...),
            user_id=(identifier, ...),
        ),
        path_id=TypeAdapter(identifier),
    )


def _name_pattern(length: int) -> str:
    """Return the pattern of a name of up to so many characters, blanks at the ends not counted."""
    visible = f"[^{_BLANK}{_NAME_REFUSED}]"
    more = f"(?:[^{_NAME_REFUSED}]{{0,{length - 2}}}{visible})?" if length > 1 else ""
    return f"^[{_BLANK}]*{visible}{more}[{_BLANK}]*$"


def _none_if_empty(value: object) -> object:
    return None if value == "" else value
