"""The compiled packet has the values, errors and tails of its twin."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zvonim_sfu.rtp import packet_compiled
from zvonim_sfu.rtp.packet import ExtensionPlan, RtpError, RtpPacket

plans = st.dictionaries(st.integers(1, 16), st.integers(1, 255), max_size=16).filter(
    lambda mapping: len(set(mapping.values())) == len(mapping)
)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Bytes that are nearly an RTP packet: with CSRCs, extensions of either form, padding, and a wrong byte or end."""
    csrcs = draw(st.integers(0, 15))
    block = b""
    if draw(st.booleans()):
        elements = draw(st.lists(st.tuples(st.integers(0, 16), st.binary(max_size=17)), max_size=40))
        profile = draw(st.sampled_from((0xBEDE, 0x1000, 0x100F, 0x1234)))
        for number, value in elements:
            if profile == 0xBEDE:
                block += bytes([(number & 15) << 4 | max(0, len(value) - 1) & 15]) + value[:16]
            else:
                block += bytes([number, len(value)]) + value
        block += bytes(-len(block) % 4)
        words = len(block) // 4 + draw(st.sampled_from((0, 0, 0, 1, -1, 300)))
        block = struct.pack("!HH", profile, words & 0xFFFF) + block
    padding = draw(st.integers(0, 5))
    payload = draw(st.binary(max_size=30)) + (bytes(padding - 1) + bytes([padding]) if padding else b"")
    first = 0x80 | csrcs | (0x10 if block else 0) | (0x20 if draw(st.booleans()) else 0)
    data = bytes([first, draw(st.integers(0, 255))]) + draw(st.binary(min_size=10, max_size=10)) + bytes(4 * csrcs)
    data += block + payload
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
    return data[: draw(st.integers(0, len(data)) | st.just(len(data)))]


def read(packet_class: type[RtpPacket], data: bytes, mapping: dict[int, int], extra: tuple[int, int]) -> object:
    """All that can be asked of a packet."""
    transport_wide, descriptor = extra
    try:
        packet = packet_class.parse(data)
    except RtpError as error:
        return str(error)
    plan = ExtensionPlan(mapping, transport_wide=transport_wide, descriptor=descriptor)
    values: list[Any] = [
        packet.data,
        packet.marker,
        packet.payload_type,
        packet.sequence_number,
        packet.timestamp,
        packet.ssrc,
        packet.payload_offset,
        packet.payload,
        packet.extensions(),
        [packet.extension(number) for number in range(260)],
        packet.tail(ExtensionPlan(mapping, transport_wide=transport_wide, red=packet.payload_type)),
        packet.tail(plan),
        packet.tail(ExtensionPlan({number: number for number in range(1, 256)}, descriptor=descriptor)),
    ]
    again = ExtensionPlan(mapping, transport_wide=transport_wide, descriptor=descriptor)
    assert packet.tail(plan) is packet.tail(again)
    packet.forget_tails()
    assert packet.tail(plan) == values[-2]
    return values


@settings(max_examples=1000)
@given(packets() | st.binary(max_size=40), plans, st.tuples(st.integers(0, 255), st.integers(0, 16)))
def test_the_same_bytes_are_the_same_packet(data: bytes, mapping: dict[int, int], extra: tuple[int, int]) -> None:
    mapping = {number: number_out for number, number_out in mapping.items() if number_out != extra[0]}
    assert read(packet_compiled.RtpPacket, data, mapping, extra) == read(RtpPacket, data, mapping, extra)


@pytest.mark.parametrize("size", [1020, 1024, 1028])
def test_a_block_of_the_largest_size_can_grow(size: int) -> None:
    """Each of 32 elements takes a byte more in the longer form."""
    elements = b"".join(bytes([(1 + n % 13) << 4 | 15]) + bytes([n]) * 16 for n in range(32))
    block = elements + bytes(size - len(elements))
    data = b"\x90\x60" + bytes(10) + struct.pack("!HH", 0xBEDE, size // 4) + block + b"payload"
    mapping = {number: 200 + number for number in range(1, 14)}
    compiled = read(packet_compiled.RtpPacket, data, mapping, (14, 13))
    assert compiled == read(RtpPacket, data, mapping, (14, 13))
    assert isinstance(compiled, str) == (size > 1024)


def test_it_is_made_by_parse_only() -> None:
    with pytest.raises(TypeError, match="parse makes packets"):
        packet_compiled.RtpPacket()
