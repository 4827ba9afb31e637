from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rtp.test_packet import rtp
from zvonim_sfu.rtp.packet import ExtensionPlan, RtpError, RtpPacket, Tail
from zvonim_sfu.rtp.red import primary_at

RED, OPUS = 96, 111


def red(primary: bytes, *copies: tuple[int, bytes]) -> bytes:
    """A payload: the primary block, and copies with how much earlier they are, in ticks."""
    headers = [
        struct.pack("!BHB", 0x80 | OPUS, ticks << 2 | len(block) >> 8, len(block) & 255) for ticks, block in copies
    ]
    return b"".join((*headers, bytes([OPUS]), *(block for _, block in copies), primary))


def test_the_primary_block_is_behind_all_others() -> None:
    payload = red(b"now", (960, b"before"), (1920, b"x" * 1023))
    assert payload[primary_at(payload, 0, len(payload)) :] == b"now"


def test_it_may_be_the_only_one() -> None:
    assert primary_at(red(b"now"), 0, 4) == 1


def test_without_a_sound_it_is_empty() -> None:
    payload = red(b"", (960, b"before"))
    assert primary_at(payload, 0, len(payload)) == len(payload)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xef", b"\xef\0\0", b"\xef\0\0\1", red(b"now", (960, b"before"))[:9], b"\xef\x0f\xff\xff\x6fabc"],
    ids=bytes.hex,
)
def test_what_is_cut_short_has_none(payload: bytes) -> None:
    assert primary_at(payload, 0, len(payload)) == len(payload)


blocks = st.binary(max_size=1023)


@given(st.binary(max_size=20), blocks, st.lists(st.tuples(st.integers(0, 0x3FFF), blocks), max_size=4), st.binary())
def test_it_is_found_wherever_a_payload_stands(
    before: bytes, primary: bytes, copies: list[tuple[int, bytes]], behind: bytes
) -> None:
    payload = red(primary, *copies)
    end = len(before) + len(payload)
    assert (before + payload + behind)[primary_at(before + payload + behind, len(before), end) : end] == primary


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_any_bytes_give_a_place_among_them(data: bytes, start: int, end: int) -> None:
    end = min(end, len(data))
    start = min(start, end)
    assert start <= primary_at(data, start, end) <= end


class TestTail:
    def test_a_plan_unwraps_packets_of_one_type(self) -> None:
        data = rtp(payload=red(b"now", (960, b"before")), csrcs=(7,))
        packet = RtpPacket.parse(data)
        assert packet.tail(ExtensionPlan({}, red=RED)) == Tail(data[0], data[12:16] + b"now", 3)
        assert packet.tail(ExtensionPlan({}, red=OPUS)) == Tail(data[0], data[12:], len(data) - 16)
        assert packet.tail(ExtensionPlan({})) == Tail(data[0], data[12:], len(data) - 16)

    def test_padding_and_extensions_stay(self) -> None:
        data = rtp(payload=red(b"now", (960, b"before")), padding=b"\0\2")
        tail = RtpPacket.parse(data).tail(ExtensionPlan({}, red=RED, transport_wide=3))
        assert tail.first_byte == 0xB0
        assert tail.data == b"\xbe\xde\0\1" + b"\x31\0\0\0" + b"now\0\2"
        assert (tail.octets, tail.number_at) == (5, 5)

    def test_what_is_no_such_payload_goes_out_empty(self) -> None:
        """Numbers go on, and no decoder is given what it cannot take."""
        packet = RtpPacket.parse(rtp(payload=b"\xef\xff\xff\xff"))
        assert packet.tail(ExtensionPlan({}, red=RED)) == Tail(0x80, b"", 0)

    @pytest.mark.parametrize("payload_type", [-1, 128])
    def test_its_payload_type_is_one(self, payload_type: int) -> None:
        with pytest.raises(RtpError, match="0 to 127"):
            ExtensionPlan({}, red=payload_type)
