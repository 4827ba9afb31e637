from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.packet import ExtensionPlan, RtpPacket
from zvonim_sfu.rtp.rtx import unwrap, wrap

BLOCK = bytes.fromhex("bede0001 10aa2000")


def rtp(first: int, second: int, sequence_number: int, ssrc: int, rest: bytes) -> bytes:
    return struct.pack("!BBHII", first, second, sequence_number, 0x11223344, ssrc) + rest


@pytest.mark.parametrize(
    ("first", "rest", "original_rest"),
    [
        (0x80, b"\x12\x34payload", b"payload"),
        (0x90, BLOCK + b"\x12\x34payload", BLOCK + b"payload"),
        (0x92, b"CSRCcsrc" + BLOCK + b"\x12\x34payload", b"CSRCcsrc" + BLOCK + b"payload"),
        (0xA0, b"\x12\x34payload\0\2", b"payload\0\2"),
        (0x80, b"\x12\x34", b""),
        (0xA0, b"\x12\x34\0\0\3", b"\0\0\3"),
    ],
)
@pytest.mark.parametrize("marker", [0, 0x80])
def test_the_original_comes_out(first: int, rest: bytes, original_rest: bytes, marker: int) -> None:
    packet = RtpPacket.parse(rtp(first, marker | 97, 7, 0x99, rest))
    original = unwrap(packet, ssrc=0x55, payload_type=96)
    assert original == rtp(first, marker | 96, 0x1234, 0x55, original_rest)


@pytest.mark.parametrize(
    ("first", "rest"), [(0x80, b""), (0x80, b"\1"), (0xA0, b"\1"), (0xA0, b"\1\1"), (0xB0, BLOCK + bytes(99) + b"\x64")]
)
def test_a_probe_repairs_nothing(first: int, rest: bytes) -> None:
    assert unwrap(RtpPacket.parse(rtp(first, 97, 7, 0x99, rest)), ssrc=1, payload_type=96) is None


def test_what_goes_out() -> None:
    packet = RtpPacket.parse(rtp(0x92, 0x80 | 96, 5, 1, b"CSRCcsrc" + BLOCK + b"payload"))
    tail = packet.tail(ExtensionPlan({1: 3}))
    header = struct.pack("!BBHII", tail.first_byte, 0x80 | 100, 0xABCD, 77, 2)
    wrapped, rest = wrap(header, tail, ssrc=3, payload_type=101, sequence_number=0xFFFF)
    assert wrapped == struct.pack("!BBHII", 0x92, 0x80 | 101, 0xFFFF, 77, 3)
    assert rest == b"CSRCcsrc" + bytes.fromhex("bede0001 30aa0000") + b"\xab\xcdpayload"


@given(
    csrcs=st.lists(st.binary(min_size=4, max_size=4), max_size=15),
    block=st.sampled_from(
        [b"", BLOCK, bytes.fromhex("10000002 0102aabb 02000000"), b"\xbe\xde\0\0", b"\xab\xac\0\1abcd"]
    ),
    payload=st.binary(max_size=30),
    padding=st.sampled_from([b"", b"\1", b"\0\0\3"]),
    plan=st.sampled_from([ExtensionPlan({}), ExtensionPlan({1: 1, 2: 2}), ExtensionPlan({1: 200})]),
    marker=st.booleans(),
    number=st.integers(0, 0xFFFF),
)
def test_what_is_wrapped_is_what_is_unwrapped(
    *,
    csrcs: list[bytes],
    block: bytes,
    payload: bytes,
    padding: bytes,
    plan: ExtensionPlan,
    marker: bool,
    number: int,
) -> None:
    first = 0x80 | (0x20 if padding else 0) | (0x10 if block else 0) | len(csrcs)
    tail = RtpPacket.parse(rtp(first, 96, 1, 1, b"".join(csrcs) + block + payload + padding)).tail(plan)
    header = struct.pack("!BBHII", tail.first_byte, marker << 7 | 98, number, 0xFFFFFFFF, 2)
    packet = RtpPacket.parse(b"".join(wrap(header, tail, ssrc=3, payload_type=99, sequence_number=8)))
    assert (packet.ssrc, packet.payload_type, packet.sequence_number) == (3, 99, 8)
    assert unwrap(packet, ssrc=2, payload_type=98) == header + tail.data


@given(st.binary(max_size=40).map(lambda data: b"\xb1\x60" + data) | st.binary(min_size=12, max_size=40))
def test_any_packet_is_unwrapped_to_a_packet_or_nothing(data: bytes) -> None:
    try:
        packet = RtpPacket.parse(data)
    except ValueError:
        return
    original = unwrap(packet, ssrc=1, payload_type=96)
    if original is not None:
        assert RtpPacket.parse(original).payload == packet.payload[2:]
