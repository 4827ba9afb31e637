"""The subscriber's leg: what is kept for who comes in later, and what is sent again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.media.flows import DELTA, KEYFRAME, Publisher, Subscriber
from tests.media.support import AUDIO_LEVEL, OPUS, VP8, rtp
from zvonim_sfu.media.resending import MAX_RESENT
from zvonim_sfu.media.sdp import Codec
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.span import CATCH_UP_TICKS
from zvonim_sfu.rtp.budget import RepairBudget
from zvonim_sfu.rtp.history import MAX_AGE_S
from zvonim_sfu.rtp.sequence import ts_delta
from zvonim_sfu.rtp.timing import ntp_from_unix

if TYPE_CHECKING:
    from zvonim_sfu.rtp.packet import RtpPacket

NACKED = replace(VP8, feedback=("nack", "nack pli"))


def test_a_newcomer_gets_the_keyframe_and_what_followed_at_once() -> None:
    publisher = Publisher()
    for n in range(10):
        publisher.send_frame(n, 1 + n / 30, payload=KEYFRAME if n == 3 else DELTA)
    before = len(publisher.requests)
    subscriber = Subscriber()
    subscriber.down_track.attach(publisher.up_track, 1.35)
    assert [packet.payload for packet in subscriber.sent] == [KEYFRAME, *[DELTA] * 6]
    publisher.send_frame(10, 1 + 10 / 30)
    publisher.send_frame(11, 1 + 11 / 30)
    assert subscriber.numbers == list(range(9))
    assert len(publisher.requests) == before
    timestamps = [packet.timestamp for packet in subscriber.sent]
    assert all(ts_delta(b, a) > 0 for a, b in pairwise(timestamps))
    # It catches up at once, and goes on with the true times.
    assert ts_delta(timestamps[6], timestamps[0]) <= CATCH_UP_TICKS
    assert ts_delta(timestamps[8], timestamps[7]) == 3000


def test_what_is_too_old_is_not_sent_but_asked_for() -> None:
    publisher = Publisher()
    publisher.send_frame(1, 1.0, payload=KEYFRAME)
    publisher.send_frame(2, 1.0 + MAX_AGE_S)
    before = len(publisher.requests)
    subscriber = Subscriber()
    subscriber.down_track.attach(publisher.up_track, 1.1 + MAX_AGE_S)
    assert subscriber.sent == []
    assert len(publisher.requests) == before + 1


def test_a_hole_in_what_is_kept_is_filled_when_the_repair_comes() -> None:
    publisher = Publisher(codecs=[NACKED])
    publisher.send(rtp(1, 0, payload=KEYFRAME, marker=True), 1.0)
    publisher.send_frame(3, 1.0)
    subscriber = Subscriber()
    subscriber.down_track.attach(publisher.up_track, 1.01)
    assert subscriber.numbers == [0, 2]
    publisher.send_frame(2, 1.05)
    publisher.send_frame(4, 1.1)
    assert subscriber.numbers == [0, 2, 1, 3]


def test_a_keyframe_that_is_repaired_comes_with_what_followed() -> None:
    publisher = Publisher(codecs=[NACKED])
    subscriber = Subscriber()
    subscriber.down_track.attach(publisher.up_track, 0.9)
    publisher.send_frame(1, 1.0)
    publisher.send_frame(3, 1.0)
    publisher.send_frame(4, 1.1)
    assert subscriber.sent == []
    publisher.send_frame(2, 1.1, payload=KEYFRAME)
    assert subscriber.numbers == [0, 1, 2]
    assert [packet.payload for packet in subscriber.sent] == [KEYFRAME, DELTA, DELTA]


def test_a_late_sound_brings_those_along_that_overtook_it() -> None:
    publisher = Publisher(Source.MICROPHONE, codecs=[replace(OPUS, feedback=("nack",))])
    for n in (1, 2, 4):
        publisher.send(rtp(n, 960 * n, payload_type=111), n / 50)
    subscriber = Subscriber("audio")
    subscriber.down_track.attach(publisher.up_track, 0.09)
    publisher.send(rtp(3, 960 * 3, payload_type=111), 0.09)
    publisher.send(rtp(5, 960 * 5, payload_type=111), 0.1)
    assert subscriber.numbers == [0, 1, 2]
    assert ts_delta(subscriber.sent[2].timestamp, subscriber.sent[0].timestamp) == 2 * 960


def test_a_source_with_old_pictures_keeps_the_true_time_of_new_ones() -> None:
    ann, bob = Publisher(name="ann"), Publisher(name="bob")
    subscriber = Subscriber()
    subscriber.down_track.attach(ann.up_track, 10.0)
    ann.send_frame(1, 10.0, payload=KEYFRAME)
    for n in range(20):
        bob.send_frame(n, 10 + n / 20, payload=DELTA if n else KEYFRAME)
        ann.send_frame(2 + n, 10.01 + n / 20)
    assert bob.up_track.layer is not None
    bob.up_track.layer.clock.update(ntp_from_unix(500), 900_000)
    bob.clock.on_sender_report(ntp_from_unix(500) / (1 << 32), 10.0)
    subscriber.down_track.attach(bob.up_track, 11.0)
    bob.send_frame(20, 11.0)
    bob.send_frame(21, 11.05)
    assert subscriber.numbers == list(range(len(subscriber.sent)))
    assert all(ts_delta(b.timestamp, a.timestamp) > 0 for a, b in pairwise(subscriber.sent))
    first, last = subscriber.sent[0], subscriber.sent[-1]
    assert ts_delta(last.timestamp, first.timestamp) == pytest.approx(1.05 * 90000, abs=2)


# Repairs


class Repairing:
    """A camera and who watches it, with retransmissions or without."""

    def __init__(self, *, rtx: bool = True) -> None:
        codecs = [replace(VP8, payload_type=120), *([Codec(121, "rtx", 90000, parameters="apt=120")] if rtx else [])]
        self.publisher = Publisher(codecs=[NACKED], extension_ids={AUDIO_LEVEL: 1})
        self.subscriber = Subscriber(codecs=codecs, extension_ids={AUDIO_LEVEL: 6}, rtx_ssrc=55 if rtx else 0)
        self.down_track = self.subscriber.down_track
        self.down_track.attach(self.publisher.up_track, 1.0)
        self.budget = RepairBudget(sent=0, now=1.0)
        self.sent = self.subscriber.sent
        for n in range(1, 5):
            payload = KEYFRAME if n == 1 else DELTA + bytes([n])
            data = rtp(n, 3000 * n, payload=payload, extensions=[(1, bytes([n]))], marker=n == 3)
            self.publisher.send(data, 1.0)

    def ask(self, *packets: RtpPacket, now: float = 1.1, round_trip_s: float = 0.1) -> list[RtpPacket]:
        """What comes for a NACK of packets that were sent."""
        before = len(self.sent)
        self.down_track.repair([packet.sequence_number for packet in packets], self.budget, now, round_trip_s)
        return self.sent[before:]


def test_what_was_lost_is_sent_again_in_the_stream_of_retransmissions() -> None:
    scene = Repairing()
    second, third = scene.sent[1:3]
    again = scene.ask(second, third)
    for original, packet in zip((second, third), again, strict=True):
        assert (packet.ssrc, packet.payload_type) == (55, 121)
        assert packet.payload == original.sequence_number.to_bytes(2, "big") + original.payload
        assert (packet.timestamp, packet.marker) == (original.timestamp, original.marker)
        assert packet.extensions() == original.extensions()
    assert again[1].sequence_number == (again[0].sequence_number + 1) & 0xFFFF
    statistics = scene.down_track.statistics
    assert (statistics.packets, statistics.nacked, statistics.repaired) == (4, 2, 2)


def test_without_retransmissions_the_packet_itself_is_sent_again() -> None:
    scene = Repairing(rtx=False)
    (again,) = scene.ask(scene.sent[1])
    assert again.data == scene.sent[1].data


def test_nothing_is_sent_again_twice_within_a_round_trip() -> None:
    scene = Repairing()
    lost = scene.sent[1]
    assert len(scene.ask(lost, lost, now=1.1)) == 1
    assert scene.ask(lost, now=1.19) == []
    assert len(scene.ask(lost, now=1.21)) == 1


def test_repairs_stay_within_the_budget() -> None:
    scene = Repairing()
    for n in range(5, 200):
        scene.publisher.send_frame(n, 1.0, payload=DELTA + bytes(1000))
    # Two seconds of 8 kB, at some 1,020 bytes for each packet and 50 for looking for it: the first ones, not none.
    assert len(scene.ask(*scene.sent[4:])) == 14
    assert scene.down_track.statistics.nacked == 195


def test_who_asks_for_what_is_not_there_uses_up_the_budget() -> None:
    scene = Repairing()
    first = scene.sent[0].sequence_number
    scene.down_track.repair([first - 1 & 0xFFFF] * 1000, scene.budget, 1.1, 0.1)
    assert scene.ask(scene.sent[1]) == []
    assert scene.down_track.statistics.nacked == 1001
    assert len(scene.ask(scene.sent[1], now=1.5)) == 1


def test_what_was_never_sent_or_is_not_kept_is_not_sent_again() -> None:
    scene = Repairing()
    first = scene.sent[0].sequence_number
    for numbers in ([first - 1], [first + 4], [first + 30000], [first - 30000]):
        scene.down_track.repair([number & 0xFFFF for number in numbers], scene.budget, 1.1, 0.1)
    assert len(scene.sent) == 4
    assert scene.ask(scene.sent[1], now=1.1 + MAX_AGE_S) == []
    assert len(scene.down_track._resending._resent) == 0


def test_packets_of_a_former_source_are_not_sent_again() -> None:
    scene = Repairing()
    former = scene.sent[1]
    scene.down_track.attach(None, 1.1)
    assert scene.ask(former) == []
    bob = Publisher(codecs=[NACKED], name="bob")
    bob.send_frame(1, 1.0)
    for n in range(2, 50):
        bob.send_frame(n, 1.1, payload=KEYFRAME if n == 2 else DELTA)
    scene.down_track.attach(bob.up_track, 1.1)
    assert scene.ask(former) == []
    assert [packet.payload[2:] for packet in scene.ask(scene.sent[5])] == [DELTA]


def test_the_memory_of_repairs_is_bounded() -> None:
    scene = Repairing()
    for n in range(5, 1000):
        scene.publisher.send_frame(n, 1.0)
        scene.subscriber.egress.bytes_sent += 10_000
        scene.ask(scene.sent[-1], now=1.1 + n / 1000)
    assert len(scene.down_track._resending._resent) == MAX_RESENT
