"""One track that a participant publishes: from its packets to the down tracks that carry it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from zvonim_sfu.media.codecs import CodecKey, codec_key
from zvonim_sfu.rtp.codecs import is_keyframe
from zvonim_sfu.rtp.reception import ReceptionStatistics
from zvonim_sfu.rtp.timing import SenderClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zvonim_sfu.media.publisher_clock import PublisherClock
    from zvonim_sfu.media.sdp import Codec
    from zvonim_sfu.media.source import Source
    from zvonim_sfu.rtp.packet import RtpPacket

# Publishers answer a request within a round trip and a frame; a keyframe costs them five to ten frames, so what
# comes in between is served by the same one.
KEYFRAME_INTERVAL_S: Final = 0.5
# A publisher's SSRC changes when it rebuilds its encoder; older ones are forgotten.
MAX_LAYERS: Final = 4


class ReceivedCodec(NamedTuple):
    """What a payload type of the publisher stands for."""

    key: CodecKey
    clock_rate: int
    accepts_pli: bool


class Receiver(Protocol):
    """What an up track knows of a down track."""

    def forward(self, packet: RtpPacket, layer: Layer, sequence: int, now: float, *, keyframe: bool) -> None:
        """Send a packet on; `sequence` is its number extended beyond 16 bits."""

    def on_codec(self) -> None:
        """The up track's codec has changed."""


class KeyframeSender(Protocol):
    """The publisher's side of keyframe requests."""

    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None:
        """Send a PLI, or a FIR where PLI was not negotiated."""


@dataclass(slots=True, eq=False)
class Layer:
    """One encoding of an up track: an SSRC with its own numbering."""

    ssrc: int
    statistics: ReceptionStatistics
    clock: SenderClock
    payload_type: int = -1


class UpTrack:
    """A published track. Its owner is the publisher's peer, which configures and closes it."""

    def __init__(
        self,
        *,
        track_id: str,
        participant_id: str,
        source: Source,
        clock: PublisherClock,
        keyframes: KeyframeSender,
    ) -> None:
        self.id = track_id
        self.participant_id = participant_id
        self.source = source
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
        self._keyframes = keyframes
        self._keyframe_wanted = False
        self._next_request_at = 0.0
        self._by_payload_type: dict[int, ReceivedCodec] = {}
        self._receivers: tuple[Receiver, ...] = ()

    @property
    def kind(self) -> str:
        """`audio` or `video`."""
        return self.source.kind

    @property
    def key(self) -> str:
        """Names the track among all of the room; the same when the track comes back after a reload."""
        return f"{self.participant_id}/{self.id}"

    def configure(self, codecs: Sequence[Codec], extension_ids: Mapping[str, int]) -> None:
        """Take over what was negotiated with the publisher."""
        self.codecs = tuple(codecs)
        self.extension_ids = dict(extension_ids)
        self._by_payload_type = {
            codec.payload_type: ReceivedCodec(key, codec.clock_rate, "nack pli" in codec.feedback)
            for codec in codecs
            if (key := codec_key(codec)) is not None
        }
        for layer in self.layers.values():
            layer.payload_type = -1  # looked up again with the next packet
        for receiver in self._receivers:
            receiver.on_codec()

    def subscribe(self, receiver: Receiver, now: float) -> None:
        """Forward to this receiver from now on; a picture needs a keyframe to begin with."""
        self._receivers = (*self._receivers, receiver)
        self.request_keyframe(now)

    def unsubscribe(self, receiver: Receiver) -> None:
        """Forward no more to this receiver."""
        self._receivers = tuple(other for other in self._receivers if other is not receiver)

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
            self._keyframes.request_keyframe(self.layer.ssrc, accepts_pli=self.codec.accepts_pli)

    def accepts(self, payload_type: int) -> bool:
        """Whether this payload type was negotiated for this track."""
        return payload_type in self._by_payload_type

    def add_layer(self, ssrc: int, payload_type: int) -> Layer | None:
        """The layer of a new SSRC of this track; None if its payload type was not negotiated."""
        codec = self._by_payload_type.get(payload_type)
        if codec is None:
            return None
        layer = Layer(ssrc, ReceptionStatistics(codec.clock_rate), SenderClock(codec.clock_rate))
        self.layers[ssrc] = self.layer = layer
        while len(self.layers) > MAX_LAYERS:
            del self.layers[next(iter(self.layers))]
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
        keyframe = False
        if self._keyframe_wanted and self.codec is not None:
            keyframe = is_keyframe(self.codec.key.name, packet.payload)
            if keyframe:
                self._keyframe_wanted = False
            elif now >= self._next_request_at:
                # Asked again by the packets themselves, so that no timer is needed and a silent camera is left alone.
                self._send_request(now)
        for receiver in self._receivers:
            receiver.forward(packet, layer, sequence, now, keyframe=keyframe)

    def _on_payload_type(self, packet: RtpPacket) -> bool:
        codec = self._by_payload_type.get(packet.payload_type)
        if codec is None or self.layer is None:
            return False
        self.layer.payload_type = packet.payload_type
        if codec != self.codec:
            self.codec = codec
            for receiver in self._receivers:
                receiver.on_codec()
            self.need_keyframe()
        return True
