"""Both kernels' receivers, alone and side by side."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy

from tests.net.kernels import KERNELS
from tests.net.links import PROFILES, link, rtp_header, session, sessions
from tests.net.support import new_agent
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.receiving import DATAGRAMS_PER_WAKE_UP, MAX_DATAGRAM_BYTES
from zvonim_sfu.rtp.packet import RtpPacket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zvonim_sfu.net.kernel import Kernel
    from zvonim_sfu.net.receiving import Ingress, Receiver


class Port:
    """A socket with a receiver, and one that sends to it."""

    def __init__(self, kernel: Kernel, host: str, stack: contextlib.ExitStack) -> None:
        path, self.socket = stack.enter_context(link(host))
        self.sender, self.here = path.socket, path.address
        self.address = self.sender.getsockname()
        self.socket.setblocking(False)
        self.receiver: Receiver = kernel.Receiver(self.socket)
        self.ingress: Ingress = kernel.Ingress(new_agent())

    def send(self, data: bytes) -> None:
        self.sender.sendto(data, self.here)

    def arrivals(self) -> list[tuple[object, object, object]]:
        """What one wake-up reads, in a form in which that of two ports can be compared."""
        return [
            (
                ingress is self.ingress,
                address == self.address,
                arrived
                if isinstance(arrived, bytes | DropReason)
                else ("packet", arrived.data, arrived.sequence_number),
            )
            for ingress, address, arrived in self.receiver.read(0.0)
        ]


@pytest.fixture(params=[(name, host) for name in KERNELS for host in ("127.0.0.1", "::1")], ids="-".join)
def port(request: pytest.FixtureRequest) -> Iterator[Port]:
    name, host = request.param
    with contextlib.ExitStack() as stack:
        yield Port(KERNELS[name], host, stack)


def test_media_of_a_known_address_come_decrypted(port: Port) -> None:
    tx, port.ingress.session = sessions()
    assert port.receiver.learn(port.address, port.ingress) is None
    data = tx.protect(rtp_header(9) + b"payload")
    port.send(data)
    ((ingress, address, packet),) = port.receiver.read(0.0)
    assert ingress is port.ingress
    assert address is None
    assert not isinstance(packet, bytes | DropReason)
    assert (packet.data, packet.payload, packet.sequence_number) == (rtp_header(9) + b"payload", b"payload", 9)
    assert (port.ingress.packets_received, port.ingress.bytes_received) == (1, len(data))


def test_what_is_not_media_comes_as_it_is_with_its_address(port: Port) -> None:
    port.receiver.learn(port.address, port.ingress)
    for data in (bytes(20), b"\x16" + bytes(20), b"\x80\xc8" + bytes(20)):
        port.send(data)
    assert port.arrivals() == [
        (False, True, bytes(20)),
        (True, True, b"\x16" + bytes(20)),
        (True, True, b"\x80\xc8" + bytes(20)),
    ]


def test_media_are_refused_with_a_reason(port: Port) -> None:
    tx, rx = sessions()
    port.send(rtp_header(0))
    assert port.arrivals() == [(False, False, DropReason.UNKNOWN_ADDRESS)]
    port.receiver.learn(port.address, port.ingress)
    port.send(rtp_header(0))
    assert port.arrivals() == [(True, False, DropReason.SRTP_TOO_EARLY)]
    port.ingress.session = rx
    data = tx.protect(rtp_header(1) + b"\x01")
    malformed = tx.protect(bytes([0xA0]) + rtp_header(2)[1:] + b"\x09")  # more padding than packet
    for sent in (data, data, data[:-1] + b"x", bytes([0x80]) + bytes(1500), malformed):
        port.send(sent)
    assert [arrived for _, _, arrived in port.arrivals()] == [
        ("packet", rtp_header(1) + b"\x01", 1),
        DropReason.SRTP_REFUSED,
        DropReason.SRTP_REFUSED,
        DropReason.SRTP_REFUSED,
        DropReason.RTP_MALFORMED,
    ]
    port.ingress.session = None
    port.send(tx.protect(rtp_header(3)))
    assert port.arrivals() == [(True, False, DropReason.SRTP_TOO_EARLY)]


def test_sizes_are_bounded(port: Port) -> None:
    port.receiver.learn(port.address, port.ingress)
    sizes = (0, 11, 12, MAX_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES + 1, 9000)
    for size in sizes:
        port.send(b"\x16" * size)
    assert [arrived for _, _, arrived in port.arrivals()] == [
        DropReason.TOO_SHORT,
        DropReason.TOO_SHORT,
        b"\x16" * 12,
        b"\x16" * MAX_DATAGRAM_BYTES,
        DropReason.OVERSIZED,
        DropReason.OVERSIZED,
    ]


def test_what_one_datagram_changes_holds_for_the_next(port: Port) -> None:
    tx, rx = sessions()
    for data in (bytes(20), b"\x16" + bytes(20), tx.protect(rtp_header(1)), tx.protect(rtp_header(2))):
        port.send(data)
    got = []
    for number, (ingress, _, arrived) in enumerate(port.receiver.read(0.0)):
        got.append((ingress is not None, arrived if isinstance(arrived, bytes | DropReason) else arrived.data))
        if number == 0:
            port.receiver.learn(port.address, port.ingress)
        if number == 2:
            port.ingress.session = rx
    assert got == [
        (False, bytes(20)),
        (True, b"\x16" + bytes(20)),
        (True, DropReason.SRTP_TOO_EARLY),
        (True, rtp_header(2)),
    ]


def test_one_wake_up_reads_so_many_and_no_more(port: Port) -> None:
    assert port.arrivals() == []
    for _ in range(DATAGRAMS_PER_WAKE_UP + 3):
        port.send(bytes(20))
    assert [len(port.arrivals()) for _ in range(3)] == [DATAGRAMS_PER_WAKE_UP, 3, 0]


def test_addresses_are_learned_and_forgotten(port: Port) -> None:
    other = type(port.ingress)(new_agent())
    assert port.receiver.learn(port.address, port.ingress) is None
    assert port.receiver.learn(port.address, other) is port.ingress
    assert len(port.receiver) == 1
    port.send(b"\x16" + bytes(20))
    assert [ingress for ingress, _, _ in port.receiver.read(0.0)] == [other]
    port.receiver.forget(port.address)
    assert len(port.receiver) == 0
    port.send(b"\x16" + bytes(20))
    assert port.arrivals() == [(False, False, DropReason.UNKNOWN_ADDRESS)]
    with pytest.raises(KeyError):
        port.receiver.forget(port.address)


def test_a_socket_that_fails_is_one_counted_drop(port: Port) -> None:
    port.socket.close()
    assert port.arrivals() == [(False, False, DropReason.RECEIVE_FAILED)]


datagrams = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda first, rest: bytes([first]) + rest, st.sampled_from((0, 3, 20, 63, 128, 191)), st.binary(max_size=40)
    ),
    st.builds(lambda first, size: bytes([first]) * size, st.sampled_from((0, 20, 128)), st.integers(0, 2100)),
)
rtp = st.builds(
    lambda first, number, rest: bytes([0x80 | first]) + rtp_header(number)[1:] + rest,
    st.sampled_from((0, 0x10, 0x20, 0x30, 1, 0x11)),
    st.integers(0, 9),
    st.binary(max_size=60) | st.builds(bytes, st.integers(0, 1340)),
)


@settings(max_examples=100)
@given(
    profile=st.sampled_from(list(PROFILES)),
    steps=st.lists(
        st.tuples(st.sampled_from(("raw", "rtp", "forged", "learn", "session")), datagrams, rtp), max_size=12
    ),
)
def test_the_same_datagrams_arrive_as_the_same(profile: str, steps: list[tuple[str, bytes, bytes]]) -> None:
    key = bytes(range(64))
    tx = session(profile, key, Policy.SSRC_ANY_OUTBOUND)
    with contextlib.ExitStack() as stack:
        ports = [Port(kernel, "127.0.0.1", stack) for kernel in KERNELS.values()]
        for port in ports:
            port.receiver.learn(port.address, port.ingress)
            port.ingress.session = session(profile, key, Policy.SSRC_ANY_INBOUND)
        for name, raw, plain in steps:
            data = raw
            if name in {"rtp", "forged"}:
                with contextlib.suppress(Exception):  # libsrtp refuses what it can see is no RTP, and a number again
                    data = tx.protect(plain)
                if name == "forged":
                    data = data[:-1] + bytes([data[-1] ^ 1]) if data else b""
            for port in ports:
                if name == "learn":
                    with contextlib.suppress(KeyError):
                        port.receiver.forget(port.address)
                        continue
                    port.receiver.learn(port.address, port.ingress)
                elif name == "session":
                    port.ingress.session = (
                        None if port.ingress.session is not None else session(profile, key, Policy.SSRC_ANY_INBOUND)
                    )
                else:
                    port.send(data)
            one, other = ports
            assert one.arrivals() == other.arrivals()
            assert one.ingress.packets_received == other.ingress.packets_received
            assert one.ingress.bytes_received == other.ingress.bytes_received


def test_the_compiled_receiver_makes_packets_of_its_own() -> None:
    with contextlib.ExitStack() as stack:
        port = Port(KERNELS["compiled"], "127.0.0.1", stack)
        tx, port.ingress.session = sessions()
        port.receiver.learn(port.address, port.ingress)
        port.send(tx.protect(rtp_header(1)))
        ((_, _, packet),) = port.receiver.read(0.0)
        assert not isinstance(packet, RtpPacket)
        assert isinstance(port.socket, socket.socket)
