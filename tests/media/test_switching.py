"""Several encodings of one picture: who gets which of them, and that nobody can tell from numbers that it changed."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.flows import Publisher, Subscriber
from tests.media.support import VP8, examples, rtp
from zvonim_sfu.media.layer import HIGHEST, KEYFRAME_INTERVAL_S, Rung, Selection
from zvonim_sfu.media.sdp import Codec
from zvonim_sfu.media.simulcast import REPAIRED_RID_EXTENSION, RID_EXTENSION
from zvonim_sfu.rtp.budget import RepairBudget
from zvonim_sfu.rtp.codecs import describer
from zvonim_sfu.rtp.history import MAX_AGE_S
from zvonim_sfu.rtp.sequence import seq_delta, ts_delta
from zvonim_sfu.rtp.timing import ntp_from_unix

if TYPE_CHECKING:
    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.rtp.packet import RtpPacket

RID, REPAIRED_RID = 5, 6
NACKED: Final = replace(VP8, feedback=("nack", "nack pli"))
RTX: Final = Codec(97, "rtx", 90000, parameters="apt=96")
FRAME_S: Final = 1 / 30
# Keyframes of longer ago are of no use to anybody.
STALE_S: Final = MAX_AGE_S + 0.5
Q, H, F = Selection(0, 0), Selection(1, 0), Selection(2, 0)
describe = describer("VP8")


@dataclass
class Encoder:
    """One encoding: VP8 frames of two packets each."""

    rid: str
    ssrc: int
    width: int
    height: int
    number: int
    timestamp: int
    picture_id: int
    tl0: int
    keyframe_wanted: bool = True
    is_on: bool = True
    has_temporal_layers: bool = False
    """Three of them, each of which doubles the frame rate."""
    count: int = 0

    def frame(self, now: float) -> list[bytes]:
        """The packets of the next frame."""
        temporal = (0, 2, 1, 2)[self.count % 4] if self.has_temporal_layers and not self.keyframe_wanted else 0
        self.count = 1 if self.keyframe_wanted else self.count + 1
        self.tl0 += temporal == 0
        descriptor = bytes((0x80, 0xE0)) + (0x8000 | self.picture_id & 0x7FFF).to_bytes(2)
        descriptor += bytes((self.tl0 & 0xFF, temporal << 6 | (temporal > 0) << 5))
        size = self.width.to_bytes(2, "little") + self.height.to_bytes(2, "little")
        begin = b"\x50\x01\x00\x9d\x01\x2a" + size if self.keyframe_wanted else b"\x51\x01\x00"
        begin += f"{self.rid} {self.number}".encode()
        self.keyframe_wanted = False
        first = bytes((descriptor[0] | 0x10,)) + descriptor[1:] + begin
        packets = []
        for n, payload in enumerate((first, descriptor + f"{self.rid} {self.number} rest".encode())):
            timestamp = self.timestamp + int(now * 90000)
            rid = [(RID, self.rid.encode())]
            packets.append(rtp(self.number, timestamp, payload=payload, ssrc=self.ssrc, marker=n == 1, extensions=rid))
            self.number += 1
        self.picture_id += 1
        return packets


class Camera:
    """A publisher with encodings, who answers requests for keyframes with the next frame."""

    def __init__(self, rids: str = "qhf", *, has_temporal_layers: bool = False) -> None:
        self.publisher = Publisher(codecs=[NACKED, RTX])
        self.track = self.publisher.up_track
        self.track.configure([NACKED, RTX], {}, list(rids))
        self.publisher.router.configure(
            {"0": self.track}, [], {RID_EXTENSION: RID, REPAIRED_RID_EXTENSION: REPAIRED_RID}
        )
        sizes = {"q": (320, 180), "h": (640, 360), "f": (1280, 720)}
        self.encoders = {
            rid: Encoder(rid, 10 + n, *sizes[rid], 65_000 + 300 * n, 2**32 - 90_000 * n, 32_700 + 40 * n, 250 + n)
            for n, rid in enumerate(rids)
        }
        for encoder in self.encoders.values():
            encoder.has_temporal_layers = has_temporal_layers
        self.now = self.measure_at = 100.0
        self.answers = True

    def run(self, seconds: float) -> None:
        """Capture for a while."""
        until = self.now + seconds - FRAME_S / 2
        while self.now < until:
            self.frame()

    def frame(self, *, lose: bool = False) -> None:
        """Capture one frame; `lose` its first packet of each encoding."""
        for encoder in self.encoders.values():
            if encoder.is_on:
                for data in encoder.frame(self.now)[lose:]:
                    self.publisher.send(data, self.now)
        self.now += FRAME_S
        if self.now >= self.measure_at:
            self.measure_at = self.now + 1
            for layer in self.track.ordered:
                layer.measure(self.now)
        self.publisher.pass_time(self.now)
        by_ssrc = {encoder.ssrc: encoder for encoder in self.encoders.values()}
        while self.publisher.requests:
            ssrc, _ = self.publisher.requests.pop()
            if self.answers and ssrc in by_ssrc:
                by_ssrc[ssrc].keyframe_wanted = True

    def layer(self, rid: str) -> Layer:
        return self.track.encodings[rid]


class Screen(Subscriber):
    """A subscriber that checks what it gets: a stream that a decoder can play without a hole."""

    def __init__(self) -> None:
        super().__init__(codecs=[NACKED])
        self.checked = 0
        self.by_number: dict[int, RtpPacket] = {}

    def watch(self, camera: Camera) -> None:
        self.down_track.attach(camera.track, camera.now)

    @property
    def sources(self) -> str:
        """Of which encoding the frames were, in the order of their numbers; runs of one told once."""
        rids = [_rid(packet) for packet in self.in_order()]
        return "".join(rid for n, rid in enumerate(rids) if n == 0 or rids[n - 1] != rid)

    def in_order(self) -> list[RtpPacket]:
        first = self.sent[0].sequence_number
        return sorted(self.sent, key=lambda packet: (packet.sequence_number - first) & 0xFFFF)

    def check(self) -> None:
        """Numbers go on without a hole, time never goes back, and each source begins with a keyframe."""
        packets = self.in_order()
        pictures = [(packet, describe(packet.payload, None)) for packet in packets]
        for n, (packet, told) in enumerate(pictures):
            if n == 0:
                assert told.keyframe
                continue
            before, told_before = pictures[n - 1]
            assert (packet.sequence_number - before.sequence_number) & 0xFFFF == 1
            step = (told.fields.picture_id - told_before.fields.picture_id) & 0x7FFF
            assert step == (1 if told.begins_frame else 0)
            assert (told.fields.tl0 - told_before.fields.tl0) & 0xFF == (step if told.temporal == 0 else 0)
            assert told.fields.picture_id_bits == 15
            elapsed = ts_delta(packet.timestamp, before.timestamp)
            assert elapsed > 0 if told.begins_frame else elapsed == 0
            if _rid(packet) != _rid(before):
                assert told.keyframe


def _rid(packet: RtpPacket) -> str:
    return "".join(rid for rid in "qhf" if f"{rid} ".encode() in packet.payload[5:][-20:])[:1]


def test_who_says_nothing_gets_the_best() -> None:
    camera, screen = Camera(), Screen()
    screen.watch(camera)
    camera.run(1)
    screen.check()
    assert screen.sources[-1] == "f"
    assert screen.down_track.current == (2, 0)
    assert screen.down_track.waiting_since is None


def test_a_selection_is_sent_from_the_next_keyframe_on() -> None:
    camera, screen = Camera(), Screen()
    screen.down_track.select(Q, camera.now)
    screen.watch(camera)
    camera.run(STALE_S)
    assert screen.sources == "q"
    screen.down_track.select(F, camera.now)
    assert screen.down_track.waiting_since == camera.now
    assert screen.down_track.current == (0, 0)
    sent = len(screen.sent)
    camera.answers = False
    camera.run(0.5)
    assert len(screen.sent) == sent + 30  # what was sent before goes on
    camera.answers = True
    camera.run(1)
    screen.down_track.select(H, camera.now)
    camera.run(0.1)
    screen.down_track.select(Q, camera.now)
    camera.run(0.1)
    screen.check()
    assert screen.sources == "qfhq"


def test_until_another_picture_comes_as_much_of_the_former_one_is_sent_as_is_wanted_of_it() -> None:
    """All of a smaller one, of which a thin link had left less; of a larger one no more temporal layers than of it."""
    camera, screen = Camera(has_temporal_layers=True), Screen()
    screen.down_track.select(Q, camera.now)
    screen.watch(camera)
    camera.run(STALE_S)

    def frames_in_a_second() -> int:
        """Of those that come after the change has been made, at the next frame that allows it."""
        camera.run(0.2)
        before = len(screen.sent)
        camera.run(1.0)
        return (len(screen.sent) - before) // 2

    assert frames_in_a_second() in {7, 8}
    camera.answers = False
    screen.down_track.select(F, camera.now)
    assert frames_in_a_second() == 30
    assert screen.down_track.waiting_since is not None
    camera.answers = True
    camera.run(STALE_S)
    assert screen.down_track.current == (2, 0)
    screen.down_track.select(HIGHEST, camera.now)
    camera.run(STALE_S)
    assert screen.down_track.current == (2, 2)
    camera.answers = False
    screen.down_track.select(Selection(1, 1), camera.now)
    assert frames_in_a_second() == 15
    assert screen.down_track.waiting_since is not None
    screen.check()
    assert screen.sources == "qf"


def test_an_encoding_that_has_stopped_is_asked_for_no_keyframes_whatever_was_lost_of_it() -> None:
    camera, screen = Camera(), Screen()
    screen.watch(camera)
    camera.run(1)
    camera.frame(lose=True)
    camera.encoders["q"].is_on = False
    layer = camera.layer("q")
    before = layer.keyframe_requests
    camera.run(4)
    assert layer.intake.needs_keyframe
    assert layer.keyframe_requests == before
    camera.encoders["q"].is_on = True
    camera.run(1)
    assert layer.keyframe_requests == before + 1


def test_only_the_layer_that_is_wanted_is_asked_for_a_keyframe() -> None:
    camera, screen = Camera(), Screen()
    screen.down_track.select(Q, camera.now)
    screen.watch(camera)
    camera.run(STALE_S)
    before = {rid: camera.layer(rid).keyframe_requests for rid in "qhf"}
    screen.down_track.select(H, camera.now)
    camera.run(2)
    assert {rid: camera.layer(rid).keyframe_requests - before[rid] for rid in "qhf"} == {"q": 0, "h": 1, "f": 0}


@pytest.mark.parametrize("is_first_told", [False, True], ids=["the first layer", "the second layer"])
def test_a_switch_moves_no_clock_though_a_layer_begins_before_its_report(is_first_told: bool) -> None:
    # Timestamps of a layer without a report are by arrival, 60 ms after they were captured.
    camera, screen = Camera(), Screen()
    late_s = 0.06
    screen.down_track.select(Q, camera.now)
    if not is_first_told:
        screen.watch(camera)
    camera.run(1)
    for rid in "q" if is_first_told else "qf":
        timestamp = camera.encoders[rid].timestamp + int(camera.now * 90000) & 0xFFFFFFFF
        camera.layer(rid).clock.update(ntp_from_unix(500), timestamp)
        camera.publisher.clock.on_sender_report(ntp_from_unix(500) / 2**32, camera.now - late_s)
    screen.watch(camera)
    camera.run(STALE_S)
    before = screen.in_order()[-1]
    at = camera.now
    screen.down_track.select(F, camera.now)
    camera.run(0.5)
    screen.check()
    assert screen.sources == "qf"
    last = screen.in_order()[-1]
    elapsed = ts_delta(last.timestamp, before.timestamp) / 90000
    assert elapsed == pytest.approx(camera.now - at, abs=0.002)


def test_a_switch_that_is_taken_back_leaves_nothing_behind() -> None:
    camera, screen = Camera(), Screen()
    screen.down_track.select(Q, camera.now)
    screen.watch(camera)
    camera.run(STALE_S)
    screen.down_track.select(F, camera.now)
    screen.down_track.select(Q, camera.now)
    camera.run(1)
    assert (screen.sources, screen.down_track.waiting_since) == ("q", None)
    assert [len(camera.layer(rid).outlets.receivers) for rid in "qhf"] == [1, 0, 0]


class Gate:
    """A thin link of a screen, of whose packets the last ones wait and have not left."""

    def __init__(self, screen: Screen) -> None:
        self.bucket = array("d", bytes(48))
        self.is_flooded = True
        self.held = 0
        self._sent = screen.sent

    def admit(self, _size: int, _now: float, _priority: int) -> bool:
        return True

    def hold(self, _packet: object, _size: int, _priority: int) -> bool:
        return True

    def waiting(self, _ssrc: int) -> set[int]:
        return {packet.sequence_number for packet in self._sent[len(self._sent) - self.held :]}

    def take_back(self, _ssrc: int, _rtx_ssrc: int, first: int) -> None:
        while self.held and seq_delta(self._sent[-1].sequence_number, first) >= 0:
            self._sent.pop()
            self.held -= 1
        self.held = 0  # what waits on is on its way


def behind_a_gate() -> tuple[Camera, Screen, Gate]:
    """A screen that has had the best picture for a while."""
    camera, screen = Camera(), Screen()
    gate = screen.egress.gate = Gate(screen)
    screen.watch(camera)
    camera.run(STALE_S)
    return camera, screen, gate


def test_a_layer_that_the_link_holds_by_far_no_longer_ends_at_once_and_is_not_repaired() -> None:
    camera, screen, gate = behind_a_gate()
    camera.answers = False
    gate.held = 5
    count = len(screen.sent) - 5
    screen.down_track.select(Q, camera.now)
    camera.run(0.3)
    screen.down_track.repair([screen.sent[-1].sequence_number], RepairBudget(sent=0, now=camera.now), camera.now, 0.0)
    assert len(screen.sent) == count
    assert screen.down_track.statistics.nacked == 1
    assert screen.down_track.waiting_since is not None
    camera.answers = True
    camera.run(2)
    before, after = screen.sent[count - 1 : count + 1]
    assert describe(after.payload, None).keyframe
    assert (after.sequence_number - before.sequence_number) & 0xFFFF == 1
    assert ts_delta(after.timestamp, before.timestamp) > 0
    assert screen.sources.endswith("fq")
    screen.down_track.repair([after.sequence_number], RepairBudget(sent=0, now=camera.now), camera.now, 0.0)
    assert screen.sent[-1].data == after.data


def test_what_waits_does_not_delay_the_keyframe_that_follows_it() -> None:
    camera, screen, gate = behind_a_gate()
    gate.is_flooded = False
    screen.down_track.select(Q, camera.now)
    camera.frame()  # goes on meanwhile
    gate.held = 3
    camera.run(0.5)
    assert gate.held == 0
    packets = screen.in_order()
    steps = {(b.sequence_number - a.sequence_number) & 0xFFFF for a, b in pairwise(packets)}
    pictures = [describe(packet.payload, None).fields.picture_id for packet in packets]
    assert screen.sources.endswith("fq")
    assert steps == {1}
    assert {(b - a) & 0x7FFF for a, b in pairwise(pictures)} <= {0, 1}


def test_a_number_that_has_left_is_not_given_again() -> None:
    camera, screen, gate = behind_a_gate()
    # Of the last five, the one in the middle came early, and has left.
    early = screen.sent.pop(-3)
    screen.sent.insert(-4, early)
    gate.held = 4
    screen.down_track.select(Q, camera.now)
    # The two before it are still sent, for nobody could give their numbers to anything else.
    assert screen.sent[-3] is early
    camera.run(0.5)
    assert (screen.sent[screen.sent.index(early) + 3].sequence_number - early.sequence_number) & 0xFFFF == 1


def test_what_waits_behind_a_packet_that_is_kept_no_more_is_not_taken_back() -> None:
    camera, screen, gate = behind_a_gate()
    camera.run(0.5)
    gate.held = count = 5
    last = [packet.sequence_number for packet in screen.sent[-count:]]
    # The link lets nothing through for longer than packets are kept.
    camera.now += MAX_AGE_S
    screen.down_track.select(Q, camera.now)
    camera.run(0.5)
    assert {*last} <= {packet.sequence_number for packet in screen.sent}
    steps = {(b.sequence_number - a.sequence_number) & 0xFFFF for a, b in pairwise(screen.in_order())}
    assert steps == {1}


def test_what_waits_of_a_source_before_is_not_taken_back() -> None:
    camera, screen, gate = behind_a_gate()
    now, camera = camera.now, Camera()
    camera.now = camera.measure_at = now
    count = len(screen.sent)
    screen.watch(camera)
    camera.run(0.5)
    began = next(
        n for n in range(len(screen.sent) - 1, count - 1, -1) if describe(screen.sent[n].payload, None).keyframe
    )
    # All of the one that is carried waits, and the end of the one before.
    gate.held = len(screen.sent) - count + 5
    screen.down_track.select(Q, camera.now)
    camera.run(0.5)
    before, after = screen.sent[began - 1 : began + 1]
    pictures = [describe(packet.payload, None).fields.picture_id for packet in (before, after)]
    assert describe(after.payload, None).keyframe
    assert _rid(after) == "q"
    assert (after.sequence_number - before.sequence_number) & 0xFFFF == 1
    assert (pictures[1] - pictures[0]) & 0x7FFF == 1


@pytest.mark.parametrize(("is_flooded", "is_replayed"), [(False, True), (True, False)])
def test_a_flooded_link_is_not_sent_what_is_kept_of_another_layer(is_flooded: bool, is_replayed: bool) -> None:
    camera, screen, gate = behind_a_gate()
    camera.encoders["q"].keyframe_wanted = True
    camera.run(1.9)
    gate.is_flooded = is_flooded
    screen.down_track.select(Q, camera.now)
    assert (screen.down_track.layer is camera.layer("q")) is is_replayed


def test_a_link_that_is_full_cuts_no_picture_off_for_a_better_one() -> None:
    camera, screen, gate = behind_a_gate()
    screen.down_track.select(Q, camera.now)
    camera.run(STALE_S)
    camera.answers = False
    screen.down_track.select(F, camera.now)
    count = len(screen.sent)
    camera.run(0.3)
    assert len(screen.sent) > count
    assert gate.is_flooded


def test_who_is_sent_nothing_misses_nothing() -> None:
    camera, screen = Camera(), Screen()
    screen.watch(camera)
    camera.run(1)
    screen.down_track.select(None, camera.now)
    sent = len(screen.sent)
    camera.run(5)
    assert len(screen.sent) == sent
    assert screen.down_track.current is None
    assert screen.down_track.waiting_since is None
    assert [len(camera.layer(rid).outlets.receivers) for rid in "qhf"] == [0, 0, 0]
    screen.down_track.select(HIGHEST, camera.now)
    camera.run(1)
    screen.check()
    assert len(screen.sent) > sent


@pytest.mark.parametrize(("stopped", "taken"), [("f", "h"), ("fh", "q"), ("q", "f"), ("qh", "f")])
def test_a_layer_that_stops_is_replaced_at_once_and_taken_again_when_it_comes(stopped: str, taken: str) -> None:
    camera, screen = Camera(), Screen()
    screen.watch(camera)
    camera.run(STALE_S)
    ladders = camera.publisher.ladders
    for rid in stopped:
        camera.encoders[rid].is_on = False
    stopped_at = camera.now
    while screen.down_track.layer is not camera.layer(taken) or any(camera.layer(rid).is_up for rid in stopped):
        camera.frame()
        assert camera.now < stopped_at + 1
    assert camera.publisher.ladders > ladders
    assert [rung.spatial for rung in camera.track.ladder(camera.now)] == [
        "qhf".index(r) for r in "qhf" if r not in stopped
    ]
    for rid in stopped:
        camera.encoders[rid].is_on = camera.encoders[rid].keyframe_wanted = True
    camera.run(0.5)
    assert screen.down_track.current == (2, 0)
    screen.check()


@pytest.mark.parametrize("lasted_s", [0.5, 5])
def test_a_layer_that_stops_is_noticed_by_the_frames_of_the_others_however_short_it_was_there(lasted_s: float) -> None:
    camera, screen = Camera(), Screen()
    screen.watch(camera)
    camera.run(lasted_s)
    camera.encoders["f"].is_on = False
    stopped_at = camera.now
    while camera.layer("f").is_up:
        camera.frame()
        assert camera.now < stopped_at + 0.7
    camera.run(0.1)
    assert screen.sources.endswith("fh")
    screen.check()


def test_a_slow_encoding_is_not_taken_for_one_that_has_stopped() -> None:
    camera, screen = Camera(), Screen()
    small = camera.encoders["q"]
    screen.watch(camera)
    for n in range(600):
        small.is_on = n % 10 == 0 and n % 50 != 20
        camera.frame()
        assert camera.layer("q").is_up or n < 60


def test_silence_is_no_part_of_the_rates_of_a_layer_that_comes_again() -> None:
    camera = Camera()
    camera.run(5)
    rung = camera.track.ladder(camera.now)[-1]
    camera.encoders["f"].is_on = False
    camera.run(10)
    camera.encoders["f"].is_on = camera.encoders["f"].keyframe_wanted = True
    for _ in range(200):
        camera.frame()
        bitrate = camera.track.ladder(camera.now)[-1].bitrate
        assert bitrate == 0 or abs(bitrate - rung.bitrate) < 0.1 * rung.bitrate
    assert bitrate > 0


def test_above_what_is_selected_is_taken_only_when_there_is_nothing_else() -> None:
    camera, screen = Camera(), Screen()
    camera.encoders["q"].is_on = camera.encoders["h"].is_on = False
    screen.down_track.select(Q, camera.now)
    screen.watch(camera)
    camera.run(1)
    assert screen.sources == "f"
    camera.encoders["h"].is_on = True
    camera.run(1)
    camera.encoders["q"].is_on = True
    camera.run(1)
    screen.check()
    assert screen.sources == "fhq"


def test_a_camera_that_is_off_stops_no_layer() -> None:
    camera, screen = Camera(), Screen()
    screen.watch(camera)
    camera.run(1)
    ladder = camera.track.ladder(camera.now)
    ladders = camera.publisher.ladders
    camera.now += 60
    camera.publisher.pass_time(camera.now)
    assert camera.track.ladder(camera.now) == ladder
    assert camera.publisher.ladders == ladders
    camera.run(1)
    screen.check()


def test_layers_are_ordered_by_their_pictures() -> None:
    camera = Camera("fhq")  # as a page may list them
    camera.run(1)
    assert [layer.rid for layer in camera.track.ordered] == ["q", "h", "f"]
    sizes = [(rung.spatial, rung.width, rung.height) for rung in camera.track.ladder(camera.now)]
    assert sizes == [(0, 320, 180), (1, 640, 360), (2, 1280, 720)]


def test_the_ladder_tells_what_is_received() -> None:
    camera = Camera("qh")
    assert camera.track.ladder(camera.now) == ()
    camera.run(3)
    low, high = camera.track.ladder(camera.now)
    assert low == Rung(0, 0, 320, 180, low.frame_rate, low.bitrate)
    assert (high.spatial, high.width) == (1, 640)
    assert low.frame_rate == high.frame_rate == pytest.approx(30, abs=1)
    assert low.bitrate == pytest.approx(8 * camera.layer("q").octets / 3, rel=0.2)


def test_a_keyframe_that_does_not_come_is_asked_for_again_and_then_done_without() -> None:
    camera, screen = Camera(), Screen()
    screen.down_track.select(Q, camera.now)
    screen.watch(camera)
    camera.run(STALE_S)
    camera.answers = False
    requests = camera.layer("f").keyframe_requests
    screen.down_track.select(F, camera.now)
    camera.run(1.9)
    assert camera.layer("f").keyframe_requests - requests == pytest.approx(1.9 / KEYFRAME_INTERVAL_S, abs=1)
    camera.answers = True
    camera.encoders["f"].keyframe_wanted = False
    silent = camera.encoders.pop("f")  # whatever is asked of it now
    camera.encoders["f"] = replace(silent, ssrc=silent.ssrc)
    for _ in range(10):
        camera.frame()
        camera.encoders["f"].keyframe_wanted = False
    assert screen.down_track.layer in (camera.layer("h"), camera.layer("q"))
    camera.run(0.5)
    assert screen.down_track.layer is camera.layer("h")
    camera.run(6)
    assert screen.down_track.layer is camera.layer("f")
    screen.check()


def test_an_encoder_that_was_rebuilt_is_the_same_layer() -> None:
    camera, screen = Camera(), Screen()
    screen.watch(camera)
    camera.run(1)
    former = camera.layer("f")
    camera.encoders["f"] = replace(camera.encoders["f"], ssrc=99, number=7, keyframe_wanted=True, picture_id=5)
    camera.run(1)
    assert camera.layer("f") is not former
    assert camera.layer("f") is camera.track.layers[99]
    assert camera.track.layers[former.ssrc] is former
    assert former.outlets.receivers == ()
    assert screen.down_track.current == (2, 0)
    screen.check()


def test_what_comes_of_an_encoding_that_was_not_negotiated_goes_nowhere() -> None:
    camera, screen = Camera(), Screen()
    screen.watch(camera)
    camera.encoders["q"].rid = "x"
    camera.run(0.5)
    assert sorted(camera.track.encodings) == ["f", "h"]
    # Nor what names none, among those that do.
    camera.publisher.send(rtp(1, ssrc=77))
    assert 77 not in camera.publisher.router.streams


def test_retransmissions_repair_the_layer_that_they_name() -> None:
    camera, screen = Camera(), Screen()
    screen.down_track.select(H, camera.now)
    screen.watch(camera)
    camera.run(1)
    lost = {rid: camera.encoders[rid].number for rid in "qhf"}
    camera.frame(lose=True)
    camera.frame()
    before = len(screen.sent)
    for n, rid in enumerate("qhf"):
        payload = lost[rid].to_bytes(4)[2:] + bytes((0x90, 0xC0)) + b"\xff\xff\0\x51" + f"{rid} again".encode()
        data = rtp(n, 5, payload_type=97, ssrc=50 + n, payload=payload, extensions=[(REPAIRED_RID, rid.encode())])
        camera.publisher.send(data, camera.now)
    assert [camera.layer(rid).repaired for rid in "qhf"] == [1, 1, 1]
    assert len(screen.sent) == before + 1
    assert b"h again" in screen.sent[-1].payload
    # What names none cannot be told from that of the others.
    camera.publisher.send(rtp(9, payload_type=97, ssrc=60, payload=b"\0\1x"), camera.now)
    assert 60 not in camera.publisher.router.streams


def test_what_a_switch_has_made_useless_is_not_sent_again() -> None:
    camera, screen = Camera(), Screen()
    screen.watch(camera)
    camera.run(1)
    for selection in (Q, F, Q, H, H, Q, F, H, F, Q):
        screen.down_track.select(selection, camera.now)
        camera.run(0.3)
    sent = screen.in_order()
    budget = RepairBudget(sent=10**6, now=camera.now)
    screen.egress.bytes_sent = 10**8  # a rich link
    begin = max(n for n in range(1, len(sent)) if _rid(sent[n]) != _rid(sent[n - 1]))
    for n in range(begin, len(sent)):
        screen.down_track.repair([sent[n].sequence_number], budget, camera.now, 0.0)
        assert screen.sent[-1].data == sent[n].data
    count = len(screen.sent)
    screen.down_track.repair([packet.sequence_number for packet in sent[:begin]], budget, camera.now, 0.0)
    assert len(screen.sent) == count


def test_two_encodings_of_one_moment_have_one_time() -> None:
    """Their RTP timestamps begin anywhere; sender reports tell what they mean."""
    camera, screen = Camera(), Screen()
    screen.down_track.select(Q, camera.now)
    screen.watch(camera)
    camera.run(1)
    for encoder in camera.encoders.values():
        at = int(camera.now * 90000)
        camera.track.encodings[encoder.rid].clock.update(ntp_from_unix(500), encoder.timestamp + at & 0xFFFFFFFF)
    camera.publisher.clock.on_sender_report(ntp_from_unix(500) / 2**32, camera.now - 0.05)  # 50 ms of way and encoding
    times = []
    for selection in (H, Q, F, H, Q):
        screen.down_track.select(selection, camera.now)
        camera.run(0.5)
        last = screen.sent[-1]
        times.append(ts_delta(last.timestamp, int(camera.now * 90000) & 0xFFFFFFFF))
    assert max(times[1:]) - min(times[1:]) <= 2
    screen.check()


events = st.lists(
    st.tuples(
        st.sampled_from(
            (
                "run",
                "run",
                "run",
                "select",
                "select",
                "hide",
                "stop",
                "start",
                "rebuild",
                "deaf",
                "leave",
                "pause",
            )
        ),
        st.integers(0, 11),
    ),
    max_size=40,
)


def happen(name: str, n: int, camera: Camera, screen: Screen) -> None:
    encoder = camera.encoders["qhf"[n % 3]]
    match name:
        case "run":
            camera.run(n / 10)
        case "select":
            screen.down_track.select(Selection(n % 3, 0), camera.now)
        case "hide":
            screen.down_track.select(None, camera.now)
        case "stop" | "start":
            encoder.is_on = encoder.keyframe_wanted = name == "start"
        case "rebuild":
            encoder.ssrc, encoder.number, encoder.keyframe_wanted = 100 + encoder.ssrc, 1000 * n, True
        case "deaf":
            camera.answers = n < 8
        case "leave":
            screen.down_track.attach(None, camera.now)
            screen.watch(camera)
        case "pause":
            camera.now += n


@examples(150)
@given(events)
def test_whatever_is_selected_and_whatever_stops_the_stream_can_be_played(steps: list[tuple[str, int]]) -> None:
    camera, screens = Camera(), [Screen(), Screen()]
    for screen in screens:
        screen.watch(camera)
    for name, n in steps:
        happen(name, n, camera, screens[n % 2])
        camera.frame()
        for screen in screens:
            if screen.sent:
                screen.check()
    camera.answers = True
    for encoder in camera.encoders.values():
        encoder.is_on = encoder.keyframe_wanted = True
    for screen in screens:
        screen.down_track.select(HIGHEST, camera.now)
    camera.run(8)
    for screen in screens:
        screen.check()
        assert screen.down_track.layer is camera.layer("f")
    assert len(camera.publisher.router.streams) <= 8
