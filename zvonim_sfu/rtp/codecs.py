"""What a forwarder has to know of a payload: its layers, where it can be joined, and what a receiver counts in it.

Reads a few bytes at the front of the payload, decodes nothing, and takes any bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from zvonim_sfu.rtp import h264, vp8, vp9
from zvonim_sfu.rtp.av1 import Av1Describer
from zvonim_sfu.rtp.description import PLAIN, Description

if TYPE_CHECKING:
    from collections.abc import Callable


class Describe(Protocol):
    """Describes one packet after the other of one stream."""

    def __call__(self, payload: bytes, descriptor: bytes | None, /) -> Description:
        """Describe a packet; total, and cheap enough to be called for each.

        Args:
            payload: the RTP payload without padding; any bytes.
            descriptor: the value of the dependency descriptor's header extension, if the packet has one.
        """


def describer(encoding: str) -> Describe:
    """Return what describes the packets of one stream (SSRC); AV1's refer to what came before in it.

    Args:
        encoding: the encoding name of the SDP in upper case: "VP8", "VP9", "H264" or "AV1"; of others nothing is
            known, and all of their packets are PLAIN.
    """
    if encoding == "AV1":
        return Av1Describer().describe
    describe = _BY_PAYLOAD.get(encoding)
    if describe is None:
        return _describe_nothing
    return lambda payload, _descriptor: describe(payload)


def is_keyframe(encoding: str, payload: bytes) -> bool:
    """Tell whether this is the first packet of a key frame, from which a decoder can start."""
    return describer(encoding)(payload, None).keyframe


def _describe_nothing(_payload: bytes, _descriptor: bytes | None) -> Description:
    return PLAIN


_BY_PAYLOAD: dict[str, Callable[[bytes], Description]] = {
    "VP8": vp8.describe,
    "VP9": vp9.describe,
    "H264": h264.describe,
}
