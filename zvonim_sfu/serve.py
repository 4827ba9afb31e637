"""Running the application: ports, the address to open, and the end in good order."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import os
import signal
import socket
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web
from aiohttp.log import access_logger

from zvonim_sfu import __version__
from zvonim_sfu.app import create_app, find_certificate
from zvonim_sfu.net.addresses import host_addresses
from zvonim_sfu.net.kernel import KernelError, load_kernel
from zvonim_sfu.net.loop import MediaLoop
from zvonim_sfu.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zvonim_sfu.config import Settings

# The server has 5 s to end. Rooms take 3 s of them at most for clients that do not answer a close frame; after
# that a request still being served has this long, twice, as aiohttp counts it.
REQUEST_TIMEOUT_S: Final = 0.5
STOP_TIMEOUT_S: Final = 4.5
SECOND_SIGNAL_S: Final = 1.0
# New objects less those that have gone, until the garbage collector looks at them; Python itself has 700.
_YOUNG_OBJECTS: Final = 10_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class StartError(Exception):
    """The server cannot start; the sentence is for the operator and says what to do."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, in an event loop of its own. Raises StartError."""
    try:
        kernel = load_kernel(settings.kernel)
    except KernelError as error:
        raise StartError(f"{error}.") from None
    with asyncio.Runner(loop_factory=lambda: MediaLoop(kernel.MediaSelector())) as runner:
        runner.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, number, stop)
    try:
        certificate = find_certificate(settings)
    except TlsError as error:
        raise StartError(str(error)) from None
    runner = web.AppRunner(
        create_app(settings),
        handle_signals=False,
        handler_cancellation=False,
        shutdown_timeout=REQUEST_TIMEOUT_S,
        access_log=access_logger if settings.access_log else None,
    )
    try:
        try:
            await runner.setup()
        except (OSError, KernelError) as error:  # the sentence of an OSError is MediaNode's
            raise StartError(f"{error}.") from None
        context = certificate.context() if certificate else None
        try:
            await web.TCPSite(runner, settings.host, settings.port, ssl_context=context).start()
        except OSError as error:
            raise StartError(http_port_problem(settings, error)) from None
        _spare_the_collector()
        _announce_start(settings, runner.addresses)
        await stop.wait()
    finally:
        await _stop(runner)


def http_port_problem(settings: Settings, error: OSError) -> str:
    """Return the sentence for a TCP port that could not be opened."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return f"The host {settings.host!r} is unknown: set host to an address or name of this computer."
    return (
        f"TCP port {settings.port} cannot be opened on {settings.host}: {os.strerror(error.errno)}. "
        "Stop the process that uses it, or set another port, or a host that is an address of this computer."
    )


def open_urls(host: str, bound: Iterable[tuple[str, int]], *, tls: bool) -> list[str]:
    """Return what to type into a browser to reach the server, this host's LAN addresses before its loopback."""
    urls: dict[str, None] = {}
    for address, port in bound:
        ip = ipaddress.ip_address(address)
        if ip.is_unspecified:
            names = [name for name in host_addresses() if ipaddress.ip_address(name).version == ip.version]
        else:
            names = [host if _is_name(host) else address]
        for name in names:
            bracketed = f"[{name}]" if ":" in name else name
            urls[f"{'https' if tls else 'http'}://{bracketed}:{port}/"] = None
    return list(urls)


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _spare_the_collector() -> None:
    """Take all that the start has made out of the garbage collector's sight: it stays until the end.

    To go through it, and find nothing, took 40 ms every hundred joins or so, in which no packet was forwarded. What
    is young is looked at when there is more of it than the latest packets of a room: most of those have gone by then.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def _announce_start(settings: Settings, bound: Iterable[tuple[str, int]]) -> None:
    urls = open_urls(settings.host, [address[:2] for address in bound], tls=settings.serves_tls)
    log.info("server started", version=__version__, urls=urls)
    if settings.log_format == "text":
        # For the person at the terminal, whatever the log level.
        print(f"Open {' or '.join(urls)}", flush=True)  # noqa: T201


def _on_signal(number: signal.Signals, stop: asyncio.Event) -> None:
    """End in good order; one more signal, a second later or more, ends the process at once.

    Not sooner: a signal to a process group comes twice where make or a shell passes it on.
    """
    if not stop.is_set():
        log.info("server stopping", signal=number.name)
        stop.set()
        asyncio.get_running_loop().call_later(SECOND_SIGNAL_S, _let_signals_kill)


def _let_signals_kill() -> None:
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(each)
        signal.signal(each, signal.SIG_DFL)


async def _stop(runner: web.AppRunner) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await runner.cleanup()
    except TimeoutError:
        log.warning("server stopped before all connections were closed", after_s=STOP_TIMEOUT_S)
    else:
        log.info("server stopped")
