"""What a forwarder has to know of a payload: its layers, where it can be joined, and what a receiver counts in it.

Reads a few bytes at the front of the payload, decodes nothing, and takes any bytes. What a dependency descriptor says
of layers goes before what the payload says: browsers that send one with VP8 or H264 leave it out of the payload. Only
VP9's payloads say it all themselves, in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from zvonim_sfu.rtp import av1, h264, vp8, vp9
from zvonim_sfu.rtp.dependency_descriptor import DescriptorReader
from zvonim_sfu.rtp.description import BEGINS, PLAIN, Description, Structure

if TYPE_CHECKING:
    from collections.abc import Callable

    from zvonim_sfu.rtp.dependency_descriptor import Structures
    from zvonim_sfu.rtp.intake import Intake


class Describe(Protocol):
    """Describes one packet after the other of one stream, in any order and with losses."""

    def __call__(self, payload: bytes, descriptor: bytes | None, /) -> Description:
        """Describe a packet; total, and cheap enough to be called for each.

        Args:
            payload: the RTP payload without padding; any bytes.
            descriptor: the value of the dependency descriptor's header extension, if the packet has one; any bytes.
        """


def describer(encoding: str, intake: Intake | None = None) -> Describe:
    """Return what describes the packets of one stream (SSRC): descriptors refer to what came before in it.

    Args:
        encoding: the encoding name of the SDP in upper case: "VP8", "VP9", "H264" or "AV1"; of others nothing is
            known, and what the payload says of their packets is PLAIN.
        intake: where it says what descriptors refer to; None: nowhere.
    """
    describe_payload = _BY_ENCODING.get(encoding, _describe_nothing)
    if encoding == "VP9":
        return lambda payload, _descriptor: describe_payload(payload)
    reader = DescriptorReader(intake)

    def describe(payload: bytes, descriptor: bytes | None) -> Description:
        description = describe_payload(payload)
        if descriptor is None:
            return description
        return _merged(description, reader.read(descriptor))

    return describe


def describe_again(
    encoding: str, payload: bytes, descriptor: bytes | None, structures: Structures | None
) -> Description:
    """Describe a packet that has come before, by its payload and what its stream had told then.

    Args:
        encoding: as for `describer`.
        payload: as it was given then.
        descriptor: the same; it names a template, and says no more of layers.
        structures: what descriptors referred to; None: of that nothing is known, and the descriptor not looked at.
    """
    description = _BY_ENCODING.get(encoding, _describe_nothing)(payload)
    if descriptor is None or structures is None:
        return description
    return _merged(description, structures.describe(descriptor[0]))


def _merged(description: Description, told: Description | None) -> Description:
    """Return what a payload says of a packet with what its dependency descriptor has told; None: nothing."""
    if told is None:
        return description
    if description is PLAIN or description is BEGINS:
        return told
    _, _, _, _, keyframe, _, fields, structure = description
    spatial, temporal, begins, ends, _, switch, _, structure_told = told
    if structure_told is not None:
        sizes = structure_told.sizes or (structure.sizes if structure is not None else ())
        structure = Structure(sizes, structure_told.temporal_layers)
    return Description(spatial, temporal, begins, ends, keyframe, None if keyframe else switch, fields, structure)


def _describe_nothing(_payload: bytes) -> Description:
    return PLAIN


_BY_ENCODING: Final[dict[str, Callable[[bytes], Description]]] = {
    "VP8": vp8.describe,
    "VP9": vp9.describe,
    "H264": h264.describe,
    "AV1": av1.describe,
}
