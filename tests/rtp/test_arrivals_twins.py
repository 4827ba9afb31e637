"""The compiled log of arrivals writes the bytes of its twin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.arrivals_compiled import ArrivalLog as CompiledLog
from zvonim_sfu.rtp.transport_cc import MAX_ARRIVALS, ArrivalLog

STEPS = st.sampled_from((1,) * 8 + (0, 2, 5, 17, -1, -3, -20, 400, 9_000, 30_000)) | st.integers(-70_000, 70_000)
GAPS = st.sampled_from((0.0, 0.0001, 0.003, 0.02, 0.07, 0.6, 9.0)) | st.floats(0, 20)


@given(
    start=st.integers(0, 0xFFFF),
    origin=st.floats(0, 1e6),
    came=st.lists(
        st.tuples(STEPS, GAPS, st.booleans()) | st.tuples(st.just(1), st.just(0.0005), st.just(False)), max_size=400
    ),
)
def test_the_same_arrivals_are_told_by_the_same_bytes(
    start: int, origin: float, came: list[tuple[int, float, bool]]
) -> None:
    logs = ArrivalLog(), CompiledLog()
    number, now = start, origin
    for step, gap, is_told in [*came, (1, 0.1, True)]:
        number += step
        now += gap
        for log in logs:
            log.received(number & 0xFFFF, now)
        if is_told:
            one, other = (log.packed(now, sender_ssrc=0xFFFFFFFF, media_ssrc=7) for log in logs)
            assert one == other
        assert len(logs[0]) == len(logs[1])


def test_many_arrivals_are_kept_and_forgotten_alike() -> None:
    logs = ArrivalLog(), CompiledLog()
    for index in range(3 * MAX_ARRIVALS):
        number = index - 40 * (index % 7 == 0)
        for log in logs:
            log.received(number & 0xFFFF, index / 1e5)
        if index % 5000 == 0:
            one, other = (log.packed(index / 1e5, sender_ssrc=1, media_ssrc=2) for log in logs)
            assert one == other
    one, other = (log.packed(1.0, sender_ssrc=1, media_ssrc=2) for log in logs)
    assert one == other
    assert len(one) > 10
