"""One encoding of an up track: what is known of its SSRC, its latest packets, and who gets them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from zvonim_sfu.media.counted import Counted
from zvonim_sfu.rtp.codecs import describe_again, describer
from zvonim_sfu.rtp.description import PLAIN, Description, Restriction, Structure
from zvonim_sfu.rtp.history import PacketHistory
from zvonim_sfu.rtp.intake import Payloads
from zvonim_sfu.rtp.layer_rates import LayerRates
from zvonim_sfu.rtp.nack import NackRegister
from zvonim_sfu.rtp.rate import BitrateMeter
from zvonim_sfu.rtp.reception import ReceptionStatistics
from zvonim_sfu.rtp.rendition import with_marker
from zvonim_sfu.rtp.timing import SenderClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zvonim_sfu.media.codecs import CodecKey
    from zvonim_sfu.media.outlets import Outlets
    from zvonim_sfu.rtp.codecs import Describe
    from zvonim_sfu.rtp.intake import Intake
    from zvonim_sfu.rtp.packet import RtpPacket

# Publishers answer a request within a round trip and a frame; a keyframe costs them five to ten frames, so what
# comes in between is served by the same one.
KEYFRAME_INTERVAL_S: Final = 0.5
# An encoding that brings nothing while another of its track brings this many frames was switched off by its publisher.
# Encoders that are short of bits drop some frames in a row, and a receiver's picture stands still meanwhile.
STOPPED_AFTER_FRAMES: Final = 6
MIN_STOPPED_S: Final = 0.4
MAX_STOPPED_S: Final = 1.5
# What frame rates are compared by falls no faster than this in a second: who gets slower and slower is about to stop.
USUAL_FALL: Final = 0.9
BASE: Final = Restriction(0, 0)


class Selection(NamedTuple):
    """How much of an up track a subscriber is to get: at most this."""

    spatial: int
    "0 is the lowest."
    temporal: int


HIGHEST: Final = Selection(7, 7)


@lru_cache(64)
def selection_of(spatial: int, temporal: int) -> Selection:
    """Return the one of all equal selections, which all m-sections keep."""
    return Selection(spatial, temporal)


class Rung(NamedTuple):
    """What an up track can be forwarded as now."""

    spatial: int
    temporal: int
    width: int
    "In pixels; 0 where it is not known."
    height: int
    frame_rate: float
    "0 until it was measured, as the bit rate."
    bitrate: int
    "In bit/s, of all that has to be sent for it."


class ReceivedCodec(NamedTuple):
    """What a payload type of the publisher stands for."""

    key: CodecKey
    clock_rate: int
    accepts_pli: bool
    accepts_nack: bool


class Held(NamedTuple):
    """A packet that waits for the next one."""

    packet: RtpPacket
    sequence: int
    description: Description


class Publisher(Protocol):
    """What layers ask of the peer that publishes them."""

    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None:
        """Send a PLI, or a FIR where PLI was not negotiated."""

    def request_packets(self, ssrc: int, lost: Sequence[int]) -> None:
        """Send a NACK for packets that are missing, by their 16-bit numbers."""

    def wake(self, at: float) -> None:
        """Call `on_timer` at this time (s, monotonic), or before."""


@dataclass(slots=True, eq=False)
class Layer(Counted):
    """State that lives as long as the SSRC. Its owner is the up track, which passes packets to `forward`."""

    ssrc: int
    rid: str
    "Names the encoding: its rid, or its place in a group of SSRCs; empty where the track has one."
    publisher: Publisher
    outlets: Outlets
    "Who gets it."
    intake: Intake
    "What is counted of each packet."
    statistics: ReceptionStatistics
    clock: SenderClock
    register: NackRegister | None
    "What is missing; None where the publisher answers no NACK."
    history: PacketHistory
    spatial: int = 0
    "Its place among the encodings of its track, 0 for the smallest picture."
    sizes: tuple[tuple[int, int], ...] = ()
    "Of the pictures in it, width and height in pixels, the smallest first; empty where it does not tell."
    top: Restriction = BASE
    "The highest layers within it that have come."
    codec: ReceivedCodec | None = None
    "What its packets are; None before the first."
    is_up: bool = False
    "Whether packets come: false before the first one, and when its publisher has switched it off."
    rate: BitrateMeter = field(default_factory=BitrateMeter)
    "Of these octets, updated each second."
    frame_rate: float = 0.0
    "In Hz, smoothed over some seconds; 0 before the second update."
    usual_rate: float = 0.0
    "The same, falling slowly."
    requested: int = 0
    "Packets that the publisher was asked for again, each time that it was."
    repaired: int = 0
    "Packets that came as retransmissions."
    duplicates: int = 0
    "Packets that were dropped because they had come before, or came too late to be told from such."
    keyframe_requests: int = 0
    rates: LayerRates = field(default_factory=LayerRates)
    "Of layers within it, where there are such."
    _describe: Describe | None = None
    "None for sounds."
    _descriptor: int = 0
    "Number of the header extension with the dependency descriptor (AV1); 0 for none."
    _held: Held | None = None
    "What the next packet tells to be the end of its picture, or not."
    _next_request_at: float = 0.0
    _wake_at: float = math.inf
    _measured: tuple[int, float] | None = None

    @classmethod
    def of(
        cls, ssrc: int, rid: str, codec: ReceivedCodec, publisher: Publisher, outlets: Outlets, *, is_video: bool
    ) -> Layer:
        """A layer that begins."""
        intake = outlets.intake
        intake.is_video = is_video
        statistics = ReceptionStatistics(codec.clock_rate, intake)
        register = NackRegister(intake) if codec.accepts_nack else None
        clock, history = SenderClock(codec.clock_rate), PacketHistory(intake)
        return cls(ssrc, rid, publisher, outlets, intake, statistics, clock, register, history)

    def set_codec(self, codec: ReceivedCodec, *, descriptor: int) -> None:
        """Take packets for this from now on; what is kept is of no use to a decoder of another codec."""
        self.codec = codec
        self.history = PacketHistory(self.intake)
        self._held = None
        self._describe = describer(codec.key.name, self.intake) if self.is_video else None
        self._descriptor = self.intake.descriptor = descriptor
        self.sizes = ()
        self.top = BASE
        self.intake.payloads = Payloads.of(codec.key.name) if self.is_video else Payloads.SOUND
        self.intake.temporal = BASE.temporal
        self.rates = LayerRates(self.intake)
        self.outlets.forget_renditions()

    @property
    def width(self) -> int:
        """Of the largest picture in it, in pixels; 0 where it does not tell."""
        return self.sizes[-1][0] if self.sizes else 0

    @property
    def height(self) -> int:
        """The same in the other direction."""
        return self.sizes[-1][1] if self.sizes else 0

    @property
    def renumbers_pictures(self) -> bool:
        """Whether receivers wait for pictures whose ids are missing."""
        return self.codec is not None and self.codec.key.name == "VP8"

    def close(self) -> None:
        """Pass nothing on, and let go of what is kept for repairs at once.

        Who ended is a ring of objects that only the garbage collector takes apart, at a time of its own.
        """
        self.outlets.close()
        self.payload_type = -1
        self.history = PacketHistory(self.intake)
        self._held = None

    def forward(self, packet: RtpPacket, sequence: int, now: float, *, is_repair: bool = False) -> bool:
        """Keep a packet and send it on, if it did not come before; returns whether `told` may be another now."""
        register = self.register
        if register is not None:
            if not register.received(sequence, now):
                self.duplicates += 1
                return False
            if register.next_at is not None and register.next_at < self._wake_at:
                self._wake_at = register.next_at
                self.publisher.wake(register.next_at)
        intake = self.intake
        intake.packets += 1
        intake.octets += len(packet.data) - packet.payload_offset
        intake.frames += packet.marker
        intake.last_at = now
        self.repaired += is_repair
        description, top = PLAIN, self.top
        if self._describe is not None:
            descriptor = packet.extension(self._descriptor) if self._descriptor else None
            description = self._describe(packet.payload, descriptor)
            if description.structure is not None or description.spatial or description.temporal or self.top != BASE:
                self._note_layers(description, packet)
        if self.top.spatial:
            self._forward_to_the_end_of_pictures(packet, sequence, description, now)
        else:
            self._pass_on(packet, sequence, description, now)
        return description.keyframe or self.top != top

    def _forward_to_the_end_of_pictures(
        self, packet: RtpPacket, sequence: int, description: Description, now: float
    ) -> None:
        """Pass a packet on, and say with which one a picture ends whose upper layers were left out by their encoder.

        Encoders short of bits drop the upper frame of a picture when the lower one is on its way already, without the
        marker. Chromium decodes no picture before its marker has come, and nothing that refers to it: it stands still
        until it asks for a keyframe, 3 s later. So the end of a lower frame waits for the packet behind it, which in
        nearly all pictures is the next frame's and comes at once. There is never more than one that waits.
        """
        held = self._held
        if held is not None and sequence > held.sequence:
            self._held = None
            is_end = sequence == held.sequence + 1 and packet.timestamp != held.packet.timestamp
            self._pass_on(with_marker(held.packet) if is_end else held.packet, held.sequence, held.description, now)
        if description.ends_frame and not packet.marker and description.spatial < self.top.spatial:
            if self._held is None and sequence > self.highest:
                self._held = Held(packet, sequence, description)
                return
            following = self.history.get(sequence + 1, now)  # it is late
            if following is not None and following.timestamp != packet.timestamp:
                packet = with_marker(packet)
        self._pass_on(packet, sequence, description, now)

    def _pass_on(self, packet: RtpPacket, sequence: int, description: Description, now: float) -> None:
        self.history.add(sequence, packet, now, description)
        register = self.register
        intake = self.intake
        if description.keyframe:
            intake.wants_keyframe = False
            if register is not None and self.history.keyframe is not None:
                register.keyframe(self.history.keyframe)
        elif intake.wants_keyframe or (register is not None and register.needs_keyframe):
            # Asked again by the packets themselves: a camera that sends nothing is left alone.
            self.request_keyframe(now)
        self.outlets.pass_on(self, packet, sequence, description, now)
        if sequence > intake.highest:
            intake.highest = sequence
            intake.last = packet
        packet.forget_tails()

    def _note_layers(self, description: Description, packet: RtpPacket) -> None:
        self.rates.add(description, len(packet.data) - packet.payload_offset)
        told = description.structure or Structure()
        self.sizes = tuple(size for size in told.sizes if size[0]) or self.sizes
        top = Restriction(
            max(self.top.spatial, description.spatial, len(told.sizes) - 1),
            max(self.top.temporal, description.temporal, told.temporal_layers - 1),
        )
        if top != self.top:
            self.top = top
            self.intake.temporal = top.temporal
            if top.spatial:
                self.intake.payloads = Payloads.UNKNOWN
            self.outlets.sort()  # what was all of it may be a part now

    def description_of(self, packet: RtpPacket, sequence: int) -> Description:
        """Describe a packet of this layer that has come before."""
        kept = self.history.description(sequence)
        if isinstance(kept, Description):
            return kept
        if self.codec is None:
            return PLAIN
        descriptor = packet.extension(self._descriptor) if self._descriptor else None
        return describe_again(self.codec.key.name, packet.payload, descriptor, kept)

    def frame_number_of(self, packet: RtpPacket) -> int:
        """Return the dependency descriptor's number of a packet (AV1 RTP specification 1.0, A.8.1), 0 without one."""
        descriptor = packet.extension(self._descriptor) if self._descriptor else None
        return int.from_bytes(descriptor[1:3]) if descriptor is not None else 0

    def request_keyframe(self, now: float) -> None:
        """Ask the publisher for a keyframe, at once or, if one was asked for just now, when that has not helped.

        An encoding that has stopped is asked when it comes again.
        """
        self.need_keyframe()
        if self.intake.wants_keyframe and self.is_up and now >= self._next_request_at and self.codec is not None:
            self._next_request_at = now + KEYFRAME_INTERVAL_S
            self.keyframe_requests += 1
            self.publisher.request_keyframe(self.ssrc, accepts_pli=self.codec.accepts_pli)

    def need_keyframe(self) -> None:
        """Ask the publisher for a keyframe when the next packet comes that begins none."""
        self.intake.wants_keyframe = self.is_video

    def on_timer(self, now: float, round_trip_s: float) -> float:
        """Ask for what is missing; returns when to be called again, infinity for never."""
        self._wake_at = math.inf
        register = self.register
        if register is None:
            return math.inf
        lost = register.requests(now, round_trip_s)
        if lost:
            self.requested += len(lost)
            self.publisher.request_packets(self.ssrc, [self.statistics.wire_number(number) for number in lost])
        if register.needs_keyframe:
            self.request_keyframe(now)
        if register.next_at is not None:
            self._wake_at = register.next_at
        return self._wake_at

    def measure(self, now: float) -> None:
        """Learn rates from what came since the last call, and let go of what is too old: once a second."""
        self.history.expire(now)
        self.outlets.drop_unused(self)
        if self.top != BASE:
            self.rates.look(now)
        self.rate.update(self.octets, now)
        if self._measured is not None:
            frames, at = self._measured
            if now > at:
                rate = (self.frames - frames) / (now - at)
                self.frame_rate = rate if self.frame_rate == 0 else self.frame_rate + (rate - self.frame_rate) / 2
        self.usual_rate = max(self.frame_rate, USUAL_FALL * self.usual_rate)
        self._measured = self.frames, now

    def come(self, now: float) -> None:
        """It brings packets; where it had stopped, its silence is not to count in its rates."""
        if not self.is_up:
            self.rate = BitrateMeter()
            self.frame_rate = self.usual_rate = 0.0
            self._measured = None
            self.rates.begin_anew()
        self.is_up = True
        self.last_at = now

    def is_live(self, now: float, others: Iterable[Layer]) -> bool:
        """Whether packets come, judged by the frames that other encodings of the same picture bring meanwhile.

        Pass as `now` when the latest packet of all of them came: a camera that is off, or a way that is lost, stops
        none of them.
        """
        silence_s = now - self.last_at
        if silence_s <= MIN_STOPPED_S:
            return True
        return silence_s <= MAX_STOPPED_S and all(other.frames_for(self) < STOPPED_AFTER_FRAMES for other in others)

    def frames_for(self, other: Layer) -> float:
        """Return how many frames another encoding would have brought since its last packet, going by this one."""
        came = sum(packet.marker for _, packet in self.history.since_time(other.last_at))
        # A small picture of a screen may be meant to come at a third of the rate.
        is_slower = 0 < other.usual_rate < self.usual_rate
        return came * other.usual_rate / self.usual_rate if is_slower else came

    def rungs(self, *, is_only: bool) -> list[Rung]:
        """Return what can be had of it; of several encodings only what has the size of the whole."""
        found = [r for r in self.rates.restrictions() if is_only or r.spatial == self.top.spatial]
        if self.top == BASE or not found:
            spatial = self.top.spatial if is_only else self.spatial
            return [Rung(spatial, self.top.temporal, self.width, self.height, self.frame_rate, self.rate.bitrate)]
        return [
            Rung(
                r.spatial if is_only else self.spatial,
                r.temporal,
                *(self.sizes[r.spatial] if r.spatial < len(self.sizes) else (self.width, self.height)),
                self.rates.frame_rate(r),
                self.rates.bitrate(r),
            )
            for r in found
        ]

    def told(self) -> object:
        """Return what is told of it: another value where its rungs are others, whatever their rates."""
        return self.sizes, self.top, tuple(self.rates.restrictions())
