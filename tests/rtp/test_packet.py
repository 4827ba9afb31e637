from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.packet import (
    MAX_BLOCK_BYTES,
    MAX_EXTENSIONS,
    ExtensionPlan,
    RtpError,
    RtpPacket,
    Tail,
    is_rtcp,
)

PAYLOAD = b"payload, kept byte for byte"


def one_byte_block(*extensions: tuple[int, bytes]) -> bytes:
    body = b"".join(bytes((number << 4 | len(value) - 1,)) + value for number, value in extensions)
    return block(0xBEDE, body)


def two_byte_block(*extensions: tuple[int, bytes], profile: int = 0x1000) -> bytes:
    return block(profile, b"".join(bytes((number, len(value))) + value for number, value in extensions))


def block(profile: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("!HH", profile, len(body) // 4) + body


def rtp(
    *,
    extension_block: bytes = b"",
    csrcs: tuple[int, ...] = (),
    payload: bytes = PAYLOAD,
    padding: bytes = b"",
    marker: bool = False,
    sequence_number: int = 65535,
    timestamp: int = 0xFFFFFFFE,
    ssrc: int = 0x80000001,
) -> bytes:
    first = 0x80 | (0x20 if padding else 0) | (0x10 if extension_block else 0) | len(csrcs)
    header = struct.pack("!BBHII", first, marker << 7 | 96, sequence_number, timestamp, ssrc)
    return header + struct.pack(f"!{len(csrcs)}I", *csrcs) + extension_block + payload + padding


def forwarded(packet: RtpPacket, plan: ExtensionPlan) -> RtpPacket:
    """What a receiver makes of the packet, with a fixed header of the down track's own."""
    tail = packet.tail(plan)
    return RtpPacket.parse(struct.pack("!BBHII", tail.first_byte, 97, 1, 2, 3) + tail.data)


def identity(*numbers: int) -> ExtensionPlan:
    return ExtensionPlan({number: number for number in numbers})


class TestParse:
    def test_reads_the_fixed_header(self) -> None:
        packet = RtpPacket.parse(rtp(marker=True))
        assert packet.marker is True
        assert packet.payload_type == 96
        assert packet.sequence_number == 65535
        assert packet.timestamp == 0xFFFFFFFE
        assert packet.ssrc == 0x80000001
        assert packet.payload_offset == 12
        assert packet.payload == PAYLOAD
        assert packet.extensions() == []
        assert packet.extension(1) is None

    def test_finds_the_payload_behind_csrcs_and_extensions_and_before_padding(self) -> None:
        data = rtp(csrcs=(1, 2), extension_block=one_byte_block((1, b"abc")), padding=b"\0\0\3")
        packet = RtpPacket.parse(data)
        assert packet.payload_offset == 12 + 8 + 8
        assert packet.payload == PAYLOAD

    def test_a_packet_may_be_all_padding(self) -> None:
        packet = RtpPacket.parse(rtp(payload=b"", padding=b"\0" * 254 + b"\xff"))
        assert packet.payload == b""

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            (b"", "RTP packet is shorter than its fixed header"),
            (rtp(payload=b"")[:11], "RTP packet is shorter than its fixed header"),
            (b"\x40" + rtp()[1:], "RTP version is not 2"),
            (rtp(csrcs=(1, 2), payload=b"")[:-1], "RTP packet ends in its CSRC list"),
            (b"\x90" + rtp(payload=b"\xbe\xde\0")[1:], "RTP packet ends in its extension header"),
            (b"\x91" + rtp(payload=b"\xbe\xde\0\0")[1:], "RTP packet ends in its extension header"),
            (
                b"\x90" + rtp(payload=b"\xbe\xde\0\2abcd")[1:],
                "RTP header extension is longer than the packet",
            ),
            (rtp(padding=b"\0"), "RTP padding length is invalid"),
            (rtp(payload=b"", padding=b"\2"), "RTP padding length is invalid"),
            (b"\xa0" + rtp(payload=b"")[1:11] + b"\0", "RTP padding length is invalid"),
            (
                rtp(extension_block=block(0xBEDE, b"\x13abc")),
                "RTP header extension element is longer than its block",
            ),
            (
                rtp(extension_block=block(0x1000, b"\1\3ab")),
                "RTP header extension element is longer than its block",
            ),
            (
                rtp(extension_block=block(0x1000, b"\1\1a\2")),
                "RTP header extension ends before the length of an element",
            ),
            (
                rtp(extension_block=block(0xBEDE, bytes(MAX_BLOCK_BYTES + 4))),
                "RTP header extension is too long",
            ),
            (
                rtp(extension_block=two_byte_block(*[(1, b"")] * (MAX_EXTENSIONS + 1))),
                "RTP packet has too many header extensions",
            ),
        ],
    )
    def test_refuses_with_a_sentence(self, data: bytes, sentence: str) -> None:
        with pytest.raises(RtpError) as caught:
            RtpPacket.parse(data)
        assert str(caught.value) == sentence

    @given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: b"\xb1\x60" + tail))
    def test_any_bytes_are_a_packet_or_an_rtp_error(self, data: bytes) -> None:
        try:
            packet = RtpPacket.parse(data)
        except RtpError:
            return
        assert packet.data == data
        assert len(packet.payload) <= len(data) - 12
        for number, value in packet.extensions():
            assert packet.extension(number) is not None
            assert value in data
        forwarded(packet, ExtensionPlan({1: 2, 2: 1, 3: 200}))

    @given(
        st.binary(max_size=40),
        st.sampled_from([0xBEDE, 0x1000, 0x100F, 0x1010, 0]),
    )
    def test_any_block_is_read_or_refused(self, body: bytes, profile: int) -> None:
        try:
            packet = RtpPacket.parse(rtp(extension_block=block(profile, body)))
        except RtpError:
            return
        kept = [(number + 1, value) for number, value in packet.extensions() if number < 255]
        plan = ExtensionPlan({number: number + 1 for number in range(1, 255)})
        assert forwarded(packet, plan).extensions() == kept


