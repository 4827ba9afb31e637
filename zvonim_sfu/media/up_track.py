"""One track that a participant publishes: from its packets to the down tracks that carry it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from zvonim_sfu.media.codecs import CodecKey, associated, codec_key
from zvonim_sfu.media.layer import Layer
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.totals import ReceivedCounters
from zvonim_sfu.rtp.codecs import is_keyframe
from zvonim_sfu.rtp.history import PacketHistory
from zvonim_sfu.rtp.packet import NO_FIELDS, RtpError, RtpPacket
from zvonim_sfu.rtp.rtx import unwrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zvonim_sfu.media.publisher_clock import PublisherClock
    from zvonim_sfu.media.sdp import Codec
    from zvonim_sfu.net.sending import FanOut, Sender

# Publishers answer a request within a round trip and a frame; a keyframe costs them five to ten frames, so what
# comes in between is served by the same one.
KEYFRAME_INTERVAL_S: Final = 0.5
# A publisher's SSRC changes when it rebuilds its encoder; older ones are forgotten.
MAX_LAYERS: Final = 4
# How loud a packet is, as its publisher says (RFC 6464): the only thing about sounds that the server knows.
LEVEL_EXTENSION: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
# Levels that wait to be taken: 0.6 s of the shortest packets that browsers send.
MAX_LEVELS: Final = 64
# Whose microphone is let through begins with what it said meanwhile: as long as it takes to notice that it speaks (two
# ticks of rooms.conversation) and a bit, so that the first syllable is whole.
LEAD_IN_S: Final = 0.3
# For those to whom it goes by another way than the former one: their slots are assigned in the next turn of the loop.
LEAD_IN_FOR_S: Final = 0.1


class ReceivedCodec(NamedTuple):
    """What a payload type of the publisher stands for."""

    key: CodecKey
    clock_rate: int
    accepts_pli: bool
    accepts_nack: bool


class Receiver(Protocol):
    """What an up track knows of a down track."""

    def forward(self, packet: RtpPacket, layer: Layer, sequence: int, now: float, *, keyframe: bool) -> None:
        """Send a packet on; `sequence` is its number extended beyond 16 bits."""

    def steady_sender(self, layer: Layer) -> Sender | None:
        """Return by what packets of this layer can go without `forward`; None while they cannot."""

    def on_codec(self) -> None:
        """The up track's codec has changed."""

    def on_resume(self, now: float) -> None:
        """Packets come again after a pause; `UpTrack.lead_in` has the first ones already."""


class Publisher(Protocol):
    """What an up track asks of the peer that publishes it."""

    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None:
        """Send a PLI, or a FIR where PLI was not negotiated."""

    def request_packets(self, ssrc: int, lost: Sequence[int]) -> None:
        """Send a NACK for packets that are missing, by their 16-bit numbers."""

    def wake(self, at: float) -> None:
        """Call `on_timer` at this time (s, monotonic), or before."""


