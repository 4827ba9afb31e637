from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from zvonim_sfu.net import kernel
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.kernel import (
    Batch,
    Egress,
    Path,
    protect_rtcp,
    send,
    unprotect_rtcp,
    unprotect_rtp,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PROFILES = {
    "AES128_CM_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    "AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
}
RECEIVER_REPORT = struct.pack("!BBHI", 0x80, 201, 1, 0x5EED)


def sessions(profile: str = "AEAD_AES_128_GCM") -> tuple[Session, Session]:
    """A sender's session and its receiver's."""
    number, key_bytes = PROFILES[profile]
    key = os.urandom(key_bytes)
    return (
        Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=number)),
        Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=number)),
    )


def rtp_header(sequence_number: int, ssrc: int = 0xABCD) -> bytes:
    return struct.pack("!BBHII", 0x80, 96, sequence_number, 3000, ssrc)


@contextlib.contextmanager
def link() -> Iterator[tuple[Path, socket.socket]]:
    """A path to a socket that reads what is sent by it."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        yield Path(sender, receiver.getsockname()), receiver


class RefusingSocket(socket.socket):
    """A socket whose kernel takes nothing."""

    error = OSError()

    def sendto(self, *_: Any) -> int:
        raise self.error


@pytest.mark.parametrize("profile", PROFILES)
def test_what_a_batch_sends_decrypts_to_header_and_tail(profile: str) -> None:
    tx_one, rx_one = sessions(profile)
    tx_two, rx_two = sessions(profile)
    with link() as (path_one, receiver_one), link() as (path_two, receiver_two):
        one, two = Egress(tx_one, path_one), Egress(tx_two, path_two)
        batch = Batch()
        for number in range(3):
            batch.append(one, rtp_header(number), b"tail %d" % number)
            batch.append(two, rtp_header(number + 7, ssrc=2), b"tail %d" % number)
        assert one.packets_sent == 0
        batch.flush()
        received = 0
        for number in range(3):
            data = receiver_one.recv(2048)
            received += len(data)
            assert data[12:] != b"tail %d" % number
            assert unprotect_rtp(rx_one, data) == rtp_header(number) + b"tail %d" % number
            assert unprotect_rtp(rx_two, receiver_two.recv(2048)) == (
                rtp_header(number + 7, ssrc=2) + b"tail %d" % number
            )
        assert (one.packets_sent, one.bytes_sent) == (3, received)
        assert not one.drops
        assert len(batch) == 0


def test_a_flushed_batch_sends_nothing_twice() -> None:
    with link() as (path, receiver):
        egress = Egress(sessions()[0], path)
        batch = Batch()
        batch.append(egress, rtp_header(1), b"")
        batch.flush()
        batch.flush()
        receiver.recv(2048)
        assert egress.packets_sent == 1


def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "BATCH_MAX_PACKETS", 4)
    with link() as (path, _):
        egress = Egress(sessions()[0], path)
        batch = Batch()
        for number in range(9):
            batch.append(egress, rtp_header(number), b"")
        assert egress.packets_sent == 8
        assert len(batch) == 1


def test_packets_before_keys_or_path_are_counted_drops() -> None:
    batch = Batch()
    without_session, without_path = Egress(), Egress(sessions()[0])
    batch.append(without_session, rtp_header(1), b"")
    batch.append(without_path, rtp_header(1), b"")
    batch.flush()
    assert without_session.drops == {DropReason.NO_SESSION: 1}
    assert without_path.drops == {DropReason.NO_PATH: 1}


def test_a_packet_that_cannot_be_protected_costs_only_itself() -> None:
    tx, rx = sessions()
    with link() as (path, receiver):
        egress = Egress(tx, path)
        batch = Batch()
        batch.append(egress, rtp_header(1), bytes(1357 - 12))
        batch.append(egress, b"no RTP", b"")
        batch.append(egress, rtp_header(2), bytes(1356 - 12))
        batch.flush()
        assert unprotect_rtp(rx, receiver.recv(2048)) == rtp_header(2) + bytes(1356 - 12)
        assert egress.drops == {DropReason.TOO_LONG: 1, DropReason.PROTECT_FAILED: 1}
        assert egress.packets_sent == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BlockingIOError(errno.EAGAIN, ""), DropReason.SOCKET_FULL),
        (OSError(errno.ENOBUFS, ""), DropReason.NO_BUFFERS),
        (OSError(errno.ENETUNREACH, ""), DropReason.SEND_FAILED),
        (OSError(errno.EPERM, ""), DropReason.SEND_FAILED),
    ],
)
def test_what_the_socket_refuses_is_a_counted_drop(error: OSError, reason: DropReason) -> None:
    with RefusingSocket(socket.AF_INET, socket.SOCK_DGRAM) as refusing:
        refusing.error = error
        egress = Egress(sessions()[0], Path(refusing, ("127.0.0.1", 9)))
        batch = Batch()
        batch.append(egress, rtp_header(1), b"")
        batch.flush()
        assert egress.drops == {reason: 1}
        assert (egress.packets_sent, egress.bytes_sent) == (0, 0)


def test_a_closed_socket_is_a_counted_drop() -> None:
    with link() as (path, _):
        path.socket.close()
        assert send(path, b"data") is DropReason.SEND_FAILED


@pytest.mark.parametrize("profile", PROFILES)
def test_rtcp_survives_the_way(profile: str) -> None:
    tx, rx = sessions(profile)
    protected = protect_rtcp(tx, RECEIVER_REPORT)
    assert protected is not None
    assert unprotect_rtcp(rx, protected) == RECEIVER_REPORT


def test_forged_and_replayed_packets_are_none() -> None:
    tx, rx = sessions()
    data = tx.protect(rtp_header(1) + b"payload")
    assert unprotect_rtp(rx, data[:-1] + bytes([data[-1] ^ 1])) is None
    assert unprotect_rtp(rx, data) is not None
    assert unprotect_rtp(rx, data) is None
    report = protect_rtcp(tx, RECEIVER_REPORT)
    assert report is not None
    assert unprotect_rtcp(rx, report[:-1] + bytes([report[-1] ^ 1])) is None
    assert unprotect_rtcp(rx, report) == RECEIVER_REPORT
    assert unprotect_rtcp(rx, report) is None


def test_rtcp_that_libsrtp_refuses_is_none() -> None:
    tx, _ = sessions()
    assert protect_rtcp(tx, bytes(1500)) is None
    assert protect_rtcp(tx, b"\x80") is None


@given(st.binary(max_size=64) | st.binary(min_size=1490, max_size=1510))
def test_no_bytes_from_the_network_raise(data: bytes) -> None:
    for profile in PROFILES:
        _, rx = sessions(profile)
        assert unprotect_rtp(rx, data) is None
        assert unprotect_rtcp(rx, data) is None
