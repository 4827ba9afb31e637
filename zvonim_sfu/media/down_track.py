"""One up track on its way to one subscriber: its own SSRC, sequence numbers and timestamps.

A down track lives as long as its m-section. When another up track takes it over, numbers go on without a hole and
timestamps never go back (DESIGN: decision 7). Timestamps stand for the publisher's capture time on the server's
clock, so the same moment has the same mapping whoever is in the slot.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from zvonim_sfu.bandwidth.pacer import Priority
from zvonim_sfu.media.codecs import find_receiver, repair_types
from zvonim_sfu.net.sending import UNPACED, shift_fields
from zvonim_sfu.rtp.packet import FIXED_HEADER_BYTES, NO_FIELDS, ExtensionPlan
from zvonim_sfu.rtp.rate import BitrateMeter
from zvonim_sfu.rtp.rtcp import SenderReport
from zvonim_sfu.rtp.rtx import PADDING, wrap
from zvonim_sfu.rtp.sequence import seq_delta, ts_delta
from zvonim_sfu.rtp.timing import ntp_from_unix

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zvonim_sfu.media.codecs import CodecKey
    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.sdp import Codec
    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.net.sending import Batch, Sender
    from zvonim_sfu.rtp.budget import RepairBudget
    from zvonim_sfu.rtp.packet import RtpPacket, Tail
    from zvonim_sfu.rtp.rtcp import ReportBlock

_pack_header = Struct("!BBHII").pack
# Repairs that are remembered, so that none is sent twice within a round trip: more than one round trip's loss.
MAX_RESENT: Final = 512
# In how much time, by its timestamps, a picture catches up: enough to tell its frames apart.
CATCH_UP_TICKS: Final = 900
_CLOCK_RATES = {"audio": 48000, "video": 90000}


class DownTrackListener(Protocol):
    """The owner of a down track."""

    def on_unsupported(self, up_track: UpTrack) -> None:
        """The subscriber negotiated no codec that can carry what this track sends now."""


@dataclass(slots=True)
class DownTrackCounters:
    """Counters of one down track."""

    sender: Sender
    nacked: int = 0
    "Packets that the subscriber asked for again."
    repaired: int = 0
    "Those that were sent again."
    rate: BitrateMeter = field(default_factory=BitrateMeter)
    "Of these octets, updated each second."
    report: ReportBlock | None = None
    "What the subscriber last reported: loss, jitter (RFC 3550 section 6.4.1)."

    @property
    def packets(self) -> int:
        """How many were sent, retransmissions left out."""
        return self.sender.packets

    @property
    def octets(self) -> int:
        """Of their payload."""
        return self.sender.octets


class CatchUp(NamedTuple):
    """How timestamps of a source that comes in late become those of this track, all in units of the clock."""

    first: int
    "The source's first."
    until: int
    "After it; the timestamps from there on are true."
    start: int
    "What becomes of the first."
    pace: float
    "How fast time goes on from there, below 1."


class DownTrack:
    """The sending side of one m-section. Its owner is the subscriber's peer."""

    def __init__(self, kind: str, sender: Sender, *, batch: Batch, listener: DownTrackListener) -> None:
        self.statistics = DownTrackCounters(sender)
        self.kind = kind
        self.ssrc = sender.ssrc
        self.cname = ""
        self.up_track: UpTrack | None = None
        self._sender = sender
        "Its numbers and offsets; what they are now was decided here."
        self._batch = batch
        self._listener = listener
        self._codecs: tuple[Codec, ...] = ()
        self._extension_ids: dict[str, int] = {}
        self._transport_wide = 0
        "Number of the header extension with transport-wide numbers; 0 where the client does not report on them."
        self._rtx_ssrc = 0
        self._rtx_payload_type = -1
        "What it calls retransmissions of that codec; -1 where packets are sent again as they were."
        self._rtx_sequence = secrets.randbits(15)
        self._resent: dict[int, float] = {}
        "When packets were last sent again, by their number here; the latest ones."
        self._unsupported: tuple[UpTrack, CodecKey] | None = None
        "What the listener was told of last, so that it is told once."
        self.clock_rate = _CLOCK_RATES[kind]
        self._layer: Layer | None = None
        "The layer that is being sent; None while a picture waits for its keyframe."
        self._first_sequence = 0
        self._true_from: float = 0
        "From this number on timestamps have the sender's offset; before it they catch up."
        self._catch_up = CatchUp(0, 0, 0, 0.0)
        sender.priority = Priority.AUDIO if kind == "audio" else Priority.VIDEO
        # Below 2^15, so that the first packets cannot be lost across a wrap unnoticed (RFC 3711 section 3.3.1).
        sender.last_sequence = secrets.randbits(15)
        # Timestamps begin at random (RFC 3550 section 5.1): server time plus this, in units of the clock rate.
        self._timestamp_base = secrets.randbits(32)

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
        self._rtx_ssrc = rtx_ssrc
        self._transport_wide = transport_wide
        self._codecs = tuple(codecs)
        self._extension_ids = dict(extension_ids)
        self.on_codec()
        if self.up_track is not None:
            self.up_track.sort_receivers()

    def attach(self, up_track: UpTrack | None, now: float) -> None:
        """Carry this up track from now on, or none."""
        if up_track is self.up_track:
            return
        self.detach()
        if up_track is not None:
            self.up_track = up_track
            self._prepare(up_track)
            up_track.subscribe(self)
            if up_track.layer is None or not self._replay(up_track.layer, now):
                up_track.request_keyframe(now)
            self._batch.flush()

    def detach(self) -> None:
        """Carry nothing from now on."""
        if self.up_track is not None:
            self.up_track.unsubscribe(self)
        self.up_track = self._layer = self._unsupported = None

    def on_resume(self, now: float) -> None:
        """The up track goes on after a pause: begin anew, under the numbers that follow, with what has come already."""
        self._layer = None
        if self.up_track is not None and self.up_track.layer is not None and self._replay(self.up_track.layer, now):
            self._batch.flush()

    def request_keyframe(self, now: float) -> None:
        """The subscriber lost the picture."""
        if self.up_track is not None:
            self.up_track.request_keyframe(now)

    def on_codec(self) -> None:
        """The codec of the up track, or what the subscriber calls it, has changed."""
        if self.up_track is not None and self._prepare(self.up_track):
            self.up_track.need_keyframe()

    def _prepare(self, up_track: UpTrack) -> bool:
        """Prepare what packets need: payload type and header-extension numbers of the subscriber.

        Returns whether it takes another decoder, which needs a keyframe to begin with. Else the picture goes on.
        """
        if up_track.codec is None:
            return False
        self._sender.plan = ExtensionPlan(
            {
                number: self._extension_ids[uri]
                for uri, number in up_track.extension_ids.items()
                if uri in self._extension_ids
            },
            transport_wide=self._transport_wide,
        )
        codec = find_receiver(up_track.codec.key, self._codecs)
        payload_type = -1 if codec is None else codec.payload_type
        self._rtx_payload_type = repair_types(self._codecs).get(payload_type, -1) if self._rtx_ssrc else -1
        is_other = payload_type != self._sender.payload_type
        if is_other:
            self._sender.payload_type = payload_type
            self._layer = None
        # Without any codec the subscriber has only paused this m-section.
        unsupported = (up_track, up_track.codec.key) if codec is None and self._codecs else None
        if unsupported is not None and unsupported != self._unsupported:
            self._listener.on_unsupported(up_track)
        self._unsupported = unsupported
        return is_other and codec is not None

    def steady_sender(self, layer: Layer) -> Sender | None:
        """Return the sender by which packets of a layer can go, from its floor on: their numbers are only shifted now.

        None while `forward` has more to do: a picture waits for its keyframe or catches up, or nobody could decode it.
        """
        if layer is not self._layer or self._sender.payload_type < 0 or math.isinf(self._true_from):
            return None
        self._sender.floor = int(self._true_from)
        return self._sender

    def forward(self, packet: RtpPacket, layer: Layer, sequence: int, now: float, *, keyframe: bool) -> None:
        """Send a packet of the up track on, under this track's own numbers."""
        if layer is not self._layer:
            if self._sender.payload_type < 0 or (self.kind == "video" and not keyframe):
                return
            # It may have come late, be it repaired; then others came after it already.
            if not self._replay(layer, now):
                self._begin(layer.history.since(sequence) or [(sequence, packet)], layer, now)
        elif sequence >= self._first_sequence:  # not from before the keyframe with which this source came in
            self._send(packet, sequence)

    def _replay(self, layer: Layer, now: float) -> bool:
        """Begin with what came before, if that is still worth it: the newest keyframe and all since, or a lead-in."""
        if self._sender.payload_type < 0:
            return False
        packets = layer.history.since_keyframe(now) if self.kind == "video" else self._lead_in(now)
        if not packets:
            return False
        self._begin(packets, layer, now)
        return True

    def _lead_in(self, now: float) -> list[tuple[int, RtpPacket]]:
        """Return what a sound begins with: nothing from before the last packet here, which could not be on time."""
        assert self.up_track is not None  # see _enter
        silent_s = math.inf
        if self.statistics.packets:
            present = int(now * self.clock_rate) + self._timestamp_base
            silent_s = ts_delta(present, self._sender.last_timestamp) / self.clock_rate
        return self.up_track.lead_in(now, silent_s)

    def _begin(self, packets: Sequence[tuple[int, RtpPacket]], layer: Layer, now: float) -> None:
        self._enter(packets, layer, now)
        for sequence, packet in packets:
            self._send(packet, sequence)

    def _send(self, packet: RtpPacket, sequence: int) -> None:
        sender = self._sender
        sequence_out = sequence + sender.sequence_offset
        timestamp = self._timestamp(packet, sequence)
        if sequence_out > sender.last_sequence:
            sender.last_sequence = sequence_out
            sender.last_timestamp = timestamp
        header, tail = self._rewrite(packet, sequence_out, timestamp)
        self._batch.append(sender.egress, header, tail.data, tail.number_at, sender.priority)
        sender.packets += 1
        sender.octets += len(packet.data) - packet.payload_offset

    def _rewrite(self, packet: RtpPacket, sequence_out: int, timestamp: int) -> tuple[bytes, Tail]:
        """Return what a packet of the up track is here: its fixed header, and what follows it."""
        sender = self._sender
        octets = len(packet.data) - packet.payload_offset
        tail = shift_fields(packet.tail(sender.plan), octets, NO_FIELDS, sender)
        second_byte = packet.marker << 7 | sender.payload_type
        return _pack_header(tail.first_byte, second_byte, sequence_out & 0xFFFF, timestamp, self.ssrc), tail

    def repair(self, lost: Iterable[int], budget: RepairBudget, now: float, round_trip_s: float) -> None:
        """Send again what the subscriber misses (16-bit numbers of a NACK), as far as it is kept and its link allows.

        The same packet not twice within `round_trip_s`: the shortest one, since who asks again has waited for one by
        its own measure, and in jitter a smoothed one would refuse every other of those requests.

        By RTX (RFC 4588) where that was negotiated, else as the same packet once more; but not where that would have
        another transport-wide number: AEAD allows no two packets under one nonce (RFC 7714 section 9.1). Who appends to
        the batch here has it flushed by the wake-up in which the NACK came.
        """
        layer, sender = self._layer, self._sender
        if layer is None or (self._transport_wide and self._rtx_payload_type < 0):
            return
        for number in lost:
            self.statistics.nacked += 1
            sequence_out = sender.last_sequence + seq_delta(number, sender.last_sequence & 0xFFFF)
            sequence = sequence_out - sender.sequence_offset
            if not self._first_sequence <= sequence <= sender.last_sequence - sender.sequence_offset:
                continue  # of another source, or kept of a paused one, and never sent
            if now - self._resent.get(sequence_out, -math.inf) < round_trip_s:
                continue
            packet = layer.history.get(sequence, now)
            if packet is None or not budget.take(len(packet.data), sent=sender.egress.bytes_sent, now=now):
                continue
            self._resent[sequence_out] = now
            if len(self._resent) > MAX_RESENT:
                del self._resent[next(iter(self._resent))]
            self._send_again(packet, sequence)
            self.statistics.repaired += 1

    def _send_again(self, packet: RtpPacket, sequence: int) -> None:
        timestamp = self._timestamp(packet, sequence)
        header, tail = self._rewrite(packet, sequence + self._sender.sequence_offset, timestamp)
        data = tail.data
        if self._rtx_payload_type >= 0:
            self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            header, data = wrap(
                header,
                tail,
                ssrc=self._rtx_ssrc,
                payload_type=self._rtx_payload_type,
                sequence_number=self._rtx_sequence,
            )
        self._batch.append(self._sender.egress, header, data, tail.number_at, Priority.REPAIR)

    def pad(self, size: int) -> bool:
        """Send about `size` bytes of padding, to probe the link; False if the subscriber takes none here, or not yet.

        As retransmissions of nothing, as libwebrtc sends them: they disturb no numbers of the picture. Who calls this
        flushes.
        """
        if self._rtx_payload_type < 0 or not self.statistics.packets:
            return False
        tail = PADDING.tail(ExtensionPlan({}, transport_wide=self._transport_wide))
        for _ in range(math.ceil(size / (FIXED_HEADER_BYTES + len(tail.data)))):
            self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            header = _pack_header(
                tail.first_byte, self._rtx_payload_type, self._rtx_sequence, self._sender.last_timestamp, self._rtx_ssrc
            )
            self._batch.append(self._sender.egress, header, tail.data, tail.number_at, UNPACED)
        return True

    def _enter(self, packets: Sequence[tuple[int, RtpPacket]], layer: Layer, now: float) -> None:
        """Continue the numbers of this track with a source that comes in with these packets.

        Timestamps are the true ones if they can be. A picture whose packets were captured before the last one of the
        former source, or a while ago, catches up: what was captured until now is told as one quick movement. A sound
        cannot be played faster; it stays that much late.
        """
        assert self.up_track is not None  # who is not subscribed is not forwarded to
        (first_sequence, first), (_, last) = packets[0], packets[-1]
        captured_at = self.up_track.clock.capture_time(layer.clock, last.timestamp, now)
        newest = int(captured_at * self.clock_rate) + self._timestamp_base
        start = newest - max(0, ts_delta(last.timestamp, first.timestamp))
        present = max(newest, int(now * self.clock_rate) + self._timestamp_base)
        after = start - 1
        if len(packets) > 1 and self.kind == "video":
            after = max(after, present - CATCH_UP_TICKS - 1)
        if self.statistics.packets:
            after = max(after, present + ts_delta(self._sender.last_timestamp, present))
        shift = max(0, after + 1 - start)
        if self.kind == "video":
            shift = min(shift, max(0, after + 1 + CATCH_UP_TICKS - present))
        start, present = start + shift, present + shift
        self._layer = layer
        self._first_sequence = self._true_from = first_sequence
        self._sender.sequence_offset = self._sender.last_sequence + 1 - first_sequence
        self._sender.timestamp_offset = start - first.timestamp
        if after >= start:
            self._true_from = math.inf
            self._catch_up = CatchUp(
                first.timestamp, present - start, after + 1, (present - after - 1) / (present - start)
            )

    def _timestamp(self, packet: RtpPacket, sequence: int) -> int:
        if sequence < self._true_from:
            elapsed = ts_delta(packet.timestamp, self._catch_up.first)
            if elapsed < self._catch_up.until:
                return (self._catch_up.start + int(max(0, elapsed) * self._catch_up.pace)) & 0xFFFFFFFF
            self._true_from = min(sequence, self._true_from)
        return (packet.timestamp + self._sender.timestamp_offset) & 0xFFFFFFFF

    def sender_report(self, now: float, wall_time: float) -> SenderReport | None:
        """The report (RFC 3550 section 6.4.1) for this moment; None while nothing is sent or its clock is not known.

        The mapping is the publisher's own, moved to the server's clock by one offset for all tracks of the publisher:
        arrival times, which differ between audio and video, have no part in it, so lip sync holds.
        """
        if self._layer is None or self.up_track is None:
            return None
        timestamp = self.up_track.clock.timestamp_at(self._layer.clock, now)
        if timestamp is None:
            return None
        return SenderReport(
            ssrc=self.ssrc,
            ntp=ntp_from_unix(wall_time),
            rtp_timestamp=(timestamp + self._sender.timestamp_offset) & 0xFFFFFFFF,
            packets=self.statistics.packets & 0xFFFFFFFF,
            octets=self.statistics.octets & 0xFFFFFFFF,
            reports=(),
        )
