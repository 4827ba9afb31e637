from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.dependency_descriptor import DescriptorReader
from zvonim_sfu.rtp.description import Description, Restriction, Structure, SwitchingPoint, restriction_bits
from zvonim_sfu.rtp.intake import UNKNOWN_LAYER, Intake

# Templates as scalability modes have them (AV1 RTP specification, A.10): layers, decode target indications, references,
# distances of chains.
Template = tuple[tuple[int, int], str, tuple[int, ...], tuple[int, ...]]
L1T3: list[Template] = [
    ((0, 0), "SSS", (), (0,)),
    ((0, 0), "SSS", (4,), (4,)),
    ((0, 1), "-DS", (2,), (2,)),
    ((0, 2), "--D", (1,), (1,)),
    ((0, 2), "--D", (1,), (3,)),
]
L2T2_KEY: list[Template] = [
    ((0, 0), "SSSS", (), (0, 0)),
    ((0, 0), "SS--", (4,), (4, 3)),
    ((0, 1), "-D--", (2,), (2, 1)),
    ((1, 0), "--SS", (1,), (1, 1)),
    ((1, 0), "--SS", (4,), (1, 4)),
    ((1, 1), "---D", (2,), (3, 2)),
]


class Bits:
    """Writes bit fields."""

    def __init__(self) -> None:
        self.bits = ""

    def write(self, value: int, bits: int) -> Bits:
        self.bits += f"{value:0{bits}b}" if bits else ""
        return self

    def write_below(self, value: int, count: int) -> None:
        bits = count.bit_length()
        short = (1 << bits) - count
        if value < short:
            self.write(value, bits - 1)
        else:
            self.write(value + short, bits)

    def to_bytes(self) -> bytes:
        size = (len(self.bits) + 7) // 8
        return int(self.bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")


def descriptor(
    template: int,
    *,
    begins: bool = True,
    ends: bool = False,
    structure: list[Template] | None = None,
    offset: int = 0,
    sizes: tuple[tuple[int, int], ...] = (),
    dtis: str = "",
    active: tuple[int, int] | None = None,
) -> bytes:
    bits = Bits().write(begins, 1).write(ends, 1).write(template, 6).write(0x1234, 16)
    if structure is None and not dtis and active is None:
        return bits.to_bytes()
    bits.write(structure is not None, 1).write(active is not None, 1).write(bool(dtis), 1).write(0, 2)
    if structure is not None:
        write_structure(bits, structure, offset, sizes)
    if active is not None:
        bits.write(*active)
    for symbol in dtis:
        bits.write("-DSR".index(symbol), 2)
    return bits.to_bytes()


def write_structure(bits: Bits, templates: list[Template], offset: int, sizes: tuple[tuple[int, int], ...]) -> None:
    targets, chains = len(templates[0][1]), len(templates[0][3])
    bits.write(offset, 6).write(targets - 1, 5)
    for (layer, *_), (following, *_) in pairwise(templates):
        bits.write(0 if layer == following else 1 if layer[0] == following[0] else 2, 2)
    bits.write(3, 2)
    for _, dtis, _, _ in templates:
        for symbol in dtis:
            bits.write("-DSR".index(symbol), 2)
    for _, _, references, _ in templates:
        for reference in references:
            bits.write(1, 1).write(reference - 1, 4)
        bits.write(0, 1)
    bits.write_below(chains, targets + 1)
    for _ in range(targets):
        bits.write_below(0, chains)
    for _, _, _, distances in templates:
        for distance in distances:
            bits.write(distance, 4)
    bits.write(bool(sizes), 1)
    for width, height in sizes:
        bits.write(width - 1, 16).write(height - 1, 16)


def switching(after: tuple[int, int], *to: tuple[int, int]) -> SwitchingPoint:
    return SwitchingPoint(Restriction(*after), restriction_bits(to))


def told(
    layer: tuple[int, int], begins: bool, ends: bool, switch: SwitchingPoint | None, structure: Structure | None
) -> Description:
    return Description(*layer, begins, ends, switch=switch, structure=structure)


def test_a_structure_is_kept_for_the_frames_that_follow() -> None:
    reader = DescriptorReader()
    sizes = ((320, 180),)
    first = reader.read(descriptor(60, structure=L1T3, offset=60, sizes=sizes))
    assert first == told((0, 0), True, False, switching((0, 0), (0, 1), (0, 2)), Structure(sizes, 3))
    assert reader.read(descriptor(62)) == told((0, 1), True, False, switching((0, 1), (0, 2)), None)
    assert reader.read(descriptor(62, begins=False)) == told((0, 1), False, False, None, None)
    assert reader.read(descriptor(0, ends=True)) == told((0, 2), True, True, None, None)
    assert reader.read(descriptor(1)) is None  # a template that there is not


def test_spatial_layers() -> None:
    reader = DescriptorReader()
    sizes = ((160, 90), (320, 180))
    first = reader.read(descriptor(0, structure=L2T2_KEY, sizes=sizes))
    assert first is not None
    assert first.structure == Structure(sizes, 2)
    assert first.switch == switching((0, 0), (0, 1), (1, 0), (1, 1))
    assert reader.read(descriptor(1)) == told((0, 0), True, False, switching((0, 0), (0, 1)), None)
    assert reader.read(descriptor(4)) == told((1, 0), True, False, switching((1, 0), (1, 1)), None)
    assert reader.read(descriptor(5)) == told((1, 1), True, False, None, None)


def test_a_frame_can_have_indications_of_its_own() -> None:
    reader = DescriptorReader()
    reader.read(descriptor(0, structure=L2T2_KEY))
    frame = reader.read(descriptor(1, dtis="SSSR", active=(0b1111, 4)))
    assert frame == told((0, 0), True, False, switching((0, 0), (0, 1), (1, 0)), None)


def test_late_packets_refer_to_the_structure_before() -> None:
    reader = DescriptorReader()
    reader.read(descriptor(0, structure=L1T3))
    reader.read(descriptor(5, structure=L2T2_KEY, offset=5))
    assert reader.read(descriptor(2)) == told((0, 1), True, False, switching((0, 1), (0, 2)), None)
    assert reader.read(descriptor(5 + 4)) == told((1, 0), True, False, switching((1, 0), (1, 1)), None)
    reader.read(descriptor(5, structure=L2T2_KEY, offset=5))  # again: nothing changes
    assert reader.read(descriptor(2)) is not None


def test_the_kernel_is_told_which_templates_are_of_which_temporal_layer() -> None:
    intake = Intake()
    reader = DescriptorReader(intake)
    assert intake.template_layers == b""
    reader.read(descriptor(62, structure=L1T3, offset=62))
    known = {62: 0, 63: 0, 0: 1, 1: 2, 2: 2}
    assert intake.template_layers == bytes(known.get(number, UNKNOWN_LAYER) for number in range(64))
    reader.read(descriptor(1, structure=L2T2_KEY, offset=1))
    known = {62: 0, 63: 0, 0: 1, 1: 0, 2: 0, 3: 1}  # and 4 to 6, of the upper spatial layer
    assert intake.template_layers == bytes(known.get(number, UNKNOWN_LAYER) for number in range(64))
    DescriptorReader(intake)
    assert (intake.structures, intake.template_layers) == (None, b"")


def test_what_is_kept_of_structures_describes_packets_as_they_were() -> None:
    intake = Intake()
    reader = DescriptorReader(intake)
    reader.read(descriptor(0, structure=L1T3))
    values = [descriptor(template, begins=begins) for template in range(7) for begins in (False, True)]
    then = [reader.read(value) for value in values]
    kept = intake.structures
    reader.read(descriptor(0, structure=L1T3))
    assert intake.structures is kept
    reader.read(descriptor(0, structure=L2T2_KEY))
    assert kept is not None
    assert [kept.describe(value[0]) for value in values] == then != [reader.read(value) for value in values]


@pytest.mark.parametrize("value", [b"", b"\x80", b"\x80\x00", b"\x80\x00\x01", b"\x80\x00\x01\x80"])
def test_what_refers_to_nothing_says_nothing(value: bytes) -> None:
    assert DescriptorReader().read(value) is None


def test_a_structure_that_is_cut_short_changes_nothing() -> None:
    reader = DescriptorReader()
    reader.read(descriptor(0, structure=L1T3))
    whole = descriptor(5, structure=L2T2_KEY, offset=5, sizes=((160, 90), (320, 180)))
    for size in range(3, len(whole) - 1):
        assert reader.read(whole[:size]) is None
    assert reader.read(descriptor(2)) is not None


def test_too_many_layers_are_refused() -> None:
    layers: list[Template] = [((spatial, 0), "S", (), (0,)) for spatial in range(5)]
    assert DescriptorReader().read(descriptor(0, structure=layers)) is None
    layers = [((0, temporal), "S", (), (0,)) for temporal in range(9)]
    assert DescriptorReader().read(descriptor(0, structure=layers)) is None
    assert DescriptorReader().read(descriptor(0, structure=layers[:8])) is not None
    layers = [((0, 0), "S", (), (0,))] * 65
    assert DescriptorReader().read(descriptor(0, structure=layers)) is None
    assert DescriptorReader().read(descriptor(0, structure=layers[:64])) is not None


@given(
    st.lists(st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: b"\x80\x00\x01\x80" + tail), max_size=6)
)
def test_any_bytes_are_a_descriptor_or_none(values: list[bytes]) -> None:
    reader = DescriptorReader()
    for value in values:
        frame = reader.read(value)
        assert frame is None or (frame.spatial < 4 and frame.temporal < 8)
