"""Which up track, and which of its encodings, a packet of the publisher belongs to (RFC 9143 section 9.2, RFC 8852)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from zvonim_sfu.media.simulcast import REPAIRED_RID_EXTENSION, RID_EXTENSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.simulcast import Announced
    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.rtp.intake import Intake
    from zvonim_sfu.rtp.packet import RtpPacket

MID_EXTENSION = "urn:ietf:params:rtp-hdrext:sdes:mid"


class Stream(NamedTuple):
    """What an SSRC stands for."""

    up_track: UpTrack
    layer: Layer | None
    "None for retransmissions: they repair what `encoding` is now."
    encoding: str
    "Names the encoding among those of the track; empty where it has one."


class Router:
    """The SSRCs of one transport's publisher. The packet path reads `streams`; only a new SSRC asks `bind`.

    Bounded by what was negotiated: each encoding has the SSRCs that its track remembers, and one of retransmissions.
    """

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.intakes: dict[int, Intake] = {}
        "Where the kernel counts packets of these SSRCs, retransmissions left out: always this dictionary."
        self._by_mid: Mapping[str, UpTrack] = {}
        self._announced: dict[int, tuple[UpTrack, Announced]] = {}
        self._mid_extension = 0
        self._rid_extension = 0
        self._repaired_rid_extension = 0

    def configure(
        self,
        by_mid: Mapping[str, UpTrack],
        announced: Iterable[tuple[UpTrack, Announced]],
        extension_ids: Mapping[str, int],
    ) -> None:
        """Take over what was negotiated: tracks, the SSRCs that the description names, numbers of header extensions."""
        self._by_mid = by_mid
        self._announced = {said.ssrc: (up_track, said) for up_track, said in announced}
        self._mid_extension = extension_ids.get(MID_EXTENSION, 0)
        self._rid_extension = extension_ids.get(RID_EXTENSION, 0)
        self._repaired_rid_extension = extension_ids.get(REPAIRED_RID_EXTENSION, 0)
        live = {id(up_track) for up_track in by_mid.values()}
        self.streams = {
            ssrc: stream
            for ssrc, stream in self.streams.items()
            # Of encodings that are not what they were is found out anew what they are.
            if id(stream.up_track) in live
            and (stream.layer is None or stream.up_track.encodings.get(stream.encoding) is stream.layer)
        }
        self._tell_kernel()

    def bind(self, packet: RtpPacket) -> Stream | None:
        """Find the track of an SSRC that is new: by its mid, by the description, or as the only one it can be.

        And its encoding: by its rid, or by the description. None where either cannot be told.
        """
        up_track = self._find(packet)
        if up_track is None:
            return None
        repairs = up_track.repairs(packet.payload_type)
        encoding = self._encoding(packet, up_track, repairs=repairs)
        if encoding is None:
            return None
        if repairs:
            stream = Stream(up_track, None, encoding)
            # One stream of retransmissions for each encoding: a new one takes the place of the old.
            self.streams = {ssrc: s for ssrc, s in self.streams.items() if s != stream}
        else:
            layer = up_track.add_layer(packet.ssrc, packet.payload_type, encoding)
            if layer is None:
                return None
            stream = Stream(up_track, layer, encoding)
            # The track keeps its newest layers only; so does this, however many SSRCs a publisher uses.
            self.streams = {
                ssrc: s for ssrc, s in self.streams.items() if s.layer is None or s.up_track.layers.get(ssrc) is s.layer
            }
        self.streams[packet.ssrc] = stream
        self._tell_kernel()
        return stream

    def _tell_kernel(self) -> None:
        self.intakes.clear()
        self.intakes.update((ssrc, s.layer.intake) for ssrc, s in self.streams.items() if s.layer is not None)

    def _find(self, packet: RtpPacket) -> UpTrack | None:
        mid = self._text(packet, self._mid_extension)
        if mid is not None:
            return self._by_mid.get(mid)
        if packet.ssrc in self._announced:
            return self._announced[packet.ssrc][0]
        candidates = [track for track in self._by_mid.values() if track.accepts(packet.payload_type)]
        return candidates[0] if len(candidates) == 1 else None

    def _encoding(self, packet: RtpPacket, up_track: UpTrack, *, repairs: bool) -> str | None:
        rid = self._text(packet, self._repaired_rid_extension if repairs else self._rid_extension)
        if rid is None and packet.ssrc in self._announced:
            rid = self._announced[packet.ssrc][1].encoding
        return up_track.encoding_of(rid or "")

    @staticmethod
    def _text(packet: RtpPacket, number: int) -> str | None:
        value = packet.extension(number) if number else None
        return value.decode("ascii", "replace") if value is not None else None
