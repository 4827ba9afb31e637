"""One participant's ICE, DTLS and SRTP association, and the way of its packets to tracks."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from zvonim_sfu.media.link import EARLY_S, Link, LinkOwner
from zvonim_sfu.media.ortc import Dtls, DtlsError
from zvonim_sfu.media.router import Router
from zvonim_sfu.media.totals import Failure
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.ice import IceAgent
from zvonim_sfu.net.limiter import TokenBucket
from zvonim_sfu.net.path import send
from zvonim_sfu.net.srtp import protect_rtcp, unprotect_rtcp
from zvonim_sfu.rtp.rate import BitrateMeter
from zvonim_sfu.rtp.rtcp import RtcpPacket, pack_compound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import FilteringBoundLogger

    from zvonim_sfu.media.node import MediaNode
    from zvonim_sfu.media.session import Remote
    from zvonim_sfu.net.path import Path
    from zvonim_sfu.rtp.packet import RtpPacket

# From the description to the last DTLS message; browsers give up on ICE after 15 to 30 s.
CONNECT_TIMEOUT_S: Final = 30.0
# Browsers renew consent every 4 to 6 s (RFC 7675 section 5.1): two missed are trouble, 30 s the end of consent.
DISCONNECTED_AFTER_S: Final = 12.0
FAILED_AFTER_S: Final = 30.0
CONSENT_CHECK_S: Final = 1.0
# What RTCP costs goes by its length, and by the packet: 0.1 ms for a browser's report. A browser in a large call on a
# link that loses every tenth packet sends some 10 kB/s; who sends as much as this takes a tenth of a core.
RTCP_BYTES_PER_S: Final = 100_000
RTCP_BURST_BYTES: Final = 200_000
LEAST_RTCP_BYTES: Final = 100
# A timer that is due is not worth more than this many wake-ups per second.
MIN_TIMER_S: Final = 0.002


class TransportState(StrEnum):
    """As RTCPeerConnectionState of W3C's webrtc-pc, seen from the server."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


_USUAL: Final = frozenset(
    {TransportState.NEW, TransportState.CONNECTING, TransportState.CONNECTED, TransportState.CLOSED}
)


class TransportListener(LinkOwner, Protocol):
    """The owner of a transport."""

    def on_rtcp(self, data: bytes, now: float) -> None:
        """Take a plain RTCP compound of the client."""

    def on_timer(self, now: float) -> float:
        """Do what is due; returns when something will be next (s, monotonic). Called while connected."""

    def on_transport_state(self, transport: Transport, state: TransportState) -> None:
        """The association has come up, fallen silent or ended."""


