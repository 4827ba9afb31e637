"""Where a datagram goes, and the plain way of sending one."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from zvonim_sfu.net.drops import DropReason

if TYPE_CHECKING:
    import socket

SockAddr = tuple[str, int] | tuple[str, int, int, int]
"""An address as `socket.recvfrom` gives it: IPv4 (host, port), IPv6 (host, port, flow information, scope)."""


class Path(NamedTuple):
    """A remote address, and the local socket by which it is reached."""

    socket: socket.socket
    address: SockAddr


def send(path: Path, data: bytes) -> DropReason | None:
    """Send one datagram as it is. Returns why it was not sent, None when it was."""
    try:
        path.socket.sendto(data, path.address)
    except OSError as error:
        return drop_reason(error.errno)
    return None


def drop_reason(error: int | None) -> DropReason:
    """Return what a failed send call of this `errno` is counted as."""
    if error in (errno.EAGAIN, errno.EWOULDBLOCK):
        return DropReason.SOCKET_FULL
    return DropReason.NO_BUFFERS if error == errno.ENOBUFS else DropReason.SEND_FAILED
