"""The browser client: its pages, its files, and the headers that keep other pages out of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from aiohttp import web

from zvonim_sfu.signaling.errors import ApiError, Fault

# By suffix, and nothing else is served: the system's own table may say text/plain for a module, which browsers refuse.
CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mp3": "audio/mpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}

# No part of a path starts with a dot: neither ".." nor hidden files.
_FILE: Final = r"{path:[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}){0,8}}"

_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.ASCII)

_WEB_ROOT: Final = web.AppKey("web_root", Path)

_PERMISSIONS: Final = ", ".join(
    f"{feature}=(self)"
    for feature in ("camera", "microphone", "display-capture", "speaker-selection", "fullscreen", "screen-wake-lock")
)


def find_web_root() -> Path | None:
    """Return the directory of the client: inside the package when it came from a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    for root in (package / "web", package.parent / "web"):
        if (root / "index.html").is_file():
            return root
    return None


def add_web_client(app: web.Application, root: Path | None) -> None:
    """Mount the client's pages and files, and the security headers of all answers."""
    app.on_response_prepare.append(_add_security_headers)
    if root is None:
        app.router.add_get("/", _no_client)
        return
    app[_WEB_ROOT] = root
    app.router.add_get("/", _index)
    app.router.add_get("/r/{room_id}", _index)
    app.router.add_get("/static/" + _FILE, _file)


async def _index(request: web.Request) -> web.FileResponse:
    return _serve(request.app[_WEB_ROOT] / "index.html")


async def _file(request: web.Request) -> web.FileResponse:
    path = request.app[_WEB_ROOT] / request.match_info["path"]
    if path.suffix not in CONTENT_TYPES or not path.is_file():
        raise ApiError(Fault.NOT_FOUND, "The browser client has no such file. Reload the page.")
    return _serve(path)


async def _no_client(_request: web.Request) -> web.Response:
    raise ApiError(Fault.NOT_FOUND, "This installation has no browser client; /docs explains the interface.")


def _serve(path: Path) -> web.FileResponse:
    # Ask each time whether it is new (ETag): a page and modules of two versions do not fit together.
    headers = {"Content-Type": CONTENT_TYPES[path.suffix], "Cache-Control": "no-cache"}
    return web.FileResponse(path, headers=headers)


async def _add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    headers = response.headers
    headers["X-Content-Type-Options"] = "nosniff"
    # A room's address lets people in: it goes to nobody else.
    headers["Referrer-Policy"] = "no-referrer"
    if response.content_type == "text/html":
        headers["Permissions-Policy"] = _PERMISSIONS
        headers.setdefault("Content-Security-Policy", _content_policy(request.headers.get("Host", "")))


def _content_policy(host: str) -> str:
    """Allow the page its own files and its own server only."""
    # Not every browser counts WebSockets among 'self' (CSP level 2 did not).
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return (
        f"default-src 'self'; connect-src 'self'{sockets}; img-src 'self' data: blob:; media-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
