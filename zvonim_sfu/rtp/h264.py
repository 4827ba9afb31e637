"""H264 payloads (RFC 6184): where a keyframe begins, and its size. It is forwarded without layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zvonim_sfu.rtp.bits import BitReader, BitsError
from zvonim_sfu.rtp.description import BEGINS, PLAIN, Description, Structure

if TYPE_CHECKING:
    from collections.abc import Iterator

# The parameter sets of an honest key frame and its first slices are among the first few units of an aggregation packet;
# keeps a hostile one of 400 units from costing 50 us.
MAX_AGGREGATED_UNITS: Final = 16
# A parameter set with all that browsers put in front of the size is far shorter.
_MAX_SPS_BYTES: Final = 64

# NAL unit types (RFC 6184, section 5.2, and ITU-T H.264, table 7-1)
_IDR: Final = 5
_SPS: Final = 7
_STAP_A: Final = 24
_FU_A: Final = 28

_BEGINS_KEYFRAME: Final = Description(begins_frame=True, keyframe=True)
# Profiles whose parameter sets tell of colors (ITU-T H.264, section 7.3.2.1.1).
_WITH_CHROMA: Final = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))


def describe(payload: bytes) -> Description:
    """Describe a packet by its payload without padding; any bytes.

    Any unit that does not go on from another packet begins a frame here, as frames cannot be told apart by units.
    """
    try:
        unit = payload[0] & 0x1F
        if unit == _FU_A:
            header = payload[1]
            if not header & 0x80:
                return PLAIN
            unit = header & 0x1F  # the start of a fragmented unit
            return _BEGINS_KEYFRAME if unit in (_IDR, _SPS) else BEGINS
        if unit == _SPS:
            return _with_size(payload)
        if unit == _STAP_A:
            return _aggregate(payload)
        return _BEGINS_KEYFRAME if unit == _IDR else BEGINS
    except IndexError:
        return PLAIN


def _aggregate(payload: bytes) -> Description:
    description = BEGINS
    for unit in _units(payload):
        if unit[0] & 0x1F == _SPS:
            return _with_size(unit)
        if unit[0] & 0x1F == _IDR:
            description = _BEGINS_KEYFRAME
    return description


def _units(payload: bytes) -> Iterator[bytes]:
    """The beginnings of the units of an aggregation packet (RFC 6184, section 5.7.1), as far as they are there."""
    at = 1
    for _ in range(MAX_AGGREGATED_UNITS):
        size = int.from_bytes(payload[at : at + 2])
        unit = payload[at + 2 : at + 2 + min(size, _MAX_SPS_BYTES)]
        if unit:
            yield unit
        at += 2 + size


def _with_size(sps: bytes) -> Description:
    try:
        size = picture_size(sps)
    except BitsError:
        return _BEGINS_KEYFRAME
    return Description(begins_frame=True, keyframe=True, structure=Structure((size,)))


def picture_size(sps: bytes) -> tuple[int, int]:
    """Return width and height of what a sequence parameter set (ITU-T H.264, section 7.3.2.1.1) stands for.

    Raises:
        BitsError: it is cut short, or no such thing.
    """
    # 00 00 03 stands for 00 00 (section 7.3.1).
    bits = BitReader(sps[1:_MAX_SPS_BYTES].replace(b"\0\0\3", b"\0\0"))
    profile = bits.read(8)
    bits.read(16)  # constraint flags, level_idc
    bits.read_golomb()  # seq_parameter_set_id
    chroma_format, separate = 1, 0
    if profile in _WITH_CHROMA:
        chroma_format = bits.read_golomb()
        if chroma_format == 3:
            separate = bits.read(1)
        bits.read_golomb()  # bit_depth_luma_minus8
        bits.read_golomb()  # bit_depth_chroma_minus8
        bits.read(1)  # qpprime_y_zero_transform_bypass_flag
        if bits.read(1):
            for index in range(12 if chroma_format == 3 else 8):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.read_golomb()  # log2_max_frame_num_minus4
    _skip_order(bits)
    bits.read_golomb()  # max_num_ref_frames
    bits.read(1)  # gaps_in_frame_num_value_allowed_flag
    width = 16 * (bits.read_golomb() + 1)
    height = 16 * (bits.read_golomb() + 1)
    frames_only = bits.read(1)
    if not frames_only:
        height *= 2
        bits.read(1)  # mb_adaptive_frame_field_flag
    bits.read(1)  # direct_8x8_inference_flag
    if bits.read(1):  # cropping, in units of chroma samples (section 7.4.2.1.1)
        halved = 0 if separate else chroma_format
        across = 2 if halved in (1, 2) else 1
        down = (2 if halved == 1 else 1) * (2 - frames_only)
        width -= across * (bits.read_golomb() + bits.read_golomb())
        height -= down * (bits.read_golomb() + bits.read_golomb())
    if not (0 < width < 1 << 16 and 0 < height < 1 << 16):
        raise BitsError("A parameter set stands for no picture")
    return width, height


def _skip_order(bits: BitReader) -> None:
    """Read over what tells the order of pictures."""
    order = bits.read_golomb()
    if order == 0:
        bits.read_golomb()  # log2_max_pic_order_cnt_lsb_minus4
    elif order == 1:
        bits.read(1)  # delta_pic_order_always_zero_flag
        bits.read_golomb()  # offset_for_non_ref_pic
        bits.read_golomb()  # offset_for_top_to_bottom_field
        for _ in range(bits.read_golomb()):
            bits.read_golomb()


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    """ITU-T H.264, section 7.3.2.1.1.1."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.read_signed_golomb()) & 0xFF
        last = following or last
