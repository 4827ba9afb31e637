"""AV1 payloads (AV1 RTP specification 1.0): where a keyframe begins, and its size.

Layers are told by the dependency descriptor beside the payload.
"""

from __future__ import annotations

from typing import Final

from zvonim_sfu.rtp.bits import BitReader, BitsError
from zvonim_sfu.rtp.description import BEGINS, PLAIN, Description, Structure

_SEQUENCE_HEADER: Final = 1  # obu_type (AV1 bitstream specification, section 6.2.2)
# Far more than one with a single operating point takes, and with the 32 that it may have it is still whole.
_MAX_SEQUENCE_HEADER_BYTES: Final = 128


def describe(payload: bytes) -> Description:
    """Describe a packet by its payload without padding; any bytes."""
    if not payload:
        return PLAIN
    first = payload[0]
    # Section 4.4: Z, it goes on with what the packet before began; N, the first packet of a coded video sequence.
    if first & 0x80:
        return PLAIN
    if first & 0x08:
        return Description(begins_frame=True, keyframe=True, structure=_sequence_structure(payload))
    return BEGINS


def _sequence_structure(payload: bytes) -> Structure | None:
    """Read the sequence header that a coded video sequence begins with (section 4.4: W, the number of elements)."""
    at = 1
    if payload[0] & 0x30 != 0x10:  # else the only element, which has no length in front
        while payload[at : at + 1] >= b"\x80":  # leb128
            at += 1
        at += 1
    element = payload[at : at + _MAX_SEQUENCE_HEADER_BYTES]
    try:
        size = picture_size(element)
    except BitsError:
        return None
    return None if size is None else Structure((size,))


def picture_size(obu: bytes) -> tuple[int, int] | None:
    """Return the largest width and height of a sequence, None for an OBU that is no sequence header.

    AV1 bitstream specification, sections 5.3.2 and 5.5.1.

    Raises:
        BitsError: it is cut short.
    """
    bits = BitReader(obu)
    bits.read(1)
    if bits.read(4) != _SEQUENCE_HEADER:
        return None
    has_extension, has_size = bits.read(1), bits.read(1)
    bits.read(1)
    if has_extension:
        bits.read(8)
    if has_size:
        while bits.read(1):
            bits.read(7)
        bits.read(7)
    bits.read(4)  # seq_profile, still_picture
    if bits.read(1):  # reduced_still_picture_header
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1


def _skip_operating_points(bits: BitReader) -> None:
    delay_bits = 0
    if bits.read(1):  # timing_info_present_flag
        bits.read(64)
        if bits.read(1):
            bits.read_golomb()  # uvlc() has its form
        if bits.read(1):  # decoder_model_info_present_flag
            delay_bits = bits.read(5) + 1
            bits.read(42)
    has_delays = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)  # operating_point_idc
        if bits.read(5) > 7:  # seq_level_idx
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_delays and bits.read(1):
            bits.read(4)
