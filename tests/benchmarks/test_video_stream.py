"""Judging what a receiver gets: whole streams pass, and each way of breaking one is told."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING

import pytest

from benchmarks.client.traffic import Sending, Source, camera
from tests.support.video_stream import VideoStream
from zvonim_sfu.rtp.packet import RtpPacket

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME = 3


def packets(label: int, first_sequence: int = 0) -> list[RtpPacket]:
    """A keyframe of nine packets, then frames of three."""
    sent: list[bytes] = []
    source = Source(Sending("0", 7, 96), camera(90, FRAME), sent.append, count().__next__, label=label)
    source._sequence = first_sequence
    source._offset = 0
    source.resume(0.0, 0.0)
    source.advance(0.1)
    return [RtpPacket.parse(data) for data in sent]


def faults(stream: list[RtpPacket]) -> list[str]:
    judged = VideoStream()
    for packet in stream:
        judged.take(packet)
    return judged.faults()


def renumbered(stream: list[RtpPacket]) -> list[RtpPacket]:
    """The same packets with numbers that have no hole."""
    return [
        RtpPacket.parse(packet.data[:2] + number.to_bytes(2) + packet.data[4:]) for number, packet in enumerate(stream)
    ]


def test_a_whole_stream_has_no_faults_in_whatever_order_it_comes() -> None:
    whole = packets(1)
    assert faults(whole) == []
    assert faults([whole[0], *reversed(whole[1:]), whole[3]]) == []


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (lambda whole: whole[:10] + whole[11:], "a number is missing"),
        (lambda whole: whole[FRAME * 3 :], "begins with"),
        (lambda whole: renumbered(whole[:9] + whole[12:]), "a frame refers to one that did not come"),
        (lambda whole: renumbered(whole[:10] + whole[11:]), "a frame goes on that has not begun"),
        (lambda whole: renumbered(whole[:8] + whole[9:]), "a frame refers to one that did not come"),
        (lambda whole: renumbered(whole[:9] + packets(2)[9:12]), "a frame refers to one that did not come"),
        (lambda whole: renumbered(whole[:12] + packets(2)), "time goes back"),
    ],
)
def test_what_a_decoder_would_stumble_over_is_told(
    broken: Callable[[list[RtpPacket]], list[RtpPacket]], fault: str
) -> None:
    assert any(found.startswith(fault) for found in faults(broken(packets(1))))


def test_switches_are_counted_and_sources_told_apart() -> None:
    judged = VideoStream()
    for packet in renumbered(packets(1) + packets(2)):
        judged.take(packet)
    assert judged.switches == 1
    assert judged.labels(0, time.time_ns()) == {1, 2}
