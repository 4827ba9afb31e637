"""Counting what a receiver got, by sequence numbers alone."""

from __future__ import annotations

import pytest

from benchmarks.client.streams import ASKED_AGAIN_S, MAX_ASKED, MAX_MISSING, Stream


@pytest.mark.parametrize(
    ("batches", "received", "repaired", "missing"),
    [
        ([[10, 11, 12]], 3, 0, []),
        ([[10], [11, 12], [13]], 4, 0, []),
        ([[0xFFFE, 0xFFFF, 0, 1]], 4, 0, []),
        ([[10, 12, 13]], 3, 0, [11]),
        ([[10, 12], [11]], 3, 1, []),
        ([[10, 12], [11, 11, 12]], 3, 1, []),
        ([[10, 10]], 1, 0, []),
        ([[10], [9]], 1, 0, []),
        ([[0xFFFF, 1], [2]], 3, 0, [0]),
    ],
)
def test_each_packet_counts_once_however_it_comes(
    batches: list[list[int]], received: int, repaired: int, missing: list[int]
) -> None:
    stream = Stream(1, batches[0][0])
    for batch in batches:
        stream.take(batch)
    assert (stream.received, stream.repaired, stream.ask(0.0)) == (received, repaired, missing)


def test_a_packet_that_never_comes_is_asked_for_so_often_only() -> None:
    stream = Stream(1, 0)
    stream.take([0, 2])
    times = [index * ASKED_AGAIN_S for index in range(MAX_ASKED + 1)]
    assert [stream.ask(now) for now in times] == [[1]] * MAX_ASKED + [[]]


def test_a_packet_is_not_asked_for_again_before_it_can_have_come() -> None:
    stream = Stream(1, 0)
    stream.take([0, 2])
    assert [stream.ask(now) for now in (0.0, ASKED_AGAIN_S / 2, ASKED_AGAIN_S)] == [[1], [], [1]]


def test_a_long_gap_is_not_asked_for() -> None:
    stream = Stream(1, 0)
    stream.take([0, MAX_MISSING + 2])
    assert stream.ask(0.0) == []


def test_reports_tell_what_was_lost_since_the_last_one() -> None:
    stream = Stream(7, 0)
    stream.take([0, 1, 3])
    first = stream.report(0, 0)
    stream.take([4, 5])
    second = stream.report(0, 0)
    assert (first.ssrc, first.fraction_lost, first.packets_lost, first.highest_sequence) == (7, 64, 1, 3)
    assert (second.fraction_lost, second.packets_lost, second.highest_sequence) == (0, 1, 5)
