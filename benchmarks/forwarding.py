"""What forwarding costs: CPU time of the server's packet path for each packet that leaves.

    python benchmarks/forwarding.py [--kernel compiled] [--receivers 1 10 30] [--bursts 1 3 6] [--packets 60000]
                                    [--numbers] [--layers payload]

A publisher's SRTP packets (1100 bytes of payload, in bursts as a camera sends them) go through the real path: from the
datagrams that wait at the media port, by its receive call, to those that leave for a socket of this machine, which
drops them. History, NACK, statistics and transport-wide feedback are on; handshakes and the other RTCP are left out.
With `--numbers` the receivers' packets are numbered transport-wide too, and pass a pacer whose link is far from full.
With `--layers` the camera has three temporal layers, told by the payloads, or by dependency descriptors alone.
The figures are CPU time of this thread, so that other load changes them little; they are for comparing two states of
this code or its two kernels, not two servers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import time
from struct import pack
from typing import TYPE_CHECKING, Final

import structlog
from pylibsrtp import Policy, Session

from zvonim_sfu.bandwidth.history import SendHistory
from zvonim_sfu.bandwidth.pacer import Pacer
from zvonim_sfu.media.down_track import DownTrack
from zvonim_sfu.media.node import MediaNode
from zvonim_sfu.media.publisher_clock import PublisherClock
from zvonim_sfu.media.sdp import Codec
from zvonim_sfu.media.simulcast import Announced
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.terms import DESCRIPTOR_EXTENSION
from zvonim_sfu.media.transport import Transport
from zvonim_sfu.media.up_track import UpTrack
from zvonim_sfu.net.kernel import load_kernel
from zvonim_sfu.net.path import Path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zvonim_sfu.bandwidth.pacer import Priority
    from zvonim_sfu.net.kernel import Kernel
    from zvonim_sfu.net.sending import Packet

PAYLOAD_BYTES: Final = 1100
ARRIVALS: Final = 3
"""The number of the header extension for transport-wide numbers."""
VP8: Final = Codec(96, "VP8", 90000, feedback=("nack", "nack pli", "transport-cc"))
KEYFRAME: Final = b"\x10" + bytes(PAYLOAD_BYTES - 1)
DELTA: Final = b"\x10\x01" + bytes(PAYLOAD_BYTES - 2)
KEYFRAME_EVERY: Final = 600
LAYERS: Final = ("none", "payload", "descriptor")
TEMPORAL: Final = (0, 2, 1, 2)
"""The temporal layers of frames, again and again."""
TEMPLATES: Final = (1, 5, 3, 5)
"""Of STRUCTURE, those of such frames."""
STRUCTURE: Final = bytes.fromhex("8002044eaaaf2860414d34538a0940404fc02cc0")
"""What Chromium tells of such a stream in the dependency descriptors of its keyframes."""
DESCRIPTORS: Final = 4
"""The number of the header extension for them."""
PROFILE: Final = Policy.SRTP_PROFILE_AEAD_AES_128_GCM
ROUNDS: Final = 5
FEEDBACK_EVERY: Final = 100
FREE_BPS: Final = 10_000_000_000


class Nobody:
    """Stands for the peers, which the packet path never asks."""

    wanted_bps = 0.0

    def on_estimate(self, now: float) -> None: ...
    def on_rtcp(self, data: bytes, now: float) -> None: ...
    def on_timer(self, now: float) -> float:
        return now + 1

    def on_transport_state(self, transport: Transport, state: object) -> None: ...
    def on_ladder_changed(self, up_track: UpTrack) -> None: ...
    def on_unsupported(self, up_track: UpTrack) -> None: ...
    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None: ...
    def request_packets(self, ssrc: int, lost: Sequence[int]) -> None: ...
    def wake(self, at: float) -> None: ...


class FreeLink(Pacer["Packet"]):
    """A gate that nothing has to wait at."""

    is_flooded = False

    def waiting(self, _ssrc: int) -> set[int]:
        return set()

    def take_back(self, _ssrc: int, _rtx_ssrc: int, _first: int) -> None: ...

    def hold(self, packet: Packet, size: int, priority: Priority) -> bool:
        raise AssertionError("a packet had to wait")


def session(key: bytes, direction: int) -> Session:
    """An SRTP session as a handshake makes them."""
    return Session(Policy(key=key, ssrc_type=direction, srtp_profile=PROFILE))


def extension(number: int) -> bytes:
    """A transport-wide number, as the only header extension: it ends at the server."""
    return pack("!HHBHx", 0xBEDE, 1, ARRIVALS << 4 | 1, number & 0xFFFF)


def extensions(number: int, descriptor: bytes) -> bytes:
    """The same with a dependency descriptor."""
    elements = pack("!BBHBB", ARRIVALS, 2, number & 0xFFFF, DESCRIPTORS, len(descriptor)) + descriptor
    elements += bytes(-len(elements) % 4)
    return pack("!HH", 0x1000, len(elements) // 4) + elements


def layered(number: int, burst: int, layers: str) -> bytes:
    """Header extensions and payload of a packet of a stream with temporal layers."""
    frame, place = divmod(number, burst)
    is_keyframe = number % KEYFRAME_EVERY == 0
    begins, at = place == 0 or is_keyframe, 0 if is_keyframe else frame % len(TEMPORAL)
    if layers == "payload":
        head = pack("!BBHBB", 0x80 | begins << 4, 0xE0, 0x8000 | frame & 0x7FFF, frame // 4 & 0xFF, TEMPORAL[at] << 6)
        block = extension(number)
    else:
        head = pack("!B", begins << 4)
        template = 0 if is_keyframe else TEMPLATES[at]
        descriptor = pack("!BH", begins << 7 | (place == burst - 1) << 6 | template, frame & 0xFFFF)
        block = extensions(number, descriptor + (STRUCTURE if is_keyframe else b""))
    return block + head + (b"\0" if is_keyframe else b"\1") + bytes(PAYLOAD_BYTES - len(head) - 1)


def published(count: int, burst: int, key: bytes, layers: str) -> list[bytes]:
    """What a publisher sends: SRTP packets of frames, each of `burst` packets; a few of the frames are keyframes."""
    sender = session(key, Policy.SSRC_ANY_OUTBOUND)
    packets = []
    for i in range(count):
        last = 0x80 if i % burst == burst - 1 else 0
        header = pack("!BBHII", 0x90, 96 | last, i & 0xFFFF, i // burst * 3000, 1)
        if layers == "none":
            content = extension(i) + (KEYFRAME if i % KEYFRAME_EVERY == 0 else DELTA)
        else:
            content = layered(i, burst, layers)
        packets.append(sender.protect(header + content))
    return packets


class Scene:
    """A publisher, its subscribers, and their sockets."""

    def __init__(self, node: MediaNode, receivers: int, *, numbers: bool = False) -> None:
        kernel, nobody = node.udp.kernel, Nobody()
        self.node = node
        self.transport = Transport(node, nobody, log=structlog.get_logger())
        self.key = os.urandom(28)
        self.transport.ingress.session = session(self.key, Policy.SSRC_ANY_INBOUND)
        up_track = UpTrack(
            track_id="camera",
            participant_id="p",
            source=Source.CAMERA,
            clock=PublisherClock(),
            publisher=nobody,
            new_intake=kernel.Intake,
            new_fan_out=lambda: kernel.FanOut(node.udp.batch),
        )
        up_track.configure([VP8], {DESCRIPTOR_EXTENSION: DESCRIPTORS})
        self.transport.arrival_extension = ARRIVALS
        self.transport.router.configure({"0": up_track}, [(up_track, Announced(1))], {})
        self.publisher, self.sink = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.publisher, self.sink):
            sock.bind(("127.0.0.1", 0))
        ((self.socket, self.receiver),) = node.udp._receivers.items()
        self.receiver.learn(self.publisher.getsockname(), self.transport.ingress)
        self.egresses = []
        for _ in range(receivers):
            outbound = session(os.urandom(28), Policy.SSRC_ANY_OUTBOUND)
            egress = kernel.Egress(outbound, Path(self.socket, self.sink.getsockname()))
            self.egresses.append(egress)
            sender = kernel.Sender(egress, node.new_ssrc())
            down_track = DownTrack("video", sender, batch=node.udp.batch, listener=nobody)
            down_track.configure([VP8], {}, transport_wide=ARRIVALS if numbers else 0)
            if numbers:
                egress.history = SendHistory()
                egress.gate = FreeLink(estimate_bps=FREE_BPS)
            down_track.attach(up_track, 0.0)

    def run(self, packets: int, burst: int, layers: str) -> float:
        """Send that many packets in bursts, each burst one wake-up; returns CPU seconds of the server."""
        incoming = published(packets, burst, self.key, layers)
        spent = 0
        to = self.socket.getsockname()
        for at in range(0, packets, burst):
            for data in incoming[at : at + burst]:
                self.publisher.sendto(data, to)
            began = time.thread_time_ns()
            self.node.udp._on_readable(self.socket, self.receiver)
            if at % FEEDBACK_EVERY < burst:
                self.transport.arrivals.packed(time.monotonic(), sender_ssrc=1, media_ssrc=1)
            spent += time.thread_time_ns() - began
        assert self.transport.ingress.packets_received == packets, "the publisher's packets were lost"
        return spent / 1e9

    def close(self) -> None:
        """End it."""
        self.receiver.forget(self.publisher.getsockname())
        self.transport.close()
        self.publisher.close()
        self.sink.close()


async def microseconds_per_packet(
    kernel: Kernel, receivers: int, burst: int, packets: int, *, numbers: bool = False, layers: str = "none"
) -> float:
    """Run one shape; returns CPU microseconds for each packet that left."""
    node = await MediaNode.open(["127.0.0.1"], 0, kernel=kernel)
    scene = Scene(node, receivers, numbers=numbers)
    spent = scene.run(packets, burst, layers)
    sent = sum(egress.packets_sent for egress in scene.egresses)
    assert sent == packets * receivers, "packets were dropped"
    scene.close()
    await node.close()
    return spent / sent * 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each kernel and number of receivers, with a column for each size of bursts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", choices=("compiled", "python"), nargs="+", default=["compiled", "python"])
    parser.add_argument("--receivers", type=int, nargs="+", default=[1, 10, 30])
    parser.add_argument("--bursts", type=int, nargs="+", default=[1, 3, 6], help="packets of a frame, 32 at most")
    parser.add_argument("--packets", type=int, default=30_000, help="packets that leave in each round, at least 600 in")
    parser.add_argument("--numbers", action="store_true", help="number packets for receivers, and pace them")
    parser.add_argument("--layers", choices=LAYERS, default="none", help="what tells temporal layers")
    options = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    print(f"CPU us per forwarded packet, median of {ROUNDS} (worst), by packets in a burst")
    print("kernel    receivers" + "".join(f"{burst:>16}" for burst in options.bursts))
    for name in options.kernel:
        kernel = load_kernel(name)
        for receivers in options.receivers:
            cells = ""
            for burst in options.bursts:
                packets = max(KEYFRAME_EVERY, options.packets // receivers) // burst * burst
                rounds = [
                    asyncio.run(
                        microseconds_per_packet(
                            kernel, receivers, burst, packets, numbers=options.numbers, layers=options.layers
                        )
                    )
                    for _ in range(ROUNDS)
                ]
                cells += f"{f'{statistics.median(rounds):.2f} ({max(rounds):.2f})':>16}"
            print(f"{name:10}{receivers:9}{cells}", flush=True)


if __name__ == "__main__":
    main()
