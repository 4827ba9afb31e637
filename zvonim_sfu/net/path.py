"""Where a datagram goes, and the plain way of sending one."""

from __future__ import annotations

import errno
import socket
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.net.drops import DropReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# linux/udp.h: a message's own option, the size at which the system is to cut it into datagrams.
_UDP_SEGMENT: Final = 103
_pack_size: Final = Struct("=H").pack
# What the system takes as one message: 64 segments (UDP_MAX_SEGMENTS before Linux 6.9), and a UDP payload of 65,507.
MAX_SEGMENTS: Final = 64
MAX_MESSAGE_BYTES: Final = 65507
# EIO: the device cannot cut messages. EINVAL: a segment is longer than the path carries, and goes as fragments when it
# is sent alone. EMSGSIZE: the same of other systems.
_UNCUT: Final = (errno.EIO, errno.EINVAL, errno.EMSGSIZE)

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


def runs(datagrams: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield what one message can carry each, in order: datagrams of one size, of which only the last may be shorter."""
    start = 0
    while start < len(datagrams):
        size = total = len(datagrams[start])
        end = start + 1
        for datagram in datagrams[end : start + MAX_SEGMENTS]:
            total += len(datagram)
            if len(datagram) > size or total > MAX_MESSAGE_BYTES:
                break
            end += 1
            if len(datagram) < size:
                break
        yield datagrams[start:end]
        start = end


def send_run(path: Path, run: Sequence[bytes]) -> DropReason | None:
    """Send datagrams by one call, as a message that the system cuts again; `run` is one of `runs`.

    Returns why none was sent, None when all were. Raises CannotCutError when the system does not do that here; each
    can be sent alone then.
    """
    if len(run) == 1:
        return send(path, run[0])
    try:
        path.socket.sendmsg(run, [(socket.SOL_UDP, _UDP_SEGMENT, _pack_size(len(run[0])))], 0, path.address)
    except OSError as error:
        if error.errno in _UNCUT:
            raise CannotCutError from error
        return drop_reason(error.errno)
    return None


class CannotCutError(Exception):
    """Messages by this path cannot be cut into datagrams."""


def drop_reason(error: int | None) -> DropReason:
    """Return what a failed send call of this `errno` is counted as."""
    if error in (errno.EAGAIN, errno.EWOULDBLOCK):
        return DropReason.SOCKET_FULL
    return DropReason.NO_BUFFERS if error == errno.ENOBUFS else DropReason.SEND_FAILED
