"""One encoding of an up track: what is known of its SSRC, its latest packets, and who gets them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from zvonim_sfu.rtp.codecs import describer
from zvonim_sfu.rtp.history import PacketHistory
from zvonim_sfu.rtp.nack import NackRegister
from zvonim_sfu.rtp.packet import NO_FIELDS
from zvonim_sfu.rtp.rate import BitrateMeter
from zvonim_sfu.rtp.reception import ReceptionStatistics
from zvonim_sfu.rtp.timing import SenderClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zvonim_sfu.media.codecs import CodecKey
    from zvonim_sfu.net.sending import FanOut, Sender
    from zvonim_sfu.rtp.codecs import Describe
    from zvonim_sfu.rtp.packet import Fields, RtpPacket

# Publishers answer a request within a round trip and a frame; a keyframe costs them five to ten frames, so what
# comes in between is served by the same one.
KEYFRAME_INTERVAL_S: Final = 0.5
# An encoding that brings nothing for this many of its frames, while others of its track go on, was switched off by its
# publisher. Encoders that are short of bits drop some frames in a row, and a receiver's picture stands still meanwhile.
STOPPED_AFTER_FRAMES: Final = 6
MIN_STOPPED_S: Final = 0.4
MAX_STOPPED_S: Final = 1.5


class Selection(NamedTuple):
    """How much of an up track a subscriber is to get: at most this."""

    spatial: int
    "0 is the lowest."
    temporal: int


HIGHEST: Final = Selection(7, 7)


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


class LayerReceiver(Protocol):
    """What a layer knows of a down track."""

    def forward(self, packet: RtpPacket, layer: Layer, sequence: int, now: float, *, keyframe: bool) -> None:
        """Send a packet on; `sequence` is its number extended beyond 16 bits."""

    def steady_sender(self, layer: Layer) -> Sender | None:
        """Return by what packets of this layer can go without `forward`; None while they cannot."""


class Publisher(Protocol):
    """What layers ask of the peer that publishes them."""

    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None:
        """Send a PLI, or a FIR where PLI was not negotiated."""

    def request_packets(self, ssrc: int, lost: Sequence[int]) -> None:
        """Send a NACK for packets that are missing, by their 16-bit numbers."""

    def wake(self, at: float) -> None:
        """Call `on_timer` at this time (s, monotonic), or before."""


@dataclass(slots=True, eq=False)
class Layer:
    """State that lives as long as the SSRC. Its owner is the up track, which passes packets to `forward`."""

    ssrc: int
    rid: str
    "Names the encoding: its rid, or its place in a group of SSRCs; empty where the track has one."
    publisher: Publisher
    fan_out: FanOut
    "The senders of those that are steady with it."
    is_video: bool
    statistics: ReceptionStatistics
    clock: SenderClock
    register: NackRegister | None
    "What is missing; None where the publisher answers no NACK."
    spatial: int = 0
    "Its place among the encodings of its track, 0 for the smallest picture."
    width: int = 0
    "Of its latest keyframe, in pixels; 0 where that does not tell."
    height: int = 0
    codec: ReceivedCodec | None = None
    "What its packets are; None before the first."
    payload_type: int = -1
    "Of its last packet; -1 when the up track has to look at the next one."
    is_up: bool = False
    "Whether packets come: false before the first one, and when its publisher has switched it off."
    is_paused: bool = False
    "Whether packets are kept, and forwarded to nobody."
    last_at: float = -math.inf
    "When its last packet came."
    history: PacketHistory = field(default_factory=PacketHistory)
    last: RtpPacket | None = None
    "The packet with the highest number."
    packets: int = 0
    "That were forwarded or kept: each once, repairs included."
    octets: int = 0
    "Of their payload."
    frames: int = 0
    "Of them: packets with the marker, which end a picture."
    rate: BitrateMeter = field(default_factory=BitrateMeter)
    "Of these octets, updated each second."
    frame_rate: float = 0.0
    "In Hz, smoothed over some seconds; 0 before the second update."
    requested: int = 0
    "Packets that the publisher was asked for again, each time that it was."
    repaired: int = 0
    "Packets that came as retransmissions."
    duplicates: int = 0
    "Packets that were dropped because they had come before, or came too late to be told from such."
    keyframe_requests: int = 0
    receivers: tuple[LayerReceiver, ...] = ()
    "Those who get it, and those who wait for a keyframe of it."
    told_size: tuple[int, int] = (0, 0)
    "As the up track has told its size."
    _describe: Describe | None = None
    "None for sounds."
    _descriptor: int = 0
    "Number of the header extension with the dependency descriptor (AV1); 0 for none."
    _highest: int = -1
    _unsteady: tuple[LayerReceiver, ...] = ()
    "Those of the receivers that have to be asked to forward by themselves."
    _unsorted: bool = True
    "Whether it has to be found out anew which these are."
    _keyframe_wanted: bool = False
    _next_request_at: float = 0.0
    _wake_at: float = math.inf
    _measured: tuple[int, float] | None = None

    @classmethod
    def of(
        cls, ssrc: int, rid: str, codec: ReceivedCodec, publisher: Publisher, fan_out: FanOut, *, is_video: bool
    ) -> Layer:
        """A layer that begins."""
        register = NackRegister() if codec.accepts_nack else None
        rate = codec.clock_rate
        return cls(ssrc, rid, publisher, fan_out, is_video, ReceptionStatistics(rate), SenderClock(rate), register)

    def set_codec(self, codec: ReceivedCodec, *, descriptor: int) -> None:
        """Take packets for this from now on; what is kept is of no use to a decoder of another codec."""
        self.codec = codec
        self.history = PacketHistory()
        self._describe = describer(codec.key.name) if self.is_video else None
        self._descriptor = descriptor
        self.width = self.height = 0
        self.sort_receivers()

    def join(self, receiver: LayerReceiver) -> None:
        """Pass packets to this receiver from now on."""
        if receiver not in self.receivers:
            self.receivers = (*self.receivers, receiver)
            self.sort_receivers()

    def leave(self, receiver: LayerReceiver) -> None:
        """Pass it no more."""
        if receiver in self.receivers:
            self.receivers = tuple(other for other in self.receivers if other is not receiver)
            # Now, so that nothing more goes to it, and nothing of it stays here.
            self.fan_out.replace(())
            self.sort_receivers()

    def sort_receivers(self) -> None:
        """Find out again, with the next packet, how each receiver is to be sent to: something about one has changed."""
        self._unsorted = True

    def pause(self) -> None:
        """Pass packets to nobody until `resume`."""
        self.is_paused = True
        self.fan_out.replace(())
        self.sort_receivers()

    def resume(self) -> None:
        """Pass them on again."""
        self.is_paused = False
        self.sort_receivers()

    def close(self) -> None:
        """Pass nothing on, and let go of what is kept for repairs at once.

        Who ended is a ring of objects that only the garbage collector takes apart, at a time of its own.
        """
        self.receivers = self._unsteady = ()
        self.fan_out.replace(())
        self.payload_type = -1
        self.history = PacketHistory()

    def forward(self, packet: RtpPacket, sequence: int, now: float, *, is_repair: bool = False) -> bool:
        """Keep a packet and send it on, if it did not come before; returns whether a keyframe begins with it."""
        register = self.register
        if register is not None:
            if not register.received(sequence, now):
                self.duplicates += 1
                return False
            if register.next_at is not None and register.next_at < self._wake_at:
                self._wake_at = register.next_at
                self.publisher.wake(register.next_at)
        self.packets += 1
        self.repaired += is_repair
        self.octets += len(packet.data) - packet.payload_offset
        self.frames += packet.marker
        self.last_at = now
        keyframe = False
        fields = NO_FIELDS
        if self._describe is not None:
            described = self._describe(packet.payload, packet.extension(self._descriptor) if self._descriptor else None)
            keyframe, fields = described.keyframe, described.fields
            if described.structure is not None and described.structure.sizes:
                self.width, self.height = described.structure.sizes[-1]
        self.history.add(sequence, packet, now, keyframe=keyframe)
        if sequence > self._highest:
            self._highest = sequence
            self.last = packet
        if keyframe:
            self._keyframe_wanted = False
            if register is not None and self.history.keyframe is not None:
                register.keyframe(self.history.keyframe)
        elif self._keyframe_wanted or (register is not None and register.needs_keyframe):
            # Asked again by the packets themselves: a camera that sends nothing is left alone.
            self.request_keyframe(now)
        if self._unsorted:
            self._sort_receivers()
        if not self.is_paused:
            self._pass_on(packet, sequence, now, fields, keyframe=keyframe)
        packet.forget_tails()
        return keyframe

    def _pass_on(self, packet: RtpPacket, sequence: int, now: float, fields: Fields, *, keyframe: bool) -> None:
        receivers = self.receivers
        if sequence >= self.fan_out.floor:
            self.fan_out.forward(packet, sequence, packet.marker, fields)
            receivers = self._unsteady
        for receiver in receivers:
            receiver.forward(packet, self, sequence, now, keyframe=keyframe)
        for receiver in self._unsteady:
            if receiver.steady_sender(self) is not None:
                self._unsorted = True

    def _sort_receivers(self) -> None:
        senders = []
        unsteady = []
        for receiver in () if self.is_paused else self.receivers:
            sender = receiver.steady_sender(self)
            if sender is not None:
                senders.append(sender)
            else:
                unsteady.append(receiver)
        self.fan_out.replace(senders)
        self._unsteady = tuple(unsteady)
        self._unsorted = False

    def fields_of(self, packet: RtpPacket) -> Fields:
        """Return the numbers in the payload of a packet of this layer, which may have come a while ago."""
        # AV1 has none, and what describes it follows the stream: it is not to be asked about the past.
        if self._describe is None or self.codec is None or self.codec.key.name == "AV1":
            return NO_FIELDS
        return self._describe(packet.payload, None).fields

    def frame_number_of(self, packet: RtpPacket) -> int:
        """Return the dependency descriptor's number of a packet (AV1 RTP specification 1.0, A.8.1), 0 without one."""
        descriptor = packet.extension(self._descriptor) if self._descriptor else None
        return int.from_bytes(descriptor[1:3]) if descriptor is not None else 0

    def request_keyframe(self, now: float) -> None:
        """Ask the publisher for a keyframe, at once or, if one was asked for just now, when that has not helped."""
        self.need_keyframe()
        if self._keyframe_wanted and now >= self._next_request_at and self.codec is not None:
            self._next_request_at = now + KEYFRAME_INTERVAL_S
            self.keyframe_requests += 1
            self.publisher.request_keyframe(self.ssrc, accepts_pli=self.codec.accepts_pli)

    def need_keyframe(self) -> None:
        """Ask the publisher for a keyframe when the next packet comes that begins none."""
        self._keyframe_wanted = self.is_video

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
        """Learn rates from what came since the last call, and let go of packets that are too old: once a second."""
        self.history.expire(now)
        self.rate.update(self.octets, now)
        if self._measured is not None:
            frames, at = self._measured
            if now > at:
                rate = (self.frames - frames) / (now - at)
                self.frame_rate = rate if self.frame_rate == 0 else self.frame_rate + (rate - self.frame_rate) / 2
        self._measured = self.frames, now

    def is_live(self, now: float) -> bool:
        """Whether packets come, judged by how often they do.

        Of several encodings of one picture, pass as `now` when the latest packet of all of them came: a camera that is
        off, or a way that is lost, stops none of them.
        """
        silence_s = now - self.last_at
        if silence_s <= MIN_STOPPED_S:
            return True
        usual_s = STOPPED_AFTER_FRAMES / self.frame_rate if self.frame_rate > 0 else MAX_STOPPED_S
        return silence_s <= min(MAX_STOPPED_S, max(MIN_STOPPED_S, usual_s))
