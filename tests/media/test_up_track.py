from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.media.flows import DELTA, KEYFRAME, Publisher
from tests.media.support import H264, OPUS, VP8, rtp
from zvonim_sfu.media.codecs import CodecKey
from zvonim_sfu.media.layer import KEYFRAME_INTERVAL_S
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.up_track import MAX_LAYERS, UpTrack

if TYPE_CHECKING:
    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.outlets import Outlet
    from zvonim_sfu.rtp.description import Description
    from zvonim_sfu.rtp.packet import RtpPacket


class Recorder:
    """A down track that notes what it is given."""

    def __init__(self, up_track: UpTrack) -> None:
        self.got: list[tuple[int, bool]] = []
        self.codec_changes = 0
        self.up_track = up_track
        up_track.subscribe(self)
        self.on_layers(0.0)

    def forward(self, packet: RtpPacket, layer: Layer, sequence: int, description: Description, now: float) -> None:
        assert packet.ssrc == layer.ssrc
        self.got.append((sequence, description.keyframe))

    def steady_sender(self, layer: Layer) -> None:
        """Everything goes through `forward`."""

    def outlet_in(self, layer: Layer) -> None:
        """It gets the whole."""

    def wanted_of(self, layer: Layer) -> None:
        """And wants nothing else."""

    def move(self, layer: Layer, outlet: Outlet, sequence: int, now: float) -> None:
        raise AssertionError

    def on_codec(self) -> None:
        self.codec_changes += 1

    def on_layers(self, now: float) -> None:
        """Take the highest layer."""
        if self.up_track.layer is not None:
            self.up_track.layer.outlets.join(self)

    def on_resume(self, now: float) -> None:
        """It begins no sound."""

    def watch(self, now: float) -> bool:
        """It waits for nothing."""
        return False


def subscribed(publisher: Publisher, now: float = 0.0) -> Recorder:
    recorder = Recorder(publisher.up_track)
    request_keyframe(publisher, now)
    return recorder


def request_keyframe(publisher: Publisher, now: float) -> None:
    """What a down track does that carries the highest layer."""
    if publisher.up_track.layer is not None:
        publisher.up_track.layer.request_keyframe(now)


def started(now: float = 0.0, **options: Any) -> Publisher:
    """A camera that sends already, and whose first keyframe nobody has seen."""
    publisher = Publisher(**options)
    publisher.send_frame(1, now, payload=KEYFRAME)
    return publisher


def test_a_track_is_named_by_its_publisher_and_source() -> None:
    track = Publisher(Source.SCREEN, name="ann").up_track
    assert (track.id, track.key, track.kind) == ("screen", "ann/screen", "video")
    assert (track.muted, track.codec, track.layer) == (False, None, None)


def test_every_receiver_gets_every_packet_in_order() -> None:
    publisher = Publisher(Source.MICROPHONE)
    first = subscribed(publisher)
    publisher.send(rtp(65535, payload_type=111))
    second = subscribed(publisher)
    publisher.send(rtp(0, payload_type=111))
    publisher.up_track.unsubscribe(first)
    assert publisher.up_track.layer is not None
    publisher.up_track.layer.outlets.leave(first)
    publisher.send(rtp(1, payload_type=111))
    assert first.got == [(65535, False), (65536, False)]
    assert second.got == [(65536, False), (65537, False)]


def test_the_codec_is_that_of_the_packets() -> None:
    publisher = Publisher(codecs=[VP8, H264])
    recorder = subscribed(publisher)
    publisher.send_frame(1)
    assert publisher.up_track.codec is not None
    assert publisher.up_track.codec.key == CodecKey("VP8")
    publisher.send(rtp(2, payload_type=102))
    assert publisher.up_track.codec.key.name == "H264"
    assert recorder.codec_changes == 2
    assert len(recorder.got) == 2


def test_a_payload_type_that_was_not_negotiated_goes_nowhere() -> None:
    publisher = Publisher()
    recorder = subscribed(publisher)
    publisher.send(rtp(1, payload_type=97))
    assert publisher.up_track.layer is None
    publisher.send_frame(2)
    publisher.send(rtp(3, payload_type=97))
    assert [sequence for sequence, _ in recorder.got] == [2]
    assert publisher.up_track.unforwarded == 1


def test_a_renumbered_codec_goes_on_without_a_new_keyframe() -> None:
    publisher = started()
    recorder = subscribed(publisher)
    publisher.send_frame(2, payload=KEYFRAME)
    requests = len(publisher.requests)
    publisher.up_track.configure([replace(VP8, payload_type=120)], {})
    publisher.send(rtp(3, payload_type=96, payload=DELTA), 5.0)  # still under way
    publisher.send(rtp(4, payload_type=120, payload=DELTA), 5.0)
    assert [sequence for sequence, _ in recorder.got] == [2, 4]
    assert len(publisher.requests) == requests


def test_a_wild_sequence_number_is_not_forwarded_before_a_second_confirms_it() -> None:
    publisher = started()
    recorder = subscribed(publisher)
    publisher.send_frame(2)
    publisher.send_frame(30000)
    publisher.send_frame(3)
    publisher.send_frame(40000)
    publisher.send_frame(40001)
    assert [sequence for sequence, _ in recorder.got] == [2, 3, 4]
    assert publisher.up_track.unforwarded == 2


# Keyframes


def test_a_new_subscriber_has_a_keyframe_asked_for_at_once() -> None:
    publisher = started(now=0.0)
    assert publisher.requests == []
    subscribed(publisher, 1.0)
    assert publisher.requests == [(1, True)]


def test_subscribers_of_one_moment_share_a_request() -> None:
    publisher = started()
    for _ in range(50):
        subscribed(publisher, 1.0)
    assert len(publisher.requests) == 1


