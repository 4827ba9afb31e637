from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.bandwidth.history import SendHistory
from zvonim_sfu.bandwidth.reports import ReportReader
from zvonim_sfu.rtp.transport_cc import TransportFeedback

CAPACITY = 64


def history_of(count: int, *, first: int = 0) -> SendHistory:
    """Packets 10 ms apart, whose sizes tell their numbers."""
    history = SendHistory(CAPACITY)
    history.counter[0] = first
    for number in range(first, first + count):
        assert history.add(100 + number % CAPACITY, number / 100) == number
    return history


def feedback(
    base: int, statuses: str, *, reference_time: int = 0, deltas: tuple[int, ...] | None = None
) -> TransportFeedback:
    """`x` came, `.` did not."""
    offsets = [offset for offset, status in enumerate(statuses) if status == "x"]
    received = tuple(zip(offsets, deltas or [4] * len(offsets), strict=True))
    return TransportFeedback(1, 2, base & 0xFFFF, len(statuses), reference_time, 0, received)


def test_the_ring_keeps_the_last_packets() -> None:
    history = history_of(100)
    assert (history.oldest_number, history.next_number) == (36, 100)
    assert history.sent_at[99 & history.mask] == 0.99
    assert history.sizes[99 & history.mask] == 135


def test_a_ring_that_somebody_else_writes_is_read_the_same() -> None:
    history = SendHistory(CAPACITY)
    # As compiled code does, which keeps the addresses of the three buffers.
    struct.pack_into("d", history.sent_at, 0, 7.0)
    struct.pack_into("H", history.sizes, 0, 1200)
    struct.pack_into("Q", history.counter, 0, 1)
    report = ReportReader(history).read(feedback(0, "x"))
    assert (list(report.numbers), list(report.sent_at), list(report.sizes)) == ([0], [7.0], [1200])


@pytest.mark.parametrize("capacity", [0, 3, 100, 0x10000])
def test_only_powers_of_two_that_sixteen_bits_can_tell_apart(capacity: int) -> None:
    with pytest.raises(AssertionError):
        SendHistory(capacity)


def test_each_packet_gets_its_times_and_size() -> None:
    report = ReportReader(history_of(5)).read(feedback(1, "x.x", deltas=(40, 80)))
    assert report.numbers == [1, 3]
    assert list(report.sent_at) == [0.01, 0.03]
    assert list(report.sizes) == [101, 103]
    assert report.arrived_at[1] - report.arrived_at[0] == pytest.approx(0.02)
    assert (report.missing, report.missing_bytes, report.recovered) == (1, 102, 0)


def test_what_is_told_twice_is_told_once() -> None:
    reader = ReportReader(history_of(4))
    reader.read(feedback(0, "x.xx"))
    report = reader.read(feedback(0, "x.xx"))
    assert (report.numbers, report.missing) == ([], 0)


def test_a_late_packet_is_recovered() -> None:
    reader = ReportReader(history_of(4))
    assert reader.read(feedback(0, "x.x")).missing == 1
    report = reader.read(feedback(1, "xxx"))
    assert (report.numbers, report.missing, report.recovered) == ([1, 3], 0, 1)


@pytest.mark.parametrize("first", [0, 1 << 16, (1 << 16) - 30, 12345678])
def test_numbers_wrap_on_the_wire_only(first: int) -> None:
    report = ReportReader(history_of(60, first=first)).read(feedback(first + 20, "xx..xx"))
    assert [number - first for number in report.numbers] == [20, 21, 24, 25]


def test_numbers_that_were_never_sent_or_are_gone_are_passed_over() -> None:
    reader = ReportReader(history_of(100))
    report = reader.read(feedback(30, "x" * 80))
    assert (report.numbers[0], report.numbers[-1]) == (36, 99)
    assert reader.read(feedback(100, "xx..")).numbers == []
    assert reader.read(feedback(0x8000, "." * 60000)).missing == 0


def test_the_ring_may_turn_many_times_between_feedbacks() -> None:
    history = history_of(10)
    reader = ReportReader(history)
    assert list(reader.read(feedback(0, "x" * 10)).numbers) == list(range(10))
    for turns in (1, 30, 64, 65, 200):
        first = history.next_number
        for _ in range(turns):
            history.add(1, 0.0)
        kept = min(turns, CAPACITY)
        report = reader.read(feedback(history.next_number - kept, "x" * kept))
        assert list(report.numbers) == list(range(max(first, history.next_number - CAPACITY), history.next_number))


def test_reference_times_wrap_and_may_step_back() -> None:
    reader = ReportReader(history_of(4))
    times = [
        reader.read(feedback(number, "x", reference_time=reference_time)).arrived_at[0]
        for number, reference_time in enumerate((0, 0xFFFFFF, 1, 0))
    ]
    assert [round(time - times[0], 3) for time in times] == [0, -0.064, 0.064, 0]


@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 0xFFFF), st.binary(min_size=1, max_size=80)),
        max_size=8,
    )
)
def test_no_packet_is_believed_to_have_come_twice_or_before_it_was_sent(
    steps: list[tuple[int, int, bytes]],
) -> None:
    history = SendHistory(CAPACITY)
    reader = ReportReader(history)
    seen: set[int] = set()
    missing = 0
    for sent, base, statuses in steps:
        for _ in range(sent):
            history.add(1, 0.0)
        report = reader.read(feedback(base, "".join("x" if byte & 1 else "." for byte in statuses)))
        assert all(history.oldest_number <= number < history.next_number for number in report.numbers)
        assert not seen & set(report.numbers)
        seen.update(report.numbers)
        missing += report.missing - report.recovered
        assert 0 <= missing <= history.next_number - len(seen)