class Transport:
    """Owner of the ICE agent, the DTLS association and one timer; owned by a peer, which closes it."""

    def __init__(
        self,
        node: MediaNode,
        listener: TransportListener,
        *,
        log: FilteringBoundLogger,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self.agent = IceAgent(self, credentials)
        self.egress = node.udp.kernel.Egress()
        self.link = Link(
            self.egress, node.udp.batch, listener, wake=self._arm, open_trace=lambda: node.open_trace(self.name)
        )
        self.router = Router()
        self.arrivals = node.udp.kernel.ArrivalLog()
        self.state = TransportState.NEW
        self._node = node
        self._listener = listener
        self.name = self.agent.local_ufrag
        "What the log calls it."
        self._log = log.bind(transport=self.name)
        self.profile = ""
        "SRTP protection profile; empty until the handshake is done."
        self.drops: Counter[DropReason] = Counter()
        "What came for this transport and was dropped; the node counts it too."
        self.received_rate = BitrateMeter()
        self.sent_rate = BitrateMeter()
        self._rtcp = TokenBucket(RTCP_BYTES_PER_S, RTCP_BURST_BYTES, now=asyncio.get_running_loop().time())
        "Bytes of RTCP that are read; what a stranger sends under the client's address is not counted."
        self._dtls: Dtls | None = None
        self._task: asyncio.Task[None] | None = None
        self._reached = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._listener_at = -math.inf
        "When the listener wants its turn of the timer."
        node.udp.add(self.agent)
        self.ingress = self.agent.ingress
        self.ingress.intakes = self.router.intakes
        self.ingress.arrivals = self.arrivals
        node.transports.add(self)

    def connect(self, remote: Remote) -> None:
        """Accept the client that this describes. Later calls renew its ICE credentials only."""
        self.agent.set_remote(remote.ice_ufrag, remote.ice_pwd)
        if self._task is None and self.state is TransportState.NEW:
            self._dtls = Dtls(self.agent, self._node.certificate, remote.dtls_role)
            self._set_state(TransportState.CONNECTING)
            self._task = self._node.spawn(self._run(self._dtls, remote))

    @property
    def arrival_extension(self) -> int:
        """Number of the transport-wide sequence number's header extension; 0 where it was not negotiated."""
        return self.ingress.arrival_extension

    @arrival_extension.setter
    def arrival_extension(self, number: int) -> None:
        self.ingress.arrival_extension = number

    @property
    def credentials(self) -> tuple[str, str]:
        """The server's username fragment and password."""
        return self.agent.local_ufrag, self.agent.local_pwd

    @property
    def is_up(self) -> bool:
        """Whether there are keys to send with."""
        return self.egress.session is not None

    @property
    def is_dead(self) -> bool:
        """Whether nothing can bring this association up any more; ICE alone can recover from silence."""
        return self.state in (TransportState.FAILED, TransportState.CLOSED) and self.ingress.session is None

    def restart_ice(self, credentials: tuple[str, str]) -> None:
        """Take new credentials for an ICE restart (RFC 8445 section 2.4); media goes on over the old path meanwhile."""
        self._node.udp.restart(self.agent, credentials)

    async def _run(self, dtls: Dtls, remote: Remote) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                # As DTLS client the server would speak first, to nobody, and try again after a second.
                await self._reached.wait()
                sessions = await dtls.handshake(remote.fingerprints)
            self.ingress.session, self.egress.session = sessions.inbound, sessions.outbound
            self.profile = sessions.profile
            self._node.ended.connected += 1
            self._log.info("transport connected", profile=sessions.profile, address=self.address)
            self._set_state(TransportState.CONNECTED)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(loop.time(), self._on_timer)
            await dtls.ended()
        except TimeoutError:
            unreached = self.agent.selected is None
            reached = "no check has arrived" if unreached else "the DTLS handshake did not end"
            self._node.ended.failures[Failure.UNREACHED if unreached else Failure.TIMEOUT] += 1
            self._log.warning("transport not connected", reason=reached, seconds=CONNECT_TIMEOUT_S)
            self._set_state(TransportState.FAILED)
        except DtlsError as error:
            self._node.ended.failures[Failure.REFUSED] += 1
            self._log.warning("transport not connected", reason=str(error), address=self.address)
            self._set_state(TransportState.FAILED)
        else:
            self._set_state(TransportState.CLOSED)

    @property
    def address(self) -> str:
        """Where the client is reached, empty before its first check."""
        path = self.agent.selected
        if path is None:
            return ""
        host, port = path.address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def on_rtp(self, packet: RtpPacket, now: float) -> None:
        """Pass a packet of the client on to its track (called by the UDP port)."""
        if self.ingress.arrival_extension:
            number = packet.extension(self.ingress.arrival_extension)
            if number is not None and len(number) == 2:
                self.arrivals.received(number[0] << 8 | number[1], now)
        stream = self.router.streams.get(packet.ssrc) or self.router.bind(packet)
        if stream is None:
            self.drop(DropReason.UNKNOWN_SSRC)
        elif stream.layer is not None:
            stream.up_track.handle_packet(packet, stream.layer, now)
        else:
            stream.up_track.handle_repair(packet, stream.encoding, now)

    def on_srtcp(self, data: bytes, now: float) -> None:
        """Take an SRTCP packet (called by the UDP port)."""
        if self.ingress.session is None:
            self.drop(DropReason.SRTP_TOO_EARLY)
            return
        plain = unprotect_rtcp(self.ingress.session, data)
        if plain is None:
            self.drop(DropReason.SRTP_REFUSED)
        elif not self._rtcp.take(max(len(plain), LEAST_RTCP_BYTES), now=now):
            self.drop(DropReason.RTCP_LIMITED)
        else:
            self._listener.on_rtcp(plain, now)

    def drop(self, reason: DropReason) -> None:
        """Count a packet of the client that cannot be used."""
        self.drops[reason] += 1
        self._node.udp.drops[reason] += 1

    def on_path(self, path: Path) -> None:
        """Send by this path from now on (called by the ICE agent)."""
        self.egress.path = path
        self._reached.set()

    def send_rtcp(self, packets: Sequence[RtcpPacket]) -> None:
        """Send one compound packet; dropped while the association is not up."""
        if self.egress.session is not None:
            self.send_packed_rtcp(pack_compound(packets))

    def send_packed_rtcp(self, packets: bytes) -> None:
        """Send the bytes of one compound packet; dropped while the association is not up."""
        if self.egress.session is not None and self.egress.path is not None:
            data = protect_rtcp(self.egress.session, packets)
            drop = DropReason.TOO_LONG if data is None else send(self.egress.path, data)
            if drop is not None:
                self.egress.drops[drop] += 1

    def wake(self, at: float) -> None:
        """Have the listener's `on_timer` called at this time (s, monotonic), or before."""
        self._listener_at = min(self._listener_at, at)
        self._arm(at)

    def _arm(self, at: float) -> None:
        if self._timer is not None and at < self._timer.when():
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._listener_at - EARLY_S:
            self._listener_at = now + CONSENT_CHECK_S
            self._check_consent(now)
            self._listener_at = min(self._listener_at, self._listener.on_timer(now))
        next_at = min(self._listener_at, self.link.on_timer(now))
        if self._timer is not None:
            self._timer = loop.call_at(max(next_at, now + MIN_TIMER_S), self._on_timer)

    def _check_consent(self, now: float) -> None:
        silence = now - self.agent.last_check
        if silence > FAILED_AFTER_S:
            self.egress.path = None  # consent has ended: nothing is sent to who does not want it any more
            self._set_state(TransportState.FAILED)
        elif silence > DISCONNECTED_AFTER_S:
            self._set_state(TransportState.DISCONNECTED)
        else:
            self.egress.path = self.agent.selected
            self._set_state(TransportState.CONNECTED)

    def _set_state(self, state: TransportState) -> None:
        if state is not self.state and self.state is not TransportState.CLOSED:
            # What happens in every call is told once, with its particulars: a line costs as much as a packet to forty.
            is_usual = state in _USUAL and self.state in _USUAL
            (self._log.debug if is_usual else self._log.info)("transport state", state=state.value)
            self.state = state
            self._listener.on_transport_state(self, state)

    def close(self) -> None:
        """End the association and tell the client (DTLS close-notify). A second time does nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dtls is not None:
            goodbye = self._dtls.close()
            if goodbye and self.egress.path is not None and self.state is not TransportState.CLOSED:
                send(self.egress.path, goodbye)
        self.state = TransportState.CLOSED
        self.link.close()
        self.ingress.session = None
        self.egress.session = None
        self.egress.path = None
        self.router.configure({}, [], {})
        self._node.udp.remove(self.agent)
        self.agent.close()
        if self in self._node.transports:
            self._node.transports.remove(self)
            self._node.ended.add_path(self.ingress, self.egress)
        if self._task is not None and self._task is not _current_task():
            self._task.cancel()
        # OpenSSL's side of an association is 50 KB: it goes now, not when the collector comes by.
        self._dtls = self._task = None


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
