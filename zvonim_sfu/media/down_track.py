"""One up track on its way to one subscriber: its own SSRC, sequence numbers and timestamps.

A down track lives as long as its m-section. When another up track takes it over, numbers go on without a hole and
timestamps never go back (DESIGN: decision 7). Timestamps stand for the publisher's capture time on the server's
clock, so the same moment has the same mapping whoever is in the slot.
"""

from __future__ import annotations

import secrets
from struct import Struct
from typing import TYPE_CHECKING, Protocol

from zvonim_sfu.media.codecs import find_receiver
from zvonim_sfu.rtp.packet import ExtensionPlan
from zvonim_sfu.rtp.rtcp import SenderReport
from zvonim_sfu.rtp.sequence import ts_delta
from zvonim_sfu.rtp.timing import ntp_from_unix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zvonim_sfu.media.codecs import CodecKey
    from zvonim_sfu.media.sdp import Codec
    from zvonim_sfu.media.up_track import Layer, UpTrack
    from zvonim_sfu.net.kernel import Batch, Egress
    from zvonim_sfu.rtp.packet import RtpPacket
    from zvonim_sfu.rtp.rtcp import ReportBlock

_pack_header = Struct("!BBHII").pack
_CLOCK_RATES = {"audio": 48000, "video": 90000}


class DownTrackListener(Protocol):
    """The owner of a down track."""

    def on_unsupported(self, up_track: UpTrack) -> None:
        """The subscriber negotiated no codec that can carry what this track sends now."""


class DownTrack:
    """The sending side of one m-section. Its owner is the subscriber's peer."""

    def __init__(self, kind: str, ssrc: int, *, egress: Egress, batch: Batch, listener: DownTrackListener) -> None:
        self.kind = kind
        self.ssrc = ssrc
        self.cname = ""
        self.up_track: UpTrack | None = None
        self.packets = 0
        self.octets = 0
        self.last_report: ReportBlock | None = None
        "What the subscriber last reported of it: loss, jitter (RFC 3550 section 6.4.1)."
        self._egress = egress
        self._batch = batch
        self._listener = listener
        self._codecs: tuple[Codec, ...] = ()
        self._extension_ids: dict[str, int] = {}
        self._plan = ExtensionPlan({})
        self._payload_type = -1
        "What the subscriber calls the up track's codec; -1 if it has none for it."
        self._unsupported: tuple[UpTrack, CodecKey] | None = None
        "What the listener was told of last, so that it is told once."
        self._clock_rate = _CLOCK_RATES[kind]
        self._layer: Layer | None = None
        "The layer that is being sent; None while a picture waits for its keyframe."
        self._first_sequence = 0
        self._sequence_offset = 0
        self._timestamp_offset = 0
        # Below 2^15, so that the first packets cannot be lost across a wrap unnoticed (RFC 3711 section 3.3.1).
        self._last_sequence = secrets.randbits(15)
        self._last_timestamp = 0
        # Timestamps begin at random (RFC 3550 section 5.1): server time plus this, in units of the clock rate.
        self._timestamp_base = secrets.randbits(32)

    def configure(self, codecs: Sequence[Codec], extension_ids: Mapping[str, int]) -> None:
        """Take over what was negotiated with the subscriber."""
        self._codecs = tuple(codecs)
        self._extension_ids = dict(extension_ids)
        self.on_codec()

    def attach(self, up_track: UpTrack | None, now: float) -> None:
        """Carry this up track from now on, or none."""
        if up_track is self.up_track:
            return
        self.detach()
        if up_track is not None:
            self.up_track = up_track
            self.on_codec()
            up_track.subscribe(self, now)

    def detach(self) -> None:
        """Carry nothing from now on."""
        if self.up_track is not None:
            self.up_track.unsubscribe(self)
        self.up_track = self._layer = self._unsupported = None

    def request_keyframe(self, now: float) -> None:
        """The subscriber lost the picture."""
        if self.up_track is not None:
            self.up_track.request_keyframe(now)

    def on_codec(self) -> None:
        """Prepare what packets need: payload type and header-extension numbers of the subscriber."""
        up_track = self.up_track
        if up_track is None or up_track.codec is None:
            return
        self._plan = ExtensionPlan(
            {
                number: self._extension_ids[uri]
                for uri, number in up_track.extension_ids.items()
                if uri in self._extension_ids
            }
        )
        codec = find_receiver(up_track.codec.key, self._codecs)
        payload_type = -1 if codec is None else codec.payload_type
        if payload_type != self._payload_type:
            # Another decoder, which needs a keyframe to begin with. Else the picture goes on.
            self._payload_type = payload_type
            self._layer = None
            if codec is not None:
                up_track.need_keyframe()
        # Without any codec the subscriber has only paused this m-section.
        unsupported = (up_track, up_track.codec.key) if codec is None and self._codecs else None
        if unsupported is not None and unsupported != self._unsupported:
            self._listener.on_unsupported(up_track)
        self._unsupported = unsupported

    def forward(self, packet: RtpPacket, layer: Layer, sequence: int, now: float, *, keyframe: bool) -> None:
        """Send a packet of the up track on, under this track's own numbers."""
        if layer is not self._layer:
            if self._payload_type < 0 or (self.kind == "video" and not keyframe):
                return
            assert self.up_track is not None  # who is not subscribed is not forwarded to
            captured_at = self.up_track.clock.capture_time(layer.clock, packet.timestamp, now)
            self._enter(packet, layer, sequence, captured_at)
        elif sequence < self._first_sequence:
            return  # from before the keyframe with which this source came in
        sequence_out = sequence + self._sequence_offset
        timestamp = (packet.timestamp + self._timestamp_offset) & 0xFFFFFFFF
        if sequence_out > self._last_sequence:
            self._last_sequence = sequence_out
            self._last_timestamp = timestamp
        tail = packet.tail(self._plan)
        header = _pack_header(
            tail.first_byte,
            packet.marker << 7 | self._payload_type,
            sequence_out & 0xFFFF,
            timestamp,
            self.ssrc,
        )
        self._batch.append(self._egress, header, tail.data)
        self.packets += 1
        self.octets += len(packet.data) - packet.payload_offset

    def _enter(self, packet: RtpPacket, layer: Layer, sequence: int, captured_at: float) -> None:
        """Continue the numbers of this track with a source that comes in with `packet`."""
        timestamp = (int(captured_at * self._clock_rate) + self._timestamp_base) & 0xFFFFFFFF
        if self.packets and ts_delta(timestamp, self._last_timestamp) <= 0:
            timestamp = (self._last_timestamp + 1) & 0xFFFFFFFF
        self._layer = layer
        self._first_sequence = sequence
        self._sequence_offset = self._last_sequence + 1 - sequence
        self._timestamp_offset = (timestamp - packet.timestamp) & 0xFFFFFFFF

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
            rtp_timestamp=(timestamp + self._timestamp_offset) & 0xFFFFFFFF,
            packets=self.packets & 0xFFFFFFFF,
            octets=self.octets & 0xFFFFFFFF,
            reports=(),
        )
