from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.rtcp import (
    MAX_PACKETS,
    Bye,
    ExtendedReport,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpError,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    Unknown,
    pack_compound,
    parse_compound,
)
from zvonim_sfu.rtp.rtcp_feedback import MAX_LOST
from zvonim_sfu.rtp.rtcp_xr import ReferenceTimeAnswer

REPORT = ReportBlock(0x01020304, 0x40, -2, 0x00010005, 7, 0x11223344, 65536)
REPORT_BYTES = bytes.fromhex("01020304 40fffffe 00010005 00000007 11223344 00010000")


def rtcp(packet_type: int, count: int, body: bytes, *, padding: bytes = b"") -> bytes:
    first = 0x80 | (0x20 if padding else 0) | count
    return struct.pack("!BBH", first, packet_type, len(body + padding) // 4) + body + padding


WIRE: list[tuple[RtcpPacket, bytes]] = [
    (
        SenderReport(1, 0x1122334455667788, 0xFFFFFFFF, 2, 3, (REPORT,)),
        bytes.fromhex("81c8000c 00000001 11223344 55667788 ffffffff 00000002 00000003") + REPORT_BYTES,
    ),
    (ReceiverReport(1), bytes.fromhex("80c90001 00000001")),
    (
        ReceiverReport(1, (REPORT, REPORT)),
        bytes.fromhex("82c9000d 00000001") + REPORT_BYTES + REPORT_BYTES,
    ),
    (SourceDescription(((1, "ab"),)), bytes.fromhex("81ca0003 00000001 01026162 00000000")),
    (SourceDescription(((1, "a"),)), bytes.fromhex("81ca0002 00000001 01016100")),
    (
        SourceDescription(((1, "abc"), (2, "ж"))),
        bytes.fromhex("82ca0006 00000001 01036162 63000000 00000002 0102d0b6 00000000"),
    ),
    (SourceDescription(()), bytes.fromhex("80ca0000")),
    (Bye((1, 2)), bytes.fromhex("82cb0002 00000001 00000002")),
    (Bye(()), bytes.fromhex("80cb0000")),
    (Nack(1, 2, (5,)), bytes.fromhex("81cd0003 00000001 00000002 00050000")),
    (Nack(1, 2, (5, 6, 21)), bytes.fromhex("81cd0003 00000001 00000002 00058001")),
    (Nack(1, 2, (5, 22)), bytes.fromhex("81cd0004 00000001 00000002 00050000 00160000")),
    (Nack(1, 2, (65534, 65535, 0, 14)), bytes.fromhex("81cd0003 00000001 00000002 fffe8003")),
    (Nack(1, 2, (6, 5)), bytes.fromhex("81cd0004 00000001 00000002 00060000 00050000")),
    (PictureLossIndication(1, 2), bytes.fromhex("81ce0002 00000001 00000002")),
    (
        FullIntraRequest(1, ((2, 255), (3, 0))),
        bytes.fromhex("84ce0006 00000001 00000000 00000002 ff000000 00000003 00000000"),
    ),
    (
        # draft-alvestrand-rmcat-remb-03, section 2.2
        Remb(1, 0x3FFFF << 3, (2, 3)),
        bytes.fromhex("8fce0006 00000001 00000000 52454d42 020fffff 00000002 00000003"),
    ),
    (Remb(1, 0, ()), bytes.fromhex("8fce0004 00000001 00000000 52454d42 00000000")),
    (Remb(1, 0x20000 << 46, ()), bytes.fromhex("8fce0004 00000001 00000000 52454d42 00ba0000")),
    (Unknown(204, 3, b"\0\0\0\1NAME"), bytes.fromhex("83cc0002 00000001 4e414d45")),
    (
        TransportFeedback(1, 2, 0xFFFF, 3, 0x010203, 4, ((0, 5), (2, -1))),
        bytes.fromhex("8fcd0006 00000001 00000002 ffff0003 01020304 d200 05 ffff 000000"),
    ),
    (ExtendedReport(1, 2), bytes.fromhex("80cf0004 00000001 04000002 00000000 00000002")),
    (Unknown(205, 14, b"anything"), bytes.fromhex("8ecd0002") + b"anything"),
    (Unknown(206, 15, b"12345678REMO"), bytes.fromhex("8fce0003") + b"12345678REMO"),
    (Unknown(206, 15, b""), bytes.fromhex("8fce0000")),
]


@pytest.mark.parametrize(("packet", "data"), WIRE)
def test_bytes_on_the_wire(packet: RtcpPacket, data: bytes) -> None:
    assert packet.pack() == data
    assert parse_compound(data) == [packet]


def test_a_compound_keeps_its_order() -> None:
    packets = [packet for packet, _ in WIRE]
    data = pack_compound(packets)
    assert data == b"".join(wire for _, wire in WIRE)
    assert parse_compound(data) == packets


@pytest.mark.parametrize(("packet", "data"), WIRE)
@pytest.mark.parametrize("padding", [b"\0\0\0\4", b"\0" * 11 + b"\x0c"])
def test_padding_is_taken_off(packet: RtcpPacket, data: bytes, padding: bytes) -> None:
    padded = rtcp(data[1], data[0] & 31, data[4:], padding=padding)
    assert parse_compound(data + padded) == [packet, packet]


@pytest.mark.parametrize(
    ("data", "packet"),
    [
        # profile-specific extensions of reports
        (rtcp(201, 0, bytes(3) + b"\1more"), ReceiverReport(1)),
        (rtcp(200, 0, bytes(24) + b"more"), SenderReport(0, 0, 0, 0, 0)),
        # a reason
        (rtcp(203, 1, b"\0\0\0\1\3bye"), Bye((1,))),
        (rtcp(203, 1, b"\0\0\0\1\2by\0"), Bye((1,))),
        # other items, a CNAME behind another item, none at all, one that is not UTF-8
        (rtcp(202, 1, b"\0\0\0\1\2\1x\1\1y\0\0"), SourceDescription(((1, "y"),))),
        (rtcp(202, 1, b"\0\0\0\1\0\0\0\0"), SourceDescription(((1, ""),))),
        (rtcp(202, 1, b"\0\0\0\1\1\1\xff\0"), SourceDescription(((1, "\N{REPLACEMENT CHARACTER}"),))),
        # media source of a FIR is ignored
        (rtcp(206, 4, bytes(7) + b"\1" + b"\0\0\0\2\3abc"), FullIntraRequest(0, ((2, 3),))),
        (rtcp(205, 1, bytes(8) + b"\xff\xff\xff\xff"), Nack(0, 0, (65535, *range(16)))),
        # libwebrtc fills up the last word and calls that padding
        (
            rtcp(205, 15, bytes(11) + b"\1" + bytes(4) + b"\x20\1\7", padding=b"\1"),
            TransportFeedback(0, 0, 0, 1, 0, 0, ((0, 7),)),
        ),
        (
            rtcp(205, 15, bytes(11) + b"\2" + bytes(4) + b"\xd8\0\7\xff\xfe", padding=b"\0\0\3"),
            TransportFeedback(0, 0, 0, 2, 0, 0, ((0, 7), (1, -2))),
        ),
    ],
)
def test_what_others_send(data: bytes, packet: RtcpPacket) -> None:
    assert parse_compound(data) == [packet]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "RTCP packet is shorter than its header"),
        (b"\x80\xc9\0", "RTCP packet is shorter than its header"),
        (ReceiverReport(1).pack() + b"\0", "RTCP packet is shorter than its header"),
        (ReceiverReport(1).pack() + b"rubbish!", "RTCP version is not 2"),
        (b"\x40\xc9\0\0", "RTCP version is not 2"),
        (b"\x80\xc9\0\1", "RTCP packet is longer than its datagram"),
        (rtcp(204, 0, b"") * (MAX_PACKETS + 1), "RTCP compound has too many packets"),
        (b"\xa0\xcc\0\0", "RTCP padding length is invalid"),
        (rtcp(204, 0, b"abcd", padding=b"\0\0\0\0"), "RTCP padding length is invalid"),
        (rtcp(204, 0, b"abcd", padding=b"\0\0\0\3"), "RTCP padding length is invalid"),
        (rtcp(204, 0, b"abcd", padding=b"\0\0\0\x0c"), "RTCP padding length is invalid"),
        (rtcp(200, 0, bytes(20)), "RTCP sender report is too short"),
        (rtcp(200, 1, bytes(44)), "RTCP sender report is too short"),
        (rtcp(201, 0, b""), "RTCP receiver report is too short"),
        (rtcp(201, 1, bytes(24)), "RTCP receiver report is too short"),
        (rtcp(202, 1, b""), "RTCP source description ends before its last chunk"),
        (rtcp(202, 1, b"\0\0\0\1"), "RTCP source description ends before the end of its items"),
        (rtcp(202, 1, b"\0\0\0\1\1\2ab"), "RTCP source description ends before the end of its items"),
        (rtcp(202, 1, b"\0\0\0\1\1\3ab"), "RTCP source description ends in an item"),
        (rtcp(202, 1, b"\0\0\0\1\1\1a\1"), "RTCP source description ends in an item"),
        (rtcp(202, 0, b"\0\0\0\1"), "RTCP source description is longer than its chunks"),
        (rtcp(203, 2, bytes(4)), "RTCP bye is too short"),
        (rtcp(203, 1, b"\0\0\0\1\4bye"), "RTCP bye ends in its reason"),
        (rtcp(205, 1, bytes(4)), "RTCP NACK is too short"),
        (rtcp(205, 1, bytes(8)), "RTCP NACK is too short"),
        (rtcp(205, 1, bytes(8) + b"\0\0\xff\xff" * 61), "RTCP NACK asks for too many packets"),
        (rtcp(206, 1, bytes(4)), "RTCP PLI length is wrong"),
        (rtcp(206, 1, bytes(12)), "RTCP PLI length is wrong"),
        (rtcp(206, 4, bytes(8)), "RTCP FIR length is wrong"),
        (rtcp(206, 4, bytes(20)), "RTCP FIR length is wrong"),
        (rtcp(206, 15, bytes(8) + b"REMB"), "RTCP REMB is too short"),
        (rtcp(206, 15, bytes(8) + b"REMB\1\0\0\0"), "RTCP REMB length does not fit its number of sources"),
        (
            rtcp(206, 15, bytes(8) + b"REMB" + bytes(8)),
            "RTCP REMB length does not fit its number of sources",
        ),
        (rtcp(206, 15, bytes(8) + b"REMB\0\xbe\0\0"), "RTCP REMB bitrate has more than 64 bits"),
    ],
)
def test_refuses_with_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(RtcpError) as caught:
        parse_compound(data)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "packet",
    [
        ReceiverReport(1, (REPORT,) * 32),
        SenderReport(1, 2, 3, 4, 5, (REPORT,) * 32),
        SourceDescription(((1, ""),) * 32),
        SourceDescription(((1, "x" * 256),)),
        Bye((1,) * 32),
        Nack(1, 2, ()),
        Nack(1, 2, tuple(range(MAX_LOST + 1))),
        FullIntraRequest(1, ()),
        Remb(1, 1 << 64, ()),
        Remb(1, -1, ()),
        Remb(1, 1, (1,) * 256),
        Unknown(204, 0, b"abc"),
    ],
)
def test_what_the_wire_cannot_carry_is_not_packed(packet: RtcpPacket) -> None:
    with pytest.raises(RtcpError):
        packet.pack()


