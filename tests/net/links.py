"""What the tests of the kernels send by: keys, headers and sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

from pylibsrtp import Policy, Session

from zvonim_sfu.net.path import Path

if TYPE_CHECKING:
    from collections.abc import Iterator

PROFILES: Final = {
    "AES128_CM_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    "AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
}

SO_NO_CHECK: Final = 11
"""linux/socket.h: no UDP checksum, for which the system refuses UDP_SEGMENT with EIO."""


def session(profile: str, key: bytes, direction: int) -> Session:
    number, key_bytes = PROFILES[profile]
    return Session(Policy(key=key[:key_bytes], ssrc_type=direction, srtp_profile=number))


def sessions(profile: str = "AEAD_AES_128_GCM", key: bytes | None = None) -> tuple[Session, Session]:
    """A sender's session and its receiver's."""
    key = key or os.urandom(64)
    return session(profile, key, Policy.SSRC_ANY_OUTBOUND), session(profile, key, Policy.SSRC_ANY_INBOUND)


def rtp_header(sequence_number: int, ssrc: int = 0xABCD) -> bytes:
    return struct.pack("!BBHII", 0x80, 96, sequence_number, 3000, ssrc)


@contextlib.contextmanager
def link(host: str = "127.0.0.1") -> Iterator[tuple[Path, socket.socket]]:
    """A path to a socket that reads what is sent by it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender, socket.socket(family, socket.SOCK_DGRAM) as receiver:
        sender.bind((host, 0))
        receiver.bind((host, 0))
        receiver.settimeout(5)
        yield Path(sender, receiver.getsockname()), receiver


def waiting(receiver: socket.socket) -> list[bytes]:
    """The datagrams that are there already; on loopback, all that were sent are."""
    found = []
    timeout = receiver.gettimeout()
    receiver.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(receiver.recv(4096))
    receiver.settimeout(timeout)
    return found
