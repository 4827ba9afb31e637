from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.reception import MAX_AHEAD, MAX_DROPOUT, MAX_MISORDER, ReceptionStatistics
from zvonim_sfu.rtp.rtcp import ReportBlock

if TYPE_CHECKING:
    from collections.abc import Iterable

SSRC = 0x11223344
RATE = 8000


def statistics_of(numbers: Iterable[int]) -> ReceptionStatistics:
    statistics = ReceptionStatistics(RATE)
    for number in numbers:
        statistics.add(number & 0xFFFF, 0, 0.0)
    return statistics


def test_nothing_received_is_a_report_of_nothing() -> None:
    assert ReceptionStatistics(RATE).report(SSRC, 1.0) == ReportBlock(SSRC, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("numbers", "lost", "fraction", "highest"),
    [
        ([10], 0, 0, 10),
        (range(10, 20), 0, 0, 19),
        ([10, 11, 13], 1, 64, 13),
        ([10, 13, 12, 11], 0, 0, 13),  # out of order
        ([10, 11, 11, 12], -1, 0, 12),  # a duplicate counts against losses
        ([11, 10, 12], -1, 0, 12),  # so does what is older than the first
        ([65534, 65535, 0, 1], 0, 0, 65537),
        ([65534, 1], 2, 128, 65537),
        ([65534, 1, 65535, 0], 0, 0, 65537),
        (range(65000, 65000 + 2 * 65536), 0, 0, 65000 + 2 * 65536 - 1),
        ([0, MAX_DROPOUT - 1], MAX_DROPOUT - 2, 255, MAX_DROPOUT - 1),
    ],
)
def test_losses(numbers: Iterable[int], lost: int, fraction: int, highest: int) -> None:
    statistics = statistics_of(numbers)
    report = statistics.report(SSRC, 0.0)
    assert report.packets_lost == lost
    assert report.fraction_lost == fraction
    assert statistics.loss == pytest.approx(fraction / 256, abs=1 / 256)
    assert report.highest_sequence == highest


def test_the_fraction_is_of_the_interval_and_the_sum_of_all() -> None:
    statistics = statistics_of([0, 1, 2, 4])
    assert statistics.report(SSRC, 0.0).fraction_lost == 256 // 5
    for number in (5, 6, 7, 8):
        statistics.add(number, 0, 0.0)
    report = statistics.report(SSRC, 0.0)
    assert (report.fraction_lost, report.packets_lost) == (0, 1)
    report = statistics.report(SSRC, 0.0)  # nothing came since
    assert (report.fraction_lost, report.packets_lost) == (0, 1)


@pytest.mark.parametrize("jump", [MAX_DROPOUT + 1, 30000, -MAX_MISORDER, -5000])
def test_a_big_jump_counts_only_when_a_second_packet_confirms_it(jump: int) -> None:
    statistics = statistics_of(range(10000, 10010))
    last = 10009
    statistics.add(last + jump & 0xFFFF, 0, 0.0)
    assert statistics.received == 10
    statistics.add(last + 1, 0, 0.0)  # a stray: the source goes on
    assert statistics.received == 11
    statistics.add(last + jump & 0xFFFF, 0, 0.0)
    statistics.add(last + jump + 1 & 0xFFFF, 0, 0.0)
    assert statistics.received == 1  # started anew
    report = statistics.report(SSRC, 0.0)
    assert (report.packets_lost, report.fraction_lost) == (0, 0)
    assert report.highest_sequence == last + jump + 1 & 0xFFFF


def test_jitter_of_an_even_stream_is_none() -> None:
    statistics = ReceptionStatistics(RATE)
    for index in range(100):
        statistics.add(index, 0xFFFFFF00 + index * 160 & 0xFFFFFFFF, 5.0 + index * 0.02)
    assert statistics.report(SSRC, 10.0).jitter <= 1


def test_jitter_follows_the_formula_of_appendix_a8() -> None:
    statistics = ReceptionStatistics(RATE)
    statistics.add(0, 0, 0.0)
    statistics.add(1, 160, 0.030)  # 80 ticks late
    assert statistics.report(SSRC, 1.0).jitter == 80 // 16
    statistics.add(2, 320, 0.040)  # 80 ticks early
    assert statistics.report(SSRC, 1.0).jitter == int(5 + (80 - 5) / 16)


@pytest.mark.parametrize(("now", "dlsr"), [(10.0, 0), (10.5, 32768), (9.0, 0), (1e9, 0xFFFFFFFF)], ids=str)
def test_the_last_sender_report_comes_back_with_its_age(now: float, dlsr: int) -> None:
    statistics = ReceptionStatistics(RATE)
    statistics.sender_report(0x33445566, 10.0)
    report = statistics.report(SSRC, now)
    assert (report.lsr, report.dlsr) == (0x33445566, dlsr)


def test_the_last_sender_report_outlives_a_restart() -> None:
    statistics = statistics_of([1, 2])
    statistics.sender_report(5, 0.0)
    statistics.add(30000, 0, 0.0)
    statistics.add(30001, 0, 0.0)
    assert statistics.report(SSRC, 0.0).lsr == 5


@given(
    st.lists(
        st.tuples(
            st.integers(0, 65535) | st.integers(0, 50),
            st.integers(0, 0xFFFFFFFF),
            st.floats(0, 1e9),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_any_packets_make_reports_that_can_be_sent(packets: list[tuple[int, int, float, bool]]) -> None:
    statistics = ReceptionStatistics(90_000)
    for number, timestamp, now, report in packets:
        statistics.add(number, timestamp, now)
        if report:
            assert len(statistics.report(SSRC, now).pack()) == 24


def test_what_is_lost_is_counted_on_when_the_source_starts_anew() -> None:
    statistics = ReceptionStatistics(8000)
    for number in (10, 11, 14):
        statistics.add(number, 0, 0.0)
    assert statistics.lost == 2
    statistics.add(12, 0, 0.0)
    assert statistics.lost == 1, "one came late"
    for number in (30000, 30001, 30002, 30004):
        statistics.add(number, 0, 0.0)
    assert statistics.lost == 2


def test_a_packet_sent_again_has_its_old_place_and_is_not_counted() -> None:
    statistics = ReceptionStatistics(90000)
    assert statistics.locate(1) is None
    statistics.add(65534, 0, 0.0)
    statistics.add(1, 0, 0.1)
    assert [statistics.locate(number) for number in (65533, 65535, 0, 1, 2)] == [65533, 65535, 65536, 65537, 65538]
    assert statistics.locate(1 + MAX_AHEAD) is None  # it cannot have been sent yet
    assert statistics.received == 2
    # A source that starts anew goes on by one, under other numbers on the wire.
    statistics.add(30000, 0, 1.0)
    assert statistics.add(30001, 0, 1.0) == 65538
    assert statistics.locate(30003) == 65540
    assert statistics.wire_number(65540) == 30003