def test_the_counters_of_a_sender_report_wrap() -> None:
    [report] = parse_compound(SenderReport(1, 2, 3, (1 << 32) + 4, (1 << 32) + 5).pack())
    assert report == SenderReport(1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("bitrate", "sent"),
    [(262_143, 262_143), (262_145, 262_144), (1_000_003, 1_000_000), ((1 << 64) - 1, 0x3FFFF << 46)],
)
def test_a_remb_goes_out_rounded_down_to_18_bits(bitrate: int, sent: int) -> None:
    assert parse_compound(Remb(1, bitrate, (2,)).pack()) == [Remb(1, sent, (2,))]


UINT32 = st.integers(0, 0xFFFFFFFF)
UINT16 = st.integers(0, 0xFFFF)
UINT8 = st.integers(0, 255)


def tuples_of(elements: st.SearchStrategy[object], *, least: int = 0, most: int = 31) -> st.SearchStrategy[object]:
    return st.lists(elements, min_size=least, max_size=most).map(tuple)


REPORTS = tuples_of(
    st.builds(ReportBlock, UINT32, UINT8, st.integers(-0x800000, 0x7FFFFF), UINT32, UINT32, UINT32, UINT32), most=3
)
PACKETS: st.SearchStrategy[RtcpPacket] = st.one_of(
    st.builds(SenderReport, UINT32, st.integers(0, (1 << 64) - 1), UINT32, UINT32, UINT32, REPORTS),
    st.builds(ReceiverReport, UINT32, REPORTS),
    st.builds(SourceDescription, tuples_of(st.tuples(UINT32, st.text(max_size=60)), most=3)),
    st.builds(Bye, tuples_of(UINT32)),
    st.builds(Nack, UINT32, UINT32, tuples_of(UINT16 | st.integers(0, 40), least=1, most=60)),
    st.builds(PictureLossIndication, UINT32, UINT32),
    st.builds(FullIntraRequest, UINT32, tuples_of(st.tuples(UINT32, UINT8), least=1)),
    st.builds(
        Remb,
        UINT32,
        st.builds(lambda mantissa, exponent: mantissa << exponent, st.integers(0, 0x3FFFF), st.integers(0, 46)),
        tuples_of(UINT32),
    ),
    st.builds(
        ExtendedReport,
        UINT32,
        st.none() | st.integers(0, (1 << 64) - 1),
        tuples_of(st.builds(ReferenceTimeAnswer, UINT32, UINT32, UINT32), most=3),
    ),
    st.builds(
        lambda sender, media, base, more, time, number, received: TransportFeedback(
            sender, media, base, max(received, default=0) + more, time, number, tuple(sorted(received.items()))
        ),
        UINT32,
        UINT32,
        UINT16,
        st.integers(1, 20000),
        st.integers(0, 0xFFFFFF),
        UINT8,
        st.dictionaries(st.integers(0, 40) | st.integers(0, 40000), st.integers(-0x8000, 0x7FFF) | UINT8, max_size=60),
    ),
    st.builds(
        Unknown,
        st.sampled_from([0, 192, 204, 208, 255]),
        st.integers(0, 31),
        st.binary(max_size=8).map(lambda x: x * 4),
    ),
)


@given(st.lists(PACKETS, min_size=1, max_size=8))
def test_what_is_packed_is_what_is_parsed(packets: list[RtcpPacket]) -> None:
    assert parse_compound(pack_compound(packets)) == packets


@given(
    st.binary(max_size=80)
    | st.builds(
        lambda packet_type, count, words, last: rtcp(packet_type, count, b"".join(words)) + last,
        st.integers(199, 208),
        st.integers(0, 31),
        st.lists(st.binary(min_size=4, max_size=4) | st.sampled_from([b"REMB", bytes(4)]), max_size=20),
        st.sampled_from([b"", b"\x80", b"\x80\xc9\0\1\0\0\0\1"]),
    )
)
def test_any_bytes_are_packets_or_an_rtcp_error(data: bytes) -> None:
    try:
        packets = parse_compound(data)
    except RtcpError:
        return
    assert 0 < len(packets) <= MAX_PACKETS


@given(PACKETS, st.data())
def test_a_damaged_packet_is_packets_or_an_rtcp_error(packet: RtcpPacket, data: st.DataObject) -> None:
    damaged = bytearray(packet.pack())
    for _ in range(3):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(UINT8)
    try:
        packets = parse_compound(bytes(damaged))
    except RtcpError:
        return
    assert packets
