"""Which encoding of a track is above which."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zvonim_sfu.media.layer import Layer


def in_order(names: Sequence[str], encodings: Mapping[str, Layer]) -> tuple[Layer, ...]:
    """Give layers the places that their names have, and those that are measured the places that their sizes have.

    Descriptions say what a publisher prefers, which browsers take from the page as it comes: some name the smallest
    picture first, some last.

    Args:
        names: of the encodings that were negotiated, in the description's order.
        encodings: what each encoding is now, by its name.

    Returns:
        Those that have brought a packet, the smallest picture first.
    """
    known = [*names, *(name for name in encodings if name not in names)]
    layers = []
    for place, name in enumerate(known):
        if name in encodings:
            encodings[name].spatial = place
            layers.append(encodings[name])
    measured = [layer for layer in layers if layer.width]
    by_size = sorted(measured, key=lambda layer: layer.width * layer.height)
    for place, layer in zip([layer.spatial for layer in measured], by_size, strict=True):
        layer.spatial = place
    return tuple(sorted((layer for layer in layers if layer.codec), key=lambda layer: layer.spatial))
