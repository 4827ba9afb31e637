"""One peer connection of a light client: a socket, ICE, DTLS-SRTP, what it publishes and what it receives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from pylibsrtp import Error as SrtpError

from benchmarks.client import description
from benchmarks.client.dtls import DtlsSrtp, HandshakeError, Identity
from benchmarks.client.ice import IceClient
from benchmarks.client.inbox import open_socket
from benchmarks.client.traffic import Pattern, Sending, Source, Stamp
from zvonim_sfu.rtp.packet import RtpPacket
from zvonim_sfu.rtp.rtcp import (
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    RtcpError,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    pack_compound,
    parse_compound,
)
from zvonim_sfu.rtp.rtx import OSN_BYTES
from zvonim_sfu.rtp.timing import middle32
from zvonim_sfu.rtp.transport_cc import ArrivalLog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.client.streams import Stream
    from zvonim_sfu.media.sdp import Description

CONNECT_TIMEOUT_S: Final = 15.0
CHECK_INTERVAL_S: Final = 0.05
CONSENT_INTERVAL_S: Final = 2.5
"""Between the checks of a connection that stands: what libwebrtc does."""
REPORT_INTERVAL_S: Final = 1.0
ARRIVALS_INTERVAL_S: Final = 0.1
"""Between reports on transport-wide numbers."""
HISTORY_PACKETS: Final = 512
"""What a publisher can send again when the server asks."""
MAX_BLOCKS: Final = 31
PADDING_BIT: Final = 0x20
"""In the first byte (RFC 3550, section 5.1)."""


class Peer:
    """Made without a server's description; `begin` connects it. Whoever makes one closes it.

    With `reports_arrivals` it tells the server when what has a transport-wide number came; the server may estimate its
    link then.
    """

    def __init__(
        self,
        identity: Identity,
        host: str,
        inspect: Callable[[Peer, bytes], None] | None = None,
        *,
        reports_arrivals: bool = False,
    ) -> None:
        self._inspect = inspect
        self.socket = open_socket(host)
        self.ice = IceClient()
        self.streams: dict[int, Stream] = {}
        """What is received, by SSRC."""
        self.sources: list[Source] = []
        self.first_media_ns = 0
        """When the first RTP packet came, by time.time_ns; 0: none yet."""
        self.unreadable = 0
        """Packets that failed authentication: there ought to be none."""
        self.reports_arrivals = reports_arrivals
        self._repaired: dict[int, int] = {}
        "By SSRC of retransmissions: that of what they send again."
        self._identity = identity
        self._dtls: DtlsSrtp | None = None
        self._ssrc = int.from_bytes(os.urandom(4))
        self._arrival_numbers = count()
        self._history: deque[tuple[int, int, bytes]] = deque(maxlen=HISTORY_PACKETS)
        self._reports: dict[int, tuple[int, float]] = {}
        "The last sender report of each source: the middle of its NTP time, and when it came."
        self._connected = asyncio.get_running_loop().create_future()
        self._next_check = self._next_report = self._next_arrivals = 0.0
        self._arrivals = ArrivalLog()
        self._address: tuple[str, int] = self.socket.getsockname()

    @property
    def local(self) -> description.Local:
        """What a description says of this peer."""
        host, port = self._address
        candidate = f"1 1 udp 2130706431 {host} {port} typ host"
        return description.Local(
            self.ice.local_ufrag, self.ice.local_pwd, self._identity.fingerprint, candidate, self.reports_arrivals
        )

    @property
    def profile(self) -> str:
        """The SRTP profile; empty before the handshake has ended."""
        return self._dtls.profile if self._dtls is not None else ""

    @property
    def is_connected(self) -> bool:
        """Whether media can flow."""
        return self._connected.done()

    def begin(self, remote: Description, *, offered: bool) -> None:
        """Connect to what the server described; `offered`: whether the client made the offer.

        Raises DescriptionError.
        """
        server = description.remote(remote, self._address[0])
        self._repaired = {repair: ssrc for section in remote.sections for ssrc, repair in section.repairs}
        # RFC 8445, section 6.1.1: the offerer controls, but a lite agent never does.
        self.ice.set_remote(server.ice_ufrag, server.ice_pwd, controlling=offered or server.ice_lite)
        self._dtls = DtlsSrtp(self._identity, server.fingerprints)
        self.socket.connect(server.address)
        self._send(self.ice.check())
        self._next_check = time.monotonic() + CHECK_INTERVAL_S

    async def connected(self) -> None:
        """Wait until media can flow. Raises HandshakeError, and TimeoutError after 15 s."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.shield(self._connected)

    def publish(self, sending: Sending, pattern: Pattern) -> Source:
        """Add a track, which sends nothing yet."""
        source = Source(sending, pattern, self._send_rtp, self._arrival_numbers.__next__)
        self.sources.append(source)
        return source

    def close(self) -> None:
        """Close the socket, without a word to the server."""
        self.socket.close()

    def on_control(self, datagram: bytes) -> None:
        """Take what is no RTP: STUN, DTLS or SRTCP, told apart by the first byte (RFC 7983, section 7)."""
        first = datagram[0]
        if first <= 3:
            answer = self.ice.receive(datagram, self._address)
            if answer is not None:
                self._send(answer)
            if self.ice.connected and self._dtls is not None and not self._dtls.started:
                self._shake_hands(self._dtls.start)
        elif 20 <= first <= 63 and self._dtls is not None:
            self._shake_hands(partial(self._dtls.receive, datagram))
        elif 128 <= first <= 191 and self._dtls is not None and self._dtls.inbound is not None:
            with contextlib.suppress(SrtpError, ValueError, RtcpError):
                for packet in parse_compound(self._dtls.inbound.unprotect_rtcp(datagram)):
                    self._on_rtcp(packet)

    def sent_at_ns(self, datagram: bytes) -> int | None:
        """Decrypt an RTP packet; returns when its publisher sent it.

        None if it is not authentic, which is counted, and for padding: that is sent in the place of a packet that came
        late and does not belong to what is sent.
        """
        assert self._dtls is not None
        assert self._dtls.inbound is not None
        try:
            packet = self._dtls.inbound.unprotect(datagram)
        except (SrtpError, ValueError):
            self.unreadable += 1
            return None
        if packet[0] & PADDING_BIT:
            return None
        if self._inspect is not None:
            self._inspect(self, packet)
        return Stamp.read(packet).sent_ns

    def advance(self, now: float) -> None:
        """Do what is due at `now` (time.monotonic): checks, handshake, media, reports."""
        if self._dtls is None:
            return
        if now >= self._next_check:
            self._send(self.ice.check())
            self._next_check = now + (CONSENT_INTERVAL_S if self.ice.connected else CHECK_INTERVAL_S)
        if not self._dtls.profile:
            self._shake_hands(self._dtls.resend)
            return
        for source in self.sources:
            source.advance(now)
        if now >= self._next_report:
            self._next_report = now + REPORT_INTERVAL_S
            self._report(now)

        if self.reports_arrivals and now >= self._next_arrivals:
            self._next_arrivals = now + ARRIVALS_INTERVAL_S
            for packet in self._arrivals.feedback(time.time(), sender_ssrc=self._ssrc, media_ssrc=0):
                self._send_rtcp([ReceiverReport(self._ssrc), packet])

    def on_repair(self, datagram: bytes) -> None:
        """Take a retransmission (RFC 4588): a packet that was missing, or padding that probes the link."""
        assert self._dtls is not None
        assert self._dtls.inbound is not None
        try:
            packet = RtpPacket.parse(self._dtls.inbound.unprotect(datagram))
        except (SrtpError, ValueError):
            self.unreadable += 1
            return
        stream = self.streams.get(self._repaired.get(packet.ssrc, 0))
        if stream is not None and len(packet.payload) > OSN_BYTES:
            stream.take([int.from_bytes(packet.payload[:OSN_BYTES])])

    def on_arrivals(self, numbers: Sequence[int], times: Sequence[float]) -> None:
        """Note packets in the order of arrival: transport-wide numbers (-1: none), and time.time() of each."""
        for number, came_at in zip(numbers, times, strict=True):
            if number >= 0:
                self._arrivals.received(number, came_at)

    def limit(self, bitrate: int) -> None:
        """Tell the server that the link holds so many bit/s (REMB)."""
        self._send_rtcp([ReceiverReport(self._ssrc), Remb(self._ssrc, bitrate, tuple(self.streams))])

    def ask_for_missing(self, now: float) -> None:
        """Send a NACK for each stream with gaps; `now` in seconds, monotonic."""
        for stream in self.streams.values():
            lost = stream.ask(now)
            if lost:
                self._send_rtcp([ReceiverReport(self._ssrc), Nack(self._ssrc, stream.ssrc, tuple(lost))])

    def _shake_hands(self, step: Callable[[float], list[bytes]]) -> None:
        try:
            for datagram in step(time.monotonic()):
                self._send(datagram)
        except HandshakeError as error:
            if not self._connected.done():
                self._connected.set_exception(error)
            return
        if self.profile and not self._connected.done():
            self._connected.set_result(None)

    def _send(self, datagram: bytes) -> None:
        # What a full buffer or a server that is gone does not take is lost, as it would be on a network.
        with contextlib.suppress(OSError):
            self.socket.send(datagram)

    def _send_rtp(self, packet: bytes) -> None:
        assert self._dtls is not None
        assert self._dtls.outbound is not None
        datagram = self._dtls.outbound.protect(packet)
        self._history.append((int.from_bytes(packet[8:12]), int.from_bytes(packet[2:4]), datagram))
        self._send(datagram)

    def _send_rtcp(self, packets: list[RtcpPacket]) -> None:
        assert self._dtls is not None
        assert self._dtls.outbound is not None
        self._send(self._dtls.outbound.protect_rtcp(pack_compound(packets)))

    def _on_rtcp(self, packet: RtcpPacket) -> None:
        match packet:
            case PictureLossIndication(media_ssrc=ssrc):
                self._ask_for_keyframes({ssrc})
            case FullIntraRequest(entries=entries):
                self._ask_for_keyframes({ssrc for ssrc, _ in entries})
            case Nack(media_ssrc=ssrc, lost=lost):
                wanted = {(ssrc, number) for number in lost}
                for kept_ssrc, number, datagram in list(self._history):
                    if (kept_ssrc, number) in wanted:
                        self._send(datagram)
            case SenderReport(ssrc=ssrc, ntp=ntp):
                self._reports[ssrc] = (middle32(ntp), time.monotonic())

    def _ask_for_keyframes(self, ssrcs: set[int]) -> None:
        for source in self.sources:
            if source.sending.ssrc in ssrcs:
                source.ask_for_keyframe()

    def _report(self, now: float) -> None:
        """Send sender reports, receiver reports and the canonical name: what browsers send, once a second."""
        blocks = []
        for stream in self.streams.values():
            lsr, at = self._reports.get(stream.ssrc, (0, now))
            blocks.append(stream.report(lsr, round((now - at) * 65536)))
        senders = [source.sender_report(now) for source in self.sources if source.packets]
        name = SourceDescription(((self._ssrc, "benchmark"),))
        # A datagram each for so many sources, as they do not fit into one.
        for at in range(0, max(1, len(blocks)), MAX_BLOCKS):
            report = ReceiverReport(self._ssrc, tuple(blocks[at : at + MAX_BLOCKS]))
            self._send_rtcp([*(senders if at == 0 else ()), report, name])