class TestExtensions:
    def test_one_byte_form(self) -> None:
        extensions = [(1, b"\x90"), (14, b"0123456789abcdef"), (3, b"ab")]
        packet = RtpPacket.parse(rtp(extension_block=one_byte_block(*extensions)))
        assert packet.extensions() == extensions
        assert packet.extension(14) == b"0123456789abcdef"
        assert packet.extension(2) is None

    @pytest.mark.parametrize("profile", [0x1000, 0x100F])
    def test_two_byte_form(self, profile: int) -> None:
        extensions = [(15, b""), (255, bytes(range(255))), (1, b"a")]
        packet = RtpPacket.parse(rtp(extension_block=two_byte_block(*extensions, profile=profile)))
        assert packet.extensions() == extensions
        assert packet.extension(15) == b""

    @pytest.mark.parametrize(("profile", "body"), [(0xBEDE, b"\0\x10a\0\0\0\x20b"), (0x1000, b"\0\1\1a\0\2\1b")])
    def test_padding_may_stand_between_elements(self, profile: int, body: bytes) -> None:
        packet = RtpPacket.parse(rtp(extension_block=block(profile, body)))
        assert packet.extensions() == [(1, b"a"), (2, b"b")]

    @pytest.mark.parametrize("terminator", [b"\xf0", b"\xff", b"\x03"])
    def test_number_15_or_0_ends_the_one_byte_list(self, terminator: bytes) -> None:
        packet = RtpPacket.parse(rtp(extension_block=block(0xBEDE, b"\x10a" + terminator + b"\x20b")))
        assert packet.extensions() == [(1, b"a")]
        assert forwarded(packet, ExtensionPlan({1: 2, 2: 1})).extensions() == [(2, b"a")]

    def test_the_first_of_two_with_one_number_is_found_and_both_are_listed(self) -> None:
        packet = RtpPacket.parse(rtp(extension_block=one_byte_block((1, b"a"), (1, b"b"))))
        assert packet.extension(1) == b"a"
        assert packet.extensions() == [(1, b"a"), (1, b"b")]

    def test_a_block_of_another_profile_has_none_and_is_not_forwarded(self) -> None:
        packet = RtpPacket.parse(rtp(extension_block=block(0xABAC, b"\x10abc")))
        assert packet.extensions() == []
        assert packet.payload == PAYLOAD
        assert packet.tail(identity(1)) == Tail(0x80, PAYLOAD, len(PAYLOAD))


