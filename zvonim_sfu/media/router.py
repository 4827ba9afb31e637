"""Which up track a packet of the publisher belongs to (RFC 9143 section 9.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.rtp.packet import RtpPacket


class Stream(NamedTuple):
    """What an SSRC stands for."""

    up_track: UpTrack
    layer: Layer | None
    "None for retransmissions: they repair whatever layer the track has."


class Router:
    """The SSRCs of one transport's publisher. The packet path reads `streams`; only a new SSRC asks `bind`."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self._by_mid: Mapping[str, UpTrack] = {}
        self._by_signalled_ssrc: Mapping[int, UpTrack] = {}
        self._mid_extension = 0

    def configure(
        self, by_mid: Mapping[str, UpTrack], by_signalled_ssrc: Mapping[int, UpTrack], mid_extension: int
    ) -> None:
        """Take over what was negotiated; `mid_extension` is the number of the MID header extension, 0 for none."""
        self._by_mid = by_mid
        self._by_signalled_ssrc = by_signalled_ssrc
        self._mid_extension = mid_extension
        live = {id(up_track) for up_track in by_mid.values()}
        self.streams = {ssrc: stream for ssrc, stream in self.streams.items() if id(stream.up_track) in live}

    def bind(self, packet: RtpPacket) -> Stream | None:
        """Find the track of an SSRC that is new: by its mid, by the description, or as the only one it can be."""
        up_track = self._find(packet)
        if up_track is None:
            return None
        if up_track.repairs(packet.payload_type):
            stream = Stream(up_track, None)
            # One stream of retransmissions for each track: a new one takes the place of the old.
            self.streams = {ssrc: s for ssrc, s in self.streams.items() if s != stream}
        else:
            layer = up_track.add_layer(packet.ssrc, packet.payload_type)
            if layer is None:
                return None
            stream = Stream(up_track, layer)
            # The track keeps its newest layers only; so does this, however many SSRCs a publisher uses.
            self.streams = {
                ssrc: s for ssrc, s in self.streams.items() if s.layer is None or s.up_track.layers.get(ssrc) is s.layer
            }
        self.streams[packet.ssrc] = stream
        return stream

    def _find(self, packet: RtpPacket) -> UpTrack | None:
        mid = packet.extension(self._mid_extension) if self._mid_extension else None
        if mid is not None:
            return self._by_mid.get(mid.decode("ascii", "replace"))
        up_track = self._by_signalled_ssrc.get(packet.ssrc)
        if up_track is not None:
            return up_track
        candidates = [track for track in self._by_mid.values() if track.accepts(packet.payload_type)]
        return candidates[0] if len(candidates) == 1 else None
