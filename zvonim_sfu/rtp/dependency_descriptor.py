"""AV1's dependency descriptor (AV1 RTP specification 1.0, appendix A): a frame's layers, and who may begin with it.

What every frame can be is told once, in a structure of templates with each keyframe; a packet names its template.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from zvonim_sfu.rtp.bits import BitReader, BitsError
from zvonim_sfu.rtp.description import Description, Restriction, Structure, SwitchingPoint, restriction_bits
from zvonim_sfu.rtp.intake import UNKNOWN_LAYER, Intake

MANDATORY_BYTES: Final = 3
# Of the flags behind these, template_dependency_structure_present_flag and custom_dtis_flag: what else may follow, a
# frame's references and chains, and which layers are sent, is of no use for leaving layers out.
RELEVANT: Final = 0xA0
_MAX_TEMPLATES: Final = 64
_MAX_SPATIAL_LAYERS: Final = 4
_MAX_TEMPORAL_LAYERS: Final = 8

# next_layer_idc (A.8.2): what follows in the list of templates
_NEXT_TEMPORAL: Final = 1
_NEXT_SPATIAL: Final = 2
_NO_MORE: Final = 3

_SWITCH: Final = 2  # decode target indication (A.4): what follows is decodable with this frame


class Templates(NamedTuple):
    """The template dependency structure of a coded video sequence (A.8.2)."""

    offset: int
    """The number of the first template."""
    layers: tuple[Restriction, ...]
    """Spatial and temporal layer of each template."""
    indications: tuple[int, ...]
    """The decode target indications of each, two bits for each target, the first in the highest."""
    targets: tuple[Restriction, ...]
    """Up to which layers each decode target goes."""
    structure: Structure

    def describe(self, first: int, index: int, indications: int, structure: Structure | None) -> Description:
        """Return what a descriptor says, by its first byte, a template with these indications, and a new structure."""
        layer = self.layers[index]
        begins = first & 0x80 > 0
        above = [
            target
            for place, target in enumerate(reversed(self.targets))
            if indications >> 2 * place & 3 == _SWITCH and target > layer
        ]
        switch = SwitchingPoint(layer, restriction_bits(above)) if begins and above else None
        return Description(*layer, begins, first & 0x40 > 0, switch=switch, structure=structure)


class Structures:
    """What the descriptors of a stream refer to at one time.

    It stays as it is when the stream tells another structure: who keeps it can describe a packet later that came when
    it held.
    """

    __slots__ = ("_described", "current", "former")

    def __init__(self, current: Templates | None = None, former: Templates | None = None) -> None:
        self.current = current
        # Late packets refer to it: an encoder numbers the next templates so that they can be told from these.
        self.former = former
        self._described: dict[int, Description | None] = {}
        "What descriptors say that name a template and no more, by their first byte."

    def describe(self, first: int) -> Description | None:
        """Return what a descriptor says that is no more than this first byte, and a number; None for nothing."""
        try:
            return self._described[first]
        except KeyError:
            templates, index = self.find(first)
            description = None
            if templates is not None:
                description = templates.describe(first, index, templates.indications[index], None)
            self._described[first] = description
            return description

    def find(self, first: int) -> tuple[Templates | None, int]:
        """Return the template that a first byte names, as one of these and its place there."""
        for templates in (self.current, self.former):
            if templates is not None:
                index = (first - templates.offset) % _MAX_TEMPLATES
                if index < len(templates.layers):
                    return templates, index
        return None, 0

    def temporal_layers(self) -> bytes:
        """Return the temporal layer of each template by its number, for Intake.template_layers."""
        described = map(self.describe, range(_MAX_TEMPLATES))
        return bytes(UNKNOWN_LAYER if told is None or told.spatial else told.temporal for told in described)


class DescriptorReader:
    """Reads the descriptors of one stream, in any order and with losses, and keeps the structures that they refer to.

    Args:
        intake: where it says what the templates are; None: nowhere.
    """

    __slots__ = ("_intake", "_structures")

    def __init__(self, intake: Intake | None = None) -> None:
        self._structures = Structures()
        self._intake = intake or Intake()
        self._intake.structures, self._intake.template_layers = None, b""

    def _take_over(self, templates: Templates) -> None:
        self._structures = self._intake.structures = Structures(templates, self._structures.current)
        self._intake.template_layers = self._structures.temporal_layers()

    def read(self, value: bytes) -> Description | None:
        """Describe a packet by its descriptor, which knows neither keyframes nor the payload's fields.

        Returns:
            None for bytes that are no descriptor, or refer to a structure that never came.
        """
        if len(value) < MANDATORY_BYTES:
            return None
        if len(value) == MANDATORY_BYTES or not value[MANDATORY_BYTES] & RELEVANT:
            return self._structures.describe(value[0])
        try:
            return self._read_extended(value)
        except BitsError:
            return None

    def _read_extended(self, value: bytes) -> Description | None:
        """A.8.1."""
        bits = BitReader(value)
        first = bits.read(8)
        bits.read(16)  # frame_number
        has_structure = bits.read(1)
        has_active = bits.read(1)
        has_indications = bits.read(1)
        bits.read(2)  # custom_fdiffs_flag, custom_chains_flag
        structure = None
        if has_structure:
            told = _read_templates(bits)
            if told != self._structures.current:
                self._take_over(told)
            structure = told.structure
        templates, index = self._structures.find(first)
        if templates is None:
            return None
        indications = templates.indications[index]
        if has_active:
            bits.read(len(templates.targets))  # active_decode_targets_bitmask
        if has_indications:
            indications = bits.read(2 * len(templates.targets))
        return templates.describe(first, index, indications, structure)


def _read_templates(bits: BitReader) -> Templates:
    """A.8.2."""
    offset = bits.read(6)
    target_count = bits.read(5) + 1
    layers = _read_layers(bits)
    indications = tuple(bits.read(2 * target_count) for _ in layers)
    for _ in layers:  # the frames that each refers to
        while bits.read(1):
            bits.read(4)
    chains = bits.read_below(target_count + 1)
    if chains:
        for _ in range(target_count):
            bits.read_below(chains)
        bits.read(4 * chains * len(layers))
    sizes: tuple[tuple[int, int], ...] = ()
    if bits.read(1):
        sizes = tuple((bits.read(16) + 1, bits.read(16) + 1) for _ in range(layers[-1].spatial + 1))
    temporal_layers = max(layer.temporal for layer in layers) + 1
    return Templates(
        offset, layers, indications, _targets(layers, indications, target_count), Structure(sizes, temporal_layers)
    )


def _read_layers(bits: BitReader) -> tuple[Restriction, ...]:
    layers = []
    spatial = temporal = 0
    following = 0
    while following != _NO_MORE:
        layers.append(Restriction(spatial, temporal))
        following = bits.read(2)
        if following == _NEXT_TEMPORAL:
            temporal += 1
        elif following == _NEXT_SPATIAL:
            spatial, temporal = spatial + 1, 0
        if spatial >= _MAX_SPATIAL_LAYERS or temporal >= _MAX_TEMPORAL_LAYERS or len(layers) > _MAX_TEMPLATES:
            raise BitsError("A dependency structure has too many layers or templates")
    return tuple(layers)


def _targets(layers: tuple[Restriction, ...], indications: tuple[int, ...], count: int) -> tuple[Restriction, ...]:
    """Return up to which layers each decode target goes: those of the templates that are present in it."""
    by_spatial, by_temporal = [0] * _MAX_SPATIAL_LAYERS, [0] * _MAX_TEMPORAL_LAYERS
    for (spatial, temporal), word in zip(layers, indications, strict=True):
        by_spatial[spatial] |= word
        by_temporal[temporal] |= word
    shifts = range(2 * count - 2, -1, -2)
    return tuple(Restriction(_highest(by_spatial, shift), _highest(by_temporal, shift)) for shift in shifts)


def _highest(words: list[int], shift: int) -> int:
    """Return the last of the words in which the indication at this place is another than "not present"; 0 for none."""
    layer = len(words) - 1
    while layer and not words[layer] >> shift & 3:
        layer -= 1
    return layer
