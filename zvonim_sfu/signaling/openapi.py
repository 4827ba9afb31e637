"""The OpenAPI document of the REST interface, made of the models that validate."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from zvonim_sfu import __version__
from zvonim_sfu.rooms.statistics import NodeStatistics
from zvonim_sfu.signaling.errors import PROBLEM_TYPE, Fault
from zvonim_sfu.signaling.models import Health, JoinResponse, LeaveResponse, Problem, RoomInfo

if TYPE_CHECKING:
    from pydantic import BaseModel

    from zvonim_sfu.signaling.models import RequestModels

_REFERENCE: Final = "#/components/schemas/{model}"

_DESCRIPTION: Final = """\
A participant joins a room here, then opens the WebSocket /ws?room_id=&user_id= for everything else. \
An error is a problem document (RFC 9457) with a stable `code`."""

# What any request with a body may be answered.
_BODY_FAULTS: Final = (
    Fault.BAD_REQUEST,
    Fault.INVALID_JSON,
    Fault.ORIGIN_NOT_ALLOWED,
    Fault.BODY_TOO_LARGE,
    Fault.UNSUPPORTED_MEDIA_TYPE,
    Fault.INVALID_REQUEST,
)


@dataclass(frozen=True, slots=True)
class _Operation:
    method: str
    path: str
    id: str
    summary: str
    response: type[BaseModel | NodeStatistics]
    faults: tuple[Fault, ...] = ()
    request: type[BaseModel] | None = None
    path_parameters: tuple[str, ...] = ()


def openapi_document(models: RequestModels) -> dict[str, Any]:
    """Return the document (OpenAPI 3.1) of a server that holds requests to these models."""
    operations = _operations(models)
    known = {operation.response for operation in operations} | {Problem}
    known |= {operation.request for operation in operations if operation.request}
    ordered = sorted(known, key=lambda model: model.__name__)
    _, definitions = TypeAdapter.json_schemas(
        [
            # What a client may send, and what the server does send.
            (model.__name__, "validation" if model in (models.join, models.leave) else "serialization", adapter)
            for model, adapter in ((model, TypeAdapter[object](model)) for model in ordered)
        ],
        ref_template=_REFERENCE,
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _render(operation, models)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Zvonim SFU", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": definitions["$defs"]},
    }


def _operations(models: RequestModels) -> tuple[_Operation, ...]:
    return (
        _Operation(
            method="post",
            path="/api/room/join",
            id="joinRoom",
            summary="Join a room, or make one. Who joins opens the WebSocket soon, else the place is given up.",
            request=models.join,
            response=JoinResponse,
            faults=(*_BODY_FAULTS, Fault.ROOM_FULL, Fault.RATE_LIMITED, Fault.TOO_MANY_ROOMS),
        ),
        _Operation(
            method="get",
            path="/api/room/{room_id}/info",
            id="roomInfo",
            summary="Tell who is in a room.",
            path_parameters=("room_id",),
            response=RoomInfo,
            faults=(Fault.ORIGIN_NOT_ALLOWED, Fault.ROOM_NOT_FOUND, Fault.INVALID_REQUEST),
        ),
        _Operation(
            method="post",
            path="/api/room/leave",
            id="leaveRoom",
            summary="Leave a room. Leaving twice is fine.",
            request=models.leave,
            response=LeaveResponse,
            faults=(*_BODY_FAULTS, Fault.INVALID_SECRET),
        ),
        _Operation(
            method="get",
            path="/api/statistics",
            id="statistics",
            summary="For the operator: rooms, participants and tracks. Asked from this computer, or with the header "
            "`Authorization: Bearer` and the setting `operator_token`.",
            response=NodeStatistics,
            faults=(Fault.UNAUTHORIZED, Fault.ORIGIN_NOT_ALLOWED, Fault.OPERATOR_ONLY),
        ),
        _Operation(
            method="get", path="/healthz", id="health", summary="Tell whether the server is up.", response=Health
        ),
    )


def _render(operation: _Operation, models: RequestModels) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": {
            "200": {
                "description": _summary(operation.response),
                "content": {"application/json": {"schema": _reference(operation.response)}},
            },
            **_problems(operation.faults),
        },
    }
    if operation.request is not None:
        content = {"application/json": {"schema": _reference(operation.request)}}
        rendered["requestBody"] = {"required": True, "content": content}
    if operation.path_parameters:
        schema = models.path_id.json_schema()
        rendered["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": schema} for name in operation.path_parameters
        ]
    return rendered


def _problems(faults: tuple[Fault, ...]) -> dict[str, Any]:
    ordered = sorted(faults, key=lambda fault: fault.status)
    responses: dict[str, Any] = {}
    for status, group in groupby(ordered, key=lambda fault: fault.status):
        response: dict[str, Any] = {
            "description": " ".join(f"`{fault.code}`: {fault.meaning}" for fault in group),
            "content": {PROBLEM_TYPE: {"schema": _reference(Problem)}},
        }
        if status == Fault.RATE_LIMITED.status:
            seconds = {"description": "seconds to wait", "required": True, "schema": {"type": "integer", "minimum": 1}}
            response["headers"] = {"Retry-After": seconds}
        responses[str(status)] = response
    return responses


def _reference(model: type[BaseModel | NodeStatistics]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _summary(model: type[BaseModel | NodeStatistics]) -> str:
    return (model.__doc__ or "").partition("\n")[0]
