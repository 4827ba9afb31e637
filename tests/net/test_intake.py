"""Packets that the compiled kernel deals with by itself: it sends and counts what the long way sends and counts."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy

from tests.media.support import OPUS, VP8, rtp
from tests.net.kernels import COMPILED, KERNELS
from tests.net.links import link, session, waiting
from tests.support.streams import RecordedStream
from zvonim_sfu.media.down_track import DownTrack
from zvonim_sfu.media.layer import HIGHEST, Selection
from zvonim_sfu.media.publisher_clock import PublisherClock
from zvonim_sfu.media.router import Router
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.up_track import LEVEL_EXTENSION, UpTrack
from zvonim_sfu.rtp import packet, packet_compiled
from zvonim_sfu.rtp.intake import Intake
from zvonim_sfu.rtp.vp8 import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.net.kernel import Kernel

PROFILE: Final = "AEAD_AES_128_GCM"
LEVEL: Final = 1
ARRIVAL: Final = 3
SUBSCRIBERS: Final = 3
NACKED: Final = replace(VP8, feedback=("nack", "nack pli"))
# Bits, picture id, TL0PICIDX, layer; then the byte whose lowest bit tells a keyframe.
PAYLOADS: Final = {
    "keyframe": b"\x10\x00 a keyframe of a size that nobody reads",
    "plain": b"\x10\x01 the first packet of a picture",
    "more": b"\x00 another packet of it",
    "numbered": b"\x90\x80\x2a\x01 a picture with an id of a byte",
    "wide": b"\x90\xc0\x81\x2a\x07\x01 with one of two bytes, and TL0PICIDX",
    "key index": b"\x90\xf0\x81\x2a\x07\x05\x01 of the lowest temporal layer",
    "base": b"\x90\xe0\x81\x2a\x07\x00\x01 the same without that index",
    "higher": b"\x90\xe0\x81\x2a\x07\x60\x01 of a higher one, and who has the lowest can have it",
    "highest": b"\x90\xe0\x81\x2a\x07\xa0\x01 of the highest, likewise",
    "more of it": b"\x80\xe0\x81\x2a\x07\xa0 another packet of that",
    "bound": b"\x90\xe0\x81\x2a\x07\x80\x01 of the highest, and nobody can begin with it",
    "cut": b"\x90\xc0\x81",
    "empty": b"",
}
STEPS: Final = st.sampled_from((1,) * 12 + (2, 3, 7, 0, -1, -2, -40, 700, 20_000))


class Event(NamedTuple):
    """What happens next: a packet, or a call of control."""

    name: str
    step: int
    payload: str
    marker: bool
    subscriber: int
    after_s: float


CALLS: Final = ("select", "less", "least", "nothing", "leave", "join", "pause", "resume", "timer", "other")


def events(payloads: Sequence[str]) -> st.SearchStrategy[list[Event]]:
    """Some, in which these payloads come more often than others."""
    event = st.builds(
        Event,
        st.sampled_from(("packet",) * 20 + CALLS),
        STEPS,
        st.sampled_from((*payloads, *PAYLOADS)),
        st.booleans(),
        st.integers(0, SUBSCRIBERS - 1),
        st.sampled_from((0.0, 0.001, 0.005, 0.03, 0.3)),
    )
    return st.lists(event, max_size=60)


EVENTS: Final = events(("plain", "more", "wide", "wide", "keyframe")) | events(
    ("base", "highest", "more of it", "higher", "bound", "more of it") * 4
)


class Scene:
    """A publisher, and some who get what it sends, of one kernel."""

    def __init__(
        self, kernel: Kernel, source: Source, stack: contextlib.ExitStack, payload_type: int | None = None
    ) -> None:
        self.asked: list[object] = []
        self.now = 10.0
        self.taken = 0
        self.kernel = kernel
        batch = self.batch = kernel.Batch()
        self.up_track = UpTrack(
            track_id=source.value,
            participant_id="ann",
            source=source,
            clock=PublisherClock(),
            publisher=self,
            new_intake=kernel.Intake,
            new_fan_out=lambda: kernel.FanOut(batch),
        )
        codec = OPUS if source.kind == "audio" else NACKED
        if payload_type is not None:
            codec = replace(codec, payload_type=payload_type)
        self.payload_type = codec.payload_type
        self.up_track.configure((codec,), {LEVEL_EXTENSION: LEVEL})
        self.router = Router()
        self.router.configure({"0": self.up_track}, [], {})
        self.ingress: Any = kernel.Ingress(stack)  # type: ignore[arg-type] # an agent that nobody asks
        self.ingress.intakes = self.router.intakes
        self.ingress.arrival_extension = ARRIVAL
        self.ingress.arrivals = kernel.ArrivalLog()
        self.down_tracks = []
        self.receivers = []
        for number in range(SUBSCRIBERS):
            path, receiver = stack.enter_context(link())
            key = session(PROFILE, bytes([number + 1]) * 64, Policy.SSRC_ANY_OUTBOUND)
            sender = kernel.Sender(kernel.Egress(key, path), 100 + number)
            track = DownTrack(source.kind, sender, batch=batch, listener=self)
            track.configure((codec,), {LEVEL_EXTENSION: 2} if number else {})
            track.attach(self.up_track, self.now)
            self.down_tracks.append(track)
            self.receivers.append(receiver)
        self.sent: list[list[bytes]] = [[] for _ in self.receivers]

    # What a publisher and a subscriber are asked.
    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None:
        self.asked.append(("keyframe", ssrc, accepts_pli))

    def request_packets(self, ssrc: int, lost: Sequence[int]) -> None:
        self.asked.append(("packets", ssrc, tuple(lost)))

    def wake(self, at: float) -> None:
        self.asked.append(("wake", at))

    def on_ladder_changed(self, up_track: UpTrack) -> None:
        self.asked.append(("ladder", up_track.ladder(self.now)))

    def on_unsupported(self, up_track: UpTrack) -> None:
        self.asked.append(("unsupported", up_track.key))

    def do(self, event: Event, number: int) -> None:
        """Let it happen; `number` is that of the packet that is sent if it is one."""
        self.now += event.after_s
        track = self.down_tracks[event.subscriber]
        match event.name:
            case "packet" | "other":
                self._send(event, number)
            case "select":
                track.select(HIGHEST, self.now)
            case "less":
                track.select(Selection(0, 1), self.now)
            case "least":
                track.select(Selection(0, 0), self.now)
            case "nothing":
                track.select(None, self.now)
            case "leave":
                track.attach(None, self.now)
            case "join":
                track.attach(self.up_track, self.now)
            case "pause":
                self.up_track.pause()
            case "resume":
                self.up_track.resume(self.now)
            case _:
                self.up_track.on_timer(self.now, 0.05)
                self.up_track.measure(self.now)
        self._flush()

    def _flush(self) -> None:
        self.batch.flush()
        for datagrams, receiver in zip(self.sent, self.receivers, strict=True):
            datagrams.extend(waiting(receiver))

    def publish(self, data: bytes, after_s: float) -> None:
        """Let a packet come."""
        self.now += after_s
        self._deliver(data)
        self._flush()

    def _send(self, event: Event, number: int) -> None:
        data = rtp(
            number,
            number // 3 * 3000,
            payload_type=self.payload_type if event.name == "packet" else 77,
            payload=PAYLOADS[event.payload],
            extensions=[(LEVEL, bytes([number & 0xFF])), (ARRIVAL, (number & 0xFFFF).to_bytes(2))],
            marker=event.marker,
        )
        self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        arrived = self._parse(data)
        if self.ingress.take(arrived, self.now):
            self.taken += 1
            return
        # As Transport.on_rtp.
        number = arrived.extension(ARRIVAL)
        if number is not None and len(number) == 2:
            self.ingress.arrivals.received(int.from_bytes(number), self.now)
        stream = self.router.streams.get(arrived.ssrc) or self.router.bind(arrived)
        if stream is not None and stream.layer is not None:
            self.up_track.handle_packet(arrived, stream.layer, self.now)

    def _parse(self, data: bytes) -> Any:
        module = packet_compiled if self.kernel is COMPILED else packet
        return module.RtpPacket.parse(data)

    def state(self) -> object:
        """Return all that was counted, asked for and kept."""
        return (
            self.asked,
            self.up_track.unforwarded,
            list(self.up_track.levels),
            [self._layer(layer) for layer in self.up_track.layers.values()],
            [(t.statistics.packets, t.statistics.octets, t.current) for t in self.down_tracks],
            self.up_track.ladder(self.now),
        )

    def _layer(self, layer: Layer) -> object:
        counted = {
            name: getattr(layer.intake, name)
            for name in Intake.__slots__
            if name not in {"cells", "fan_out", "last", "levels"}
        }
        return (
            counted,
            layer.last.data if layer.last is not None else None,
            [(sequence, kept.data) for sequence, kept in layer.history.packets()],
            [layer.description_of(kept, sequence) for sequence, kept in layer.history.packets()],
            layer.duplicates,
            layer.register.missing if layer.register is not None else 0,
            layer.statistics.expected,
            layer.statistics.jitter_s,
            layer.told(),
        )


@pytest.fixture(autouse=True)
def _known_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zvonim_sfu.media.down_track.secrets.randbits", lambda bits: 65_530 & (1 << bits) - 1)


@contextlib.contextmanager
def scenes(source: Source, payload_type: int | None = None) -> Iterator[list[Scene]]:
    """One of each kernel."""
    with contextlib.ExitStack() as stack:
        yield [Scene(kernel, source, stack, payload_type) for kernel in KERNELS.values()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(
    source=st.sampled_from((Source.CAMERA, Source.MICROPHONE)),
    first=st.sampled_from((0, 100, 65_500)),
    events=EVENTS,
)
def test_both_kernels_send_and_count_the_same(source: Source, first: int, events: list[Event]) -> None:
    with scenes(source) as both:
        plain, compiled = both
        number = first
        begin = Event("packet", 1, "keyframe", False, 0, 0.0)
        for event in (begin, begin._replace(payload="plain"), begin._replace(payload="wide", marker=True), *events):
            if event.name in {"packet", "other"}:
                number += event.step
            plain.do(event, number)
            compiled.do(event, number)
            assert plain.state() == compiled.state(), event
        assert plain.sent == compiled.sent
        reports = [scene.ingress.arrivals.packed(scene.now, sender_ssrc=1, media_ssrc=2) for scene in (plain, compiled)]
        assert reports[0] == reports[1]
        assert plain.taken == 0


@pytest.mark.parametrize("source", [Source.CAMERA, Source.MICROPHONE])
def test_what_comes_in_its_turn_is_dealt_with_by_the_compiled_kernel(source: Source) -> None:
    with scenes(source) as both:
        for scene in both:
            names = itertools.chain(["keyframe"], itertools.cycle(["plain", "more", "wide"]))
            for number, name in zip(range(65_500, 65_600), names, strict=False):
                scene.do(Event("packet", 1, name, False, 0, 0.01), number)
        plain, compiled = both
        assert plain.sent == compiled.sent
        assert [len(datagrams) for datagrams in compiled.sent] == [100] * SUBSCRIBERS
        # The first one makes the layer, and the second one sorts its receivers.
        assert compiled.taken == 98


def test_temporal_layers_are_dealt_with_as_long_as_everybody_gets_all() -> None:
    with scenes(Source.CAMERA) as both:
        plain, compiled = both
        numbers = itertools.count()

        def send(*names: str) -> int:
            """Send packets; returns how many of them the compiled kernel took."""
            taken = compiled.taken
            for name, number in zip(names, numbers, strict=False):
                for scene in both:
                    scene.do(Event("packet", 1, name, False, 0, 0.01), number)
            assert plain.state() == compiled.state()
            return compiled.taken - taken

        def call(name: str) -> None:
            for scene in both:
                scene.do(Event(name, 0, "", False, 0, 0.5), 0)

        pictures = ["base", "more", "highest", "more of it", "higher", "highest"] * 10
        send("keyframe")
        # One has its receivers sorted, one is the first of the highest layer, and the next has them sorted again.
        assert send(*pictures) == 60 - 3
        call("timer")
        assert send(*pictures) == 60
        (layer,) = compiled.up_track.layers.values()
        assert layer.intake.layer_frames[:4] == [19, 20, 40, 0]  # the first one came before any layer was known
        call("least")
        assert send(*pictures) == 0
        call("select")
        assert send(*pictures) == 0
        for _ in range(2):  # until the rendition is forgotten
            call("timer")
            send(*pictures)
        assert send(*pictures) == 60
        assert plain.sent == compiled.sent
        assert len(compiled.up_track.ladder(compiled.now)) == 3


@pytest.mark.parametrize("name", ["vp8-l1t3", "vp8-firefox"])
def test_what_browsers_send_is_dealt_with(name: str) -> None:
    stream = RecordedStream.load(name)
    with scenes(Source.CAMERA, stream.packets[0].payload_type) as (plain, compiled):
        for data in stream.data:
            for scene in (plain, compiled):
                scene.publish(data, 0.02)
            assert plain.state() == compiled.state()
        assert plain.sent == compiled.sent
        described = [describe(packet.payload) for packet in stream.packets]
        keyframes = sum(description.keyframe for description in described)
        assert keyframes == 2
        # The second one has its receivers sorted, and the first one of a layer that is higher than all before, and the
        # next, as layers are told.
        layers = max(description.temporal for description in described)
        assert len(stream.data) - keyframes - 1 - 2 * layers <= compiled.taken < len(stream.data) - keyframes


@pytest.mark.parametrize("name", ["keyframe", "higher", "cut", "empty"])
def test_what_has_to_be_looked_at_goes_the_long_way(name: str) -> None:
    with scenes(Source.CAMERA) as (_, compiled):
        for number, payload in enumerate(["keyframe", "plain", "plain", name]):
            compiled.do(Event("packet", 1, payload, False, 0, 0.01), number)
        assert compiled.taken == 1


def test_what_is_not_of_the_compiled_kernel_is_refused() -> None:
    with scenes(Source.CAMERA) as (plain, compiled):
        for number, payload in enumerate(["keyframe", "plain", "plain"]):
            compiled.do(Event("packet", 1, payload, False, 0, 0.01), number)
        (layer,) = compiled.up_track.layers.values()
        intake, fan_out = layer.intake, layer.intake.fan_out
        data = rtp(3, 3000, payload_type=compiled.payload_type, payload=PAYLOADS["plain"])
        intake.fan_out = plain.up_track._new_fan_out()
        with pytest.raises(TypeError):
            compiled.ingress.take(packet_compiled.RtpPacket.parse(data), compiled.now)
        intake.fan_out, intake.cells = fan_out, intake.cells[:5]
        assert not compiled.ingress.take(packet_compiled.RtpPacket.parse(data), compiled.now)
