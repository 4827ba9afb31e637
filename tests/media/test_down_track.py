from __future__ import annotations

from dataclasses import replace

from tests.media.flows import DELTA, KEYFRAME, Publisher, Subscriber
from tests.media.support import AUDIO_LEVEL, AV1, H264, MID, OPUS, VP8, VP9, rtp
from zvonim_sfu.media.source import Source
from zvonim_sfu.rtp.sequence import ts_delta
from zvonim_sfu.rtp.timing import ntp_from_unix

DEPENDENCY = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"


def watched(publisher: Publisher, subscriber: Subscriber | None = None) -> Subscriber:
    """A subscriber that has a publisher's picture."""
    subscriber = subscriber or Subscriber()
    subscriber.down_track.attach(publisher.up_track, 0.0)
    publisher.send_frame(1, payload=KEYFRAME)
    return subscriber


def test_a_packet_leaves_under_the_down_tracks_own_numbers() -> None:
    publisher = Publisher(codecs=[replace(VP8, payload_type=35)])
    subscriber = Subscriber(codecs=[replace(VP8, payload_type=120)], ssrc=77)
    subscriber.down_track.attach(publisher.up_track, 0.0)
    publisher.send(rtp(65535, 1000, payload_type=35, payload=KEYFRAME, marker=True))
    publisher.send(rtp(0, 4000, payload_type=35, payload=DELTA))
    first, second = subscriber.sent
    assert (first.ssrc, first.payload_type, first.marker, first.payload) == (77, 120, True, KEYFRAME)
    assert (second.ssrc, second.payload_type, second.marker, second.payload) == (77, 120, False, DELTA)
    assert subscriber.numbers == [0, 1]
    assert ts_delta(second.timestamp, first.timestamp) == 3000


def test_padding_and_csrcs_leave_as_they_came() -> None:
    publisher, subscriber = Publisher(), Subscriber()
    subscriber.down_track.attach(publisher.up_track, 0.0)
    data = rtp(5, 6, payload=b"\x01\x02\x03\x04" + KEYFRAME + b"\x00\x00\x03")
    publisher.send(bytes((data[0] | 0x21, *data[1:])))
    (sent,) = subscriber.sent
    assert (sent.payload, sent.data[12:]) == (KEYFRAME, data[12:])
    assert sent.data[0] == data[0] | 0x21


def test_header_extensions_are_renumbered_and_what_is_not_shared_is_removed() -> None:
    publisher = Publisher(extension_ids={AUDIO_LEVEL: 1, DEPENDENCY: 3, "urn:other": 4})
    subscriber = Subscriber(extension_ids={AUDIO_LEVEL: 6, DEPENDENCY: 16, MID: 2})
    subscriber.down_track.attach(publisher.up_track, 0.0)
    publisher.send(rtp(1, payload=KEYFRAME, extensions=[(1, b"a"), (3, b"dd"), (4, b"other"), (7, b"x")]))
    (sent,) = subscriber.sent
    assert sent.extensions() == [(6, b"a"), (16, b"dd")]
    assert sent.payload == KEYFRAME


def test_a_picture_begins_with_a_keyframe() -> None:
    publisher, subscriber = Publisher(), Subscriber()
    subscriber.down_track.attach(publisher.up_track, 0.0)
    publisher.send_frame(1)
    publisher.send_frame(2)
    publisher.send_frame(3, payload=KEYFRAME)
    publisher.send_frame(4)
    assert [packet.payload for packet in subscriber.sent] == [KEYFRAME, DELTA]
    assert publisher.requests == [(1, True)]


def test_what_came_late_from_before_the_keyframe_is_not_sent() -> None:
    publisher, subscriber = Publisher(), Subscriber()
    subscriber.down_track.attach(publisher.up_track, 0.0)
    publisher.send_frame(10, payload=KEYFRAME)
    publisher.send_frame(9)
    publisher.send_frame(12)
    publisher.send_frame(11)
    assert subscriber.numbers == [0, 2, 1]


