"""A publisher and its subscribers on one kernel, and what is sent to them: for comparisons of both."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pylibsrtp import Policy

from tests.media.support import H264, OPUS, VP8, rtp
from tests.net.kernels import COMPILED, KERNELS
from tests.net.links import link, session, waiting
from tests.rtp.test_dependency_descriptor import L1T3, L2T2_KEY, Template, descriptor
from zvonim_sfu.media.down_track import DownTrack
from zvonim_sfu.media.layer import HIGHEST, Selection
from zvonim_sfu.media.publisher_clock import PublisherClock
from zvonim_sfu.media.router import Router
from zvonim_sfu.media.terms import DESCRIPTOR_EXTENSION
from zvonim_sfu.media.up_track import LEVEL_EXTENSION, UpTrack
from zvonim_sfu.rtp import packet, packet_compiled
from zvonim_sfu.rtp.intake import Intake

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.streams import RecordedStream
    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.sdp import Codec
    from zvonim_sfu.media.source import Source
    from zvonim_sfu.net.kernel import Kernel

PROFILE: Final = "AEAD_AES_128_GCM"
LEVEL: Final = 1
ARRIVAL: Final = 3
DESCRIPTOR: Final = 4
SUBSCRIBERS: Final = 3
CODECS: Final = {codec.name: replace(codec, feedback=("nack", "nack pli")) for codec in (VP8, H264)}
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
    # Of H264; "plain" is a part of a fragmented unit that nothing went before.
    "slice": b"\x41\x9a a unit of its own",
    "begun": b"\x7c\x81 the first part of a unit",
    "goes on": b"\x7c\x01 a part of it",
    "parameters": b"\x67\x42 of a size that nobody reads",
    "IDR": b"\x65\x88 a unit of a keyframe",
    "IDR begun": b"\x7c\x85 a part of one",
    "units": b"\x78\x00\x02\x41\x9a\x00\x02\x41\x9b",
}
# Its templates have the numbers of L1T3's, and other layers.
ANOTHER: Final[list[Template]] = [
    ((0, 0), "SS", (), (0,)),
    ((0, 1), "-D", (1,), (1,)),
    ((0, 1), "-S", (2,), (1,)),
    ((0, 1), "-R", (2,), (2,)),
]
# Dependency descriptors that name a template of L1T3, and say no more of layers.
NAMING: Final = {
    "": None,
    "0": descriptor(1),
    "0 goes on": descriptor(1, begins=False),
    "1": descriptor(2, ends=True),
    "2": descriptor(3),
    "2 goes on": descriptor(3, begins=False),
    "2 differs": descriptor(4, ends=True),
    "active layers": descriptor(2, active=(3, 3)),
    "references": descriptor(3) + b"\x10\x00",
}
DESCRIPTORS: Final = NAMING | {
    "L1T3": descriptor(0, structure=L1T3, sizes=((320, 180),)),
    "another": descriptor(0, structure=ANOTHER),
    "L1T3 at 60": descriptor(60, structure=L1T3, offset=60),
    "another, and no template": descriptor(40, structure=ANOTHER),
    "L2T2": descriptor(0, structure=L2T2_KEY),
    "62": descriptor(62),
    "5": descriptor(5),
    "unknown": descriptor(40),
    "indications": descriptor(1, dtis="SSR"),
    "cut": b"\x80\x01",
    "cut structure": descriptor(0, structure=ANOTHER)[:9],
    "empty": b"",
}


class Event(NamedTuple):
    """What happens next: a packet, or a call of control."""

    name: str
    step: int
    payload: str
    marker: bool
    subscriber: int
    after_s: float
    descriptor: str = ""


class Scene:
    """A publisher, and some who get what it sends, of one kernel."""

    def __init__(
        self, kernel: Kernel, source: Source, codec: Codec, extensions: dict[str, int], stack: contextlib.ExitStack
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
        self.payload_type = codec.payload_type
        self.up_track.configure((codec,), extensions)
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
            track.configure((codec,), {LEVEL_EXTENSION: 2, DESCRIPTOR_EXTENSION: 5} if number else {})
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
        told = DESCRIPTORS[event.descriptor]
        data = rtp(
            number,
            number // 3 * 3000,
            payload_type=self.payload_type if event.name == "packet" else 77,
            payload=PAYLOADS[event.payload],
            extensions=[
                (LEVEL, bytes([number & 0xFF])),
                (ARRIVAL, (number & 0xFFFF).to_bytes(2)),
                *([] if told is None else [(DESCRIPTOR, told)]),
            ],
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
            if name not in {"cells", "fan_out", "last", "levels", "structures"}
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


@contextlib.contextmanager
def scenes(source: Source, encoding: str = "VP8", stream: RecordedStream | None = None) -> Iterator[list[Scene]]:
    """One of each kernel, in which pictures are of this encoding, or what was recorded is sent."""
    codec = OPUS if source.kind == "audio" else CODECS[encoding]
    extensions = {LEVEL_EXTENSION: LEVEL, DESCRIPTOR_EXTENSION: DESCRIPTOR}
    if stream is not None:
        codec = replace(CODECS[stream.encoding], payload_type=stream.packets[0].payload_type)
        extensions = {DESCRIPTOR_EXTENSION: stream.descriptor} if stream.descriptor else {}
    with contextlib.ExitStack() as stack:
        yield [Scene(kernel, source, codec, extensions, stack) for kernel in KERNELS.values()]
