"""A client of packets: ICE, DTLS and SRTP over one socket, and descriptions by hand. It knows no codec and no timer."""

from __future__ import annotations

import asyncio
import secrets
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from aioice import stun
from aiortc import RTCCertificate, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcdtlstransport import RTCDtlsFingerprint

from tests.media.support import accepted, described, section
from zvonim_sfu.media.sdp import Description, parse, write
from zvonim_sfu.rtp.packet import RtpPacket, is_rtcp
from zvonim_sfu.rtp.rtcp import pack_compound, parse_compound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zvonim_sfu.media.sdp import Section
    from zvonim_sfu.rtp.rtcp import RtcpPacket


class RawClient:
    """One peer connection. Use `offer` and `accept_answer`, or `answer` and then `connect`; `close` at the end."""

    role = "controlling"

    def __init__(self) -> None:
        self.rtp: list[bytes] = []
        "What was decrypted, as it came."
        self.rtcp: list[RtcpPacket] = []
        self.sections: tuple[Section, ...] = ()
        "What it offered or answered last."
        self.pwd = secrets.token_hex(12)
        self.ufrag = secrets.token_hex(4)
        self.certificate = RTCCertificate.generateCertificate()
        self.dtls = RTCDtlsTransport(cast("Any", self), [self.certificate])
        self.server_ufrag = self.server_pwd = ""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", 0))

    @property
    def packets(self) -> list[RtpPacket]:
        """The RTP packets that came."""
        return [RtpPacket.parse(data) for data in self.rtp]

    def offer(self, *sections: Section) -> str:
        """An offer of these m-sections, with this client's transport."""
        return self._say(described(*sections))

    def answer(self, offer: str, **changes: Any) -> str:
        """An answer that takes what is offered, all live sections changed alike."""
        return self._say(accepted(parse(offer), **changes))

    def _say(self, description: Description) -> str:
        fingerprint = next(f for f in self.certificate.getFingerprints() if f.algorithm == "sha-256")
        self.sections = tuple(
            replace(
                s,
                ice_ufrag=self.ufrag,
                ice_pwd=self.pwd,
                fingerprints=((fingerprint.algorithm, fingerprint.value),),
                formats=tuple(str(codec.payload_type) for codec in s.codecs),
            )
            for s in description.sections
        )
        return write(replace(description, sections=self.sections))

    async def accept_answer(self, answer: str) -> Description:
        """Take the answer; connects if that has not been done."""
        if self.dtls.state == "new":
            await self.connect(answer)
        return parse(answer)

    async def connect(self, description: str) -> None:
        """Reach the server as its description says, and shake hands."""
        await self.reach(description)
        live = next(s for s in parse(description).sections if not s.rejected)
        self.dtls._set_role("server" if live.setup == "active" else "client")
        fingerprints = [RTCDtlsFingerprint(*fingerprint) for fingerprint in live.fingerprints]
        await asyncio.wait_for(self.dtls.start(RTCDtlsParameters(fingerprints)), 5)
        assert self.dtls.state == "connected"

    async def reach(self, description: str) -> None:
        """Have a check answered."""
        live = next(s for s in parse(description).sections if not s.rejected)
        _, _, _, _, address, port, *_ = live.candidates[0].split()
        self._socket.connect((address, int(port)))
        self.server_ufrag, self.server_pwd = live.ice_ufrag, live.ice_pwd
        self.check()
        response = stun.parse_message(await asyncio.wait_for(self._receive(), 5))
        assert response.message_class is stun.Class.RESPONSE

    def check(self) -> None:
        """Send a check that nominates this socket's address."""
        self.send_datagram(self.check_message())

    def check_message(self) -> bytes:
        """A check by the credentials that are known."""
        attributes = {
            "USERNAME": f"{self.server_ufrag}:{self.ufrag}",
            "ICE-CONTROLLING": 7,
            "PRIORITY": 1845501695,
            "USE-CANDIDATE": None,
        }
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes=attributes)
        message.add_message_integrity(self.server_pwd.encode())
        return bytes(message)

    async def _receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, 2048)

    def send_datagram(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.send(data)

    def send_rtp(self, data: bytes) -> None:
        """Encrypt and send an RTP packet."""
        self.send_datagram(self.dtls._tx_srtp.protect(data))

    def send_rtcp(self, *packets: RtcpPacket) -> None:
        """Encrypt and send a compound packet."""
        self.send_datagram(self.dtls._tx_srtp.protect_rtcp(pack_compound(packets)))

    async def _recv(self) -> bytes:
        """Keep media, and hand what is DTLS to RTCDtlsTransport, which asks for it."""
        while True:
            data = await self._receive()
            if 20 <= data[0] <= 63:
                return data
            if data[0] >= 128 and is_rtcp(data):
                self.rtcp += parse_compound(self.dtls._rx_srtp.unprotect_rtcp(data))
            elif data[0] >= 128:
                self.rtp.append(self.dtls._rx_srtp.unprotect(data))

    async def _send(self, data: bytes) -> None:
        self.send_datagram(data)

    def received(self, kind: type[RtcpPacket]) -> Sequence[Any]:
        """The RTCP packets of one type that came."""
        return [packet for packet in self.rtcp if isinstance(packet, kind)]

    @property
    def was_told_of_the_end(self) -> bool:
        """Whether the server has said close-notify."""
        return self.dtls.state == "closed"

    async def close(self, *, silently: bool = False) -> None:
        """End the connection as a browser does, or leave without a word."""
        task = self.dtls._task
        if not silently and self.dtls.state == "connected":
            await self.dtls.stop()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._socket.close()


def camera(mid: str = "0", direction: str = "sendonly", **changes: Any) -> Section:
    """An m-section for one VP8 picture."""
    return section("video", mid, direction, **changes)


def microphone(mid: str = "1", direction: str = "sendonly", **changes: Any) -> Section:
    """An m-section for one sound."""
    return section("audio", mid, direction, **changes)