def test_a_loss_stays_a_loss() -> None:
    publisher = Publisher()
    subscriber = watched(publisher)
    publisher.send_frame(2)
    publisher.send_frame(5)
    publisher.send_frame(6)
    assert subscriber.numbers == [0, 1, 4, 5]


def test_the_next_source_goes_on_where_the_last_one_ended() -> None:
    ann, bob = Publisher(name="ann"), Publisher(name="bob")
    subscriber = watched(ann)
    ann.send_frame(3)
    ann.send_frame(2)
    subscriber.down_track.attach(bob.up_track, 1.0)
    ann.send_frame(4)
    bob.send_frame(60000, 1.0)
    bob.send_frame(60001, 1.1, payload=KEYFRAME)
    bob.send_frame(60002, 1.2)
    assert subscriber.numbers == [0, 2, 1, 3, 4]
    assert ts_delta(subscriber.sent[3].timestamp, subscriber.sent[1].timestamp) > 0


def test_a_timestamp_never_goes_back_even_when_the_clock_does() -> None:
    ann, bob = Publisher(name="ann"), Publisher(name="bob")
    subscriber = Subscriber()
    subscriber.down_track.attach(ann.up_track, 100.0)
    ann.send_frame(1, 100.0, payload=KEYFRAME)
    ann.send(rtp(2, 100 * 90000 + 90000), 100.0)  # captured a second ahead
    subscriber.down_track.attach(bob.up_track, 100.1)
    bob.send_frame(1, 100.1, payload=KEYFRAME)
    assert ts_delta(subscriber.sent[2].timestamp, subscriber.sent[1].timestamp) == 1


def test_a_slot_stays_its_own_through_silence() -> None:
    ann, bob = Publisher(name="ann"), Publisher(name="bob")
    subscriber = watched(ann)
    subscriber.down_track.attach(None, 1.0)
    ann.send_frame(2, 1.0)
    subscriber.down_track.attach(bob.up_track, 60.0)
    bob.send_frame(1, 60.0, payload=KEYFRAME)
    assert subscriber.numbers == [0, 1]
    assert ts_delta(subscriber.sent[1].timestamp, subscriber.sent[0].timestamp) == 60 * 90000


def test_a_sound_needs_no_keyframe() -> None:
    publisher, subscriber = Publisher(Source.MICROPHONE), Subscriber("audio")
    subscriber.down_track.attach(publisher.up_track, 0.0)
    publisher.send(rtp(7, 960, payload_type=OPUS.payload_type, payload=b"sound"))
    assert [packet.payload for packet in subscriber.sent] == [b"sound"]


def test_what_the_subscriber_cannot_receive_is_told_once_and_not_sent() -> None:
    publisher = Publisher(codecs=[VP8, H264])
    subscriber = Subscriber(codecs=[VP9, H264])
    subscriber.down_track.attach(publisher.up_track, 0.0)
    for n in range(5):
        publisher.send_frame(n, payload=KEYFRAME)
        subscriber.down_track.configure([VP9, H264], {})
    assert subscriber.sent == []
    assert subscriber.unsupported == [publisher.up_track]
    publisher.send(rtp(9, payload_type=H264.payload_type, payload=b"\x67"))
    assert [packet.payload_type for packet in subscriber.sent] == [H264.payload_type]
    publisher.send_frame(10, payload=KEYFRAME)
    assert subscriber.unsupported == [publisher.up_track] * 2
    assert len(subscriber.sent) == 1


def test_another_track_that_is_not_supported_is_told_of_too() -> None:
    ann, bob = Publisher(name="ann"), Publisher(name="bob")
    subscriber = Subscriber(codecs=[AV1])
    for publisher in (ann, bob, ann):
        subscriber.down_track.attach(publisher.up_track, 0.0)
        publisher.send_frame(1)
    assert subscriber.unsupported == [ann.up_track, bob.up_track, ann.up_track]


