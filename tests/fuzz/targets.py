"""What reads bytes of the network, as functions of bytes that raise nothing but AssertionError."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from typing import TYPE_CHECKING, Final

from aioice import stun as aioice_stun

from tests.support.captures import offer as captured_offer
from tests.support.captures import offer_names
from zvonim_sfu.bandwidth.estimator import MAX_BPS, MIN_BPS, Estimator
from zvonim_sfu.media import negotiation, sdp
from zvonim_sfu.media.session import Local, NegotiationError, Session
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.ice import IceAgent, StunError, parse_check
from zvonim_sfu.net.path import Path
from zvonim_sfu.net.udp import UdpPort
from zvonim_sfu.rtp.codecs import describer
from zvonim_sfu.rtp.description import Restriction
from zvonim_sfu.rtp.packet import ExtensionPlan, RtpError, RtpPacket
from zvonim_sfu.rtp.rendition import Rendition
from zvonim_sfu.rtp.rtcp import RtcpError, TransportFeedback, parse_compound
from zvonim_sfu.rtp.rtx import unwrap
from zvonim_sfu.signaling.messages import MessageError, parse_message

if TYPE_CHECKING:
    from collections.abc import Callable

_REAL_OFFERS: Final = [captured_offer(name) for name in offer_names()]
_ENCODINGS: Final = ("VP8", "VP9", "H264", "AV1", "opus")
_PACKET: Final = RtpPacket.parse(b"\x80\x60" + bytes(10))
_PLAN: Final = ExtensionPlan({1: 2, 2: 1, 14: 200})


def rtp(data: bytes) -> None:
    """A packet, its extensions, its tail for a subscriber, and the retransmission that it may be."""
    try:
        packet = RtpPacket.parse(data)
    except RtpError:
        return
    tail = packet.tail(_PLAN)
    again = RtpPacket.parse(bytes([tail.first_byte]) + data[1:12] + tail.data)
    assert again.payload == packet.payload
    assert len(again.extensions()) <= len(packet.extensions())
    alone = packet.tail(ExtensionPlan({}, red=packet.payload_type))
    unwrapped = RtpPacket.parse(bytes([alone.first_byte]) + data[1:12] + alone.data)
    assert packet.payload.endswith(unwrapped.payload)
    original = unwrap(packet, ssrc=1, payload_type=96)
    if original is not None:
        assert RtpPacket.parse(original).payload == packet.payload[2:]


def descriptions(data: bytes) -> None:
    """Payloads and dependency descriptors of a stream in each codec, as they are described and left out."""
    parts = [data[at : at + 80] for at in range(0, min(len(data), 800), 80)]
    for encoding in _ENCODINGS:
        describe = describer(encoding)
        rendition = Rendition(Restriction(0, 1), renumbers_pictures=True)
        for index, part in enumerate(parts):
            sequence = index + (part[0] & 3)
            description = describe(part[1:], part[40:])
            placed = rendition.add(_PACKET, sequence, description)
            assert placed is None or rendition.sequence_of(placed.number) == sequence


def rtcp(data: bytes) -> None:
    """A compound packet."""
    with contextlib.suppress(RtcpError):
        for packet in parse_compound(data):
            packet.pack()


def feedback(data: bytes) -> None:
    """What a receiver says of the packets that it was sent."""
    estimator = Estimator()
    for index in range(300):
        estimator.on_sent(1200, index / 1000)
    with contextlib.suppress(RtcpError):
        for now in (0.4, 0.5):
            estimator.on_feedback(TransportFeedback.parse(data), now)
            assert MIN_BPS <= estimator.estimate_bps <= MAX_BPS


class _Nobody:
    def on_rtp(self, packet: RtpPacket, now: float) -> None: ...
    def on_srtcp(self, data: bytes, now: float) -> None: ...
    def drop(self, reason: DropReason) -> None: ...
    def on_path(self, path: Path) -> None: ...


def stun(data: bytes) -> None:
    """A check, which can never be authentic."""
    try:
        check = parse_check(data)
    except StunError:
        return
    if check is not None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nowhere:
            agent = IceAgent(_Nobody(), (check.local_ufrag, "a password of the server's"))
            assert agent.handle_check(check, Path(nowhere, ("127.0.0.1", 9)), 0.0) is None


def _check(ufrag: str, password: str) -> bytes:
    message = aioice_stun.Message(aioice_stun.Method.BINDING, aioice_stun.Class.REQUEST, b"transaction!")
    message.attributes["USERNAME"] = f"{ufrag}:clnt"
    message.attributes["USE-CANDIDATE"] = None
    message.attributes["PRIORITY"] = 2130706431
    message.add_message_integrity(password.encode())
    message.add_fingerprint()
    return bytes(message)


class _Reached:
    """A port with one agent, a client that it knows, and a stranger."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()  # never run again: the port is read when a datagram has been sent
        self._port = self._runner.run(UdpPort.open(["127.0.0.1"], 0))
        agent = IceAgent(_Nobody())
        self._port.add(agent)
        self._client, self._stranger = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self._client, self._stranger):
            sock.connect(("127.0.0.1", self._port.port))
        self._client.send(_check(agent.local_ufrag, agent.local_pwd))
        self._read()
        self._client.recv(2048)  # its answer

    def deliver(self, data: bytes) -> None:
        for sock in (self._client, self._stranger):
            sock.send(data)
            self._read()
        assert DropReason.HANDLER_ERROR not in self._port.drops

    def _read(self) -> None:
        ((receiving, receiver),) = self._port._receivers.items()
        self._port._on_readable(receiving, receiver)


