"""What only the operator may ask for: `GET /api/statistics` here, and the rule for everything of that kind."""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import TypeAdapter

from zvonim_sfu.rooms.statistics import NodeStatistics
from zvonim_sfu.signaling.errors import ApiError, Fault
from zvonim_sfu.signaling.keys import OPERATOR_TOKEN, REGISTRY

if TYPE_CHECKING:
    from collections.abc import Mapping

# What proxies say about who asked them. One of these: the request may come from anywhere.
FORWARDED_HEADERS: Final = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
)
NODE_STATISTICS: Final = TypeAdapter(NodeStatistics)


def require_operator(request: web.Request) -> None:
    """Let the request pass if it is the operator's. Raises ApiError.

    It is if it bears the configured token, or if it was made on this computer: it comes from a loopback address, names
    one as its host (a page that was made to resolve there, or a proxy, names another) and no proxy has forwarded it.
    """
    token = request.app[OPERATOR_TOKEN]
    given = request.headers.get("Authorization")
    if token and given is not None:
        scheme, _, value = given.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(value.strip().encode(errors="replace"), token.encode()):
            return
    elif _is_local(request):
        return
    if token:
        challenge = {"WWW-Authenticate": 'Bearer realm="operator"'}
        raise ApiError(Fault.UNAUTHORIZED, "Send the operator_token as Authorization: Bearer TOKEN.", challenge)
    detail = "Ask on the server's own computer at a loopback address, or set operator_token and send it."
    raise ApiError(Fault.OPERATOR_ONLY, detail)


async def statistics(request: web.Request) -> web.Response:
    """Serve `GET /api/statistics`."""
    require_operator(request)
    text = NODE_STATISTICS.dump_json(request.app[REGISTRY].statistics()).decode()
    return web.Response(text=text, content_type="application/json")


def _is_local(request: web.Request) -> bool:
    return (
        _is_loopback(request.remote or "")
        and _is_loopback(_host_name(request.headers))
        and not any(name in request.headers for name in FORWARDED_HEADERS)
    )


def _host_name(headers: Mapping[str, str]) -> str:
    try:
        return urlsplit(f"//{headers.get('Host', '')}").hostname or ""
    except ValueError:  # "[", and what else is no address
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
