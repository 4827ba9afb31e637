"""The publisher's leg: what is missing is asked for, and forwarded where it belongs when it comes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.media.flows import DELTA, KEYFRAME, Publisher
from tests.media.support import H264, OPUS, VP8, rtp
from tests.media.test_up_track import Recorder, subscribed
from zvonim_sfu.media.layer import KEYFRAME_INTERVAL_S
from zvonim_sfu.media.sdp import Codec
from zvonim_sfu.media.source import Source
from zvonim_sfu.rtp.nack import MAX_MISSING, MAX_TRIES, MIN_TOLERANCE_S
from zvonim_sfu.rtp.reception import MAX_AHEAD

RTX = Codec(97, "rtx", 90000, parameters="apt=96")
REPAIRABLE = replace(VP8, feedback=("nack", "nack pli"))


def repairable(now: float = 0.0) -> tuple[Publisher, Recorder]:
    """A camera with retransmissions that has sent number 1, a keyframe, and who gets its packets."""
    publisher = Publisher(codecs=[REPAIRABLE, RTX, H264])
    recorder = Recorder(publisher.up_track)
    publisher.send_frame(1, now, payload=KEYFRAME)
    return publisher, recorder


def retransmission(sequence_number: int, *, payload: bytes = DELTA, payload_type: int = 97) -> bytes:
    osn = (sequence_number & 0xFFFF).to_bytes(2, "big")
    return rtp(500 + sequence_number, 0, payload_type=payload_type, ssrc=9, payload=osn + payload)


def test_what_is_missing_is_asked_for_after_a_while_and_again_after_a_round_trip() -> None:
    publisher, _ = repairable()
    publisher.send_frame(4, 1.0)
    assert publisher.timer == pytest.approx(1.0 + MIN_TOLERANCE_S)
    publisher.pass_time(1.0 + MIN_TOLERANCE_S, round_trip_s=0.2)
    assert publisher.nacks == [(1, [2, 3])]
    # A NACK is as easily lost as what it asks for: there is a copy of each.
    publisher.pass_time(1.2, round_trip_s=0.2)
    assert publisher.nacks == [(1, [2, 3])] * 2
    publisher.pass_time(1.26, round_trip_s=0.2)
    assert publisher.nacks == [(1, [2, 3])] * 4


def test_what_comes_in_another_order_is_not_asked_for() -> None:
    publisher, recorder = repairable()
    publisher.send_frame(3, 1.0)
    publisher.send_frame(2, 1.005)
    publisher.pass_time(5.0)
    assert publisher.nacks == []
    assert publisher.timer == math.inf
    assert [sequence for sequence, _ in recorder.got] == [1, 3, 2]


def test_a_retransmission_is_forwarded_in_its_place() -> None:
    publisher, recorder = repairable()
    publisher.send_frame(3, 1.0)
    publisher.pass_time(1.02)
    publisher.send(retransmission(2), 1.05)
    publisher.pass_time(9.0)
    layer = publisher.up_track.layer
    assert layer is not None
    assert [sequence for sequence, _ in recorder.got] == [1, 3, 2]
    assert publisher.nacks == [(1, [2])]
    assert publisher.requests == []
    assert (layer.repaired, layer.duplicates, layer.statistics.received) == (1, 0, 2)
    kept = layer.history.get(2, 1.05)
    assert kept is not None
    assert kept._tails is None  # what receivers got of it is not kept
    assert (kept.ssrc, kept.payload_type, kept.sequence_number, kept.payload) == (1, 96, 2, DELTA)


def test_a_packet_sent_again_as_it_was_is_forwarded_too() -> None:
    publisher, recorder = repairable()
    publisher.send_frame(3, 1.0)
    publisher.send_frame(2, 1.05)
    assert [sequence for sequence, _ in recorder.got] == [1, 3, 2]


def test_numbers_are_asked_for_as_they_are_on_the_wire() -> None:
    publisher = Publisher(codecs=[REPAIRABLE])
    publisher.send_frame(65534, payload=KEYFRAME)
    publisher.send_frame(1, 1.0)
    publisher.pass_time(1.02)
    assert publisher.nacks == [(1, [65535, 0])]
    # A source that starts anew goes on by one here, under other numbers there.
    publisher.send_frame(30000, 3.0)
    publisher.send_frame(30001, 3.0, payload=KEYFRAME)
    publisher.send_frame(30003, 3.0)
    publisher.pass_time(3.02)
    assert publisher.nacks[-1] == (1, [30002])


def test_duplicates_are_dropped_and_counted() -> None:
    publisher, recorder = repairable()
    publisher.send_frame(2, 1.0)
    publisher.send_frame(2, 1.0)
    publisher.send(retransmission(2), 1.0)
    publisher.send(retransmission(1, payload=KEYFRAME), 1.0)
    layer = publisher.up_track.layer
    assert layer is not None
    assert (layer.duplicates, layer.repaired) == (3, 0)
    assert [sequence for sequence, _ in recorder.got] == [1, 2]


def test_a_loss_beyond_repair_leads_to_one_request_for_a_keyframe_at_a_time() -> None:
    publisher, recorder = repairable()
    publisher.send_frame(3, 1.0)
    publisher.pass_time(2.5)
    tries = len(publisher.nacks)
    assert 3 <= tries <= MAX_TRIES
    assert publisher.requests == [(1, True)]
    # What cannot be repaired is not asked for any more; the keyframe is, by the packets that come.
    for n in range(30):
        publisher.send_frame(4 + n, 2.5 + n / 30)
        publisher.pass_time(2.5 + n / 30)
    assert len(publisher.nacks) == tries
    assert len(publisher.requests) == 1 + int(1 / KEYFRAME_INTERVAL_S)
    publisher.send_frame(34, 3.6, payload=KEYFRAME)
    publisher.pass_time(9.0)
    assert len(publisher.requests) == 1 + int(1 / KEYFRAME_INTERVAL_S)
    assert recorder.got[-1] == (34, True)


def test_a_keyframe_makes_requests_for_what_was_before_it_needless() -> None:
    publisher, _ = repairable()
    publisher.send_frame(3, 1.0)
    publisher.send_frame(5, 1.005, payload=KEYFRAME)
    publisher.send_frame(6, 1.006)
    publisher.pass_time(9.0)
    # Only the one right before the keyframe may belong to it.
    assert {number for _, lost in publisher.nacks for number in lost} == {4}


def test_too_great_a_loss_asks_for_a_keyframe_at_once() -> None:
    publisher, _ = repairable()
    publisher.send_frame(2 + MAX_MISSING + 1, 1.0)
    assert publisher.requests == [(1, True)]
    publisher.send_frame(2 + MAX_MISSING + 2, 1.1)
    publisher.pass_time(9.0)
    assert publisher.nacks == []
    assert publisher.requests == [(1, True)]


def test_nothing_is_asked_of_who_takes_no_nack() -> None:
    publisher = Publisher(codecs=[VP8, RTX])
    recorder = subscribed(publisher)
    publisher.send_frame(1, payload=KEYFRAME)
    publisher.send_frame(3, 1.0)
    publisher.send(retransmission(2), 1.1)
    assert publisher.timer == math.inf
    assert publisher.up_track.on_timer(2.0, 0.1) == math.inf
    assert [sequence for sequence, _ in recorder.got] == [1, 3]
    sound = Publisher(Source.MICROPHONE)
    sound.send(rtp(1, payload_type=111), 1.0)
    sound.send(rtp(3, payload_type=111), 1.0)
    assert sound.timer == math.inf


def test_sound_is_repaired_where_that_was_negotiated() -> None:
    publisher = Publisher(Source.MICROPHONE, codecs=[replace(OPUS, feedback=("nack",))])
    recorder = subscribed(publisher)
    publisher.send(rtp(1, payload_type=111), 1.0)
    publisher.send(rtp(3, payload_type=111), 1.0)
    publisher.pass_time(1.02)
    assert publisher.nacks == [(1, [2])]
    publisher.send(rtp(2, payload_type=111), 1.05)
    assert [sequence for sequence, _ in recorder.got] == [1, 3, 2]
    publisher.send(rtp(5, payload_type=111), 2.0)
    publisher.pass_time(9.0)
    assert publisher.requests == []  # a sound needs none


def test_a_probe_of_the_link_goes_nowhere() -> None:
    publisher, recorder = repairable()
    for payload in (b"", b"\0"):
        publisher.send(rtp(1, payload_type=97, ssrc=9, payload=payload), 1.0)
    padded = rtp(2, payload_type=97, ssrc=9, payload=bytes(254) + b"\xff")
    publisher.send(bytes((padded[0] | 0x20, *padded[1:])), 1.0)
    assert [sequence for sequence, _ in recorder.got] == [1]


def test_a_retransmission_stream_with_other_payload_types_goes_nowhere() -> None:
    publisher, recorder = repairable()
    publisher.send(retransmission(0), 1.0)
    for payload_type in (96, 102, 77):
        publisher.send(retransmission(2, payload_type=payload_type), 1.0)
    # Nor does one of another codec than that which is sent now.
    publisher.up_track.configure([REPAIRABLE, RTX, H264, Codec(103, "rtx", 90000, parameters="apt=102")], {})
    publisher.send_frame(4, 1.0)
    publisher.send(retransmission(3, payload_type=103), 1.0)
    assert [sequence for sequence, _ in recorder.got] == [1, 0, 4]


def test_a_retransmission_of_what_nobody_has_sent_does_not_stop_the_stream() -> None:
    publisher, recorder = repairable()
    for number in (20000, 40000, 60000, 1 + MAX_AHEAD):
        publisher.send(retransmission(number), 1.0)
    # The last packets before a pause may be known only by their retransmissions.
    publisher.send(retransmission(3), 1.0)
    publisher.send_frame(2, 1.0)
    publisher.send_frame(4, 1.0)
    assert [sequence for sequence, _ in recorder.got] == [1, 3, 2, 4]


def test_a_layer_that_is_not_forwarded_is_not_repaired() -> None:
    publisher, _ = repairable()
    publisher.send_frame(3, 1.0)
    publisher.send_frame(100, 1.001, ssrc=2, payload=KEYFRAME)
    publisher.pass_time(9.0)
    assert publisher.nacks == []
    assert publisher.timer == math.inf
    assert publisher.up_track.layer is not None
    assert publisher.up_track.layer.ssrc == 2


def test_what_is_kept_of_another_codec_is_forgotten() -> None:
    publisher, _ = repairable()
    publisher.send(rtp(2, 90000, payload_type=H264.payload_type, payload=b"\x61 a slice"), 1.0)
    layer = publisher.up_track.layer
    assert layer is not None
    assert layer.history.since_keyframe(1.0) is None
    publisher.send(rtp(3, 93000, payload_type=H264.payload_type, payload=b"\x67 sets"), 1.0)
    assert [sequence for sequence, _ in layer.history.since_keyframe(1.0) or ()] == [3]
