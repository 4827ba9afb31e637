"""What a forwarder knows of one packet of a picture, whatever its codec: made once for each packet, by rtp.codecs.

A *frame* here is the coded picture of one spatial layer; a *picture* is all frames of one time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.rtp.packet import NO_FIELDS, Fields

if TYPE_CHECKING:
    from collections.abc import Iterable

# Three bits each: VP9 has room for eight of each (RFC 9628, section 4.2), the others for fewer.
MAX_LAYERS: Final = 8


class Restriction(NamedTuple):
    """How much of a scalable stream somebody gets: the layers up to these two."""

    spatial: int
    temporal: int


EVERYTHING: Final = Restriction(MAX_LAYERS - 1, MAX_LAYERS - 1)


class SwitchingPoint(NamedTuple):
    """Who may get more from a frame on: a decoder that has had all of `after` can go on with any of `to`."""

    after: Restriction
    to: int
    """A set of restrictions: the bit `restriction_bit` of each."""


class Structure(NamedTuple):
    """What a stream says of its layers. It is told with a keyframe and holds until it is told again."""

    sizes: tuple[tuple[int, int], ...] = ()
    """Width and height of each spatial layer in pixels, the lowest layer first; (0, 0) for one that is not sent.
    Empty where the stream does not tell."""
    temporal_layers: int = 0
    """How many there are; 0 where the stream does not tell."""


class Description(NamedTuple):
    """One packet, as far as it tells without being decoded."""

    spatial: int = 0
    """Which layer its frame belongs to, 0 to 7: 0 is the lowest, and the only one where there are no layers."""
    temporal: int = 0
    """The same for the temporal layer."""
    begins_frame: bool = False
    """Whether it is the first packet of its frame."""
    ends_frame: bool = False
    """Whether it is the last one. Where a picture has one frame only, the marker bit tells it as well, and here it may
    be left untold."""
    keyframe: bool = False
    """Whether it begins a picture from which any decoder can start. Of H264 several packets of one may say so."""
    switch: SwitchingPoint | None = None
    """Where more can be had without a keyframe: from this packet on, which begins a frame."""
    fields: Fields = NO_FIELDS
    """The numbers in its payload that go on when layers are dropped or sources change."""
    structure: Structure | None = None
    """What it tells of the stream; most packets tell nothing."""


PLAIN: Final = Description()
"""Of a packet that tells nothing. It belongs to the lowest layer: what cannot be read is never held back."""
BEGINS: Final = Description(begins_frame=True)
"""Of one that tells no more than that it begins a frame."""


def restriction_bit(spatial: int, temporal: int) -> int:
    """Return what stands for a restriction in SwitchingPoint.to."""
    return 1 << (spatial * MAX_LAYERS + temporal)


def restriction_bits(restrictions: Iterable[tuple[int, int]]) -> int:
    """Return what stands for several of them."""
    bits = 0
    for spatial, temporal in restrictions:
        bits |= restriction_bit(spatial, temporal)
    return bits