_reached = functools.cache(_Reached)


def datagram(data: bytes) -> None:
    """A datagram from an address that is known, and from one that is not."""
    _reached().deliver(data)


def description(data: bytes) -> None:
    """An offer: parsed, answered, and the answer parsed; and the same bytes as an edit of a real offer."""
    text = data.decode("utf-8", "replace")
    real = _REAL_OFFERS[data[0] % len(_REAL_OFFERS)] if data else ""
    at = int.from_bytes(data[1:3]) % (len(real) or 1)
    for offer in (text, real[:at] + text[3:] + real[at:], real[:at] + text[3:] + real[at + len(text) :]):
        try:
            _, answer = negotiation.answer(
                Session(), sdp.parse(offer), local=_local(), slot_mode=bool(data[:1] > b"\x80")
            )
        except (sdp.SdpError, NegotiationError):
            continue
        sdp.parse(sdp.write(answer))


def _local() -> Local:
    numbers = iter(range(1, 2000))
    fingerprint = ":".join(["AB"] * 32)
    return Local(
        "ufrag", "p" * 24, ("sha-256", fingerprint), ("1 1 udp 1 127.0.0.1 9 typ host",), "1", lambda: next(numbers)
    )


def message(data: bytes) -> None:
    """A WebSocket message."""
    with contextlib.suppress(MessageError):
        parse_message(data)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "rtp": rtp,
    "descriptions": descriptions,
    "rtcp": rtcp,
    "feedback": feedback,
    "stun": stun,
    "datagram": datagram,
    "description": description,
    "message": message,
}

SEEDS: Final[dict[str, list[bytes]]] = {
    "rtp": [
        b"\x80\x60",
        b"\x90\x60" + bytes(10) + b"\xbe\xde\x00\x02",
        b"\xb0\xe0" + bytes(10) + b"\x10\x00\x00\x01",
    ],
    "descriptions": [bytes([0, *start]) for start in (b"\x90\xe0", b"\xea", b"\x78\x00", b"\x18\x0a", b"\x67\x64")]
    + [bytes(40) + b"\x80\x00\x01\x80" + bytes(16)],
    "rtcp": [bytes([0x80 | n, t, 0, 6]) for n in (0, 1, 15, 31) for t in range(200, 208)],
    "feedback": [
        bytes(10) + b"\x01\x00\x00\x00\x00\x00\x21\x00",
        bytes(10) + b"\x00\x40\x00\x00\x03\x00\xff\xff\xd5\x55\x40\x20",
    ],
    "stun": [b"\x00\x01\x00\x20\x21\x12\xa4\x42" + bytes(12) + b"\x00\x06\x00\x09", _check("ufrag", "guessed")],
    "datagram": [b"\x00\x01\x00\x20\x21\x12\xa4\x42", *(bytes([first]) for first in (20, 22, 63, 128, 144, 191, 255))],
    "description": [bytes([n]) for n in range(0, 256, 5)],
    "message": [
        b'{"type":"offer","sdp":"',
        b'{"type":"join","data":{',
        b'{"type":"ice-candidate","candidate":',
        b'{"type":"join","user_id":"u","user_name":"n","delivery":"slots"}',
        b'{"type":"offer","data":{"sdp":"v=0","sources":{"0":"camera"}},"to":"all"}',
        b'{"type":"track-muted","track_id":"camera","muted":true}',
        b'{"type":"view","tiles":[{"mid":"4","width":320,"height":180}],"wanted":[{"user_id":"u","track_id":"t"}]}',
    ],
}
"""How the real thing begins, or is: where to start from."""