class TestTail:
    def test_without_a_block_everything_stays(self) -> None:
        data = rtp(csrcs=(1, 2, 3), padding=b"pad\4")
        assert RtpPacket.parse(data).tail(ExtensionPlan({1: 2})) == Tail(data[0], data[12:], len(PAYLOAD) + 4)

    @pytest.mark.parametrize(
        "extension_block",
        [
            one_byte_block((1, b"a"), (2, b"bcd")),
            two_byte_block((2, b""), (1, b"a"), profile=0x1007),
            block(0xBEDE, b"\0\0\x10a\0\0\0\0"),
        ],
    )
    def test_the_same_numbers_keep_the_block_as_it_is(self, extension_block: bytes) -> None:
        data = rtp(extension_block=extension_block, csrcs=(7,), padding=b"\1")
        assert RtpPacket.parse(data).tail(identity(1, 2, 3)) == Tail(data[0], data[12:], len(PAYLOAD) + 1)

    def test_numbers_change_and_what_is_not_in_the_plan_goes(self) -> None:
        packet = RtpPacket.parse(rtp(extension_block=one_byte_block((1, b"a"), (2, b"bc"), (3, b"d")), csrcs=(9,)))
        expected = struct.pack("!I", 9) + one_byte_block((3, b"a"), (1, b"d")) + PAYLOAD
        assert packet.tail(ExtensionPlan({1: 3, 3: 1})) == Tail(0x91, expected, len(PAYLOAD))

    @pytest.mark.parametrize("extension_block", [one_byte_block((1, b"a")), block(0xBEDE, b"")])
    def test_with_nothing_left_the_block_goes(self, extension_block: bytes) -> None:
        packet = RtpPacket.parse(rtp(extension_block=extension_block, padding=b"\0\2"))
        assert packet.tail(identity(2)) == Tail(0xA0, PAYLOAD + b"\0\2", len(PAYLOAD) + 2)

    @pytest.mark.parametrize(
        ("extension_block", "mapping", "expected"),
        [
            (one_byte_block((1, b"a")), {1: 14}, one_byte_block((14, b"a"))),
            (one_byte_block((1, b"a"), (2, b"b")), {1: 15, 2: 2}, two_byte_block((15, b"a"), (2, b"b"))),
            (two_byte_block((200, bytes(16))), {200: 1}, one_byte_block((1, bytes(16)))),
            (two_byte_block((200, bytes(17))), {200: 1}, two_byte_block((1, bytes(17)))),
            (two_byte_block((2, b""), (3, b"a")), {2: 3, 3: 2}, two_byte_block((3, b""), (2, b"a"))),
            (two_byte_block((2, b""), (3, b"a")), {3: 3}, one_byte_block((3, b"a"))),
        ],
    )
    def test_the_one_byte_form_goes_out_where_it_can_carry_all(
        self, extension_block: bytes, mapping: dict[int, int], expected: bytes
    ) -> None:
        packet = RtpPacket.parse(rtp(extension_block=extension_block))
        assert packet.tail(ExtensionPlan(mapping)).data == expected + PAYLOAD

    @pytest.mark.parametrize(
        ("extension_block", "mapping", "number", "expected"),
        [
            (b"", {}, 3, one_byte_block((3, b"\0\0"))),
            (b"", {}, 15, two_byte_block((15, b"\0\0"))),
            (one_byte_block((1, b"a")), {1: 1}, 3, one_byte_block((1, b"a"), (3, b"\0\0"))),
            (one_byte_block((3, b"\1\2")), {}, 3, one_byte_block((3, b"\0\0"))),
            (two_byte_block((1, bytes(17))), {1: 1}, 3, two_byte_block((1, bytes(17)), (3, b"\0\0"))),
        ],
    )
    def test_a_transport_wide_number_gets_its_place(
        self, extension_block: bytes, mapping: dict[int, int], number: int, expected: bytes
    ) -> None:
        packet = RtpPacket.parse(rtp(extension_block=extension_block, csrcs=(9,)))
        tail = packet.tail(ExtensionPlan(mapping, transport_wide=number))
        assert (tail.first_byte, tail.data[4:]) == (0x91, expected + PAYLOAD)
        written = bytearray(tail.data)
        written[tail.number_at : tail.number_at + 2] = b"\xab\xcd"
        assert RtpPacket.parse(bytes((tail.first_byte, *bytes(11))) + written).extension(number) == b"\xab\xcd"

    @pytest.mark.parametrize("transport_wide", [0, 3])
    @pytest.mark.parametrize("mapping", [{1: 1, 2: 2}, {1: 1, 2: 5}, {2: 200}])
    def test_the_frame_number_is_found(self, mapping: dict[int, int], transport_wide: int) -> None:
        extension_block = one_byte_block((1, b"a"), (2, b"\x80\x12\x34"))
        packet = RtpPacket.parse(rtp(extension_block=extension_block, csrcs=(7,)))
        tail = packet.tail(ExtensionPlan(mapping, transport_wide=transport_wide, descriptor=2))
        assert tail.data[tail.frame_number_at : tail.frame_number_at + 2] == b"\x12\x34"

    @pytest.mark.parametrize("mapping", [{1: 1}, {1: 1, 2: 2}, {1: 5, 2: 2}])
    def test_half_a_descriptor_has_no_frame_number(self, mapping: dict[int, int]) -> None:
        packet = RtpPacket.parse(rtp(extension_block=one_byte_block((1, b"a"), (2, b"\x80\x12"))))
        assert packet.tail(ExtensionPlan(mapping, descriptor=2)).frame_number_at == -1
        assert packet.tail(ExtensionPlan(mapping)).frame_number_at == -1

    def test_is_made_once_for_each_numbering(self) -> None:
        packet = RtpPacket.parse(rtp(extension_block=one_byte_block((1, b"a"))))
        assert packet.tail(ExtensionPlan({1: 2})) is packet.tail(ExtensionPlan({1: 2}))
        assert packet.tail(ExtensionPlan({1: 2})) != packet.tail(ExtensionPlan({1: 3}))

    @given(
        extensions=st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=20)), max_size=8),
        mapping=st.dictionaries(st.integers(1, 255), st.integers(1, 255), max_size=20).filter(
            lambda mapping: len(set(mapping.values())) == len(mapping)
        ),
        keep=st.booleans(),
        csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
        payload=st.binary(max_size=40),
        padding=st.integers(0, 20).map(lambda size: bytes(size - 1) + bytes((size,)) if size else b""),
    )
    def test_a_receiver_reads_what_was_sent_under_its_own_numbers(
        self,
        *,
        extensions: list[tuple[int, bytes]],
        mapping: dict[int, int],
        keep: bool,
        csrcs: tuple[int, ...],
        payload: bytes,
        padding: bytes,
    ) -> None:
        if keep:
            mapping = {number: number for number, _ in extensions}
        fits = all(number < 15 and 0 < len(value) <= 16 for number, value in extensions)
        extension_block = one_byte_block(*extensions) if fits else two_byte_block(*extensions)
        packet = RtpPacket.parse(rtp(extension_block=extension_block, csrcs=csrcs, payload=payload, padding=padding))
        received = forwarded(packet, ExtensionPlan(mapping))
        assert received.extensions() == [(mapping[number], value) for number, value in extensions if number in mapping]
        assert received.payload == packet.payload == payload
        assert received.data[received.payload_offset :] == payload + padding
        assert received.data[12 : 12 + 4 * len(csrcs)] == struct.pack(f"!{len(csrcs)}I", *csrcs)
        assert received.data[0] & 0x2F == packet.data[0] & 0x2F


