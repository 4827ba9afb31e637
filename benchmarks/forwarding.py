"""What forwarding costs: CPU time of the server's packet path for each packet that leaves.

    python benchmarks/forwarding.py [--receivers 1 10 30] [--packets 20000]

A publisher's SRTP packets (1100 bytes of payload, bursts of 3 as a camera sends them) go through the real path, from
the transport that unprotects them to the datagrams that leave for a socket of this machine. Left out are the receive
call of the kernel, RTCP and handshakes. The figures are CPU time of this process, so that other load changes them
little; they are for comparing two states of this code, not two servers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import time
from struct import pack
from typing import TYPE_CHECKING

import structlog
from pylibsrtp import Policy, Session

from zvonim_sfu.media.down_track import DownTrack
from zvonim_sfu.media.node import MediaNode
from zvonim_sfu.media.publisher_clock import PublisherClock
from zvonim_sfu.media.sdp import Codec
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.transport import Transport
from zvonim_sfu.media.up_track import UpTrack
from zvonim_sfu.net.path import Path

if TYPE_CHECKING:
    from collections.abc import Sequence

PAYLOAD_BYTES = 1100
BURST = 3
ARRIVALS = 3
VP8 = Codec(96, "VP8", 90000, feedback=("nack", "nack pli", "transport-cc"))
KEYFRAME = b"\x10" + bytes(PAYLOAD_BYTES - 1)
PROFILE = Policy.SRTP_PROFILE_AEAD_AES_128_GCM


class Nobody:
    """Stands for the peers, which the packet path never asks."""

    def on_rtcp(self, data: bytes, now: float) -> None: ...
    def on_timer(self, now: float) -> float:
        return now + 1

    def on_transport_state(self, transport: Transport, state: object) -> None: ...
    def on_unsupported(self, up_track: UpTrack) -> None: ...
    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None: ...
    def request_packets(self, ssrc: int, lost: Sequence[int]) -> None: ...
    def wake(self, at: float) -> None: ...


def session(key: bytes, direction: int) -> Session:
    """An SRTP session as a handshake makes them."""
    return Session(Policy(key=key, ssrc_type=direction, srtp_profile=PROFILE))


def extension(number: int) -> bytes:
    """A transport-wide number, as the only header extension: it ends at the server."""
    return pack("!HHBHx", 0xBEDE, 1, ARRIVALS << 4 | 1, number & 0xFFFF)


def published(count: int, key: bytes) -> list[bytes]:
    """What a publisher sends: SRTP packets that differ in number and time."""
    sender = session(key, Policy.SSRC_ANY_OUTBOUND)
    return [
        sender.protect(pack("!BBHII", 0x90, 96, i & 0xFFFF, i // BURST * 3000, 1) + extension(i) + KEYFRAME)
        for i in range(count)
    ]


async def microseconds_per_packet(receivers: int, packets: int) -> float:
    """Run one shape; returns CPU microseconds for each packet that left."""
    node = await MediaNode.open(["127.0.0.1"], 0)
    nobody = Nobody()
    transport = Transport(node, nobody, log=structlog.get_logger())
    key = os.urandom(28)
    transport._inbound = session(key, Policy.SSRC_ANY_INBOUND)
    up_track = UpTrack(
        track_id="camera",
        participant_id="p",
        source=Source.CAMERA,
        clock=PublisherClock(),
        publisher=nobody,
        fan_out=node.udp.kernel.FanOut(node.udp.batch),
    )
    up_track.configure([VP8], {})
    transport.arrival_extension = ARRIVALS
    transport.router.configure({"0": up_track}, {1: up_track}, 0)
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("127.0.0.1", 0))
    egresses = []
    for _ in range(receivers):
        outbound = session(os.urandom(28), Policy.SSRC_ANY_OUTBOUND)
        egresses.append(node.udp.kernel.Egress(outbound, Path(next(iter(node.udp._owners)), sink.getsockname())))
        down_track = DownTrack(
            "video", node.udp.kernel.Sender(egresses[-1], node.new_ssrc()), batch=node.udp.batch, listener=nobody
        )
        down_track.configure([VP8], {})
        down_track.attach(up_track, 0.0)
    incoming = published(packets, key)
    started = time.process_time()
    for i, data in enumerate(incoming):
        transport.on_srtp(data, i / 1000)
        if i % BURST == BURST - 1:
            node.udp.batch.flush()
        if i % 100 == 0:
            transport.arrivals.feedback(i / 1000, sender_ssrc=1, media_ssrc=1)
    node.udp.batch.flush()
    spent = time.process_time() - started
    sent = sum(egress.packets_sent for egress in egresses)
    transport.close()
    await node.close()
    sink.close()
    return spent / sent * 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each number of receivers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receivers", type=int, nargs="+", default=[1, 10, 30])
    parser.add_argument("--packets", type=int, default=60_000, help="packets that leave in each run")
    options = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    print("receivers  CPU us per forwarded packet")
    for receivers in options.receivers:
        rounds = [
            asyncio.run(microseconds_per_packet(receivers, max(BURST, options.packets // receivers))) for _ in range(3)
        ]
        print(f"{receivers:9}  {min(rounds):.1f} (worst of three: {max(rounds):.1f})")


if __name__ == "__main__":
    main()
