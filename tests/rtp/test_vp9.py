from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.description import Restriction, Structure, SwitchingPoint, restriction_bits
from zvonim_sfu.rtp.packet import Fields
from zvonim_sfu.rtp.vp9 import describe

# frame_marker, profile 0, a shown key frame, sync code, color space 1, width 320, height 180
KEY_HEADER = (2 << 78 | 2 << 72 | 0x498342 << 48 | 1 << 45 | 319 << 28 | 179 << 12).to_bytes(10, "big")


def layers(temporal: int, up: int, spatial: int, below: int) -> bytes:
    return bytes([temporal << 5 | up << 4 | spatial << 1 | below])


@given(st.integers(0, 0x7FFF), st.integers(0, 7), st.integers(0, 7), st.lists(st.booleans(), min_size=4, max_size=4))
def test_what_is_written_is_read(picture_id: int, temporal: int, spatial: int, flags: list[bool]) -> None:
    long, flexible, begins, ends = flags
    long = long or picture_id > 127
    number = (0x8000 | picture_id).to_bytes(2, "big") if long else bytes([picture_id])
    first = 0xE0 | flexible << 4 | begins << 3 | ends << 2
    description = describe(bytes([first]) + number + layers(temporal, 0, spatial, 0) + b"\x77\x00")
    assert (description.spatial, description.temporal) == (spatial, temporal)
    assert (description.begins_frame, description.ends_frame) == (begins, ends)
    assert not description.keyframe
    assert description.switch is None
    bits = 15 if long else 7
    tl0 = (-1, 0) if flexible else (2 + len(number), 0x77)
    assert description.fields == Fields(1, bits, picture_id, *tl0)


def test_u_lets_all_higher_temporal_layers_begin() -> None:
    description = describe(b"\xf8\x05" + layers(1, 1, 2, 0) + b"\x02")
    assert description.switch == SwitchingPoint(Restriction(2, 1), restriction_bits((2, t) for t in range(2, 8)))
    assert describe(b"\xf0\x05" + layers(1, 1, 2, 0) + b"\x02").switch is None  # not the beginning of a frame
    assert describe(b"\xf8\x05" + layers(1, 0, 2, 0) + b"\x02").switch is None
    assert describe(b"\xf8\x05" + layers(7, 1, 2, 0) + b"\x02").switch is None


def test_no_spatial_layer_begins_within_a_picture() -> None:
    description = describe(b"\xb8\x05" + layers(0, 0, 1, 1))  # predicted from the layer below alone
    assert not description.keyframe
    assert description.switch is None


@pytest.mark.parametrize(
    ("structure", "expected"),
    [
        (b"\x10\x01\x40\x00\xb4", Structure(((320, 180),))),
        (b"\x30\x00\xa0\x00\x5a\x01\x40\x00\xb4", Structure(((160, 90), (320, 180)))),
        # a group of four pictures: temporal layers 0, 2, 1, 2, with a reference each but for the first
        (b"\x18\x01\x40\x00\xb4\x04\x00\x54\x01\x34\x02\x54\x01", Structure(((320, 180),), 3)),
        (b"\x08\x01\x24\x01", Structure((), 2)),
        (b"\x30\x00\xa0", None),
        (b"\x18\x01\x40\x00\xb4\x04\x00\x54", None),
    ],
)
def test_the_scalability_structure(structure: bytes, expected: Structure | None) -> None:
    description = describe(b"\xaa\x05\x00\x00" + structure)
    assert description.structure == expected
    assert description.keyframe


def test_a_structure_behind_references() -> None:
    description = describe(b"\xfa\x05\x00\x03\x05\x02\x10\x01\x40\x00\xb4")
    assert description.structure == Structure(((320, 180),))
    assert not description.keyframe


@pytest.mark.parametrize("descriptor", [b"\x88\x05", b"\xa8\x05\x00\x00", b"\x08"])
def test_without_a_structure_a_keyframe_tells_its_own_size(descriptor: bytes) -> None:
    assert describe(descriptor + KEY_HEADER).structure == Structure(((320, 180),))
    assert describe(descriptor + KEY_HEADER[:4]) == describe(descriptor + b"\0")._replace(structure=None)
