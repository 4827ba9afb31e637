"""The aiohttp application: wires rooms, media and signalling together, and starts and stops them in order."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from zvonim_sfu.media.node import MediaNode
from zvonim_sfu.metrics import add_metrics
from zvonim_sfu.net.addresses import host_addresses
from zvonim_sfu.net.kernel import load_kernel
from zvonim_sfu.net.limiter import AddressLimiter
from zvonim_sfu.rooms.registry import Registry
from zvonim_sfu.signaling import rest
from zvonim_sfu.signaling.docs_page import DOCS_POLICY, docs_page
from zvonim_sfu.signaling.errors import problem_middleware
from zvonim_sfu.signaling.keys import ALLOWED_ORIGINS, JOIN_LIMITER, LIMITS, OPERATOR_TOKEN, REGISTRY, STRICT_IDENTITY
from zvonim_sfu.signaling.models import Health
from zvonim_sfu.signaling.openapi import openapi_document
from zvonim_sfu.signaling.session import websocket_handler
from zvonim_sfu.tls import Certificate, load_certificate, self_signed_certificate
from zvonim_sfu.web_client import add_web_client, find_web_root

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from zvonim_sfu.config import Settings

NODE: Final = web.AppKey("node", MediaNode)


def create_app(settings: Settings) -> web.Application:
    """Return the application. It opens the media port when it starts.

    Stopping it goes from the outside in: the registry tells the clients, then the node closes the media port.
    """
    limits = settings.limits
    app = web.Application(middlewares=[problem_middleware, rest.origin_middleware], client_max_size=limits.body_bytes)
    app[LIMITS] = limits
    app[ALLOWED_ORIGINS] = frozenset(settings.allowed_origins)
    app[STRICT_IDENTITY] = settings.identity == "strict"
    app[OPERATOR_TOKEN] = settings.operator_token.get_secret_value() if settings.operator_token else None
    app[JOIN_LIMITER] = AddressLimiter(limits.joins_per_second, limits.join_burst)
    rest.add_routes(app)
    app.router.add_get("/ws", websocket_handler)
    _add_documents(app)
    add_web_client(app, find_web_root())

    async def media(app: web.Application) -> AsyncIterator[None]:
        node = await MediaNode.open(
            settings.media_hosts,
            settings.media_port,
            settings.announced,
            handshakes=AddressLimiter(limits.handshakes_per_second, limits.handshake_burst),
            kernel=load_kernel(settings.kernel),
            trace_directory=settings.trace_dir.expanduser() if settings.trace_dir else None,
        )
        app[NODE] = node
        ice_servers = [server.to_server() for server in settings.ice_servers]
        app[REGISTRY] = Registry(node, limits, ice_servers=ice_servers)
        yield
        await node.close()

    app.cleanup_ctx.append(media)
    add_metrics(app, NODE)
    app.on_shutdown.append(_close_rooms)
    return app


def find_certificate(settings: Settings) -> Certificate | None:
    """Return the certificate to serve with, None for plain HTTP; makes a self-signed one. Raises TlsError."""
    now = datetime.now(UTC)
    if settings.tls == "self-signed":
        names = ["localhost", socket.gethostname(), *host_addresses()]
        return self_signed_certificate(settings.state_directory, filter(str.isascii, names), now=now)
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return load_certificate(settings.tls_cert.expanduser(), settings.tls_key.expanduser(), now=now)


async def _close_rooms(app: web.Application) -> None:
    await app[REGISTRY].close()


def _add_documents(app: web.Application) -> None:
    document = openapi_document(app[rest.REQUEST_MODELS])
    document_text = json.dumps(document, ensure_ascii=False)
    page = docs_page(document)
    health = Health(status="ok").model_dump_json()

    async def openapi(_request: web.Request) -> web.Response:
        return web.Response(text=document_text, content_type="application/json")

    async def docs(_request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": DOCS_POLICY})

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text=health, content_type="application/json")

    app.router.add_get("/openapi.json", openapi)
    app.router.add_get("/docs", docs)
    app.router.add_get("/healthz", healthz)
