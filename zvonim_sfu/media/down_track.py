"""One up track on its way to one subscriber: its own SSRC, sequence numbers and timestamps.

A down track lives as long as its m-section. When another layer of its up track, or another up track, takes it over,
numbers go on without a hole and timestamps never go back (media.span). Timestamps stand for the publisher's capture
time on the server's clock, so the same moment has the same mapping whoever is in the slot.

The *target* is the layer that is to be sent. It is joined at once, and what was sent before goes on until its keyframe,
unless the link holds that by far no longer.
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Final, Protocol

from zvonim_sfu.bandwidth.pacer import Priority
from zvonim_sfu.media.codecs import repair_types
from zvonim_sfu.media.layer import HIGHEST, Selection
from zvonim_sfu.media.resending import Resending
from zvonim_sfu.media.span import NO_PAYLOAD_NUMBERS, Numbering, Span, begin
from zvonim_sfu.media.terms import Terms
from zvonim_sfu.media.totals import DownTrackCounters
from zvonim_sfu.rtp.budget import LOOK_BYTES, RepairBudget
from zvonim_sfu.rtp.description import EVERYTHING
from zvonim_sfu.rtp.rtcp import SenderReport
from zvonim_sfu.rtp.sequence import ts_delta

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zvonim_sfu.media.codecs import CodecKey
    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.outlets import Outlet
    from zvonim_sfu.media.sdp import Codec
    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.net.sending import Batch, Sender
    from zvonim_sfu.rtp.description import Description, Restriction
    from zvonim_sfu.rtp.packet import RtpPacket

# A keyframe comes within a round trip and a frame: after a second it was lost, or the request was.
ASK_AGAIN_S: Final = 1.0
FALL_BACK_S: Final = 2.0  # then there is none to be had: another layer is taken, and this one tried again after a while
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
        self._terms = Terms((), {}, 0)
        self._unsupported: tuple[UpTrack, CodecKey] | None = None
        "What the listener was told of last, so that it is told once."
        self._target: Layer | None = None
        self._span: Span | None = None
        "What is being sent; None while a picture waits for its keyframe."
        self._is_cut = False
        "Whether it waits with nothing sent, so that the link is free for that keyframe."
        self._resending = Resending(sender, batch)
        self._avoided: Layer | None = None
        "A layer of which no keyframe came when it was asked for."
        self._avoided_until = 0.0
        sender.priority = Priority.AUDIO if kind == "audio" else Priority.VIDEO
        # Below 2^15: the first packets cannot be lost across a wrap unnoticed (RFC 3711 section 3.3.1).
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
        if self._span is None or self.up_track is None:
            return None
        return self.up_track.place(self._span.layer, self._span.outlet.restriction)

    def configure(
        self, codecs: Sequence[Codec], extension_ids: Mapping[str, int], *, rtx_ssrc: int = 0, transport_wide: int = 0
    ) -> None:
        """Take over what was negotiated with the subscriber.

        `rtx_ssrc` is 0 where it takes no retransmissions, and `transport_wide`, the number of the header extension for
        transport-wide numbers, where it does not report on them.
        """
        self._terms = Terms(tuple(codecs), extension_ids, transport_wide)
        self._resending.configure(rtx_ssrc, repair_types(codecs), transport_wide)
        self.on_codec()

    def attach(self, up_track: UpTrack | None, now: float) -> None:
        """Carry this up track from now on, or none."""
        if up_track is self.up_track:
            return
        self.detach()
        if up_track is not None:
            self.up_track = up_track
            up_track.subscribe(self)
            self._sender.plan = self._terms.plan(up_track)
            self._aim(now)

    def detach(self) -> None:
        """Carry nothing from now on."""
        if self.up_track is not None:
            self.up_track.unsubscribe(self)
        self._set_target(None)
        self._end_span()
        self._resending.forget()
        self._is_cut = False
        self.up_track = self._unsupported = self._avoided = None

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
        self._aim(now, at_once=False)  # this may be within a packet, and that may begin a keyframe

    def on_resume(self, now: float) -> None:
        """The up track goes on after a pause: begin anew, under the numbers that follow, with what has come already."""
        self._end_span()
        if self._target is not None and self._replay(self._target, now):
            self._batch.flush()

    def on_codec(self) -> None:
        """The codec of a layer, or what was negotiated with either side, has changed."""
        if self.up_track is None:
            return
        self._sender.plan = self._terms.plan(self.up_track)
        span, target = self._span, self._target
        if span is not None:
            span.layer.outlets.sort()
            if self._terms.payload_type(span.layer) != span.payload_type or not span.layer.outlets.has(span.outlet):
                self._end_span()  # another decoder needs a keyframe to begin with; else the picture goes on
        if target is not None:
            self._tell_unsupported(self.up_track, target)
            if target is not self.layer and self._terms.payload_type(target) >= 0:
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
        self._sender.floor = max(span.first, int(span.true_from))
        return self._sender

    def outlet_in(self, layer: Layer) -> Outlet | None:
        """Return what goes out of a layer."""
        return self._span.outlet if self._span is not None and self._span.layer is layer else None

    def wanted_of(self, layer: Layer) -> Restriction | None:
        """Return how much is to go out of a layer, be it only until another one comes; None for nothing."""
        if self.up_track is None or self.selection is None:
            return None
        return self._terms.within(layer, self.up_track.restriction(layer, self.selection))

    def move(self, layer: Layer, outlet: Outlet, sequence: int, now: float) -> None:
        """Let less or more of the layer go out from its newest packet on."""
        if self._span is not None:
            former, self._span = self._span, self._span.moved(outlet, sequence)
            self._resending.keep(former, sequence - 1)
            self._span.apply(self._sender)
            if layer is self._target and outlet.restriction == self.wanted_of(layer):
                self.waiting_since = None

    def forward(self, packet: RtpPacket, layer: Layer, sequence: int, description: Description, now: float) -> None:
        """Send a packet of a layer on, under this track's own numbers."""
        span = self._span
        if span is not None and layer is span.layer:
            if sequence < span.first:
                span = self._resending.span_at(layer, sequence)
            if span is not None:  # not from before this source came in
                self._resending.forward(packet, sequence, description, span)
        elif layer is self._target:
            if (self.kind == "video" and not description.keyframe) or self._terms.payload_type(layer) < 0:
                return
            # It may have come late, be it repaired; then others came after it already.
            if not self._replay(layer, now):
                self._begin(layer.history.since(sequence) or [(sequence, packet)], layer, now)

    # Which layer is sent.
    def _aim(self, now: float, *, at_once: bool = True) -> None:
        """Find out which layer is to be sent, and begin with it if that can be now, else wait for its keyframe."""
        up_track, target = self.up_track, None
        if up_track is not None and self.selection is not None:
            target = up_track.choose(self.selection, self._avoided) or self._target
        if self._span is not None:
            self._span.layer.outlets.sort()  # until another one comes, as much of it goes on as is wanted now
        if target is not self._target:
            self._set_target(target)
            if target is None:
                self._end_span()
            elif up_track is not None and target is not self.layer:
                self._come_to(target, up_track, now, at_once=at_once)
        if target is not None and target is self.layer:
            self._aim_within(target, now)

    def _come_to(self, target: Layer, up_track: UpTrack, now: float, *, at_once: bool) -> None:
        """Begin with what has come of a layer, or ask for a keyframe, `at_once` or when its next packet begins none."""
        self._tell_unsupported(up_track, target)
        if not self._replay(target, now):
            if at_once:
                target.request_keyframe(now)
            else:
                target.need_keyframe()
            if self.kind == "video":
                self.waiting_since = now
                up_track.watch(now)
                self._cut(target, now)
        self._batch.flush()

    def _cut(self, target: Layer, now: float) -> None:
        """Send no more of a layer that the link holds by far no longer.

        Hardly anything of it would arrive whole, and the keyframe that is waited for would have to wait behind it.
        """
        span, gate = self._span, self._sender.egress.gate
        if span is not None and target.spatial < span.layer.spatial and gate is not None and gate.is_flooded:
            self._end_span()
            self._take_back(now)
            self._is_cut = True

    def _take_back(self, now: float) -> None:
        if self.kind == "video":
            self._last_payload = self._resending.take_back(now) or self._last_payload

    def _aim_within(self, layer: Layer, now: float) -> None:
        """Have as much go out of the layer that is sent as is to: less from its next picture on, more when it can."""
        wanted, outlet = self.wanted_of(layer), self.outlet_in(layer)
        if wanted is None or outlet is None:
            return
        had, top = outlet.restriction, layer.top
        if min(wanted.spatial, top.spatial) <= had.spatial and min(wanted.temporal, top.temporal) <= had.temporal:
            self.waiting_since = None
        elif self.waiting_since is None and self.up_track is not None:
            self.waiting_since = now
            self.up_track.watch(now)
            if min(wanted.spatial, top.spatial) > had.spatial:
                layer.request_keyframe(now)  # few streams have another point from which it can be decoded

    def _set_target(self, target: Layer | None) -> None:
        former, self._target, self.waiting_since = self._target, target, None
        if former is not None and former is not self.layer:
            former.outlets.leave(self)
        if target is not None:
            target.outlets.join(self)

    def _end_span(self) -> None:
        """Send no more of what is being sent; what has been sent can still be sent again."""
        span, self._span = self._span, None
        if span is None:
            return
        self._last_payload = span.payload_numbers()
        self._resending.keep(span, span.layer.highest)
        if span.layer is self._target:
            span.layer.outlets.sort()
        else:
            span.layer.outlets.leave(self)

    def _tell_unsupported(self, up_track: UpTrack, layer: Layer) -> None:
        unsupported = None
        if layer.codec is not None and self._terms.excludes(layer):
            unsupported = (up_track, layer.codec.key)
            if unsupported != self._unsupported:
                self._listener.on_unsupported(up_track)
        self._unsupported = unsupported

    def _replay(self, layer: Layer, now: float) -> bool:
        """Begin with what came before, if that is still worth it: the newest keyframe and all since, or a lead-in."""
        if self._terms.payload_type(layer) < 0:
            return False
        packets = layer.history.since_keyframe(now) if self.kind == "video" else self._lead_in(now)
        limit = self._resending.room(goes_on=self._span is not None or self._is_cut)
        if not packets or sum(len(packet.data) for _, packet in packets) > limit:
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
        self._take_back(now)
        span = self._span = begin(
            packets,
            layer,
            layer.outlets.outlet(layer, self.wanted_of(layer) or EVERYTHING),
            Numbering.of(sender, self._last_payload, self._timestamp_base, self.clock_rate),
            former=self._resending.latest,
            payload_type=self._terms.payload_type(layer),
            captured_at=self.up_track.clock.capture_time(layer.clock, packets[-1][1].timestamp, now),
            now=now,
        )
        if self.kind == "video":
            self._resending.forget()  # who decodes a keyframe needs nothing from before it, and a thin link has no room
        self._resending.began(sender.last_sequence + 1, self._last_payload)
        self.waiting_since, self._is_cut = None, False
        span.apply(sender)
        layer.outlets.sort()
        for sequence, packet in packets:
            self._resending.forward(packet, sequence, layer.description_of(packet, sequence), span)

    def repair(self, lost: Sequence[int], budget: RepairBudget, now: float, round_trip_s: float) -> None:
        """Send again what the subscriber misses (16-bit numbers of a NACK), if it is kept and the link allows it."""
        self.statistics.nacked += len(lost)
        for number in () if self._is_cut else lost:
            if not budget.take(LOOK_BYTES, sent=self._sender.egress.bytes_sent, now=now):
                break
            self.statistics.repaired += self._resending.send(number, self._span, budget, now, round_trip_s)

    def pad(self, size: int) -> bool:
        """Send about `size` bytes of padding, for who flushes then; False if the subscriber takes none, or not yet."""
        return self._resending.pad(size)

    def sender_report(self, now: float, ntp: int) -> SenderReport | None:
        """The report (RFC 3550 section 6.4.1) for this moment; None while nothing is sent or its clock is not known.

        `ntp` is this moment by the wall clock. The mapping is the publisher's own, moved to the server's clock by one
        offset for all tracks of the publisher: arrival times, which differ between audio and video, have no part in
        it, so lip sync holds.
        """
        span, up_track, sent = self._span, self.up_track, self.statistics
        timestamp = up_track.clock.timestamp_at(span.layer.clock, now) if span is not None and up_track else None
        if span is None or timestamp is None:
            return None
        timestamp = (timestamp + span.timestamp_offset) & 0xFFFFFFFF
        return SenderReport(self.ssrc, ntp, timestamp, sent.packets, sent.octets)
