"""What both kernels promise; tests/net/test_kernel_twins.py compares them, byte by byte."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.net.kernels import KERNELS
from tests.net.links import PROFILES, SO_NO_CHECK, link, rtp_header, sessions, waiting
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.kernel import PYTHON, Kernel, KernelError, load_kernel
from zvonim_sfu.net.path import Path
from zvonim_sfu.net.srtp import unprotect_rtp
from zvonim_sfu.rtp.packet import NO_FIELDS, ExtensionPlan, Fields, RtpPacket


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> Kernel:
    return KERNELS[request.param]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_a_batch_sends_decrypts_to_header_and_tail(kernel: Kernel, profile: str, host: str) -> None:
    tx_one, rx_one = sessions(profile)
    tx_two, rx_two = sessions(profile)
    with link(host) as (path_one, receiver_one), link(host) as (path_two, receiver_two):
        one, two = kernel.Egress(tx_one, path_one), kernel.Egress(tx_two, path_two)
        batch = kernel.Batch()
        for number in range(3):
            batch.append(one, rtp_header(number), b"tail %d" % number)
            batch.append(two, rtp_header(number + 7, ssrc=2), b"tail %d" % number)
        assert (len(batch), one.packets_sent) == (6, 0)
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


def test_a_device_that_cuts_no_messages_gets_the_packets_one_by_one(kernel: Kernel) -> None:
    with link() as (path, receiver):
        path.socket.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        egress = kernel.Egress(sessions()[0], path)
        batch = kernel.Batch()
        for number in range(6):
            batch.append(egress, rtp_header(number), bytes(500))
            if number % 3 == 2:
                batch.flush()
        assert [data[2:4] for data in waiting(receiver)] == [number.to_bytes(2) for number in range(6)]
        assert (egress.packets_sent, egress.drops) == (6, {})


def test_a_flushed_batch_sends_nothing_twice(kernel: Kernel) -> None:
    with link() as (path, receiver):
        egress = kernel.Egress(sessions()[0], path)
        batch = kernel.Batch()
        batch.append(egress, rtp_header(1), b"")
        batch.flush()
        batch.flush()
        assert len(waiting(receiver)) == egress.packets_sent == 1


def test_two_batches_may_share_an_egress(kernel: Kernel) -> None:
    with link() as (path, receiver):
        egress = kernel.Egress(sessions()[0], path)
        for number in range(2):
            batch = kernel.Batch()
            batch.append(egress, rtp_header(number), b"")
            batch.flush()
        assert len(waiting(receiver)) == 2


def test_a_batch_is_bounded(kernel: Kernel) -> None:
    with link() as (path, _):
        egress = kernel.Egress(sessions()[0], path)
        batch = kernel.Batch(4)
        for number in range(9):
            batch.append(egress, rtp_header(number), b"")
        assert egress.packets_sent == 8
        assert len(batch) == 1
        senders = [kernel.Sender(egress, ssrc) for ssrc in range(5)]
        for sender in senders:
            sender.payload_type = 96
        fan_out = kernel.FanOut(batch)
        fan_out.replace(senders)
        fan_out.forward(RtpPacket.parse(rtp_header(1)), 1, False, NO_FIELDS)
        assert (egress.packets_sent, len(batch)) == (12, 2)


def test_packets_before_keys_or_path_are_counted_drops(kernel: Kernel) -> None:
    batch = kernel.Batch()
    without_session, without_path = kernel.Egress(), kernel.Egress(sessions()[0])
    batch.append(without_session, rtp_header(1), b"")
    batch.append(without_path, rtp_header(1), b"")
    batch.flush()
    assert without_session.drops == {DropReason.NO_SESSION: 1}
    assert without_path.drops == {DropReason.NO_PATH: 1}


def test_what_was_taken_away_is_not_used_when_the_batch_is_flushed(kernel: Kernel) -> None:
    batch = kernel.Batch()
    with link() as (path, receiver):
        closed, moved = kernel.Egress(sessions()[0], path), kernel.Egress(sessions()[0], path)
        batch.append(closed, rtp_header(1), b"")
        batch.append(moved, rtp_header(1), b"")
        closed.session = closed.path = None
        moved.path = None
        batch.flush()
        assert waiting(receiver) == []
        assert closed.drops == {DropReason.NO_SESSION: 1}
        assert moved.drops == {DropReason.NO_PATH: 1}
        moved.path = path
        batch.append(moved, rtp_header(2), b"")
        batch.flush()
        assert len(waiting(receiver)) == 1


def test_a_packet_that_cannot_be_protected_costs_only_itself(kernel: Kernel) -> None:
    tx, rx = sessions()
    with link() as (path, receiver):
        egress = kernel.Egress(tx, path)
        batch = kernel.Batch()
        batch.append(egress, rtp_header(1), bytes(1357 - 12))
        batch.append(egress, b"no RTP", b"")
        batch.append(egress, rtp_header(2), bytes(1356 - 12))
        batch.flush()
        assert unprotect_rtp(rx, receiver.recv(2048)) == rtp_header(2) + bytes(1356 - 12)
        assert egress.drops == {DropReason.TOO_LONG: 1, DropReason.PROTECT_FAILED: 1}
        assert egress.packets_sent == 1


def test_an_address_that_nobody_can_send_to_costs_only_its_own_packets(kernel: Kernel) -> None:
    with link() as (path, receiver):
        dead = kernel.Egress(sessions()[0], Path(path.socket, ("127.0.0.1", 0)))
        alive = kernel.Egress(sessions()[0], path)
        batch = kernel.Batch()
        for number in range(3):
            batch.append(dead, rtp_header(number), b"")
            batch.append(alive, rtp_header(number), b"")
        batch.flush()
        assert len(waiting(receiver)) == 3
        assert (dead.drops, dead.packets_sent) == ({DropReason.SEND_FAILED: 3}, 0)
        assert not alive.drops


def test_a_closed_socket_is_a_counted_drop(kernel: Kernel) -> None:
    with link() as (path, _):
        egress = kernel.Egress(sessions()[0], path)
        batch = kernel.Batch()
        batch.append(egress, rtp_header(1), b"")
        path.socket.close()
        with link() as (_, other):  # which has the number of the closed one
            batch.flush()
            assert waiting(other) == []
        assert (egress.drops, egress.packets_sent) == ({DropReason.SEND_FAILED: 1}, 0)


def test_a_path_of_no_ip_address_is_refused_or_drops() -> None:
    with link() as (path, _), pytest.raises(OSError):  # noqa: PT011 - the words are the C library's
        KERNELS["compiled"].Egress(path=Path(path.socket, ("no address", 9)))


def fanned_out(kernel: Kernel, incoming: RtpPacket, fields: Fields, **sender_has: Any) -> bytes:
    """What a packet becomes on its way through a fan-out, decrypted."""
    with link() as (path, receiver):
        tx, rx = sessions()
        sender = kernel.Sender(kernel.Egress(tx, path), 11)
        sender.payload_type = 96
        for name, value in sender_has.items():
            setattr(sender, name, value)
        batch = kernel.Batch()
        fan_out = kernel.FanOut(batch)
        fan_out.replace([sender])
        fan_out.forward(incoming, 7, False, fields)
        batch.flush()
        plain = unprotect_rtp(rx, receiver.recv(2048))
        assert plain is not None
        return plain


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (NO_FIELDS, "010203040506"),
        (Fields(1, 7, 0x7E, 2, 1), "0100ff040506"),
        (Fields(1, 15, 0x7FFE, 3, 0), "0180 00fe0506".replace(" ", "")),
        (Fields(4, 15, 5, 5, 4), "010203048002"),  # where they overlap, TL0PICIDX comes last
        (Fields(5, 15, 5, 6, 4), "010203040506"),
        (Fields(-2, 7, 5, -2, 4), "010203040506"),
    ],
)
def test_a_fan_out_shifts_what_the_payload_numbers(kernel: Kernel, fields: Fields, expected: str) -> None:
    incoming = RtpPacket.parse(
        b"\x90\xe0\x00\x07\x00\x00\x0b\xb8\x00\x00\x00\x01\xbe\xde\x00\x01\x12\x80\xff\xff" + bytes(range(1, 7))
    )
    offsets = {"picture_id_offset": 2, "tl0_offset": -2, "frame_number_offset": 0x10003}
    plain = fanned_out(kernel, incoming, fields, plan=ExtensionPlan({1: 1}, descriptor=1), **offsets)
    assert plain[1] == 96  # the marker is the caller's
    assert plain[12:20] == b"\xbe\xde\x00\x01\x12\x80\x00\x02"
    assert plain[20:].hex() == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (Fields(1, 7, 2, 2, 3), "018203040506"),  # as it is there, the M bit too
        (Fields(1, 7, 3, 2, 9), "010303040506"),
        (Fields(1, 15, 0x0203, 2, 9), "018203040506"),
        (Fields(1, 15, 0x0204, 2, 9), "018204040506"),
        (Fields(5, 15, 0x0204, 2, 9), "018203040506"),
    ],
)
def test_a_fan_out_writes_the_picture_ids_of_a_rendition(kernel: Kernel, fields: Fields, expected: str) -> None:
    incoming = RtpPacket.parse(b"\x80\xe0\x00\x07\x00\x00\x0b\xb8\x00\x00\x00\x01\x01\x82\x03\x04\x05\x06")
    assert fanned_out(kernel, incoming, fields)[12:].hex() == expected


def test_a_fan_out_sends_a_packet_under_each_senders_numbers(kernel: Kernel) -> None:
    incoming = RtpPacket.parse(
        b"\x90\xe0\x00\x07\x00\x00\x0b\xb8\x00\x00\x00\x01\xbe\xde\x00\x01\x10\xaa\x00\x00picture"
    )
    with link() as (path_one, receiver_one), link() as (path_two, receiver_two):
        (tx_one, rx_one), (tx_two, rx_two) = sessions(), sessions()
        one, two = (
            kernel.Sender(kernel.Egress(tx_one, path_one), 11),
            kernel.Sender(kernel.Egress(tx_two, path_two), 12),
        )
        one.payload_type, one.sequence_offset, one.timestamp_offset = 101, -7, -3001
        two.payload_type, two.sequence_offset, two.timestamp_offset = 102, 0x1FFFF, 1
        two.plan = ExtensionPlan({1: 3})
        one.last_sequence, two.last_sequence = 3, 0x20006
        one.last_timestamp = 5
        batch = kernel.Batch()
        fan_out = kernel.FanOut(batch)
        fan_out.replace([one, two])
        fan_out.forward(incoming, 7, incoming.marker, NO_FIELDS)
        batch.flush()
        assert unprotect_rtp(rx_one, receiver_one.recv(2048)) == (
            b"\x80\xe5\x00\x00\xff\xff\xff\xff\x00\x00\x00\x0bpicture"
        )
        assert unprotect_rtp(rx_two, receiver_two.recv(2048)) == (
            b"\x90\xe6\x00\x06\x00\x00\x0b\xb9\x00\x00\x00\x0c\xbe\xde\x00\x01\x30\xaa\x00\x00picture"
        )
        assert [(s.packets, s.octets, s.last_sequence, s.last_timestamp) for s in (one, two)] == [
            (1, 7, 3, 5),
            (1, 7, 0x20006, 0),
        ]


def test_a_fan_out_begins_with_the_highest_floor(kernel: Kernel) -> None:
    fan_out = kernel.FanOut(kernel.Batch())
    senders = [kernel.Sender(kernel.Egress(), number) for number in range(3)]
    for sender, floor in zip(senders, (5, 70_000, -3), strict=True):
        sender.floor = floor
    fan_out.replace(senders)
    assert fan_out.floor == 70_000
    fan_out.replace(senders[2:])
    assert fan_out.floor == 0
    fan_out.replace([])
    assert fan_out.floor == 0


def test_the_kernels_have_the_same_interface() -> None:
    for field in Kernel._fields[1:]:
        names = [
            {name for name in dir(getattr(kernel, field)) if not name.startswith("_")} for kernel in KERNELS.values()
        ]
        assert names[0] == names[1], field


def test_the_kernel_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_kernel().name == load_kernel("compiled").name == "compiled"
    assert load_kernel("python") is PYTHON

    def not_built(_: str) -> Any:
        raise ModuleNotFoundError("No module named sending_compiled")

    monkeypatch.setattr("importlib.import_module", not_built)
    assert load_kernel() is PYTHON
    with pytest.raises(KernelError, match=r"No module named sending_compiled.*install a C compiler"):
        load_kernel("compiled")


def test_a_path_by_another_socket_leaves_by_that_one(kernel: Kernel) -> None:
    with link() as (first, receiver), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
        second.bind(("127.0.0.1", 0))
        egress = kernel.Egress(sessions()[0], first)
        batch = kernel.Batch()
        for number, sender in enumerate((first.socket, second)):
            egress.path = Path(sender, first.address)
            batch.append(egress, rtp_header(number), b"")
            batch.flush()
            assert receiver.recvfrom(2048)[1] == sender.getsockname()
