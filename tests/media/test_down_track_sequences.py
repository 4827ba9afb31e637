"""A down track through any sequence of events: losses, reordering, other sources, codecs and numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from tests.media.flows import Publisher, Subscriber
from tests.media.support import AUDIO_LEVEL, H264, OPUS, VP8, rtp
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.up_track import KEYFRAME_INTERVAL_S
from zvonim_sfu.rtp.packet import RtpPacket
from zvonim_sfu.rtp.sequence import ts_delta


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
