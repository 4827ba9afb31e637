"""One track that a participant publishes: its encodings, and the down tracks that carry it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from zvonim_sfu.media.codecs import associated, codec_key
from zvonim_sfu.media.ladder import in_order
from zvonim_sfu.media.layer import BASE, Layer, Publisher, ReceivedCodec, Rung, Selection
from zvonim_sfu.media.outlets import LayerReceiver, Outlets
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.terms import DESCRIPTOR_EXTENSION
from zvonim_sfu.media.totals import ReceivedCounters
from zvonim_sfu.rtp.description import EVERYTHING, Restriction
from zvonim_sfu.rtp.packet import RtpError, RtpPacket
from zvonim_sfu.rtp.rtx import unwrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zvonim_sfu.media.publisher_clock import PublisherClock
    from zvonim_sfu.media.sdp import Codec
    from zvonim_sfu.net.sending import FanOut
    from zvonim_sfu.rtp.intake import Intake

# A publisher's SSRC changes when it rebuilds an encoder; older ones are forgotten. Three encodings, and some more.
MAX_LAYERS: Final = 8
# How soon it is noticed that one of several encodings has stopped.
CHECK_INTERVAL_S: Final = 0.2
# Earlier than that by so much is good enough, if there is a wake-up for something else: publishers have one each 0.1 s,
# for their arrivals, and each other one of those is to be it.
CHECK_SLACK_S: Final = 0.08
# How loud a packet is, as its publisher says (RFC 6464): the only thing about sounds that the server knows.
LEVEL_EXTENSION: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
# Levels that wait to be taken: 0.6 s of the shortest packets that browsers send.
MAX_LEVELS: Final = 64
# Whose microphone is let through begins with what it said meanwhile: as long as it takes to notice that it speaks (two
# ticks of rooms.conversation) and a bit, so that the first syllable is whole.
LEAD_IN_S: Final = 0.3
# For those to whom it goes by another way than the former one: their slots are assigned in the next turn of the loop.
LEAD_IN_FOR_S: Final = 0.1


class Receiver(LayerReceiver, Protocol):
    """What an up track knows of a down track."""

    def on_codec(self) -> None:
        """The codec of a layer, or what was negotiated for the track, has changed."""

    def on_layers(self, now: float) -> None:
        """A layer has come, has stopped, has another place among the others, or other layers within it."""

    def on_resume(self, now: float) -> None:
        """Packets come again after a pause; `UpTrack.lead_in` has the first ones already."""

    def watch(self, now: float) -> bool:
        """See whether a switch to another layer has been waited for too long; returns whether it still is."""


class TrackPublisher(Publisher, Protocol):
    """What an up track asks of the peer that publishes it."""

    def on_ladder_changed(self, up_track: UpTrack) -> None:
        """What can be had of it is other than before, rates apart."""


class UpTrack:
    """A published track. Its owner is the publisher's peer, which configures and closes it."""

    def __init__(
        self,
        *,
        track_id: str,
        participant_id: str,
        source: Source,
        clock: PublisherClock,
        publisher: TrackPublisher,
        new_intake: Callable[[], Intake],
        new_fan_out: Callable[[], FanOut],
    ) -> None:
        self.id = track_id
        self.participant_id = participant_id
        self.key = f"{participant_id}/{track_id}"
        "Names the track among all of the room; the same when the track comes back after a reload."
        self.source = source
        self.kind = source.kind
        "`audio` or `video`."
        self.levels: deque[int] = deque(maxlen=MAX_LEVELS)
        "How loud a microphone's packets were, in -dBov (RFC 6464): 0 to 127, silence. Who reads them empties it."
        self._level_extension = 0
        "Number of the header extension that tells it; 0 where none does, and for all but microphones."
        self.is_paused = False
        "Whether packets are kept, and forwarded to nobody."
        self._resumed_at = -math.inf
        self.clock = clock
        self.muted = False
        self.codecs: tuple[Codec, ...] = ()
        self.extension_ids: dict[str, int] = {}
        "Numbers of the publisher's header extensions, by URI."
        self.layers: dict[int, Layer] = {}
        "The layers that came last, by SSRC, those included whose encoding has another SSRC now."
        self.encodings: dict[str, Layer] = {}
        "What each encoding is now, by its name."
        self.ordered: tuple[Layer, ...] = ()
        "The same, the smallest picture first; those that have brought a packet."
        self.unforwarded = 0
        "Packets that were dropped: of a former layer, or of a payload type that was not negotiated."
        self.names: tuple[str, ...] = ()
        "Of the encodings that were negotiated, in their order; none where there is but one."
        self._ended = ReceivedCounters()
        "What layers that are forgotten have counted."
        self._publisher = publisher
        self._new_intake = new_intake
        self._new_fan_out = new_fan_out
        self._is_told = True
        "Whether receivers know of all layers."
        self._told: list[object] = []
        "What they know of each."
        self._check_at = 0.0
        self._watched = False
        "Whether receivers wait to be switched."
        self._by_payload_type: dict[int, ReceivedCodec] = {}
        self._repairs: dict[int, int] = {}
        "Payload types of retransmissions, and of what they send again."
        self._receivers: tuple[Receiver, ...] = ()

    @property
    def receivers(self) -> int:
        """How many down tracks carry it."""
        return len(self._receivers)

    @property
    def layer(self) -> Layer | None:
        """Its highest layer; None before the first packet."""
        return self.ordered[-1] if self.ordered else None

    @property
    def codec(self) -> ReceivedCodec | None:
        """What its packets are now; None before the first."""
        return self.layer.codec if self.layer is not None else None

    @property
    def tells_levels(self) -> bool:
        """Whether `levels` says how loud it is: it is a microphone, and its publisher has agreed to tell."""
        return self._level_extension > 0

    def configure(
        self, codecs: Sequence[Codec], extension_ids: Mapping[str, int], encodings: Sequence[str] = ()
    ) -> None:
        """Take over what was negotiated with the publisher; `encodings` are the names of several, in their order."""
        self.codecs = tuple(codecs)
        self.extension_ids = dict(extension_ids)
        self.names = tuple(encodings)
        kept = {name: layer for name, layer in self.encodings.items() if name in (self.names or ("",))}
        if len(kept) < len(self.encodings):
            self.encodings = kept
            self.ordered = in_order(self.names, self.encodings)
            self._is_told = False
        if self.source is Source.MICROPHONE:
            self._level_extension = extension_ids.get(LEVEL_EXTENSION, 0)
            for layer in self.layers.values():
                self._have_levels_noted(layer)
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

    def subscribe(self, receiver: Receiver) -> None:
        """Tell this receiver of layers from now on; it joins one of them by itself."""
        self._receivers = (*self._receivers, receiver)

    def unsubscribe(self, receiver: Receiver) -> None:
        """Tell it no more."""
        self._receivers = tuple(other for other in self._receivers if other is not receiver)

    def close(self) -> None:
        """Forward nothing more, and let go of what is kept for repairs at once."""
        self._receivers = ()
        for layer in self.layers.values():
            layer.close()
        self.layers = {}
        self.encodings = {}
        self.ordered = ()

    def pause(self) -> None:
        """Forward to nobody until `resume`. Receivers notice nothing: their numbers have no hole."""
        self.is_paused = True
        for layer in self.layers.values():
            layer.outlets.pause()

    def resume(self, now: float) -> None:
        """Forward again, from a moment ago on (LEAD_IN_S)."""
        self.is_paused = False
        self._resumed_at = now
        for layer in self.layers.values():
            layer.outlets.resume()
        for receiver in self._receivers:
            receiver.on_resume(now)

    def lead_in(self, now: float, duration_s: float) -> list[tuple[int, RtpPacket]]:
        """Return what came in the last `duration_s`, LEAD_IN_S at most, for a sound that was let through just now.

        Nothing for all others: who comes into a call hears what is said from then on.
        """
        if self.layer is None or self.is_paused or now - self._resumed_at > LEAD_IN_FOR_S:
            return []
        return self.layer.history.since_time(max(now - duration_s, self._resumed_at - LEAD_IN_S))

    def accepts(self, payload_type: int) -> bool:
        """Whether this payload type was negotiated for this track, be it for retransmissions."""
        return payload_type in self._by_payload_type or payload_type in self._repairs

    def repairs(self, payload_type: int) -> bool:
        """Whether this payload type is one of retransmissions."""
        return payload_type in self._repairs

    def encoding_of(self, name: str) -> str | None:
        """Return the name of the encoding that packets belong to which name this one, or none; None if it is unknown.

        What names none, where several were negotiated, is the only one that there is.
        """
        if name in self.names:
            return name
        if self.names and (name or any(self.encodings)):
            return next(iter(self.encodings)) if len(self.encodings) == 1 and not name else None
        return ""

    def add_layer(self, ssrc: int, payload_type: int, encoding: str = "") -> Layer | None:
        """The layer of a new SSRC of an encoding; None if its payload type was not negotiated."""
        codec = self._by_payload_type.get(payload_type)
        if codec is None:
            return None
        is_video = self.kind == "video"
        outlets = Outlets(self._new_intake(), self._new_fan_out)
        layer = Layer.of(ssrc, encoding, codec, self._publisher, outlets, is_video=is_video)
        self._have_levels_noted(layer)
        layer.outlets.is_paused = self.is_paused
        layer.need_keyframe()
        former = self.encodings.get(encoding)
        if former is not None:
            former.payload_type = -1  # what still comes of it is looked at, and dropped
        self.layers[ssrc] = self.encodings[encoding] = layer
        while len(self.layers) > MAX_LAYERS:
            # Not of the newest SSRC of any encoding: there are fewer encodings.
            oldest = next(ssrc for ssrc, other in self.layers.items() if self.encodings[other.rid] is not other)
            self._ended.add_layer(self.layers.pop(oldest))
        return layer

    def _have_levels_noted(self, layer: Layer) -> None:
        layer.intake.levels, layer.intake.level_extension = self.levels, self._level_extension

    def handle_packet(self, packet: RtpPacket, layer: Layer, now: float) -> None:
        """Forward one packet of the publisher to every receiver of its layer."""
        sequence = layer.statistics.add(packet.sequence_number, packet.timestamp, now)
        if sequence is None or (packet.payload_type != layer.payload_type and not self._admit(packet, layer, now)):
            self.unforwarded += 1
            return
        if self._level_extension and (level := packet.extension(self._level_extension)):
            self.levels.append(level[0] & 0x7F)  # the bit above it is the publisher's own idea of what speech is
        if layer.forward(packet, sequence, now):
            self._check_told(now)

    def handle_repair(self, packet: RtpPacket, encoding: str, now: float) -> None:
        """Forward what a retransmission (RFC 4588) of an encoding brings back, in the place where it was missing."""
        layer, payload_type = self.encodings.get(encoding), self._repairs.get(packet.payload_type)
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
        elif layer.forward(original, sequence, now, is_repair=True):
            self._check_told(now)

    def _admit(self, packet: RtpPacket, layer: Layer, now: float) -> bool:
        """Look at a packet of another payload type than the last one, or of a layer that was silent until now."""
        codec = self._by_payload_type.get(packet.payload_type)
        if codec is None or self.encodings.get(layer.rid) is not layer:
            return False
        layer.payload_type = packet.payload_type
        if codec != layer.codec:
            layer.set_codec(codec, descriptor=self.extension_ids.get(DESCRIPTOR_EXTENSION, 0))
            layer.need_keyframe()
            for receiver in self._receivers:
                receiver.on_codec()
        if not layer.is_up or not self._is_told:
            layer.come(now)
            if len(self.encodings) > 1:
                self._publisher.wake(now + CHECK_INTERVAL_S)
            self._on_layers(now)
        return True

    def _check_told(self, now: float) -> None:
        if self._told != [layer.told() for layer in self.ordered]:
            self._on_layers(now)

    def measure(self, now: float) -> None:
        """Learn rates from what came since the last call, and let go of packets that are too old: once a second."""
        for layer in self.layers.values():
            layer.measure(now)
        self._check_told(now)

    def _on_layers(self, now: float) -> None:
        """Put layers in order, and tell what has changed."""
        self._is_told = True
        self.ordered = in_order(self.names, self.encodings)
        self._told = [layer.told() for layer in self.ordered]
        for receiver in self._receivers:
            receiver.on_layers(now)
        self._publisher.on_ladder_changed(self)

    def choose(self, selection: Selection, avoided: Layer | None = None) -> Layer | None:
        """Return the highest layer that comes and is within a selection, or else the lowest one that comes."""
        layers = [layer for layer in self.ordered if layer.is_up and layer is not avoided]
        within = [layer for layer in layers if layer.spatial <= selection.spatial]
        return within[-1] if within else next(iter(layers), None)

    def ladder(self, now: float) -> tuple[Rung, ...]:
        """Return what can be had of this track now, the least first; nothing before its first packet."""
        newest = self._newest(now)
        is_only = len(self.encodings) == 1
        live = [layer for layer in self.ordered if layer.is_up and layer.is_live(newest, self.ordered)]
        return tuple(rung for layer in live for rung in layer.rungs(is_only=is_only))

    def restriction(self, layer: Layer, selection: Selection) -> Restriction:
        """Return how much of a layer that was chosen is within a selection."""
        if len(self.encodings) == 1:
            wanted = Restriction(*selection)
        else:
            # Of an encoding below what is selected all is taken: there is no better one.
            wanted = Restriction(EVERYTHING.spatial, selection.temporal if layer.spatial >= selection.spatial else 7)
        covers = wanted.spatial >= layer.top.spatial and wanted.temporal >= layer.top.temporal
        return EVERYTHING if covers else wanted

    def place(self, layer: Layer, restriction: Restriction) -> tuple[int, int]:
        """Return which rung of the ladder so much of a layer is."""
        spatial = min(restriction.spatial, layer.top.spatial) if len(self.encodings) == 1 else layer.spatial
        return spatial, min(restriction.temporal, layer.top.temporal)

    def _newest(self, now: float) -> float:
        return min(now, max((layer.last_at for layer in self.ordered), default=now))

    def watch(self, now: float) -> None:
        """Ask receivers from time to time whether they have waited too long for a layer: one of them begins to."""
        if len(self.encodings) > 1 or any(layer.top != BASE for layer in self.ordered):
            self._watched = True
            self._publisher.wake(now + CHECK_INTERVAL_S)

    def counters(self) -> ReceivedCounters:
        """Return what all its layers have counted, those included that are forgotten."""
        counters = replace(self._ended)
        for layer in self.layers.values():
            counters.add_layer(layer)
        return counters

    def on_timer(self, now: float, round_trip_s: float) -> float:
        """Ask for what is missing, and see which layers come; returns when to be called again, infinity for never."""
        next_at = math.inf
        for layer in self.encodings.values():
            next_at = min(next_at, layer.on_timer(now, round_trip_s))
        if len(self.encodings) > 1 or self._watched:
            if now >= self._check_at - CHECK_SLACK_S:
                self._check_at = now + CHECK_INTERVAL_S
                self._check(now)
            next_at = min(next_at, self._check_at)
        return next_at

    def _check(self, now: float) -> None:
        # A layer without others goes on, whatever it brings.
        newest = self._newest(now)
        stopped = [layer for layer in self.ordered if layer.is_up and not layer.is_live(newest, self.ordered)]
        for layer in stopped:
            layer.is_up = False
            layer.payload_type = -1  # the next packet is looked at
        if stopped:
            self._on_layers(now)
        if self._watched:
            waiting = [receiver.watch(now) for receiver in self._receivers]  # each of them is asked
            self._watched = any(waiting)
