"""Both kernels let go of the same packets."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from tests.media.support import rtp
from zvonim_sfu.rtp import intake, intake_compiled
from zvonim_sfu.rtp.packet import RtpPacket

CELLS: Final = 16
PACKETS: Final = [RtpPacket.parse(rtp(number, 0, payload=bytes(10 * number))) for number in range(4)]
NUMBERS: Final = st.integers(-CELLS, 3 * CELLS)


@given(
    kept=st.dictionaries(NUMBERS, st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=30),
    highest=NUMBERS,
    first=NUMBERS,
    size=st.sampled_from((0, 50, 100, 200, 1000)),
    before=st.integers(0, 10) | st.just(float("-inf")),
    is_empty=st.booleans(),
)
def test_the_same_packets_are_dropped(
    *, kept: dict[int, tuple[int, int]], highest: int, first: int, size: int, before: float, is_empty: bool
) -> None:
    found = []
    for kind in (intake.Intake, intake_compiled.Intake):
        one = kind()
        one.kept = highest
        one.cells = [] if is_empty else [None] * CELLS
        for number, (packet, came) in kept.items() if not is_empty else ():
            one.cells[number % CELLS] = (number, PACKETS[packet], float(came), None)
        there = [cell for cell in one.cells if cell is not None]
        one.kept_bytes = sum(len(cell[1].data) for cell in there)
        lowest = one.drop(first, size, before)
        left = [cell for cell in one.cells if cell is not None]
        assert one.kept_bytes == sum(len(cell[1].data) for cell in left)
        found.append((lowest, one.cells, one.kept_bytes))
    assert found[0] == found[1]
    lowest = found[0][0]
    assert first <= lowest or lowest == highest + 1
