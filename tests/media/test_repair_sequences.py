"""Any order of packets, losses, repairs, switches and NACKs, and what has to hold of all that leaves."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace

import pytest

from tests.media.flows import Publisher, Subscriber
from tests.media.support import AUDIO_LEVEL, H264, OPUS, VP8, rtp
from zvonim_sfu.media.layer import KEYFRAME_INTERVAL_S
from zvonim_sfu.media.sdp import Codec
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.up_track import MAX_LAYERS
from zvonim_sfu.rtp.budget import RepairBudget
from zvonim_sfu.rtp.packet import RtpPacket
from zvonim_sfu.rtp.sequence import seq_delta, ts_delta

NACKED = ("nack", "nack pli")
ROUND_TRIP_S = 0.05
RTX_SSRC = 0xFEED
BEGINNINGS = {96: (b"\x10\x00", b"\x10\x01"), 102: (b"\x67", b"\x61"), 111: (b"", b"")}


def rtx(codec: Codec) -> Codec:
    return Codec(codec.payload_type + 1, "rtx", codec.clock_rate, parameters=f"apt={codec.payload_type}")


@dataclass
class Made:
    """A packet of a publisher."""

    index: int
    data: bytes
    payload: bytes
    ssrc: int
    payload_type: int
    frame: int


@dataclass
class Feed:
    """A publisher whose packets are lost, held back and doubled. It answers NACKs, or not, and requests, or not."""

    rng: random.Random
    publisher: Publisher
    codecs: list[int]
    ssrc: int = 1
    index: int = 0
    frame: int = 0
    frame_left: int = 0
    willing: float = 0.7
    "How often a request for a keyframe is answered."
    answered: int = 0
    nacks_read: int = 0
    made: dict[int, Made] = field(default_factory=dict)
    "What has been sent of this SSRC, by number on the wire."
    delivered: int = 0
    sent: dict[bytes, Made] = field(default_factory=dict)
    "All, by payload."
    held: list[Made] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.payload_type = self.codecs[0]
        self.rtx_ssrc = self.rng.randrange(2**32)
        self.rtx_number = self.rng.randrange(2**16)
        self.renew()

    def renew(self) -> None:
        """A rebuilt encoder: another SSRC and random numbers."""
        self.ssrc += 1
        self.start, self.base = self.rng.randrange(2**16), self.rng.randrange(2**32)
        self.index = self.frame_left = self.delivered = 0
        self.held.clear()
        self.made.clear()

    def make(self, now: float) -> Made:
        """The next packet; a frame has one to four of them."""
        self.index += 1
        if self.frame_left == 0:
            self.frame += 1
            self.frame_left = self.rng.randint(1, 4)
            self.timestamp = self.base + int(now * 90000)
            wanted = len(self.publisher.requests) > self.answered and self.rng.random() < self.willing
            self.is_keyframe = wanted or self.rng.random() < 0.02
            self.answered = len(self.publisher.requests)
            begins = BEGINNINGS[self.payload_type][0 if self.is_keyframe else 1]
        else:
            begins = {96: b"\x00\x01", 102: b"\x61", 111: b""}[self.payload_type]
        self.frame_left -= 1
        number = self.start + self.index & 0xFFFF
        payload = begins + self.rng.randbytes(8)
        data = rtp(
            number,
            self.timestamp,
            payload_type=self.payload_type,
            ssrc=self.ssrc,
            payload=payload,
            marker=self.frame_left == 0,
        )
        self.made[number] = Made(self.index, data, payload, self.ssrc, self.payload_type, self.frame)
        self.sent[payload] = self.made[number]
        return self.made[number]

    def answer(self, number: int) -> bytes | None:
        """A retransmission of one of the packets that were sent."""
        made = self.made.get(number)
        if made is None or made.payload_type + 1 not in self.publisher.up_track._repairs:
            return made.data if made is not None else None
        self.rtx_number = self.rtx_number + 1 & 0xFFFF
        return rtp(
            self.rtx_number,
            RtpPacket.parse(made.data).timestamp,
            payload_type=made.payload_type + 1,
            ssrc=self.rtx_ssrc,
            payload=number.to_bytes(2, "big") + made.payload,
            marker=RtpPacket.parse(made.data).marker,
        )


class Scene:
    """Three publishers and one subscriber, who may ask for anything again."""

    def __init__(self, seed: int, kind: str) -> None:
        self.rng = rng = random.Random(seed)
        self.kind = kind
        source = Source.MICROPHONE if kind == "audio" else Source.CAMERA
        media = [OPUS] if kind == "audio" else [VP8, H264]
        media = [replace(codec, feedback=NACKED) for codec in media]
        self.with_rtx = rng.random() < 0.7
        self.codecs = [*media, *(rtx(codec) for codec in media)] if self.with_rtx else media
        numbers = [codec.payload_type for codec in media]
        self.feeds = [Feed(rng, Publisher(source, codecs=self.codecs), numbers) for _ in range(3)]
        self.subscriber = Subscriber(kind, codecs=self.codecs, rtx_ssrc=RTX_SSRC if self.with_rtx else 0)
        self.budget = RepairBudget(sent=0, now=0.0)
        self.now = 50.0
        self.attached: Feed | None = None
        self.read = 0
        self.first: int | None = None
        "The first outgoing number."
        self.highest = 0
        "The newest outgoing number, counted from the first."
        self.times: dict[int, int] = {}
        "Timestamps by that count."
        self.payloads: dict[int, bytes] = {}
        self.origins: dict[int, tuple[int, int, int]] = {}
        "Feed, SSRC and index, by that count."
        self.again: dict[int, float] = {}
        self.rtx_number: int | None = None

    def step(self) -> None:
        rng = self.rng
        feed = rng.choice([*self.feeds, *([self.attached] * 6 if self.attached else [])])
        self.now += rng.random() * 0.02
        for each in self.feeds:
            each.publisher.pass_time(self.now, ROUND_TRIP_S)
        if rng.random() < 0.85:
            self.transfer(feed)
        else:
            self.change(feed)
        self.check_publishers()

    def transfer(self, feed: Feed) -> None:
        """Something happens to packets."""
        rng = self.rng
        match rng.choice(
            ["send"] * 8 + ["lose", "hold", "release", "double", "repair", "repair", "wild repair", "nack"]
        ):
            case "send":
                self.deliver(feed, feed.make(self.now).data)
            case "lose":
                feed.make(self.now)
            case "hold":
                feed.held.append(feed.make(self.now))
            case "release" if feed.held:
                held = feed.held.pop(rng.randrange(len(feed.held)))
                # What comes later than this is past the window of SRTP.
                if held.index > feed.index - 900:
                    self.deliver(feed, held.data)
            case "double":
                data = feed.make(self.now).data
                self.deliver(feed, data)
                self.deliver(feed, data)
            case "repair":
                self.answer_nacks(feed)
            case "wild repair" if feed.made:
                answer = feed.answer(rng.choice(list(feed.made)))
                if answer is not None:
                    self.deliver(feed, answer)
            case "nack" if self.first is not None:
                self.ask_again()

    def change(self, feed: Feed) -> None:
        """Somebody comes, goes, or is not what he was."""
        rng = self.rng
        match rng.choice(["attach", "attach", "leave", "pause", "ssrc", "codec", "renegotiate", "burst of loss"]):
            case "attach" if feed is not self.attached:
                self.attached = feed
                self.subscriber.down_track.attach(feed.publisher.up_track, self.now)
                self.check_sent()
            case "leave":
                self.attached = None
                self.subscriber.down_track.attach(None, self.now)
            case "pause":
                self.now += rng.choice([0.1, 0.5, 3.0])
            case "ssrc" if rng.random() < 0.3:
                feed.renew()
            case "codec" if rng.random() < 0.3 and feed.frame_left == 0:
                feed.payload_type = rng.choice(feed.codecs)
            case "renegotiate":
                feed.publisher.up_track.configure(self.codecs, {AUDIO_LEVEL: rng.randint(1, 14)})
            case "burst of loss" if rng.random() < 0.3 and feed.index < feed.delivered + 2000:
                for _ in range(rng.choice([5, 50, 600])):
                    feed.make(self.now)

    def answer_nacks(self, feed: Feed) -> None:
        nacks = feed.publisher.nacks[feed.nacks_read :]
        feed.nacks_read = len(feed.publisher.nacks)
        for ssrc, lost in nacks:
            for number in lost:
                data = feed.answer(number) if ssrc == feed.ssrc and self.rng.random() < 0.8 else None
                if data is not None:
                    self.deliver(feed, data)

    def deliver(self, feed: Feed, data: bytes) -> None:
        feed.delivered = feed.index
        feed.publisher.send(data, self.now)
        sent = self.check_sent()
        assert feed is self.attached or not sent

    def ask_again(self) -> None:
        """The subscriber misses some of what was sent to it, and asks for nonsense besides."""
        rng = self.rng
        assert self.first is not None
        counts = [self.highest - rng.randrange(40) for _ in range(rng.randint(1, 6))]
        if rng.random() < 0.1:
            counts.append(rng.randrange(-(2**15), 2**15))
        lost = [self.first + count & 0xFFFF for count in counts]
        before = len(self.subscriber.sent)
        self.subscriber.down_track.repair(lost, self.budget, self.now, ROUND_TRIP_S)
        repairs = self.subscriber.sent[before:]
        self.read = len(self.subscriber.sent)
        for packet in repairs:
            self.check_repair(packet, lost)

    def check_repair(self, packet: RtpPacket, lost: list[int]) -> None:
        number, payload = packet.sequence_number, packet.payload
        if self.with_rtx:
            assert packet.ssrc == RTX_SSRC
            if self.rtx_number is not None:
                assert number == self.rtx_number + 1 & 0xFFFF
            self.rtx_number = number
            number, payload = int.from_bytes(payload[:2], "big"), payload[2:]
        else:
            assert packet.ssrc == 0xABCD
        assert number in lost
        count = self.count(number)
        # Only what it was sent before, as it was sent before; and not again before the answer can have come.
        assert payload == self.payloads[count]
        assert packet.timestamp == self.times[count]
        assert self.now - self.again.get(count, -math.inf) >= 0.6 * ROUND_TRIP_S
        self.again[count] = self.now
        assert self.attached is not None

    def count(self, number: int) -> int:
        assert self.first is not None
        return self.highest + seq_delta(number, self.first + self.highest & 0xFFFF)

    def check_sent(self) -> list[RtpPacket]:
        sent = self.subscriber.sent[self.read :]
        self.read = len(self.subscriber.sent)
        for packet in sent:
            self.check(packet)
        return sent

    def check(self, packet: RtpPacket) -> None:
        feed = self.attached
        assert feed is not None
        assert packet.ssrc == 0xABCD
        origin = feed.sent[packet.payload]
        assert packet.payload_type == origin.payload_type
        place = id(feed), origin.ssrc, origin.index
        if self.first is None:
            self.first = packet.sequence_number
            count = 0
        else:
            count = self.count(packet.sequence_number)
            if count > self.highest:
                self.check_newest(packet, count, place)
            else:
                self.check_late(packet, count, place)
        assert count not in self.payloads, "left twice"
        self.highest = max(self.highest, count)
        self.payloads[count], self.times[count], self.origins[count] = packet.payload, packet.timestamp, place

    def check_newest(self, packet: RtpPacket, count: int, place: tuple[int, int, int]) -> None:
        last = self.origins[self.highest]
        if place[:2] == last[:2]:
            if count - self.highest != place[2] - last[2]:
                # Left out between the two: what a keyframe made needless (it came in anew), so there is no gap.
                assert count == self.highest + 1
                assert self.payloads
        else:
            assert count == self.highest + 1
            assert ts_delta(packet.timestamp, self.times[self.highest]) > 0
        assert ts_delta(packet.timestamp, self.times[self.highest]) >= 0

    def check_late(self, packet: RtpPacket, count: int, place: tuple[int, int, int]) -> None:
        """It fills a gap that the publisher's loss made."""
        before = max(c for c in self.payloads if c < count)
        after = min(c for c in self.payloads if c > count)
        assert self.origins[before][:2] == place[:2] == self.origins[after][:2]
        assert count - before == place[2] - self.origins[before][2]
        assert after - count == self.origins[after][2] - place[2]
        assert ts_delta(packet.timestamp, self.times[before]) >= 0
        assert ts_delta(self.times[after], packet.timestamp) >= 0

    def check_publishers(self) -> None:
        for feed in self.feeds:
            track = feed.publisher.up_track
            assert len(track.layers) <= MAX_LAYERS
            if track.layer is not None and track.layer.register is not None:
                register = track.layer.register
                if register.next_at is not None:
                    assert feed.publisher.timer <= register.next_at

    def finish(self) -> None:
        """Whatever has happened, the picture is there soon after, and nothing is left to wait for."""
        feed = self.feeds[0]
        feed.willing = 1.0
        self.attached = feed
        self.subscriber.down_track.attach(None, self.now)
        self.subscriber.down_track.attach(feed.publisher.up_track, self.now)
        self.check_sent()
        before = len(self.subscriber.sent)
        for _ in range(60):
            self.now += KEYFRAME_INTERVAL_S / 20
            self.deliver(feed, feed.make(self.now).data)
        assert len(self.subscriber.sent) > before
        for each in self.feeds:
            each.publisher.pass_time(self.now + 10, ROUND_TRIP_S)
            assert each.publisher.timer == math.inf
            for _, lost in each.publisher.nacks:
                assert len(lost) == len(set(lost))


@pytest.mark.parametrize("kind", ["audio", "video"])
@pytest.mark.parametrize("seeds", [range(n, n + 25) for n in range(0, 75, 25)], ids=str)
def test_whatever_happens_the_outgoing_stream_is_whole(kind: str, seeds: range) -> None:
    for seed in seeds:
        scene = Scene(seed, kind)
        try:
            for _ in range(600):
                scene.step()
            scene.finish()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
