from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from tests.media.flows import DELTA, KEYFRAME, Publisher, Subscriber
from tests.media.support import AUDIO_LEVEL, AV1, H264, MID, OPUS, VP8, VP9, rtp
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.up_track import KEYFRAME_INTERVAL_S
from zvonim_sfu.rtp.packet import RtpPacket
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
    publisher.send_frame(3, 5.0, payload=KEYFRAME)
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
    assert down_track.sender_report(1.0, 1.0) is None
    subscriber = watched(publisher)
    down_track = subscriber.down_track
    assert down_track.sender_report(1.0, 1.0) is None
    assert publisher.up_track.layer is not None
    publisher.up_track.layer.clock.update(ntp_from_unix(500), 45000)
    publisher.clock.on_sender_report(ntp_from_unix(500) / 2**32, 1.0)
    publisher.send_frame(2)
    report = down_track.sender_report(1.5, 1_700_000_000.5)
    assert report is not None
    assert (report.ssrc, report.ntp) == (down_track.ssrc, ntp_from_unix(1_700_000_000.5))
    assert (report.packets, report.octets) == (2, len(KEYFRAME) + len(DELTA))
    # The publisher's 45000 was the time 1.0, and its 0 went out as the first packet's number.
    assert ts_delta(report.rtp_timestamp, subscriber.sent[0].timestamp) == 45000 + 45000
    down_track.detach()
    assert down_track.sender_report(2.0, 1_700_000_001.0) is None


# Any sequence of events


