from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.description import PLAIN, Restriction, Structure, SwitchingPoint, restriction_bit
from zvonim_sfu.rtp.packet import NO_FIELDS, Fields
from zvonim_sfu.rtp.vp8 import describe

KEY_HEADER = b"\x50\x01\x02\x9d\x01\x2a\x40\x01\xb4\x40"


def test_the_shortest_descriptor_tells_where_frames_begin() -> None:
    assert describe(b"\x10\x51").begins_frame
    assert not describe(b"\x11\x51").begins_frame
    assert describe(b"\x10\x51").fields is NO_FIELDS


@given(
    st.integers(0, 0x7FFF),
    st.integers(0, 255),
    st.integers(0, 3),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_what_is_written_is_read(picture_id: int, tl0: int, layer: int, flags: tuple[bool, bool, bool]) -> None:
    long, sync, begins = flags
    long = long or picture_id > 127
    number = (0x8000 | picture_id).to_bytes(2, "big") if long else bytes([picture_id])
    payload = bytes([0x80 | begins << 4, 0xE0]) + number + bytes([tl0, layer << 6 | sync << 5]) + b"\x01"
    description = describe(payload)
    assert (description.spatial, description.temporal) == (0, layer)
    assert description.begins_frame is begins
    assert not description.keyframe
    assert description.fields == Fields(2, 15 if long else 7, picture_id, 2 + len(number), tl0)
    if begins and sync and layer:
        assert description.switch == SwitchingPoint(Restriction(0, layer - 1), restriction_bit(0, layer))
    else:
        assert description.switch is None


def test_a_keyframe_tells_its_size_without_its_scale() -> None:
    description = describe(b"\x90\x80\x05" + KEY_HEADER)
    assert description.keyframe
    assert description.structure == Structure(((320, 180),))
    assert description.fields == Fields(2, 7, 5)
    assert describe(b"\x10" + KEY_HEADER[:-1]).structure is None
    assert describe(b"\x10" + KEY_HEADER.replace(b"\x9d", b"\x9c")).structure is None


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\x90\x80\x81", b"\x90\xe0\x81\x23\x05"])
def test_what_is_cut_short_is_plain(payload: bytes) -> None:
    assert describe(payload) is PLAIN
