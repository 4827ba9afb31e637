"""Errors of the HTTP interface: RFC 9457 problem details, all written by one middleware."""

from __future__ import annotations

import json
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from zvonim_sfu.rooms.registry import RoomError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler

PROBLEM_TYPE: Final = "application/problem+json"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Fault(Enum):
    """What can go wrong: the stable `code` for programs, the status, and what it means for people."""

    BAD_REQUEST = "bad-request", 400, "The request is not one that this address takes."
    INVALID_JSON = "invalid-json", 400, "The body is no JSON in UTF-8."
    UNAUTHORIZED = "unauthorized", 401, "The operator's token is missing or wrong."
    ORIGIN_NOT_ALLOWED = "origin-not-allowed", 403, "Pages of this web origin may not use the server."
    INVALID_SECRET = "invalid-secret", 403, "The secret that the join was answered with is missing or wrong."
    OPERATOR_ONLY = "operator-only", 403, "Only the operator may ask for this."
    NOT_FOUND = "not-found", 404, "There is nothing at this address."
    ROOM_NOT_FOUND = "room-not-found", 404, "There is no room of that id, or not any more."
    METHOD_NOT_ALLOWED = "method-not-allowed", 405, "The address does not take this method; Allow lists what it takes."
    ROOM_FULL = "room-full", 409, "The room has as many participants as it may have."
    BODY_TOO_LARGE = "body-too-large", 413, "The body is larger than the server takes."
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type", 415, "The body is not declared to be JSON."
    INVALID_REQUEST = "invalid-request", 422, "The body or address holds a value that is not allowed."
    RATE_LIMITED = "rate-limited", 429, "Too many joins from one address; Retry-After says how long to wait."
    INTERNAL_ERROR = "internal-error", 500, "The server failed; its log says why."
    TOO_MANY_ROOMS = "too-many-rooms", 503, "The server holds as many rooms as it may hold."

    def __init__(self, code: str, status: int, meaning: str) -> None:
        self.code = code
        self.status = status
        self.meaning = meaning


class ApiError(Exception):
    """A request that cannot be served; `detail` is a sentence that says what to do."""

    def __init__(self, fault: Fault, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.headers = dict(headers or {})


_BY_CODE: Final = {fault.code: fault for fault in Fault}

# What aiohttp itself refuses, by status.
_BY_STATUS: Final = {
    400: (Fault.BAD_REQUEST, "Compare the request with /docs; /ws takes the handshake of a WebSocket only."),
    403: (Fault.ORIGIN_NOT_ALLOWED, "Open the page from the server itself, or allow its origin there."),
    404: (Fault.NOT_FOUND, "Check the address; /docs lists what there is."),
    405: (Fault.METHOD_NOT_ALLOWED, "Use a method that the Allow header lists; /docs explains them."),
    413: (Fault.BODY_TOO_LARGE, "Send a smaller body."),
}


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem document. An unexpected exception is logged, once."""
    try:
        return await handler(request)
    except ApiError as error:
        return problem(error.fault, error.detail, error.headers)
    except RoomError as error:
        return problem(_BY_CODE[error.code], error.message)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        fault, detail = _BY_STATUS.get(error.status, _BY_STATUS[400])
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return problem(fault, detail, headers)
    except ConnectionError:  # the client has gone, nobody reads an answer
        return problem(Fault.BAD_REQUEST, "The connection ended within the request.")
    except Exception:
        if request.writer.output_size > 0:
            raise  # an answer has begun, or a WebSocket: aiohttp logs the exception and closes the connection
        log.exception("request failed", method=request.method, path=request.rel_url.raw_path)
        return problem(Fault.INTERNAL_ERROR, "Try again; if it goes on, tell who runs this server.")


def problem(fault: Fault, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return the problem document of a fault (RFC 9457 section 3)."""
    body = {
        "type": f"/docs#{fault.code}",
        "title": HTTPStatus(fault.status).phrase,
        "status": fault.status,
        "detail": detail,
        "code": fault.code,
    }
    text = json.dumps(body, ensure_ascii=False)
    return web.Response(text=text, status=fault.status, content_type=PROBLEM_TYPE, headers=headers)