class TestExtensionPlan:
    def test_is_a_value(self) -> None:
        assert ExtensionPlan({1: 2, 3: 4}) == ExtensionPlan({3: 4, 1: 2})
        assert hash(ExtensionPlan({1: 2})) == hash(ExtensionPlan({1: 2}))
        assert ExtensionPlan({1: 2}) != ExtensionPlan({2: 1})
        assert ExtensionPlan({}) != {}
        assert ExtensionPlan({}, red=1) != ExtensionPlan({})
        plan = ExtensionPlan({3: 4, 1: 2}, transport_wide=5, descriptor=3, red=63)
        assert repr(plan) == "ExtensionPlan({1: 2, 3: 4}, transport_wide=5, descriptor=3, red=63)"
        assert plan not in (ExtensionPlan({3: 4, 1: 2}, transport_wide=5), ExtensionPlan({3: 4, 1: 2}, descriptor=3))

    @pytest.mark.parametrize("mapping", [{0: 1}, {1: 0}, {256: 1}, {1: 256}, {-1: 1}, {1: 3, 2: 3}])
    def test_refuses_numbers_that_cannot_be(self, mapping: dict[int, int]) -> None:
        with pytest.raises(RtpError):
            ExtensionPlan(mapping)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", False),
        (b"\x80", False),
        (b"\x80\xbf", False),
        (b"\x80\xc0", True),
        (b"\x80\xc8", True),
        (b"\x80\xdf", True),
        (b"\x80\xe0", False),
        (b"\x80\x60", False),
    ],
)
def test_rtcp_is_told_by_its_second_byte(data: bytes, expected: bool) -> None:
    assert is_rtcp(data) is expected
