from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.timing import NTP_EPOCH_S, SenderClock, middle32, ntp_from_unix, unix_from_ntp

SECOND = 1 << 32


@pytest.mark.parametrize(
    ("seconds", "ntp"),
    [
        (0.0, NTP_EPOCH_S << 32),
        (0.5, (NTP_EPOCH_S << 32) + (1 << 31)),
        (float((1 << 32) - NTP_EPOCH_S), 0),  # 2036: NTP's seconds begin anew
    ],
)
def test_ntp_from_unix(seconds: float, ntp: int) -> None:
    assert ntp_from_unix(seconds) == ntp


@given(st.floats(0, 2_000_000_000))
def test_unix_time_survives_ntp_to_a_microsecond(seconds: float) -> None:
    assert unix_from_ntp(ntp_from_unix(seconds)) == pytest.approx(seconds, abs=1e-6, rel=0)


def test_middle32() -> None:
    assert middle32(0x1122334455667788) == 0x33445566


def test_nothing_is_known_before_a_report() -> None:
    clock = SenderClock(90_000)
    assert not clock.known
    assert clock.update(100 * SECOND, 0)
    assert clock.known


@pytest.mark.parametrize(
    ("anchor", "timestamp", "seconds"),
    [
        (0, 0, 100.0),
        (0, 90_000, 101.0),
        (0xFFFFFFFF - 44_999, 45_000, 101.0),  # ahead, across the end
        (45_000, 0xFFFFFFFF - 44_999, 99.0),  # back, across the end
    ],
)
def test_timestamps_and_seconds_map_both_ways(anchor: int, timestamp: int, seconds: float) -> None:
    clock = SenderClock(90_000)
    clock.update(100 * SECOND, anchor)
    assert clock.seconds_of(timestamp) == pytest.approx(seconds)
    assert clock.rtp_at(seconds) == timestamp


def test_a_drifting_clock_is_followed_quietly() -> None:
    clock = SenderClock(48_000)
    clock.update(100 * SECOND, 0)
    assert not clock.update(105 * SECOND, 5 * 48_000 + 480)
    assert clock.seconds_of(5 * 48_000 + 480) == 105.0


@pytest.mark.parametrize(("ntp_s", "timestamp"), [(4000, 90_000), (101, 90_000 * 3), (0, 0), (101, 0x80000000)])
def test_a_report_that_contradicts_the_last_makes_a_new_mapping(ntp_s: int, timestamp: int) -> None:
    clock = SenderClock(90_000)
    clock.update(100 * SECOND, 0)
    assert clock.update(ntp_s * SECOND, timestamp)
    assert clock.seconds_of(timestamp) == ntp_s
    assert clock.rtp_at(ntp_s) == timestamp


@given(
    st.lists(st.tuples(st.integers(0, (1 << 64) - 1), st.integers(0, 0xFFFFFFFF)), min_size=1, max_size=5),
    st.integers(0, 0xFFFFFFFF),
)
def test_any_reports_leave_an_invertible_mapping(reports: list[tuple[int, int]], timestamp: int) -> None:
    clock = SenderClock(90_000)
    for ntp, rtp_timestamp in reports:
        clock.update(ntp, rtp_timestamp)
    assert clock.rtp_at(clock.seconds_of(timestamp)) == timestamp
