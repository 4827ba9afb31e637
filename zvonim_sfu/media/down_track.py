"""One up track on its way to one subscriber: its own SSRC, sequence numbers and timestamps.

A down track lives as long as its m-section. When another layer of its up track, or another up track, takes it over,
numbers go on without a hole and timestamps never go back (media.span). Timestamps stand for the publisher's capture
time on the server's clock, so the same moment has the same mapping whoever is in the slot.

Which layer is sent is decided by what is selected and by what comes: the *target*. It is joined at once, and what was
sent before goes on until a keyframe of the target comes.
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Final, Protocol

from zvonim_sfu.bandwidth.pacer import Priority
from zvonim_sfu.media.codecs import find_receiver, repair_types, unwrapped_type
from zvonim_sfu.media.layer import HIGHEST, Selection
from zvonim_sfu.media.resending import Resending, rewrite
from zvonim_sfu.media.span import NO_PAYLOAD_NUMBERS, Numbering, Span, begin
from zvonim_sfu.media.totals import DownTrackCounters
from zvonim_sfu.media.up_track import DESCRIPTOR_EXTENSION
from zvonim_sfu.rtp.packet import ExtensionPlan
from zvonim_sfu.rtp.rtcp import SenderReport
from zvonim_sfu.rtp.sequence import ts_delta
from zvonim_sfu.rtp.timing import ntp_from_unix

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zvonim_sfu.media.codecs import CodecKey
    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.sdp import Codec
    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.net.sending import Batch, Sender
    from zvonim_sfu.rtp.budget import RepairBudget
    from zvonim_sfu.rtp.packet import RtpPacket

# A picture that goes on may begin with what came of another layer already, up to so much at once; more of it is better
# asked for anew, as the link may be the reason of the switch. 0.2 s of 1.2 Mbit/s.
MAX_SWITCH_BYTES: Final = 30_000
# A keyframe comes within a round trip and a frame: after a second it was lost, or the request was.
ASK_AGAIN_S: Final = 1.0
# And then there is none to be had; another layer is taken, and this one tried again after a while.
FALL_BACK_S: Final = 2.0
AVOID_S: Final = 5.0
_CLOCK_RATES = {"audio": 48000, "video": 90000}


class DownTrackListener(Protocol):
    """The owner of a down track."""

    def on_unsupported(self, up_track: UpTrack) -> None:
        """The subscriber negotiated no codec that can carry what this track sends now."""


class DownTrack:
    """The sending side of one m-section. Its owner is the subscriber's peer."""

    def __init__(self, kind: str, sender: Sender, *, batch: Batch, listener: DownTrackListener) -> None:
        self.statistics = DownTrackCounters(sender)
        self.kind = kind
        self.ssrc = sender.ssrc
        self.cname = ""
        self.clock_rate = _CLOCK_RATES[kind]
        self.up_track: UpTrack | None = None
        self.selection: Selection | None = HIGHEST
        "How much of the up track is to be sent; None for nothing. It stays when another one is carried."
        self.waiting_since: float | None = None
        "Since when a keyframe of a layer is waited for (s, monotonic); None while nothing is."
        self._sender = sender
        "Its numbers and offsets; what they are now was decided here."
        self._batch = batch
        self._listener = listener
        self._codecs: tuple[Codec, ...] = ()
        self._extension_ids: dict[str, int] = {}
        self._transport_wide = 0
        "Number of the header extension with transport-wide numbers; 0 where the client does not report on them."
        self._unsupported: tuple[UpTrack, CodecKey] | None = None
        "What the listener was told of last, so that it is told once."
        self._target: Layer | None = None
        "The layer that is to be sent."
        self._span: Span | None = None
        "What is being sent; None while a picture waits for its keyframe."
        self._resending = Resending(sender, batch)
        self._avoided: Layer | None = None
        "A layer of which no keyframe came when it was asked for."
        self._avoided_until = 0.0
        sender.priority = Priority.AUDIO if kind == "audio" else Priority.VIDEO
        # Below 2^15, so that the first packets cannot be lost across a wrap unnoticed (RFC 3711 section 3.3.1).
        sender.last_sequence = secrets.randbits(15)
        self._last_payload = NO_PAYLOAD_NUMBERS
        "What the latest span that ended numbered in its payloads."
        # Timestamps begin at random (RFC 3550 section 5.1): server time plus this, in units of the clock rate.
        self._timestamp_base = secrets.randbits(32)

    @property
    def layer(self) -> Layer | None:
        """The layer that is sent; None while nothing is."""
        return self._span.layer if self._span is not None else None

    @property
    def current(self) -> tuple[int, int] | None:
        """Its place, spatial and temporal."""
        return (self._span.layer.spatial, 0) if self._span is not None else None

    def configure(
        self,
        codecs: Sequence[Codec],
        extension_ids: Mapping[str, int],
        *,
        rtx_ssrc: int = 0,
        transport_wide: int = 0,
    ) -> None:
        """Take over what was negotiated with the subscriber.

        `rtx_ssrc` is 0 where it takes no retransmissions, and `transport_wide`, the number of the header extension for
        transport-wide numbers, where it does not report on them.
        """
        self._transport_wide = transport_wide
        self._codecs = tuple(codecs)
        self._extension_ids = dict(extension_ids)
        self._resending.configure(rtx_ssrc, repair_types(self._codecs), transport_wide)
        self.on_codec()

    def attach(self, up_track: UpTrack | None, now: float) -> None:
        """Carry this up track from now on, or none."""
        if up_track is self.up_track:
            return
        self.detach()
        if up_track is not None:
            self.up_track = up_track
            up_track.subscribe(self)
            self._set_plan(up_track)
            self._aim(now)

    def detach(self) -> None:
        """Carry nothing from now on."""
        if self.up_track is not None:
            self.up_track.unsubscribe(self)
        self._set_target(None)
        self._end_span()
        self._resending.forget()
        self.up_track = self._unsupported = self._avoided = self.waiting_since = None

    def select(self, selection: Selection | None, now: float) -> None:
        """Send at most this of the up track, or the least of it; the present layer goes on until the next one can.

        None: send nothing. The subscriber sees a picture that stands still, and misses nothing.
        """
        if selection != self.selection:
            self.selection = selection
            self._avoided = None
            self._aim(now)

    def request_keyframe(self, now: float) -> None:
        """The subscriber lost the picture."""
        layer = self.layer or self._target
        if layer is not None:
            layer.request_keyframe(now)

    # What the up track tells.

    def on_layers(self, now: float) -> None:
        """Layers have come, stopped or changed places."""
        # This may be within a packet, and that may begin a keyframe.
        self._aim(now, at_once=False)

    def on_resume(self, now: float) -> None:
        """The up track goes on after a pause: begin anew, under the numbers that follow, with what has come already."""
        self._end_span()
        if self._target is not None and self._replay(self._target, now):
            self._batch.flush()

    def on_codec(self) -> None:
        """The codec of a layer, or what was negotiated with either side, has changed."""
        if self.up_track is None:
            return
        self._set_plan(self.up_track)
        span, target = self._span, self._target
        if span is not None:
            span.layer.sort_receivers()
            if self._payload_type(span.layer) != span.payload_type:
                self._end_span()  # another decoder needs a keyframe to begin with; else the picture goes on
        if target is not None:
            self._tell_unsupported(self.up_track, target)
            if target is not self.layer and self._payload_type(target) >= 0:
                target.need_keyframe()

    def watch(self, now: float) -> bool:
        """See whether a keyframe has been waited for too long; returns whether one still is.

        It is asked for again, and then another layer is taken for a while: the one that is being sent, or any other.
        """
        if self._avoided is not None and now >= self._avoided_until:
            self._avoided = None
            self._aim(now)
        if self.waiting_since is not None and self._target is not None:
            waited_s = now - self.waiting_since
            if waited_s >= FALL_BACK_S and self._avoided is None:
                self._avoided, self._avoided_until = self._target, now + AVOID_S
                self._aim(now)
            elif waited_s >= ASK_AGAIN_S:
                self._target.request_keyframe(now)
        return self.waiting_since is not None or self._avoided is not None

    def steady_sender(self, layer: Layer) -> Sender | None:
        """Return the sender by which packets of a layer can go, from its floor on: their numbers are only shifted now.

        None while `forward` has more to do: a picture waits for its keyframe or catches up, or nobody could decode it.
        """
        span = self._span
        if span is None or layer is not span.layer or math.isinf(span.true_from):
            return None
        self._sender.floor = int(span.true_from)
        return self._sender

    def forward(self, packet: RtpPacket, layer: Layer, sequence: int, now: float, *, keyframe: bool) -> None:
        """Send a packet of a layer on, under this track's own numbers."""
        span = self._span
        if span is not None and layer is span.layer:
            if sequence >= span.first:  # not from before the keyframe with which this source came in
                self._send(packet, sequence, span)
        elif layer is self._target:
            if (self.kind == "video" and not keyframe) or self._payload_type(layer) < 0:
                return
            # It may have come late, be it repaired; then others came after it already.
            if not self._replay(layer, now):
                self._begin(layer.history.since(sequence) or [(sequence, packet)], layer, now)

    # Which layer is sent.

    def _aim(self, now: float, *, at_once: bool = True) -> None:
        """Find out which layer is to be sent, and begin with it if that can be now.

        Else ask for a keyframe, `at_once` or when its next packet begins none.
        """
        up_track, target = self.up_track, None
        if up_track is not None and self.selection is not None:
            target = up_track.choose(self.selection, self._avoided) or self._target
        if target is self._target:
            return
        self._set_target(target)
        self.waiting_since = None
        if target is None:
            self._end_span()
        elif up_track is not None and target is not self.layer:
            self._tell_unsupported(up_track, target)
            if not self._replay(target, now):
                if at_once:
                    target.request_keyframe(now)
                else:
                    target.need_keyframe()
                if self.kind == "video":
                    self.waiting_since = now
                    up_track.watch(now)
            self._batch.flush()

    def _set_target(self, target: Layer | None) -> None:
        former, self._target = self._target, target
        if former is not None and former is not self.layer:
            former.leave(self)
        if target is not None:
            target.join(self)

    def _end_span(self) -> None:
        """Send no more of what is being sent; what has been sent can still be sent again."""
        span, self._span = self._span, None
        if span is None:
            return
        self._last_payload = span.payload_numbers()
        self._resending.keep(span)
        if span.layer is self._target:
            span.layer.sort_receivers()
        else:
            span.layer.leave(self)

    def _set_plan(self, up_track: UpTrack) -> None:
        """Prepare what packets need: header-extension numbers of the subscriber."""
        self._sender.plan = ExtensionPlan(
            {
                number: self._extension_ids[uri]
                for uri, number in up_track.extension_ids.items()
                if uri in self._extension_ids
            },
            transport_wide=self._transport_wide,
            descriptor=up_track.extension_ids.get(DESCRIPTOR_EXTENSION, 0),
            red=unwrapped_type(up_track.codecs, self._codecs),
        )

    def _payload_type(self, layer: Layer) -> int:
        """What the subscriber calls the codec of a layer; -1 where it cannot take it."""
        codec = find_receiver(layer.codec.key, self._codecs) if layer.codec is not None else None
        return codec.payload_type if codec is not None else -1

    def _tell_unsupported(self, up_track: UpTrack, layer: Layer) -> None:
        # Without any codec the subscriber has only paused this m-section.
        unsupported = None
        if layer.codec is not None and self._codecs and self._payload_type(layer) < 0:
            unsupported = (up_track, layer.codec.key)
            if unsupported != self._unsupported:
                self._listener.on_unsupported(up_track)
        self._unsupported = unsupported

    def _replay(self, layer: Layer, now: float) -> bool:
        """Begin with what came before, if that is still worth it: the newest keyframe and all since, or a lead-in."""
        if self._payload_type(layer) < 0:
            return False
        packets = layer.history.since_keyframe(now) if self.kind == "video" else self._lead_in(now)
        if not packets or (
            self._span is not None and sum(len(packet.data) for _, packet in packets) > MAX_SWITCH_BYTES
        ):
            return False
        self._begin(packets, layer, now)
        return True

    def _lead_in(self, now: float) -> list[tuple[int, RtpPacket]]:
        """Return what a sound begins with: nothing from before the last packet here, which could not be on time."""
        assert self.up_track is not None  # who is not subscribed begins nothing
        silent_s = math.inf
        if self.statistics.packets:
            present = int(now * self.clock_rate) + self._timestamp_base
            silent_s = ts_delta(present, self._sender.last_timestamp) / self.clock_rate
        return self.up_track.lead_in(now, silent_s)

    def _begin(self, packets: Sequence[tuple[int, RtpPacket]], layer: Layer, now: float) -> None:
        """Continue the numbers of this track with a source that comes in with these packets."""
        assert self.up_track is not None  # who is not subscribed is not forwarded to
        self._end_span()
        sender = self._sender
        span = self._span = begin(
            packets,
            layer,
            Numbering(
                sender.last_sequence,
                sender.last_timestamp,
                has_begun=sender.packets > 0,
                payload=self._last_payload,
                base=self._timestamp_base,
                clock_rate=self.clock_rate,
            ),
            payload_type=self._payload_type(layer),
            captured_at=self.up_track.clock.capture_time(layer.clock, packets[-1][1].timestamp, now),
            now=now,
        )
        self.waiting_since = None
        sender.payload_type = span.payload_type
        sender.sequence_offset, sender.timestamp_offset = span.sequence_offset, span.timestamp_offset
        sender.picture_id_offset, sender.tl0_offset = span.picture_id_offset, span.tl0_offset
        sender.frame_number_offset = span.frame_number_offset
        layer.sort_receivers()
        for sequence, packet in packets:
            self._send(packet, sequence, span)

    def _send(self, packet: RtpPacket, sequence: int, span: Span) -> None:
        sender = self._sender
        sequence_out = sequence + span.sequence_offset
        timestamp = span.timestamp(packet, sequence)
        if sequence_out > sender.last_sequence:
            sender.last_sequence = sequence_out
            sender.last_timestamp = timestamp
        header, tail = rewrite(packet, sequence_out, timestamp, span, sender)
        self._batch.append(sender.egress, header, tail.data, tail.number_at, sender.priority)
        sender.packets += 1
        sender.octets += tail.octets

    def repair(self, lost: Iterable[int], budget: RepairBudget, now: float, round_trip_s: float) -> None:
        """Send again what the subscriber misses (16-bit numbers of a NACK), as far as it is kept and its link allows.

        Who appends to the batch here has it flushed by the wake-up in which the NACK came.
        """
        for number in lost:
            self.statistics.nacked += 1
            self.statistics.repaired += self._resending.send(number, self._span, budget, now, round_trip_s)

    def pad(self, size: int) -> bool:
        """Send about `size` bytes of padding, for who flushes then; False if the subscriber takes none, or not yet."""
        return self._resending.pad(size)

    def sender_report(self, now: float, wall_time: float) -> SenderReport | None:
        """The report (RFC 3550 section 6.4.1) for this moment; None while nothing is sent or its clock is not known.

        The mapping is the publisher's own, moved to the server's clock by one offset for all tracks of the publisher:
        arrival times, which differ between audio and video, have no part in it, so lip sync holds.
        """
        if self._span is None or self.up_track is None:
            return None
        timestamp = self.up_track.clock.timestamp_at(self._span.layer.clock, now)
        if timestamp is None:
            return None
        return SenderReport(
            ssrc=self.ssrc,
            ntp=ntp_from_unix(wall_time),
            rtp_timestamp=(timestamp + self._span.timestamp_offset) & 0xFFFFFFFF,
            packets=self.statistics.packets & 0xFFFFFFFF,
            octets=self.statistics.octets & 0xFFFFFFFF,
            reports=(),
        )
