"""What the compiled kernel reads of VP8 payloads is what vp8.describe says of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp import vp8
from zvonim_sfu.rtp.description import BEGINS, PLAIN
from zvonim_sfu.rtp.vp8_compiled import description_of

FRONTS = st.builds(
    lambda first, flags, rest: bytes((first, flags)) + rest,
    st.sampled_from((0x10, 0x00, 0x90, 0x80, 0x91, 0xFF)),
    st.sampled_from((0x80, 0xC0, 0xE0, 0xF0, 0x20, 0x10, 0x00)),
    st.binary(max_size=6),
)


@given(st.binary(max_size=8) | FRONTS)
def test_payloads_are_read_alike_or_left_to_the_other(payload: bytes) -> None:
    described = vp8.describe(payload)
    read = description_of(payload)
    if read is None:
        assert described.keyframe or described is PLAIN or described is BEGINS
    else:
        assert read == described._replace(switch=None)


def test_most_packets_are_read() -> None:
    for payload in (b"", b"\x00abc", b"\x10\x01ab", b"\x90\x80\x01\x01", b"\x90\xc0\x81\x01\x07\x01", b"\x80\x80\x05"):
        assert description_of(payload) == vp8.describe(payload)


def test_temporal_layers_are_read() -> None:
    for layer in (0x05, 0x40, 0x7F, 0xA0, 0xC0):
        for payload in (bytes((0x90, 0xF0, 0x81, 0x2A, 0x07, layer, 0x01)), bytes((0x80, 0x20, layer, 0x00))):
            read, described = description_of(payload), vp8.describe(payload)
            assert read == described._replace(switch=None)
            assert described.temporal == layer >> 6
