"""The work that repeats for every packet and receiver: SRTP and the send call.

Only this module knows pylibsrtp. It is the plain Python form of that work: `Batch` collects what one wake-up of
the event loop has to send, `flush` protects and sends it.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from pylibsrtp import Error as SrtpError
from pylibsrtp import Session

from zvonim_sfu.net.drops import DropReason

if TYPE_CHECKING:
    import socket

SockAddr = tuple[str, int] | tuple[str, int, int, int]
"""An address as `socket.recvfrom` gives it: IPv4 (host, port), IPv6 (host, port, flow information, scope)."""

# One burst of a key frame to some hundred receivers fits; above it, memory would grow with the burst.
BATCH_MAX_PACKETS: Final = 1024


class Path(NamedTuple):
    """A remote address, and the local socket by which it is reached."""

    socket: socket.socket
    address: SockAddr


class Egress:
    """Where one transport's packets leave: its SRTP session and its path, None until there are such."""

    __slots__ = ("bytes_sent", "drops", "packets_sent", "path", "session")

    def __init__(self, session: Session | None = None, path: Path | None = None) -> None:
        self.session = session
        self.path = path
        self.packets_sent = 0
        self.bytes_sent = 0
        """UDP payload bytes: RTP header, payload and SRTP tag."""
        self.drops: Counter[DropReason] = Counter()


class Batch:
    """RTP packets that wait for `flush`, to be called at the end of the wake-up that appended them."""

    __slots__ = ("_packets",)

    def __init__(self) -> None:
        self._packets: list[tuple[Egress, bytes, bytes]] = []

    def __len__(self) -> int:
        return len(self._packets)

    def append(self, egress: Egress, header: bytes, tail: bytes) -> None:
        """Take a plain RTP packet, `header + tail`; a full batch flushes itself."""
        self._packets.append((egress, header, tail))
        if len(self._packets) >= BATCH_MAX_PACKETS:
            self.flush()

    def flush(self) -> None:
        """Protect and send all in order; what cannot be sent is dropped and counted in its `Egress.drops`."""
        packets, self._packets = self._packets, []
        for egress, header, tail in packets:
            if egress.session is None:
                egress.drops[DropReason.NO_SESSION] += 1
                continue
            if egress.path is None:
                egress.drops[DropReason.NO_PATH] += 1
                continue
            try:
                data = egress.session.protect(header + tail)
            except ValueError:
                egress.drops[DropReason.TOO_LONG] += 1
                continue
            except SrtpError:
                egress.drops[DropReason.PROTECT_FAILED] += 1
                continue
            drop = send(egress.path, data)
            if drop is None:
                egress.packets_sent += 1
                egress.bytes_sent += len(data)
            else:
                egress.drops[drop] += 1


def send(path: Path, data: bytes) -> DropReason | None:
    """Send one datagram as it is. Returns why it was not sent, None when it was."""
    try:
        path.socket.sendto(data, path.address)
    except BlockingIOError:
        return DropReason.SOCKET_FULL
    except OSError as error:
        return DropReason.NO_BUFFERS if error.errno == errno.ENOBUFS else DropReason.SEND_FAILED
    return None


def unprotect_rtp(session: Session, data: bytes) -> bytes | None:
    """Return the RTP packet in an SRTP packet (RFC 3711), None if it is forged, replayed or no SRTP."""
    try:
        return session.unprotect(data)
    except (SrtpError, ValueError):
        return None


def unprotect_rtcp(session: Session, data: bytes) -> bytes | None:
    """Return the RTCP packet in an SRTCP packet (RFC 3711), None if it is forged, replayed or no SRTCP."""
    try:
        return session.unprotect_rtcp(data)
    except (SrtpError, ValueError):
        return None


def protect_rtcp(session: Session, data: bytes) -> bytes | None:
    """Return an RTCP packet as SRTCP (RFC 3711), None if libsrtp refuses it (too long, not RTCP)."""
    try:
        return session.protect_rtcp(data)
    except (SrtpError, ValueError):
        return None
