"""Drives the compiled kernel with random calls and bytes: python -m tests.net.random_calls SECONDS SEED.

For runs under a sanitizer, which ends the process at the first fault; what the kernel should do is compared with its
twin elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from tests.media.support import rtp
from tests.net.kernels import COMPILED, sendmmsg
from tests.net.links import PROFILES, rtp_header
from tests.net.test_kernel_twins import EGRESSES, NAMES, PLANS, Operation, Scene
from tests.net.test_receiving import Port
from zvonim_sfu.rtp.history import MAX_PACKETS
from zvonim_sfu.rtp.intake import Payloads
from zvonim_sfu.rtp.packet import Fields, RtpError
from zvonim_sfu.rtp.packet_compiled import RtpPacket

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_BYTES: Final = (0x80, 0x90, 0xA0, 0xB0, 0x8F, 0x9F)
BLOCKS: Final = (b"", b"\xbe\xde", b"\x10\x00", b"\x10\x0f")
ERRORS: Final = (errno.EAGAIN, errno.ENOBUFS, errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EPERM)


class Chance(random.Random):
    """Random packets."""

    def packet(self) -> bytes:
        """Bytes that are often an RTP packet."""
        data = bytearray(self.randbytes(self.choice((0, 5, 12, 20, 100, 700, 700, 1330, 1344, 1345, 1500, 2047, 4000))))
        if len(data) >= 20 and self.random() < 0.9:
            data[0] = self.choice(FIRST_BYTES)
            block = self.choice(BLOCKS)
            at = 12 + 4 * (data[0] & 15)
            data[at : at + 4] = block + bytes([0, self.randrange(4) if self.random() < 0.8 else 255])
            data[-1] = self.randrange(8)
        return bytes(data)

    def layered(self) -> bytes:
        """A packet of VP8, with something in the place of a dependency descriptor."""
        value = self.randbytes(self.choice((0, 1, 2, 3, 3, 3, 4, 9)))
        payload = bytes((self.choice((0x00, 0x10, 0x80, 0x90)), self.choice((0x00, 0x20, 0x80, 0xE0, 0xF0))))
        payload = payload[: self.choice((0, 1, 2, 2, 2))] + self.randbytes(self.randrange(8))
        return rtp(self.randrange(1 << 16), extensions=[(1, value)], payload=payload)

    def place(self) -> int:
        """A place in a packet, or outside of it."""
        return self.choice((-1, 0, 4, 98, 99, 998, 999, self.randrange(-2000, 5000), -(2**60), 2**60))

    def answer(self, count: int) -> int:
        """Answer a call of sendmmsg."""
        return -self.choice(ERRORS) if self.random() < 0.1 else self.randint(1, count)


def send(chance: Chance) -> None:
    """Senders, egresses and batches."""
    with contextlib.ExitStack() as stack:
        scene = Scene(COMPILED, chance.choice(list(PROFILES)), ["127.0.0.1", "::1"] * (EGRESSES // 2) + ["::1"], stack)
        stack.enter_context(sendmmsg(chance.answer))
        for sequence in range(200):
            name = chance.choice((*NAMES, "burst"))
            data = chance.packet()
            if name == "burst":
                for number in range(chance.randrange(80)):
                    tail = data[: chance.choice((100, 1000))]
                    scene.batch.append(scene.egresses[number % 2], rtp_header(number), tail, chance.place())
                continue
            for sender in scene.senders:
                sender.plan = chance.choice(PLANS)
                sender.sequence_offset = chance.randrange(-(2**40), 2**40)
                sender.timestamp_offset = chance.randrange(-(2**40), 2**40)
            with contextlib.suppress(RtpError):
                fields = Fields(chance.place(), chance.choice((7, 15)), 0x7FFE, chance.place(), 255)
                offset, number_at = chance.randrange(-(2**40), 2**40), chance.place()
                call = Operation(name, chance.randrange(EGRESSES), data, True, fields, number_at, offset)
                scene.do(call, sequence)


def receive(chance: Chance) -> None:
    """A receiver whose addresses and sessions come and go."""
    with contextlib.ExitStack() as stack:
        port = Port(COMPILED, chance.choice(("127.0.0.1", "::1")), stack)
        scene = Scene(COMPILED, "AEAD_AES_128_GCM", ["127.0.0.1"] * EGRESSES, stack)
        keys = scene.sessions
        for _ in range(40):
            for _ in range(chance.randrange(40)):
                data = chance.packet()
                with contextlib.suppress(Exception):  # too long, or no RTP
                    data = keys[0].protect(data) if chance.random() < 0.5 else data
                port.send(data)
            for ingress, _, packet in port.receiver.read(0.0):
                if chance.random() < 0.1:
                    port.ingress.session = chance.choice((None, *keys))
                    port.receiver.learn(port.address, port.ingress)
                if ingress is not None and not isinstance(packet, bytes | str):
                    look_at(packet, chance)


def look_at(packet: RtpPacket, chance: Chance) -> None:
    """Ask a packet everything."""
    packet.tail(chance.choice(PLANS))
    packet.extension(chance.randrange(256))
    packet.extensions()
    assert packet.payload in packet.data


def parse(chance: Chance) -> None:
    """Packets of nobody."""
    for _ in range(500):
        with contextlib.suppress(RtpError):
            look_at(RtpPacket.parse(chance.packet()), chance)


def count(chance: Chance) -> None:
    """Packets of layers whose counters, and logs of arrivals, stand anywhere."""
    with contextlib.ExitStack() as stack:
        scene = Scene(COMPILED, chance.choice(list(PROFILES)), ["127.0.0.1"] * EGRESSES, stack)
        intake, log = COMPILED.Intake(), COMPILED.ArrivalLog()
        ingress = Port(COMPILED, "127.0.0.1", stack).ingress
        ingress.arrivals, ingress.arrival_extension = log, chance.randrange(5)
        intake.cells, intake.fan_out = [None] * MAX_PACKETS, scene.fan_out
        intake.levels, now = deque(maxlen=9), chance.choice((0.0, 1e3, 1e9))
        for number in range(300):
            log.received(number * chance.choice((1, 1, 1, 300)) & 0xFFFF, now)
            now += chance.choice((0.0, 0.001, 1.0, 1e4))
            with contextlib.suppress(RtpError):
                packet = RtpPacket.parse(chance.layered() if chance.random() < 0.5 else chance.packet())
                intake.payloads, intake.level_extension = chance.choice(list(Payloads)), chance.randrange(4)
                intake.descriptor, intake.shift = chance.choice((0, 1, 2)), chance.choice((0, -7, 2**40))
                intake.temporal = chance.choice((0, 2, 2**20, -1))
                intake.layer_octets, intake.layer_frames = ([0] * chance.choice((0, 1, 3, 64, 64)) for _ in range(2))
                intake.template_layers = bytes(chance.choices((0, 1, 2, 3, 63, 64, 255), k=chance.choice((0, 3, 64))))
                intake.counted, intake.payload_type = packet.sequence_number - 1, packet.payload_type
                intake.kept = intake.highest = packet.sequence_number + intake.shift - 1
                ingress.intakes = {packet.ssrc: intake}
                ingress.take(packet, now)
            if chance.random() < 0.1:
                log.packed(now, sender_ssrc=1, media_ssrc=2)
        scene.batch.flush()


def main() -> None:
    """Run until the time is over."""
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    chance = Chance(seed)
    drivers: tuple[Callable[[Chance], None], ...] = (send, receive, parse, count)
    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end:
        chance.choice(drivers)(chance)
        rounds += 1
    print(f"{rounds} rounds, seed {seed}, process {os.getpid()}")  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main()