def test_a_section_that_the_client_pauses_is_no_missing_codec() -> None:
    publisher = Publisher()
    subscriber = watched(publisher)
    subscriber.down_track.configure((), {})
    publisher.send_frame(2)
    assert len(subscriber.sent) == 1
    assert subscriber.unsupported == []
    assert publisher.requests == []
    subscriber.down_track.configure([VP8], {})
    publisher.send_frame(3, 1.0)
    assert publisher.requests[-1] == (1, True)
    publisher.send_frame(4, 1.1, payload=KEYFRAME)
    publisher.send_frame(5, 1.2)
    assert subscriber.numbers == [0, 1, 2]


def test_a_negotiation_of_either_side_does_not_disturb_the_picture() -> None:
    publisher = Publisher()
    subscriber = watched(publisher)
    requests = len(publisher.requests)
    publisher.up_track.configure([VP8, H264], {AUDIO_LEVEL: 1})
    publisher.send_frame(2, 5.0)
    subscriber.down_track.configure([VP9, VP8], {AUDIO_LEVEL: 2})
    publisher.send(rtp(3, 5 * 90000, extensions=[(1, b"a")], payload=DELTA), 5.0)
    assert subscriber.numbers == [0, 1, 2]
    assert subscriber.sent[2].extensions() == [(2, b"a")]
    assert len(publisher.requests) == requests


def test_a_new_number_for_the_codec_means_a_new_decoder_and_a_keyframe() -> None:
    publisher = Publisher()
    subscriber = watched(publisher)
    subscriber.down_track.configure([replace(VP8, payload_type=120)], {})
    publisher.send_frame(2, 5.0)
    assert publisher.requests[-1] == (1, True)
    publisher.send_frame(3, 5.1, payload=KEYFRAME)
    assert [packet.payload_type for packet in subscriber.sent] == [96, 120]
    assert subscriber.numbers == [0, 1]


def test_a_lost_picture_is_asked_for() -> None:
    publisher = Publisher()
    subscriber = watched(publisher)
    subscriber.down_track.request_keyframe(9.0)
    assert publisher.requests == [(1, True)]
    subscriber.down_track.detach()
    subscriber.down_track.request_keyframe(20.0)
    assert len(publisher.requests) == 1


def test_attaching_the_same_track_again_changes_nothing() -> None:
    publisher = Publisher()
    subscriber = watched(publisher)
    subscriber.down_track.attach(publisher.up_track, 9.0)
    publisher.send_frame(2, 9.0)
    assert subscriber.numbers == [0, 1]
    assert publisher.requests == []


def test_a_report_is_made_only_of_what_is_sent_with_a_known_clock() -> None:
    publisher = Publisher()
    subscriber = Subscriber()
    down_track = subscriber.down_track
    assert down_track.sender_report(1.0, ntp_from_unix(1)) is None
    subscriber = watched(publisher)
    down_track = subscriber.down_track
    assert down_track.sender_report(1.0, ntp_from_unix(1)) is None
    assert publisher.up_track.layer is not None
    publisher.up_track.layer.clock.update(ntp_from_unix(500), 45000)
    publisher.clock.on_sender_report(ntp_from_unix(500) / 2**32, 1.0)
    publisher.send_frame(2)
    report = down_track.sender_report(1.5, ntp_from_unix(1_700_000_000.5))
    assert report is not None
    assert (report.ssrc, report.ntp) == (down_track.ssrc, ntp_from_unix(1_700_000_000.5))
    assert (report.packets, report.octets) == (2, len(KEYFRAME) + len(DELTA))
    # The publisher's 45000 was the time 1.0, and its 0 went out as the first packet's number.
    assert ts_delta(report.rtp_timestamp, subscriber.sent[0].timestamp) == 45000 + 45000
    down_track.detach()
    assert down_track.sender_report(2.0, ntp_from_unix(1_700_000_001)) is None