@dataclass
class Feed:
    """A publisher whose packets are lost, held back, doubled; it answers a request with a keyframe."""

    rng: random.Random
    publisher: Publisher
    codecs: list[int]
    kind: str
    ssrc: int = 1
    index: int = 0
    start: int = 0
    now: float = 0.0
    payload_type: int = 0
    answered: int = 0
    held: list[tuple[int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.payload_type = self.codecs[0]
        self.renew()

    def renew(self) -> None:
        """A rebuilt encoder: another SSRC and random numbers."""
        self.ssrc += 1
        self.start, self.base = self.rng.randrange(2**16), self.rng.randrange(2**32)
        self.index = 0
        self.held.clear()

    def make(self, now: float) -> tuple[int, bytes]:
        self.index += 1
        asked = len(self.publisher.requests) > self.answered
        keyframe = self.kind == "audio" or asked or self.rng.random() < 0.03
        self.answered = len(self.publisher.requests)
        begins = {96: b"\x10\x00", 102: b"\x67", 111: b""} if keyframe else {96: b"\x10\x01", 102: b"\x61"}
        data = rtp(
            self.start + self.index,
            self.base + int(now * 90000),
            payload_type=self.payload_type,
            ssrc=self.ssrc,
            payload=begins[self.payload_type] + self.rng.randbytes(8),
            marker=self.rng.random() < 0.3,
        )
        return self.index, data


class Scene:
    """Three publishers, one down track, and what has to hold of every packet that leaves."""

    def __init__(self, seed: int, kind: str) -> None:
        self.rng = rng = random.Random(seed)
        self.kind = kind
        source = Source.MICROPHONE if kind == "audio" else Source.CAMERA
        codecs = [OPUS] if kind == "audio" else [VP8, H264]
        numbers = [codec.payload_type for codec in codecs]
        self.feeds = [Feed(rng, Publisher(source, codecs=codecs), numbers, kind) for _ in range(3)]
        self.numbers = {codec.payload_type: codec.payload_type + 8 for codec in codecs}
        self.codecs = codecs
        self.subscriber = Subscriber(kind, codecs=[replace(c, payload_type=c.payload_type + 8) for c in codecs])
        self.now = 50.0
        self.attached: Feed | None = None
        self.entered: tuple[int, int, int] | None = None
        "Index, outgoing number and timestamp offset with which the present source came in."
        self.last_number: int | None = None
        self.last_timestamp = 0

    def step(self) -> None:
        rng, feed = self.rng, self.rng.choice([*self.feeds, *([self.attached] * 4 if self.attached else [])])
        self.now += rng.random() * 0.03
        match rng.choice(["send"] * 12 + ["lose", "hold", "release", "double", "attach", "leave", "ssrc", "codec",
                                          "renumber", "renegotiate"]):  # fmt: skip
            case "send":
                self.deliver(feed, *feed.make(self.now))
            case "lose":
                feed.make(self.now)
            case "hold":
                feed.held.append(feed.make(self.now))
            case "release" if feed.held:
                self.deliver(feed, *feed.held.pop(rng.randrange(len(feed.held))))
            case "double":
                packet = feed.make(self.now)
                self.deliver(feed, *packet)
                self.deliver(feed, *packet)
            case "attach" if feed is not self.attached:
                self.attached, self.entered = feed, None
                self.subscriber.down_track.attach(feed.publisher.up_track, self.now)
            case "leave":
                self.attached = self.entered = None
                self.subscriber.down_track.attach(None, self.now)
            case "ssrc":
                feed.renew()
            case "codec":
                feed.payload_type = rng.choice(feed.codecs)
            case "renumber" if rng.random() < 0.3:
                self.renumber()
            case "renegotiate":
                feed.publisher.up_track.configure(self.codecs, {AUDIO_LEVEL: rng.randint(1, 14)})
                known = self.subscriber.down_track
                known.configure([replace(c, payload_type=self.numbers[c.payload_type]) for c in self.codecs], {})

    def renumber(self) -> None:
        shift = self.rng.choice([0, 3, 8])
        numbers = {codec.payload_type: codec.payload_type + shift for codec in self.codecs}
        if numbers != self.numbers:
            self.numbers, self.entered = numbers, None
        codecs = [replace(codec, payload_type=numbers[codec.payload_type]) for codec in self.codecs]
        self.subscriber.down_track.configure(codecs, {})

    def deliver(self, feed: Feed, index: int, data: bytes) -> None:
        before = len(self.subscriber.sent)
        track = feed.publisher.up_track
        layer, codec = track.layer, track.codec
        feed.publisher.send(data, self.now)
        sent = self.subscriber.sent[before:]
        if feed is not self.attached:
            assert not sent
            return
        if track.layer is not layer or track.codec != codec:
            self.entered = None
        packet = RtpPacket.parse(data)
        begins = packet.payload[:2] == b"\x10\x00" or packet.payload[:1] == b"\x67" or self.kind == "audio"
        if self.entered is None and not begins:
            assert not sent
            return
        if self.entered is not None and index < self.entered[0]:
            assert not sent
            return
        (out,) = sent
        assert (out.payload, out.marker, out.ssrc) == (packet.payload, packet.marker, 0xABCD)
        assert out.payload_type == self.numbers[packet.payload_type]
        offset = (out.timestamp - packet.timestamp) & 0xFFFFFFFF
        if self.entered is None:
            if self.last_number is not None:
                assert out.sequence_number == (self.last_number + 1) & 0xFFFF
                assert ts_delta(out.timestamp, self.last_timestamp) > 0
            self.entered = (index, out.sequence_number, offset)
            self.last_number, self.last_timestamp = out.sequence_number, out.timestamp
            return
        # What was lost on the way to the server is lost, and nothing else.
        assert (out.sequence_number - self.entered[1]) & 0xFFFF == index - self.entered[0]
        assert offset == self.entered[2]
        assert self.last_number is not None
        if (out.sequence_number - self.last_number) & 0xFFFF < 2**15:
            self.last_number, self.last_timestamp = out.sequence_number, out.timestamp

    def finish(self) -> None:
        """Whatever has happened, the picture is there soon after."""
        feed = self.feeds[0]
        self.attached, self.entered = feed, None
        self.subscriber.down_track.attach(None, self.now)
        self.subscriber.down_track.attach(feed.publisher.up_track, self.now)
        for _ in range(40):
            self.now += KEYFRAME_INTERVAL_S / 20
            self.deliver(feed, *feed.make(self.now))
        assert self.entered is not None


@pytest.mark.parametrize("kind", ["audio", "video"])
@pytest.mark.parametrize("seeds", [range(n, n + 50) for n in range(0, 150, 50)], ids=str)
def test_whatever_happens_the_outgoing_stream_is_whole(kind: str, seeds: range) -> None:
    for seed in seeds:
        scene = Scene(seed, kind)
        try:
            for _ in range(300):
                scene.step()
            scene.finish()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
