"""What a forwarder has to know of a payload: its layers, where it can be joined, and what a receiver counts in it.

Reads a few bytes at the front of the payload, decodes nothing, and takes any bytes. What a dependency descriptor says
of layers goes before what the payload says: browsers that send one with VP8 or H264 leave it out of the payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from zvonim_sfu.rtp import av1, h264, vp8, vp9
from zvonim_sfu.rtp.dependency_descriptor import DescriptorReader
from zvonim_sfu.rtp.description import PLAIN, Description, Structure

if TYPE_CHECKING:
    from collections.abc import Callable

    from zvonim_sfu.rtp.dependency_descriptor import Frame


class Describe(Protocol):
    """Describes one packet after the other of one stream, in any order and with losses."""

    def __call__(self, payload: bytes, descriptor: bytes | None, /) -> Description:
        """Describe a packet; total, and cheap enough to be called for each.

        Args:
            payload: the RTP payload without padding; any bytes.
            descriptor: the value of the dependency descriptor's header extension, if the packet has one; any bytes.
        """


def describer(encoding: str) -> Describe:
    """Return what describes the packets of one stream (SSRC): descriptors refer to what came before in it.

    Args:
        encoding: the encoding name of the SDP in upper case: "VP8", "VP9", "H264" or "AV1"; of others nothing is
            known, and what the payload says of their packets is PLAIN.
    """
    describe_payload = _BY_ENCODING.get(encoding, _describe_nothing)
    reader = DescriptorReader()

    def describe(payload: bytes, descriptor: bytes | None) -> Description:
        description = describe_payload(payload)
        if descriptor is not None and (frame := reader.read(descriptor)) is not None:
            return _merged(description, frame)
        return description

    return describe


def is_keyframe(encoding: str, payload: bytes) -> bool:
    """Tell whether this is the first packet of a key frame, from which a decoder can start."""
    return describer(encoding)(payload, None).keyframe


def _merged(description: Description, frame: Frame) -> Description:
    """Return a packet's description with what its dependency descriptor says."""
    _, _, _, _, keyframe, _, fields, structure = description
    begins, ends, (spatial, temporal), switch, told = frame
    if told is not None:
        sizes = told.sizes or (structure.sizes if structure is not None else ())
        structure = Structure(sizes, told.temporal_layers)
    return Description(spatial, temporal, begins, ends, keyframe, None if keyframe else switch, fields, structure)


def _describe_nothing(_payload: bytes) -> Description:
    return PLAIN


_BY_ENCODING: Final[dict[str, Callable[[bytes], Description]]] = {
    "VP8": vp8.describe,
    "VP9": vp9.describe,
    "H264": h264.describe,
    "AV1": av1.describe,
}
