"""What single steps of the packet path take: to see where a change went. Whole paths are forwarding.py's."""

from __future__ import annotations

import os
import socket
import time
from struct import Struct
from typing import TYPE_CHECKING, Final

from pylibsrtp import Policy, Session

from benchmarks.client.traffic import Sending, Source, camera
from benchmarks.results import Micro
from zvonim_sfu.rtp.description import PLAIN
from zvonim_sfu.rtp.history import MAX_PACKETS, PacketHistory
from zvonim_sfu.rtp.nack import NackRegister
from zvonim_sfu.rtp.packet import ExtensionPlan, RtpPacket
from zvonim_sfu.rtp.rtcp import ReceiverReport, ReportBlock, SourceDescription, pack_compound, parse_compound
from zvonim_sfu.rtp.transport_cc import ArrivalLog

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS: Final = 2000
REPETITIONS: Final = 7
_HEADER: Final = Struct("!BBHII")
_KEPT_EXTENSION: Final = 1


def micro() -> list[Micro]:
    """Measure all steps: some two seconds."""
    return [Micro(stage=stage, ns=_least_ns(call)) for stage, call in _stages().items()]


def _least_ns(call: Callable[[int], object]) -> float:
    """Return CPU time of one call, the least of some repetitions; the number counts up without end."""
    best = float("inf")
    number = 0
    for _ in range(REPETITIONS):
        began = time.thread_time_ns()
        for _ in range(CALLS):
            call(number)
            number += 1
        best = min(best, (time.thread_time_ns() - began) / CALLS)
    return round(best, 1)


def _packets(count: int) -> list[bytes]:
    """RTP as a browser's microphone and camera send it, header extensions included; the camera's."""
    packets: list[bytes] = []
    numbers = iter(range(1 << 16))
    sending = Sending("1", 2, 96, mid_extension=4, arrival_extension=3, level_extension=_KEPT_EXTENSION)
    source = Source(sending, camera(500, 5), packets.append, numbers.__next__)
    source.resume(0.0, 0.0)
    now = 0.0
    while len(packets) < count:
        now += source.pattern.interval_s
        source.advance(now)
    return packets[:count]


def _stages() -> dict[str, Callable[[int], object]]:
    packets = _packets(CALLS)
    parsed = [RtpPacket.parse(data) for data in packets]
    plan = ExtensionPlan({_KEPT_EXTENSION: _KEPT_EXTENSION})
    history, register, arrivals = PacketHistory(), NackRegister(), ArrivalLog()
    for number in range(MAX_PACKETS):
        history.add(number, parsed[number], 0.0, PLAIN)
    report = pack_compound(
        [
            ReceiverReport(1, tuple(ReportBlock(n, 0, 0, n, 0, 0, 0) for n in range(8))),
            SourceDescription(((1, "name"),)),
        ]
    )

    def patch(number: int) -> bytes:
        packet = parsed[number % CALLS]
        packet.forget_tails()
        tail = packet.tail(plan)
        return _HEADER.pack(tail.first_byte, 96, number & 0xFFFF, 0, 7) + tail.data

    def arrive(number: int) -> None:
        arrivals.received(number & 0xFFFF, number / 1000)
        if number % 50 == 0:
            for feedback in arrivals.feedback(number / 1000, sender_ssrc=1, media_ssrc=2):
                feedback.pack()

    plain = patch(0)
    return {
        "parse RTP": lambda number: RtpPacket.parse(packets[number % CALLS]),
        "patch for the first receiver": patch,
        "protect, 1100 bytes": _protect(plain),
        "send call, 1100 bytes, to a socket that is full": _send(plain),
        "keep in the history": lambda number: history.add(MAX_PACKETS + number, parsed[number % CALLS], 0.0, PLAIN),
        "look up for a NACK": lambda number: history.get(number, 0.0),
        "note for NACKs": lambda number: register.received(number, number / 1000),
        "note for transport-cc, and report": arrive,
        "parse RTCP with 8 reports": lambda _: parse_compound(report),
    }


def _protect(packet: bytes) -> Callable[[int], object]:
    key = os.urandom(28)
    policy = Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM)
    session, body = Session(policy), packet[4:]
    return lambda number: session.protect(packet[:2] + (number & 0xFFFF).to_bytes(2) + body)


def _send(packet: bytes) -> Callable[[int], object]:
    """Send to a socket that nobody reads: it fills, and the kernel drops what is above."""
    sink, sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    sink.bind(("127.0.0.1", 0))
    sender.connect(sink.getsockname())

    def send(_: int, _sink: socket.socket = sink) -> int:
        return sender.send(packet)

    return send
