"""The packet kernel in plain Python, on the way in: what is done with every datagram before anybody looks at it.

The twin of receiving_compiled.pyx, which does the same; see net.kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.srtp import unprotect_rtp
from zvonim_sfu.rtp.packet import RtpError, RtpPacket, is_rtcp

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

    from pylibsrtp import Session

    from zvonim_sfu.net.ice import IceAgent
    from zvonim_sfu.net.path import SockAddr
    from zvonim_sfu.rtp.intake import Intake
    from zvonim_sfu.rtp.transport_cc import ArrivalLog

# What one wake-up reads: enough to share the cost of a wake-up, few enough that timers keep their time.
DATAGRAMS_PER_WAKE_UP: Final = 32

# A SRTP packet is at least a 12-byte header, a SRTCP packet 8 + 4 bytes, DTLS and STUN are longer.
MIN_DATAGRAM_BYTES: Final = 12
# Above any Ethernet frame's: neither WebRTC nor libsrtp has a use for more.
MAX_DATAGRAM_BYTES: Final = 2047


class Ingress:
    """Where one transport's packets come in: its SRTP session, None until there is one."""

    __slots__ = ("agent", "arrival_extension", "arrivals", "bytes_received", "intakes", "packets_received", "session")

    def __init__(self, agent: IceAgent) -> None:
        self.agent = agent
        """The ICE agent whose addresses lead here."""
        self.session: Session | None = None
        self.packets_received = 0
        """Authentic RTP packets."""
        self.bytes_received = 0
        """UDP payload bytes of these: with header and SRTP tag."""
        self.intakes: Mapping[int, Intake] = {}
        """Where the packets of an SSRC are counted. Their owner keeps them up to date in this dictionary."""
        self.arrival_extension = 0
        """Number of the header extension with the transport-wide number; 0 for none."""
        self.arrivals: ArrivalLog | None = None
        """Where that number is noted."""

    def take(self, packet: RtpPacket, now: float) -> bool:
        """Deal with a packet that comes in its turn (rtp.intake), if this kernel does; False: it is the listener's.

        This one does so with none, as it would do the same as the listener.
        """
        return False


Arrival = tuple[Ingress | None, "SockAddr | None", bytes | RtpPacket | DropReason]
"""Who sent, where from, and what: an RTP packet, decrypted, or why there is none (from nowhere both); else a datagram
that is STUN, DTLS or SRTCP by its first bytes. The first of the three is None for a stranger."""


class Receiver:
    """Reads a socket, and knows whose addresses are whose."""

    __slots__ = ("_known", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._known: dict[SockAddr, Ingress] = {}

    def __len__(self) -> int:
        """How many addresses are known."""
        return len(self._known)

    def learn(self, address: SockAddr, ingress: Ingress) -> Ingress | None:
        """Take what comes from this address for this transport's; returns whose it was."""
        previous = self._known.get(address)
        self._known[address] = ingress
        return previous

    def forget(self, address: SockAddr) -> None:
        """Take what comes from this address for a stranger's."""
        del self._known[address]

    def read(self, now: float) -> Iterator[Arrival]:
        """Read datagrams, each after the caller has dealt with the one before, until none waits or 32 were read.

        What an ingress takes is not among them; it is told that it came `now` (s, monotonic).
        """
        for _ in range(DATAGRAMS_PER_WAKE_UP):
            try:
                data, address = self._socket.recvfrom(MAX_DATAGRAM_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                yield None, None, DropReason.RECEIVE_FAILED
                return
            yield self._sort(data, address)

    def _sort(self, data: bytes, address: SockAddr) -> Arrival:
        """Tell the protocols apart by the first byte (RFC 7983, section 7)."""
        if len(data) < MIN_DATAGRAM_BYTES:
            return None, None, DropReason.TOO_SHORT
        if len(data) > MAX_DATAGRAM_BYTES:
            return None, None, DropReason.OVERSIZED
        first_byte = data[0]
        if first_byte <= 3:
            return None, address, data
        if not (128 <= first_byte <= 191 or 20 <= first_byte <= 63):
            return None, None, DropReason.UNKNOWN_PROTOCOL
        ingress = self._known.get(address)
        if ingress is None:
            return None, None, DropReason.UNKNOWN_ADDRESS
        if first_byte < 128 or is_rtcp(data):
            return ingress, address, data
        return ingress, None, _unprotect(ingress, data)


def _unprotect(ingress: Ingress, data: bytes) -> RtpPacket | DropReason:
    if ingress.session is None:
        return DropReason.SRTP_TOO_EARLY
    plain = unprotect_rtp(ingress.session, data)
    if plain is None:
        return DropReason.SRTP_REFUSED
    ingress.packets_received += 1
    ingress.bytes_received += len(data)
    try:
        return RtpPacket.parse(plain)
    except RtpError:
        return DropReason.RTP_MALFORMED
