"""VP9's payload descriptor (RFC 9628): spatial and temporal layers, in flexible and non-flexible mode."""

from __future__ import annotations

from functools import cache
from typing import Final

from zvonim_sfu.rtp.bits import BitReader, BitsError
from zvonim_sfu.rtp.description import (
    MAX_LAYERS,
    PLAIN,
    Description,
    Restriction,
    Structure,
    SwitchingPoint,
    restriction_bits,
)
from zvonim_sfu.rtp.packet import NO_FIELDS, Fields

_make: Final = tuple.__new__  # of a NamedTuple with all of its fields: half of what it costs by its name
_SYNC_CODE: Final = 0x498342
_COLOR_SPACE_RGB: Final = 7
# Flexible mode names three references at most (section 4.2, P_DIFF).
_MAX_REFERENCES: Final = 3


def describe(payload: bytes) -> Description:
    """Describe a packet by its payload without padding; any bytes."""
    try:
        return _describe(payload)
    except IndexError:  # the payload ends in its descriptor
        return PLAIN


def _describe(payload: bytes) -> Description:
    """Section 4.2. The flags of the first byte are I, P, L, F, B, E, V, Z."""
    first = payload[0]
    picture_id_at = tl0_at = -1
    picture_id = tl0 = 0
    bits = 7
    at = 1
    if first & 0x80:  # I: picture id of one byte, or two where M is set
        picture_id_at = 1
        picture_id = payload[1]
        at = 2
        if picture_id & 0x80:
            picture_id = (picture_id & 0x7F) << 8 | payload[2]
            bits = 15
            at = 3
    layers = 0
    if first & 0x20:  # L: TID, U, SID, D, and in non-flexible mode TL0PICIDX
        layers = payload[at]
        at += 1
        if not first & 0x10:
            tl0_at = at
            tl0 = payload[at]
            at += 1
    fields = NO_FIELDS
    if first & 0xA0:
        fields = _make(Fields, (picture_id_at, bits, picture_id, tl0_at, tl0))
    frame = _frame(first & 0x4C, layers)
    structure = _structure(payload, at, first) if frame[4] or first & 0x02 else None
    return _make(Description, (*frame, fields, structure))


@cache  # of 2048 at most
def _frame(flags: int, layers: int) -> tuple[int, int, bool, bool, bool, SwitchingPoint | None]:
    """Read P, B and E, and the layer indices: what a description has from `spatial` to `keyframe` and `switch`."""
    temporal, spatial, from_below = layers >> 5, layers >> 1 & 7, layers & 0x01
    predicted, begins, ends = flags & 0x40 > 0, flags & 0x08 > 0, flags & 0x04 > 0
    # Predicted neither from other pictures nor from a layer below: any decoder can start with it.
    keyframe = begins and not predicted and not (from_below and spatial)
    switch = _switching_point(layers) if begins and not keyframe else None
    return spatial, temporal, begins, ends, keyframe, switch


def _switching_point(layers: int) -> SwitchingPoint | None:
    """Tell what may begin with a frame by its layer indices: U allows all temporal layers above its own.

    A spatial layer may begin without a keyframe where its frame is not predicted from other pictures; but the end of
    the layer below has been marked as the end of the picture by then.
    """
    temporal, up, spatial = layers >> 5, layers >> 4 & 1, layers >> 1 & 7
    if not up or temporal == MAX_LAYERS - 1:
        return None
    above = restriction_bits((spatial, higher) for higher in range(temporal + 1, MAX_LAYERS))
    return SwitchingPoint(Restriction(spatial, temporal), above)


def _structure(payload: bytes, at: int, first: int) -> Structure | None:
    """Read the scalability structure, or, in a key frame without one, the frame's own size."""
    try:
        if first & 0x50 == 0x50:  # flexible mode: references, each with a bit that says whether another follows
            for _ in range(_MAX_REFERENCES):
                at += 1
                if not payload[at - 1] & 0x01:
                    break
        return _scalability_structure(payload, at) if first & 0x02 else _frame_structure(payload[at : at + 16])
    except (IndexError, BitsError):
        return None


def _scalability_structure(payload: bytes, at: int) -> Structure:
    """Section 4.2.1."""
    header = payload[at]
    at += 1
    sizes: list[tuple[int, int]] = []
    if header & 0x10:  # Y: sizes
        for _ in range((header >> 5) + 1):
            sizes.append((payload[at] << 8 | payload[at + 1], payload[at + 2] << 8 | payload[at + 3]))
            at += 4
    temporal_layers = 0
    if header & 0x08:  # G: pictures of a group, each with TID, U, and how many references follow
        pictures = payload[at]
        at += 1
        for _ in range(pictures):
            picture = payload[at]
            temporal_layers = max(temporal_layers, (picture >> 5) + 1)
            at += 1 + (picture >> 2 & 3)
    return Structure(tuple(sizes), temporal_layers)


def _frame_structure(header: bytes) -> Structure | None:
    """Read width and height of the uncompressed header of a key frame (VP9 bitstream specification, section 6.2)."""
    bits = BitReader(header)
    if bits.read(2) != 2:  # frame_marker
        return None
    profile = bits.read(1) | bits.read(1) << 1
    if profile == 3:
        bits.read(1)
    if bits.read(1) or bits.read(1):  # show_existing_frame, frame_type: not 0 is no key frame
        return None
    bits.read(2)  # show_frame, error_resilient_mode
    if bits.read(24) != _SYNC_CODE:
        return None
    if profile >= 2:
        bits.read(1)  # ten_or_twelve_bit
    if bits.read(3) != _COLOR_SPACE_RGB:
        bits.read(1 + (3 if profile & 1 else 0))  # color_range, subsampling
    elif profile & 1:
        bits.read(1)
    return Structure(((bits.read(16) + 1, bits.read(16) + 1),))
