"""What a stranger's datagram costs before it is dropped: CPU time from the receive call on.

    python benchmarks/rejecting.py [--datagrams 20000] [--participants 100]

Datagrams come from a socket of this machine, and the port reads them as it does when the event loop wakes it, 32 at a
time. Only that is measured, not the sending. For comparison there is what is let in: an authentic check with its
answer. The figures are CPU time of this process, so that other load changes them little.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING, Final

from aioice import stun

from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.ice import IceAgent
from zvonim_sfu.net.receiving import DATAGRAMS_PER_WAKE_UP
from zvonim_sfu.net.udp import UdpPort

if TYPE_CHECKING:
    from collections.abc import Callable

    from zvonim_sfu.net.path import Path
    from zvonim_sfu.rtp.packet import RtpPacket

VARIANTS: Final = 64
"""Different datagrams of each kind, made beforehand."""


class Nobody:
    """Stands for the transports, which strangers never reach."""

    def on_rtp(self, packet: RtpPacket, now: float) -> None: ...
    def on_srtcp(self, data: bytes, now: float) -> None: ...
    def drop(self, reason: DropReason) -> None: ...
    def on_path(self, path: Path) -> None: ...


def check(ufrag: str, password: str) -> bytes:
    """Return a connectivity check as a browser sends it."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{ufrag}:clnt"
    message.attributes["ICE-CONTROLLING"] = int.from_bytes(os.urandom(8))
    message.attributes["USE-CANDIDATE"] = None
    message.attributes["PRIORITY"] = 2130706431
    message.add_message_integrity(password.encode())
    message.add_fingerprint()
    return bytes(message)


def kinds(agent: IceAgent) -> dict[str, tuple[Callable[[], bytes], DropReason | None]]:
    """What is sent, and why it is dropped; None for what is not."""
    return {
        "random bytes, 200": (lambda: b"\xff" + os.urandom(199), DropReason.UNKNOWN_PROTOCOL),
        "random bytes that begin as STUN": (lambda: b"\x00" + os.urandom(199), DropReason.STUN_MALFORMED),
        "RTP from an unknown address, 1100": (lambda: b"\x80" + os.urandom(1099), DropReason.UNKNOWN_ADDRESS),
        "DTLS from an unknown address, 200": (lambda: b"\x16" + os.urandom(199), DropReason.UNKNOWN_ADDRESS),
        "check with an unknown username": (lambda: check("x" * 8, "y" * 24), DropReason.STUN_UNKNOWN_UFRAG),
        "check with a wrong password": (lambda: check(agent.local_ufrag, "y" * 24), DropReason.STUN_UNAUTHENTICATED),
        "authentic check, answered": (lambda: check(agent.local_ufrag, agent.local_pwd), None),
    }


async def microseconds(make: str, datagrams: int, participants: int) -> float:
    """Send one kind; returns CPU microseconds for each datagram."""
    port = await UdpPort.open(["127.0.0.1"], 0)
    agents = [IceAgent(Nobody()) for _ in range(participants)]
    for agent in agents:
        port.add(agent)
    build, reason = kinds(agents[0])[make]
    variants = [build() for _ in range(VARIANTS)]
    ((receiving, receiver),) = port._receivers.items()
    sent = spent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.connect(("127.0.0.1", port.port))
        while sent < datagrams:
            for i in range(DATAGRAMS_PER_WAKE_UP):
                sending.send(variants[(sent + i) % VARIANTS])
            began = time.thread_time_ns()
            port._on_readable(receiving, receiver)
            spent += time.thread_time_ns() - began
            sent += DATAGRAMS_PER_WAKE_UP
    dropped = {} if reason is None else {reason: sent}
    assert port.drops == dropped, f"{make}: {port.drops}"
    port.close()
    return spent / sent / 1000


def main() -> None:
    """Measure each kind three times, and print the best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datagrams", type=int, default=20_000)
    parser.add_argument("--participants", type=int, default=100, help="agents that share the port (default 100)")
    options = parser.parse_args()
    for make in kinds(IceAgent(Nobody())):
        best = min(asyncio.run(microseconds(make, options.datagrams, options.participants)) for _ in range(3))
        print(f"{make:36}{best:6.1f} µs")


if __name__ == "__main__":
    main()
