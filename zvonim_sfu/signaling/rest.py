"""The three documented REST routes: read the request, call the rooms, write the answer."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from zvonim_sfu.signaling.errors import ApiError, Fault
from zvonim_sfu.signaling.keys import JOIN_LIMITER, LIMITS, REGISTRY, STRICT_IDENTITY
from zvonim_sfu.signaling.models import (
    JoinResponse,
    LeaveResponse,
    RequestModels,
    RoomInfo,
    User,
    request_models,
)
from zvonim_sfu.signaling.operator import statistics
from zvonim_sfu.signaling.origin import origin_allowed

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

API_PREFIX: Final = "/api/"
REQUEST_MODELS: Final = web.AppKey("request_models", RequestModels)

# Browsers keep a preflight's answer for two hours at most; ten minutes, so that a changed setting takes hold.
PREFLIGHT_AGE_S: Final = 600

# What pydantic finds, in words that say what to send.
_REASONS: Final = {
    "missing": "is missing: send it",
    "string_type": "must be a string",
    "model_type": "must be a JSON object",
}

Model = TypeVar("Model", bound=BaseModel)


def add_routes(app: web.Application) -> None:
    """Mount the routes. The application has its limits by now."""
    app[REQUEST_MODELS] = request_models(app[LIMITS])
    app.router.add_post("/api/room/join", join_room)
    app.router.add_get("/api/room/{room_id}/info", room_info)
    app.router.add_post("/api/room/leave", leave_room)
    app.router.add_get("/api/statistics", statistics)
    app.on_response_prepare.append(add_api_headers)


async def join_room(request: web.Request) -> web.Response:
    """Serve `POST /api/room/join`."""
    now = asyncio.get_running_loop().time()
    wait_s = request.app[JOIN_LIMITER].take(request.remote or "", now=now)
    if wait_s > 0:
        seconds = math.ceil(wait_s)
        detail = f"Too many joins from your address. Try again in {seconds} s."
        raise ApiError(Fault.RATE_LIMITED, detail, {"Retry-After": str(seconds)})
    body = await _read(request, request.app[REQUEST_MODELS].join)
    room, participant = request.app[REGISTRY].join(body.room_id, body.user_name)
    return _render(
        JoinResponse(
            room_id=room.id,
            user_id=participant.user_id,
            users_in_room=list(room.participants),
            secret=participant.secret,
        )
    )


async def room_info(request: web.Request) -> web.Response:
    """Serve `GET /api/room/{room_id}/info`."""
    try:
        room_id = request.app[REQUEST_MODELS].path_id.validate_python(request.match_info["room_id"])
    except ValidationError as error:
        raise _invalid(error, "room_id") from None
    room = request.app[REGISTRY].get(room_id)
    if room is None:
        raise ApiError(Fault.ROOM_NOT_FOUND, "Check the room_id, or open the room by joining it.")
    users = [
        User(user_id=user.user_id, user_name=user.user_name, is_online=user.is_online)
        for user in room.participants.values()
    ]
    return _render(RoomInfo(room_id=room.id, users=users, created_at=room.created_at))


async def leave_room(request: web.Request) -> web.Response:
    """Serve `POST /api/room/leave`. Leaving twice, or what was never entered, is fine."""
    body = await _read(request, request.app[REQUEST_MODELS].leave)
    registry = request.app[REGISTRY]
    participant = registry.find(body.room_id, body.user_id)
    if participant is not None and request.app[STRICT_IDENTITY] and not participant.is_proven_by(body.secret):
        raise ApiError(Fault.INVALID_SECRET, "Send the secret that the join was answered with.")
    registry.leave(body.room_id, body.user_id)
    return _render(LeaveResponse(success=True))


@web.middleware
async def origin_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse the API to pages of other origins, and answer the preflights of those that may use it (CORS)."""
    if not request.path.startswith(API_PREFIX):
        return await handler(request)
    if not origin_allowed(request):
        detail = "Open the page from the server itself, or have its origin added to the server's allowed_origins."
        raise ApiError(Fault.ORIGIN_NOT_ALLOWED, detail)
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": "GET, POST",
                "Access-Control-Allow-Headers": "Content-Type",
                "Access-Control-Max-Age": str(PREFLIGHT_AGE_S),
            },
        )
    return await handler(request)


async def add_api_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Keep answers out of caches, and let an allowed page read them, errors included (CORS)."""
    if not request.path.startswith(API_PREFIX):
        return
    response.headers["Vary"] = "Origin"
    response.headers["Cache-Control"] = "no-store"
    if "Origin" in request.headers and origin_allowed(request):
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"


async def _read(request: web.Request, model: type[Model]) -> Model:
    """Read a request's body. Raises ApiError."""
    if request.content_type != "application/json":
        raise ApiError(Fault.UNSUPPORTED_MEDIA_TYPE, "Send JSON with the header Content-Type: application/json.")
    try:
        body = await request.read()
    except web.RequestPayloadError:
        raise ApiError(Fault.BAD_REQUEST, "Send the body as its headers say: length, chunks, encoding.") from None
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error, "The body") from None


def _invalid(error: ValidationError, subject: str) -> ApiError:
    reasons = []
    for detail in error.errors(include_url=False):
        if detail["type"] == "json_invalid":
            return ApiError(Fault.INVALID_JSON, f"Send valid JSON in UTF-8: {detail['ctx']['error']}.")
        key = str(detail["loc"][0]) if detail["loc"] else subject
        if detail["type"] == "value_error":
            reasons.append(f"{key}: {detail['ctx']['error']}")
        else:
            reasons.append(f"{key} {_REASONS.get(detail['type'], detail['msg'])}.")
    return ApiError(Fault.INVALID_REQUEST, " ".join(reasons))


def _render(model: BaseModel) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json")
