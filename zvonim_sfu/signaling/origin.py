"""Which web pages may use this server: the one rule for WebSockets and for CORS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from zvonim_sfu.signaling.keys import ALLOWED_ORIGINS

if TYPE_CHECKING:
    from aiohttp import web

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def origin_allowed(request: web.Request) -> bool:
    """Tell whether the page that made this request may use the server (RFC 6454, RFC 6455 section 10.2).

    A request without an Origin comes from no web page and is let through. Else the origin has to be one of the
    configured ones, or the server's own: its host and port are those of the Host header. The scheme is left out
    of that comparison, because a proxy in front of the server may have ended TLS.
    """
    origins = request.headers.getall("Origin", [])
    if not origins:
        return True
    if len(origins) > 1:
        return False
    origin = origins[0].lower()
    allowed = request.app[ALLOWED_ORIGINS]
    if "*" in allowed or origin in allowed:
        return True
    return _same_host(origin, request.headers.get("Host", "").lower())


def _same_host(origin: str, host: str) -> bool:
    """Compare host and port of an origin with a Host header, which leaves out the default port of its scheme."""
    try:
        split = urlsplit(origin)
        if not split.hostname or not host:
            return False
        port = split.port or _DEFAULT_PORTS.get(split.scheme)
        server = urlsplit(f"{split.scheme}://{host}")
        return split.hostname == server.hostname and port == (server.port or _DEFAULT_PORTS.get(split.scheme))
    except ValueError:  # not an address: "[", a port beyond 65535
        return False
