"""Publishers and subscribers without a network: packets in at one end, packets out at the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tests.media.support import OPUS, VP8, rtp
from zvonim_sfu.media.down_track import DownTrack
from zvonim_sfu.media.publisher_clock import PublisherClock
from zvonim_sfu.media.router import Router
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.up_track import UpTrack
from zvonim_sfu.net.sending import Batch, Egress, FanOut, Sender
from zvonim_sfu.rtp.intake import Intake
from zvonim_sfu.rtp.packet import RtpPacket

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zvonim_sfu.media.sdp import Codec

KEYFRAME: Final = b"\x10\x00 a VP8 keyframe begins here"
DELTA: Final = b"\x10\x01 a VP8 delta frame begins here"


class RecordingEgress(Egress):
    """Where packets arrive as they leave: at once, and not encrypted."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[RtpPacket] = []


class Wire(Batch):
    """A batch that hands packets to the egress of each."""

    def append(self, egress: Egress, header: bytes, tail: bytes, number_at: int = -1, priority: int = 2) -> None:
        assert isinstance(egress, RecordingEgress)
        egress.sent.append(RtpPacket.parse(header + tail))


class Publisher:
    """One up track and the way of packets to it; remembers what was asked for."""

    def __init__(
        self,
        source: Source = Source.CAMERA,
        *,
        codecs: Sequence[Codec] = (),
        extension_ids: Mapping[str, int] | None = None,
        clock: PublisherClock | None = None,
        name: str = "ann",
    ) -> None:
        self.requests: list[tuple[int, bool]] = []
        "Keyframes that were asked for: SSRC, and whether by PLI."
        self.nacks: list[tuple[int, list[int]]] = []
        "Packets that were asked for: SSRC and numbers."
        self.ladders = 0
        "How often what can be had has changed."
        self.timer = math.inf
        "When the up track wants to be called."
        self.clock = clock or PublisherClock()
        self.up_track = UpTrack(
            track_id=source.value,
            participant_id=name,
            source=source,
            clock=self.clock,
            publisher=self,
            new_intake=Intake,
            new_fan_out=lambda: FanOut(Wire()),
        )
        self.up_track.configure(codecs or ((OPUS,) if source.kind == "audio" else (VP8,)), extension_ids or {})
        self.router = Router()
        self.router.configure({"0": self.up_track}, [], {})

    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None:
        self.requests.append((ssrc, accepts_pli))

    def request_packets(self, ssrc: int, lost: Sequence[int]) -> None:
        self.nacks.append((ssrc, list(lost)))

    def on_ladder_changed(self, up_track: UpTrack) -> None:
        self.ladders += 1

    def wake(self, at: float) -> None:
        self.timer = min(self.timer, at)

    def pass_time(self, until: float, round_trip_s: float = 0.05) -> None:
        """Call the up track each time that it wants to be called, up to this time."""
        while self.timer <= until:
            at, self.timer = self.timer, math.inf
            self.wake(self.up_track.on_timer(at, round_trip_s))
            assert self.timer > at

    def send(self, data: bytes, now: float = 0.0) -> None:
        """What the transport does with a packet that it has decrypted."""
        packet = RtpPacket.parse(data)
        stream = self.router.streams.get(packet.ssrc) or self.router.bind(packet)
        if stream is not None and stream.layer is not None:
            stream.up_track.handle_packet(packet, stream.layer, now)
        elif stream is not None:
            stream.up_track.handle_repair(packet, stream.encoding, now)

    def send_frame(self, sequence_number: int, now: float = 0.0, *, payload: bytes = DELTA, ssrc: int = 1) -> None:
        self.send(rtp(sequence_number, int(now * 90000), payload=payload, ssrc=ssrc), now)


class Subscriber:
    """One down track and what leaves it."""

    def __init__(
        self,
        kind: str = "video",
        *,
        codecs: Sequence[Codec] = (),
        extension_ids: Mapping[str, int] | None = None,
        ssrc: int = 0xABCD,
        rtx_ssrc: int = 0,
    ) -> None:
        self.egress = RecordingEgress()
        self.sent = self.egress.sent
        self.unsupported: list[UpTrack] = []
        self.down_track = DownTrack(kind, Sender(self.egress, ssrc), batch=Wire(), listener=self)
        self.down_track.configure(
            codecs or ((OPUS,) if kind == "audio" else (VP8,)), extension_ids or {}, rtx_ssrc=rtx_ssrc
        )

    def on_unsupported(self, up_track: UpTrack) -> None:
        self.unsupported.append(up_track)

    @property
    def numbers(self) -> list[int]:
        """The sequence numbers that were sent, counted from the first."""
        return [(packet.sequence_number - self.sent[0].sequence_number) & 0xFFFF for packet in self.sent]