def test_a_request_before_the_first_packet_is_made_when_that_comes() -> None:
    publisher = Publisher()
    subscribed(publisher, 1.0)
    assert publisher.requests == []
    publisher.send_frame(1, 2.0)
    assert publisher.requests == [(1, True)]


def test_a_request_is_repeated_until_a_keyframe_comes() -> None:
    publisher = started()
    recorder = subscribed(publisher, 10.0)
    times = [10 + n / 30 for n in range(1, 61)]
    for n, now in enumerate(times):
        publisher.send_frame(2 + n, now)
    # At once, and then once in each interval.
    assert len(publisher.requests) == 1 + int(2 / KEYFRAME_INTERVAL_S)
    publisher.send_frame(70, 12.1, payload=KEYFRAME)
    assert recorder.got[-1][1]
    for n in range(60):
        publisher.send_frame(71 + n, 12.2 + n / 30)
    assert len(publisher.requests) == 1 + int(2 / KEYFRAME_INTERVAL_S)
    assert not any(keyframe for _, keyframe in recorder.got[:-61])


def test_a_keyframe_that_comes_unasked_serves_who_waits() -> None:
    publisher = started()
    subscribed(publisher, 10.0)
    publisher.send_frame(2, 10.0 + KEYFRAME_INTERVAL_S / 2, payload=KEYFRAME)
    publisher.send_frame(3, 10.0 + KEYFRAME_INTERVAL_S)
    assert len(publisher.requests) == 1


def test_a_request_soon_after_another_waits_for_its_turn_and_is_not_forgotten() -> None:
    publisher = started()
    subscribed(publisher, 10.0)
    publisher.send_frame(2, 10.1, payload=KEYFRAME)
    request_keyframe(publisher, 10.2)
    publisher.send_frame(3, 10.3)
    assert len(publisher.requests) == 1
    publisher.send_frame(4, 10.0 + KEYFRAME_INTERVAL_S)
    assert len(publisher.requests) == 2


def test_a_storm_of_requests_reaches_the_publisher_as_a_few() -> None:
    publisher = started()
    for n in range(1000):
        request_keyframe(publisher, 10 + n / 1000)
    assert len(publisher.requests) == 2


def test_who_needs_a_keyframe_outside_a_packet_gets_it_with_the_next() -> None:
    publisher = started()
    assert publisher.up_track.layer is not None
    publisher.up_track.layer.need_keyframe()
    assert publisher.requests == []
    publisher.send_frame(2, 1.0)
    assert publisher.requests == [(1, True)]


def test_a_sound_has_no_keyframes() -> None:
    publisher = Publisher(Source.MICROPHONE)
    recorder = subscribed(publisher, 1.0)
    request_keyframe(publisher, 2.0)
    publisher.send(rtp(1, payload_type=111, payload=KEYFRAME), 3.0)
    assert publisher.requests == []
    assert recorder.got == [(1, False)]


def test_a_publisher_without_pli_is_asked_otherwise() -> None:
    publisher = started(codecs=[replace(VP8, feedback=("ccm fir",))])
    subscribed(publisher, 1.0)
    assert publisher.requests == [(1, False)]


def test_a_codec_change_needs_a_keyframe() -> None:
    publisher = Publisher(codecs=[VP8, H264])
    recorder = subscribed(publisher)
    publisher.send_frame(1, payload=KEYFRAME)
    publisher.send(rtp(2, payload_type=102, payload=b"\x61 a slice"), 10.0)
    assert publisher.requests == [(1, False)]
    publisher.send(rtp(3, payload_type=102, payload=b"\x67 a parameter set"), 10.0)
    assert recorder.got == [(1, True), (2, False), (3, True)]


# Layers


def test_the_newest_ssrc_is_forwarded_and_needs_a_keyframe() -> None:
    publisher = started()
    recorder = subscribed(publisher)
    publisher.send_frame(2, payload=KEYFRAME)
    publisher.send_frame(100, 5.0, ssrc=2)
    publisher.send_frame(3, 5.0, ssrc=1)
    publisher.send_frame(101, 5.1, ssrc=2, payload=KEYFRAME)
    assert recorder.got == [(2, True), (100, False), (101, True)]
    assert publisher.requests[-1] == (2, True)
    assert publisher.up_track.unforwarded == 1


def test_layers_are_bounded_and_the_router_with_them() -> None:
    publisher = Publisher()
    recorder = subscribed(publisher)
    for ssrc in range(1, 200):
        publisher.send_frame(1, ssrc=ssrc)
    assert list(publisher.up_track.layers) == list(range(200 - MAX_LAYERS, 200)) == list(publisher.router.streams)
    assert len(recorder.got) == 199
    # One that was forgotten is as good as new.
    publisher.send_frame(2, ssrc=1)
    assert len(recorder.got) == 200
    assert publisher.up_track.layer is publisher.up_track.layers[1]


@pytest.mark.parametrize("payload_type", [97, 111])
def test_no_layer_begins_with_a_payload_type_that_was_not_negotiated(payload_type: int) -> None:
    track: UpTrack = Publisher().up_track
    assert track.add_layer(1, payload_type) is None
    assert not track.accepts(payload_type)
    assert track.accepts(VP8.payload_type)
    assert OPUS.payload_type == 111


def test_a_track_that_ends_keeps_no_packet_for_anybody() -> None:
    publisher = started()
    recorder = subscribed(publisher)
    publisher.send_frame(2, payload=KEYFRAME)
    publisher.up_track.close()
    publisher.send_frame(3)
    assert len(recorder.got) == 1
    assert (publisher.up_track.layers, publisher.up_track.layer, publisher.up_track.receivers) == ({}, None, 0)
    request_keyframe(publisher, 20.0)
    publisher.up_track.unsubscribe(recorder)
