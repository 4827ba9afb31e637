"""What the compiled kernel reads of H264 payloads is what h264.describe says of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.streams import RecordedStream
from zvonim_sfu.rtp import h264
from zvonim_sfu.rtp.h264_compiled import description_of

FRONTS = st.builds(
    lambda first, second, rest: bytes((first, second)) + rest,
    st.sampled_from((1, 5, 6, 7, 8, 9, 24, 25, 28, 29, 31)).map(lambda unit: unit | 0x60),
    st.sampled_from((0x01, 0x41, 0x81, 0x85, 0x05, 0x45, 0x87, 0x98, 0x00)),
    st.binary(max_size=6),
)


@given(st.binary(max_size=3) | FRONTS)
def test_payloads_are_read_alike_or_left_to_the_other(payload: bytes) -> None:
    described, read = h264.describe(payload), description_of(payload)
    assert read == described if read is not None else described.keyframe or len(payload) == 1 or payload[0] & 0x1F == 24


def test_all_is_read_but_keyframes() -> None:
    for name in ("h264", "h264-l1t3"):
        payloads = [packet.payload for packet in RecordedStream.load(name).packets]
        left = [payload for payload in payloads if description_of(payload) is None]
        assert left == [payload for payload in payloads if h264.describe(payload).keyframe]
        assert len(left) < 6 < len(payloads)
