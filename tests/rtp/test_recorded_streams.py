"""What Chromium sends, described and left out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.support.streams import RecordedStream, stream_names
from zvonim_sfu.rtp.codecs import describer
from zvonim_sfu.rtp.dependency_descriptor import DescriptorReader

if TYPE_CHECKING:
    from zvonim_sfu.rtp.description import Description


def described(stream: RecordedStream) -> list[Description]:
    describe = describer(stream.encoding)
    return [describe(p.payload, p.extension(stream.descriptor) if stream.descriptor else None) for p in stream.packets]


SPATIAL_SIZES = ((240, 135), (480, 270), (960, 540))


@pytest.mark.parametrize("name", stream_names())
def test_layers_sizes_and_keyframes_are_told(name: str) -> None:
    stream = RecordedStream.load(name)
    descriptions = described(stream)
    spatial, temporal = (3 if "L3" in stream.mode else 1), (3 if "T3" in stream.mode else 1)
    assert {(d.spatial, d.temporal) for d in descriptions} == {(s, t) for s in range(spatial) for t in range(temporal)}
    structures = {d.structure for d in descriptions} - {None}
    (structure,) = structures
    assert structure is not None
    assert structure.sizes == (SPATIAL_SIZES if spatial == 3 else ((320, 180),))
    assert structure.temporal_layers == (temporal if stream.descriptor and stream.encoding != "VP9" else 0)
    keyframes = {p.timestamp for p, d in zip(stream.packets, descriptions, strict=True) if d.keyframe}
    assert len(keyframes) == 2
    assert descriptions[0].keyframe


@pytest.mark.parametrize("name", stream_names())
def test_frames_begin_and_end(name: str) -> None:
    stream = RecordedStream.load(name)
    if stream.encoding == "H264" and not stream.descriptor:
        return  # its units do not tell
    tells_ends = stream.encoding != "VP8" or stream.descriptor
    both = list(zip(stream.packets, described(stream), strict=True))
    for (packet, description), (after, following) in pairwise(both):
        if tells_ends:
            assert following.begins_frame is description.ends_frame
        elif packet.marker:
            assert following.begins_frame
        if packet.timestamp != after.timestamp:
            assert packet.marker
            assert following.begins_frame
            assert following.spatial == 0


@pytest.mark.parametrize("name", [name for name in stream_names() if name.startswith("vp9")])
def test_a_payload_of_vp9_says_what_its_descriptor_says(name: str) -> None:
    stream = RecordedStream.load(name)
    reader = DescriptorReader()
    for packet, description in zip(stream.packets, described(stream), strict=True):
        value = packet.extension(stream.descriptor)
        assert value is not None
        told = reader.read(value)
        assert told is not None
        assert told[:4] == description[:4]
        if told.structure is not None:
            assert description.structure is not None
            assert told.structure.sizes == description.structure.sizes
        if description.switch is not None and told.switch is not None:
            assert description.switch.to & told.switch.to
