from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.streams import RecordedStream
from zvonim_sfu.rtp.codecs import describe_again, describer
from zvonim_sfu.rtp.description import PLAIN
from zvonim_sfu.rtp.h264 import MAX_AGGREGATED_UNITS
from zvonim_sfu.rtp.intake import Intake


def is_keyframe(encoding: str, payload: bytes) -> bool:
    return describer(encoding)(payload, None).keyframe


ENCODINGS = ["VP8", "VP9", "H264", "AV1"]


def stap_a(*units: bytes) -> bytes:
    return b"\x78" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        # the shortest descriptor: S = 1, PID = 0
        (b"\x10\x50\x01", True),
        (b"\x10\x51\x01", False),  # P = 1: predicted
        (b"\x00\x50\x01", False),  # S = 0: not the start of a partition
        (b"\x11\x50\x01", False),  # the second partition
        (b"\x30\x50", True),  # N, a non-reference frame, and the reserved bit say nothing of it
        (b"\x50\x50", True),
        # extended: picture id of 7 and of 15 bits, TL0PICIDX, TID and KEYIDX, alone and together
        (b"\x90\x80\x7f\x50", True),
        (b"\x90\x80\x7f\x51", False),
        (b"\x90\x80\x80\x01\x50", True),
        (b"\x90\x80\xff\x00\x51", False),
        (b"\x90\x40\xff\x50", True),
        (b"\x90\x20\xff\x50", True),
        (b"\x90\x10\xff\x51", False),
        (b"\x90\x00\x50", True),
        (b"\x90\xf0\x81\x23\x05\x20\x50\x9d", True),
        (b"\x90\xf0\x81\x23\x05\x20\x51\x9d", False),
        (b"\x90\xe0\x23\x05\x20\x50", True),
        # cut short
        (b"", False),
        (b"\x10", False),
        (b"\x90", False),
        (b"\x90\x80", False),
        (b"\x90\x80\x81\x23", False),
        (b"\x90\xf0\x81\x23\x05\x20", False),
    ],
)
def test_vp8(payload: bytes, expected: bool) -> None:
    assert is_keyframe("VP8", payload) is expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x08\x82", True),  # B, no layers
        (b"\x00\x82", False),  # not the begin of a frame
        (b"\x48\x86", False),  # P: predicted from another picture
        (b"\x8c\x05\x82", True),  # I, B, E
        (b"\xa8\x05\x00\x00\x82", True),  # I, L, B; layer 0
        (b"\xa8\x05\x03\x00\x82", False),  # spatial layer 1, predicted from the layer below
        (b"\xa8\x05\x0f\x00\x82", False),
        (b"\xa8\x05\x02\x00\x82", True),  # the lowest layer that is sent
        (b"\xa8\x05\xf1\x00\x82", True),  # TID, U and D say nothing of it
        (b"\xa8\x81\x23\x00\x00\x82", True),  # 15-bit picture id
        (b"\xa8\x81\x23\x05\x00\x82", False),
        (b"\x28\x00\x00", True),  # layers without a picture id
        (b"\x28\x03\x00", False),
        (b"\xe8\x05\x00\x00", False),
        (b"\xbb\x81\x23\x01\x18\x02\x80\x01", True),  # flexible mode with a scalability structure
        (b"", False),
        (b"\x28", False),
        (b"\xa8\x81\x23", False),
    ],
)
def test_vp9(payload: bytes, expected: bool) -> None:
    assert is_keyframe("VP9", payload) is expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x65\x88", True),  # IDR slice
        (b"\x67\x42", True),  # SPS
        (b"\x68\xce", False),  # PPS
        (b"\x41\x9a", False),  # slice
        (b"\x06\x05", False),  # SEI
        (b"\x05", True),  # nal_ref_idc does not matter
        (stap_a(b"\x67\x42", b"\x68\xce"), True),
        (stap_a(b"\x09\xf0", b"\x06\x05\x01", b"\x65\x88"), True),
        (stap_a(b"\x41\x9a", b"\x41\x67"), False),
        (stap_a(b"", b"\x67"), True),
        (stap_a(b"", b"\x41\x67"), False),
        (stap_a(*[b"\x06"] * (MAX_AGGREGATED_UNITS - 1), b"\x65"), True),
        (stap_a(*[b"\x06"] * MAX_AGGREGATED_UNITS, b"\x65"), False),
        (b"\x78\x00\x02\x67", True),  # cut short behind the first byte of the SPS
        (b"\x78\xff\xff\x41\x67", False),
        (b"\x78\x00", False),
        (b"\x78", False),
        (b"\x7c\x85\x88", True),  # FU-A, start of an IDR slice
        (b"\x7c\x87\x42", True),
        (b"\x7c\x05\x88", False),  # its middle
        (b"\x7c\x45\x88", False),  # its end
        (b"\x7c\x81\x9a", False),  # start of another slice
        (b"\x7c", False),
        (b"\x7d\x85\x88", False),  # FU-B
        (b"", False),
    ],
)
def test_h264(payload: bytes, expected: bool) -> None:
    assert is_keyframe("H264", payload) is expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x18\x0a\x0b", True),  # W = 1, N
        (b"\x08", True),
        (b"\x68\x0a", True),  # Y, W, N
        (b"\x10\x32", False),
        (b"\x98\x0a", False),  # N, yet the first element goes on from another packet
        (b"", False),
    ],
)
def test_av1(payload: bytes, expected: bool) -> None:
    assert is_keyframe("AV1", payload) is expected


@pytest.mark.parametrize("encoding", ["", "OPUS", "RTX", "H265", "vp8"])
def test_other_encodings_have_no_key_frames(encoding: str) -> None:
    assert is_keyframe(encoding, b"\x10\x50\x01") is False


@pytest.mark.parametrize("name", ["vp8-l1t3", "vp8-l1t3-descriptor", "vp8-firefox", "h264-l1t3"])
def test_packets_are_described_later_as_they_were_when_they_came(name: str) -> None:
    stream, intake = RecordedStream.load(name), Intake()
    describe = describer(stream.encoding, intake)
    again = 0
    for packet in stream.packets:
        descriptor = packet.extension(stream.descriptor)
        description = describe(packet.payload, descriptor)
        if description.structure is None:
            again += 1
            assert describe_again(stream.encoding, packet.payload, descriptor, intake.structures) == description
    assert again > len(stream.data) - 5


PAYLOADS = st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: b"\x78" + tail)


@given(st.sampled_from(ENCODINGS), st.lists(st.tuples(PAYLOADS, st.binary(max_size=32)), max_size=4))
def test_any_bytes_are_described(encoding: str, packets: list[tuple[bytes, bytes]]) -> None:
    describe = describer(encoding)
    for payload, descriptor in packets:
        description = describe(payload, descriptor)
        assert 0 <= description.spatial < 8
        assert 0 <= description.temporal < 8
        if description.switch is not None:
            assert description.begins_frame
        picture_id_at, bits, _, tl0_at, _ = description.fields
        assert picture_id_at + bits // 8 < len(payload)
        assert tl0_at < len(payload)


@pytest.mark.parametrize("encoding", ["", "opus"])
def test_other_encodings_are_plain(encoding: str) -> None:
    assert describer(encoding)(b"\x10\x50\x01", None) is PLAIN
