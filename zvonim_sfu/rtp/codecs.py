"""What a forwarder has to know of a payload: where a key frame begins.

Reads a few bytes at the front of the payload, decodes nothing, and takes any bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# The parameter sets of an honest key frame and its first slices are among the first few units of an aggregation packet;
# keeps a hostile one of 400 units from costing 50 us.
MAX_AGGREGATED_UNITS: Final = 16

# H264 NAL unit types (RFC 6184, section 5.2, and ITU-T H.264, table 7-1)
_H264_IDR: Final = 5
_H264_SPS: Final = 7
_H264_STAP_A: Final = 24
_H264_FU_A: Final = 28


def is_keyframe(encoding: str, payload: bytes) -> bool:
    """Tell whether this is the first packet of a key frame, from which a decoder can start.

    For H264 it may say so for several packets of one key frame (its SPS, then the slices).

    Args:
        encoding: the encoding name of the SDP in upper case: "VP8", "VP9", "H264" or "AV1"; of others nothing is
            known, and no packet of theirs begins a key frame.
        payload: the RTP payload without padding; any bytes.
    """
    begins = _BEGINS_KEYFRAME.get(encoding)
    if begins is None:
        return False
    try:
        return begins(payload)
    except IndexError:  # the payload ends in its descriptor
        return False


def _vp8(payload: bytes) -> bool:
    """RFC 7741, sections 4.2 and 4.3: first packet of partition 0, and P (inverse key frame flag) is 0."""
    first = payload[0]
    if first & 0x17 != 0x10:  # S = 1, PID = 0
        return False
    at = 1
    if first & 0x80:  # X
        flags = payload[1]
        at = 2
        if flags & 0x80:  # I: picture id of one byte, or two where M is set
            at += 2 if payload[at] & 0x80 else 1
        if flags & 0x40:  # L: TL0PICIDX
            at += 1
        if flags & 0x30:  # T or K: TID, Y and KEYIDX share a byte
            at += 1
    return not payload[at] & 0x01


def _vp9(payload: bytes) -> bool:
    """RFC 9628, section 4.2: begin of a frame (B = 1) that predicts from no other picture (P = 0), layer 0."""
    first = payload[0]
    if first & 0x48 != 0x08:
        return False
    if not first & 0x20:  # no layer indices: there is one layer
        return True
    at = 1
    if first & 0x80:  # I: picture id of one byte, or two where M is set
        at += 2 if payload[at] & 0x80 else 1
    return not payload[at] & 0x0E  # SID


def _h264(payload: bytes) -> bool:
    """RFC 6184, sections 5.6 to 5.8: an IDR slice or an SPS, alone, aggregated, or the start of a fragmented one."""
    unit = payload[0] & 0x1F
    if unit == _H264_FU_A:
        header = payload[1]
        return bool(header & 0x80) and header & 0x1F in (_H264_IDR, _H264_SPS)
    if unit != _H264_STAP_A:
        return unit in (_H264_IDR, _H264_SPS)
    at = 1
    for _ in range(MAX_AGGREGATED_UNITS):
        size = payload[at] << 8 | payload[at + 1]
        if size and payload[at + 2] & 0x1F in (_H264_IDR, _H264_SPS):
            return True
        at += 2 + size
    return False


def _av1(payload: bytes) -> bool:
    """AV1 RTP specification, section 4.4: N, first packet of a coded video sequence; Z, a continuation, is then 0."""
    return payload[0] & 0x88 == 0x08


_BEGINS_KEYFRAME: Final[dict[str, Callable[[bytes], bool]]] = {
    "VP8": _vp8,
    "VP9": _vp9,
    "H264": _h264,
    "AV1": _av1,
}