class UpTrack:
    """A published track. Its owner is the publisher's peer, which configures and closes it."""

    def __init__(
        self,
        *,
        track_id: str,
        participant_id: str,
        source: Source,
        clock: PublisherClock,
        publisher: Publisher,
        fan_out: FanOut,
    ) -> None:
        self.id = track_id
        self.participant_id = participant_id
        self.key = f"{participant_id}/{track_id}"
        "Names the track among all of the room; the same when the track comes back after a reload."
        self.source = source
        self.kind = source.kind
        "`audio` or `video`."
        self._is_video = source.kind == "video"
        self.levels: deque[int] = deque(maxlen=MAX_LEVELS)
        "How loud a microphone's packets were, in -dBov (RFC 6464): 0 to 127, silence. Who reads them empties it."
        self._level_extension = 0
        "Number of the header extension that tells it; 0 where none does, and for all but microphones."
        self.is_paused = False
        "Whether packets are kept, and forwarded to nobody."
        self._resumed_at = -math.inf
        self.clock = clock
        self.muted = False
        self.codec: ReceivedCodec | None = None
        "What its packets are now; None before the first."
        self.codecs: tuple[Codec, ...] = ()
        self.extension_ids: dict[str, int] = {}
        "Numbers of the publisher's header extensions, by URI."
        self.layers: dict[int, Layer] = {}
        "The layers that came last, by SSRC."
        self.layer: Layer | None = None
        "The layer that is forwarded: the one whose SSRC came last."
        self.unforwarded = 0
        "Packets that were dropped: of a former layer, or of a payload type that was not negotiated."
        self._ended = ReceivedCounters()
        "What layers that are forgotten have counted, and the track itself."
        self._publisher = publisher
        self._wake_at = math.inf
        self._keyframe_wanted = False
        self._next_request_at = 0.0
        self._by_payload_type: dict[int, ReceivedCodec] = {}
        self._repairs: dict[int, int] = {}
        "Payload types of retransmissions, and of what they send again."
        self._receivers: tuple[Receiver, ...] = ()
        self._fan_out = fan_out
        "The senders of those that are steady with the layer that is forwarded now."
        self._unsteady: tuple[Receiver, ...] = ()
        "The others, each to be asked to forward by itself."
        self._unsorted = True
        "Whether these two have to be found anew."

    @property
    def receivers(self) -> int:
        """How many down tracks carry it."""
        return len(self._receivers)

    @property
    def tells_levels(self) -> bool:
        """Whether `levels` says how loud it is: it is a microphone, and its publisher has agreed to tell."""
        return self._level_extension > 0

    def configure(self, codecs: Sequence[Codec], extension_ids: Mapping[str, int]) -> None:
        """Take over what was negotiated with the publisher."""
        self.codecs = tuple(codecs)
        self.extension_ids = dict(extension_ids)
        if self.source is Source.MICROPHONE:
            self._level_extension = extension_ids.get(LEVEL_EXTENSION, 0)
        self._by_payload_type = {
            codec.payload_type: ReceivedCodec(
                key, codec.clock_rate, accepts_pli="nack pli" in codec.feedback, accepts_nack="nack" in codec.feedback
            )
            for codec in codecs
            if (key := codec_key(codec)) is not None
        }
        self._repairs = {codec.payload_type: apt for codec in codecs if (apt := associated(codec)) is not None}
        for layer in self.layers.values():
            layer.payload_type = -1  # looked up again with the next packet
        for receiver in self._receivers:
            receiver.on_codec()
        self.sort_receivers()

    def subscribe(self, receiver: Receiver) -> None:
        """Forward to this receiver from now on."""
        self._receivers = (*self._receivers, receiver)
        self.sort_receivers()

    def unsubscribe(self, receiver: Receiver) -> None:
        """Forward no more to this receiver."""
        self._receivers = tuple(other for other in self._receivers if other is not receiver)
        # Now, so that nothing more goes to it, and nothing of it stays here.
        self._fan_out.replace(())
        self.sort_receivers()

    def close(self) -> None:
        """Forward nothing more, and let go of what is kept for repairs at once.

        Who ended is a ring of objects that only the garbage collector takes apart, at a time of its own.
        """
        self._receivers = ()
        self._fan_out.replace(())
        self.sort_receivers()
        self.layers = {}
        self.layer = None

    def sort_receivers(self) -> None:
        """Find out again, with the next packet, how each receiver is to be sent to: something about one has changed."""
        self._unsorted = True

    def pause(self) -> None:
        """Forward to nobody until `resume`. Receivers notice nothing: their numbers have no hole."""
        self.is_paused = True
        self._fan_out.replace(())
        self._unsteady = ()
        self._unsorted = False

    def resume(self, now: float) -> None:
        """Forward again, from a moment ago on (LEAD_IN_S)."""
        self.is_paused = False
        self._resumed_at = now
        for receiver in self._receivers:
            receiver.on_resume(now)
        self.sort_receivers()

    def lead_in(self, now: float, duration_s: float) -> list[tuple[int, RtpPacket]]:
        """Return what came in the last `duration_s`, LEAD_IN_S at most, for a sound that was let through just now.

        Nothing for all others: who comes into a call hears what is said from then on.
        """
        if self.layer is None or self.is_paused or now - self._resumed_at > LEAD_IN_FOR_S:
            return []
        return self.layer.history.since_time(max(now - duration_s, self._resumed_at - LEAD_IN_S))

    def request_keyframe(self, now: float) -> None:
        """Ask the publisher for a keyframe, at once or, if one was asked for just now, when that has not helped."""
        self.need_keyframe()
        if self._keyframe_wanted and now >= self._next_request_at:
            self._send_request(now)

    def need_keyframe(self) -> None:
        """Ask the publisher for a keyframe when the next packet comes that begins none."""
        self._keyframe_wanted = self.kind == "video"

    def _send_request(self, now: float) -> None:
        if self.layer is not None and self.codec is not None:
            self._next_request_at = now + KEYFRAME_INTERVAL_S
            self._ended.keyframe_requests += 1
            self._publisher.request_keyframe(self.layer.ssrc, accepts_pli=self.codec.accepts_pli)

    def accepts(self, payload_type: int) -> bool:
        """Whether this payload type was negotiated for this track, be it for retransmissions."""
        return payload_type in self._by_payload_type or payload_type in self._repairs

    def repairs(self, payload_type: int) -> bool:
        """Whether this payload type is one of retransmissions."""
        return payload_type in self._repairs

    def add_layer(self, ssrc: int, payload_type: int) -> Layer | None:
        """The layer of a new SSRC of this track; None if its payload type was not negotiated."""
        codec = self._by_payload_type.get(payload_type)
        if codec is None:
            return None
        layer = Layer.of(ssrc, codec.clock_rate, repairable=codec.accepts_nack)
        self.layers[ssrc] = self.layer = layer
        self.sort_receivers()
        while len(self.layers) > MAX_LAYERS:
            self._ended.add_layer(self.layers.pop(next(iter(self.layers))))
        self.need_keyframe()
        return layer

    def handle_packet(self, packet: RtpPacket, layer: Layer, now: float) -> None:
        """Forward one packet of the publisher to every receiver."""
        sequence = layer.statistics.add(packet.sequence_number, packet.timestamp, now)
        if (
            sequence is None
            or layer is not self.layer
            or (packet.payload_type != layer.payload_type and not self._on_payload_type(packet))
        ):
            self.unforwarded += 1
            return
        if self._level_extension and (level := packet.extension(self._level_extension)):
            self.levels.append(level[0] & 0x7F)  # the bit above it is the publisher's own idea of what speech is
        self._forward(packet, layer, sequence, now)

    def handle_repair(self, packet: RtpPacket, now: float) -> None:
        """Forward what a retransmission (RFC 4588) brings back, in the place where it was missing."""
        layer, payload_type = self.layer, self._repairs.get(packet.payload_type)
        if layer is None or layer.register is None:
            return
        if payload_type is None or payload_type != layer.payload_type:
            self.unforwarded += 1
            return
        data = unwrap(packet, ssrc=layer.ssrc, payload_type=payload_type)
        if data is None:
            return  # a probe of the link
        try:
            original = RtpPacket.parse(data)
        except RtpError:
            self.unforwarded += 1
            return
        sequence = layer.statistics.locate(original.sequence_number)
        if sequence is None:
            self.unforwarded += 1
        elif self._forward(original, layer, sequence, now):
            layer.repaired += 1

    def _forward(self, packet: RtpPacket, layer: Layer, sequence: int, now: float) -> bool:
        """Keep a packet and send it on; returns False for one that came before."""
        register = layer.register
        if register is not None:
            if not register.received(sequence, now):
                layer.duplicates += 1
                return False
            if register.next_at is not None and register.next_at < self._wake_at:
                self._wake_at = register.next_at
                self._publisher.wake(register.next_at)
        layer.packets += 1
        layer.octets += len(packet.data) - packet.payload_offset
        keyframe = False
        if self.codec is not None and self._is_video:
            keyframe = is_keyframe(self.codec.key.name, packet.payload)
        layer.history.add(sequence, packet, now, keyframe=keyframe)
        if keyframe:
            self._keyframe_wanted = False
            if register is not None and layer.history.keyframe is not None:
                register.keyframe(layer.history.keyframe)
        elif self._keyframe_wanted or (register is not None and register.needs_keyframe):
            # Asked again by the packets themselves: a camera that sends nothing is left alone.
            self.request_keyframe(now)
        if self._unsorted:
            self._sort_receivers(layer)
        receivers = self._receivers
        if sequence >= self._fan_out.floor:
            self._fan_out.forward(packet, sequence, packet.marker, NO_FIELDS)
            receivers = self._unsteady
        for receiver in receivers:
            receiver.forward(packet, layer, sequence, now, keyframe=keyframe)
        for receiver in self._unsteady:
            if receiver.steady_sender(layer) is not None:
                self._unsorted = True
        packet.forget_tails()
        return True

    def _sort_receivers(self, layer: Layer) -> None:
        senders = []
        unsteady = []
        for receiver in () if self.is_paused else self._receivers:
            sender = receiver.steady_sender(layer)
            if sender is not None:
                senders.append(sender)
            else:
                unsteady.append(receiver)
        self._fan_out.replace(senders)
        self._unsteady = tuple(unsteady)
        self._unsorted = False

    def counters(self) -> ReceivedCounters:
        """Return what all its layers have counted, those included that are forgotten."""
        counters = replace(self._ended)
        for layer in self.layers.values():
            counters.add_layer(layer)
        return counters

    def on_timer(self, now: float, round_trip_s: float) -> float:
        """Ask for what is missing; returns when to be called again, infinity for never."""
        self._wake_at = math.inf
        layer = self.layer
        if layer is None or layer.register is None:
            return math.inf
        lost = layer.register.requests(now, round_trip_s)
        if lost:
            layer.requested += len(lost)
            self._publisher.request_packets(layer.ssrc, [layer.statistics.wire_number(number) for number in lost])
        if layer.register.needs_keyframe:
            self.request_keyframe(now)
        if layer.register.next_at is not None:
            self._wake_at = layer.register.next_at
        return self._wake_at

    def _on_payload_type(self, packet: RtpPacket) -> bool:
        codec = self._by_payload_type.get(packet.payload_type)
        if codec is None or self.layer is None:
            return False
        self.layer.payload_type = packet.payload_type
        if codec != self.codec:
            self.codec = codec
            self.layer.history = PacketHistory()  # what is kept is of no use to a decoder of another codec
            for receiver in self._receivers:
                receiver.on_codec()
            self.sort_receivers()
            self.need_keyframe()
        return True
