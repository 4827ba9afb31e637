"""Opening the sockets of the media port."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING, Final

import structlog

from zvonim_sfu.net.addresses import host_addresses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The bursts of many key frames at once, while the event loop is busy elsewhere.
SOCKET_BUFFER_BYTES: Final = 4 * 1024 * 1024
SOCKET_BUFFER_ENOUGH_BYTES: Final = 1024 * 1024

# How often "any free port" is tried: the port that one address gives is nearly always free on the others too.
FREE_PORT_ATTEMPTS: Final = 16

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def open_sockets(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Return a non-blocking UDP socket for each address, all on one port (0: any that is free on all).

    A socket for each, and none for the wildcard, because a reply has to leave by the address that was asked.
    An address that cannot be bound is logged and left out.

    Raises OSError if none can be bound or one is no IP address; the sentence is for the operator.
    """
    addresses = _expand(hosts)
    sockets, failures = _bind_all(addresses, port)
    if port == 0:
        for _ in range(FREE_PORT_ATTEMPTS):
            if not _port_was_taken(failures):
                break
            _close(sockets)
            sockets, failures = _bind_all(addresses, port)
    for address, error in failures.items():
        log.warning("udp address skipped", address=address, port=port, reason=error.strerror)
    if not sockets:
        raise OSError(
            f"UDP port {port or 'any'} cannot be opened on {', '.join(addresses) or 'any address'}: "
            "stop the process that uses it, or set another port or an address that this host has"
        )
    _check_buffers(sockets[0])
    return sockets


def _expand(hosts: Sequence[str]) -> list[str]:
    addresses: dict[str, None] = {}
    for host in hosts:
        try:
            address = ipaddress.ip_address(host or "::")
        except ValueError:
            raise OSError(f"{host!r} is no IP address: set an address of this host, or 0.0.0.0 for all") from None
        every = host_addresses() if address.is_unspecified else [str(address)]
        addresses.update(dict.fromkeys(every))
    return list(addresses)


def _bind_all(addresses: Sequence[str], port: int) -> tuple[list[socket.socket], dict[str, OSError]]:
    """Return the sockets that could be bound, and for each other address why not."""
    sockets: list[socket.socket] = []
    failures: dict[str, OSError] = {}
    for address in addresses:
        try:
            sockets.append(_bind(address, port))
        except OSError as error:
            failures[address] = error
        else:
            port = sockets[0].getsockname()[1]
    return sockets, failures


def _port_was_taken(failures: Mapping[str, OSError]) -> bool:
    return any(error.errno == errno.EADDRINUSE for error in failures.values())


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            # IPv4 has sockets of its own: an IPv4-mapped address is refused.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _check_buffers(sock: socket.socket) -> None:
    # Linux reports twice what was set: half is for its own bookkeeping (socket(7)).
    receive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    transmit = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2
    if min(receive, transmit) < SOCKET_BUFFER_ENOUGH_BYTES:
        log.warning(
            "udp socket buffers are small, bursts will be lost: raise net.core.rmem_max and net.core.wmem_max",
            receive_bytes=receive,
            send_bytes=transmit,
            wanted_bytes=SOCKET_BUFFER_BYTES,
        )
