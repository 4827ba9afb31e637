"""What a subscriber takes in one m-section, as it was negotiated, and what a publisher's packets are there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from zvonim_sfu.media.codecs import find_receiver, unwrapped_type
from zvonim_sfu.rtp.description import Restriction
from zvonim_sfu.rtp.packet import ExtensionPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.sdp import Codec
    from zvonim_sfu.media.up_track import UpTrack

DESCRIPTOR_EXTENSION: Final = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"


# Clients of one browser negotiate the same, so in a room there are few plans.
_KEPT_PLANS: Final = 256


@lru_cache(_KEPT_PLANS)
def _plan(renumbered: tuple[tuple[int, int], ...], transport_wide: int, descriptor: int, red: int) -> ExtensionPlan:
    return ExtensionPlan(dict(renumbered), transport_wide=transport_wide, descriptor=descriptor, red=red)


@dataclass(frozen=True, slots=True)
class Terms:
    """A value that is replaced when something else is negotiated."""

    codecs: tuple[Codec, ...]
    "None while the subscriber has paused the m-section."
    extension_ids: Mapping[str, int]
    "Numbers of the subscriber's header extensions, by URI."
    transport_wide: int
    "Number of the one with transport-wide numbers; 0 where the client does not report on them."

    def plan(self, up_track: UpTrack) -> ExtensionPlan:
        """Return how a track's header extensions are numbered here."""
        renumbered = [
            (number, self.extension_ids[uri])
            for uri, number in up_track.extension_ids.items()
            if uri in self.extension_ids
        ]
        return _plan(
            tuple(renumbered),
            self.transport_wide,
            up_track.extension_ids.get(DESCRIPTOR_EXTENSION, 0),
            unwrapped_type(up_track.codecs, self.codecs),
        )

    def payload_type(self, layer: Layer) -> int:
        """Return what the subscriber calls the codec of a layer; -1 where it cannot take it, or there is none yet."""
        codec = find_receiver(layer.codec.key, self.codecs) if layer.codec is not None else None
        return codec.payload_type if codec is not None else -1

    def within(self, layer: Layer, wanted: Restriction) -> Restriction:
        """Return how much of this can be decoded: AV1's spatial layers are told apart by dependency descriptors alone.

        Without them a decoder takes the pictures of one time for several. One spatial layer it takes as it is.
        """
        is_av1 = layer.codec is not None and layer.codec.key.name == "AV1"
        if not is_av1 or layer.top.spatial == 0 or DESCRIPTOR_EXTENSION in self.extension_ids:
            return wanted
        return Restriction(0, wanted.temporal)

    def excludes(self, layer: Layer) -> bool:
        """Whether the subscriber has codecs, and none for this layer."""
        return bool(self.codecs) and layer.codec is not None and self.payload_type(layer) < 0
