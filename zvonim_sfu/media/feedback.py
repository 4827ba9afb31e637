"""RTCP of one transport: what is done with each message that comes in, and what is sent each second.

| from the client        | what the server does                                                                     |
|------------------------|------------------------------------------------------------------------------------------|
| SR                     | feeds the layer's and the publisher's clock (lip sync), and LSR/DLSR of the next report  |
| RR                     | kept: loss, jitter and round trip of the down track                                      |
| SDES, APP, unknown     | nothing                                                                                  |
| BYE                    | nothing: Firefox sends one for tracks that go on; negotiation tells when a track ends    |
| PLI, FIR               | asks the publisher of the down track for a keyframe (media.up_track throttles)           |
| NACK, REMB, transport-cc | nothing: not negotiated                                                                |

Sent: SR and SDES for each down track that carries something, receiver reports for each layer that comes in, PLI or
FIR as keyframes are wanted, BYE when the m-section of a down track ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zvonim_sfu.rtp.rtcp import (
    Bye,
    FullIntraRequest,
    PictureLossIndication,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
)
from zvonim_sfu.rtp.timing import middle32

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zvonim_sfu.media.down_track import DownTrack
    from zvonim_sfu.media.publisher_clock import PublisherClock
    from zvonim_sfu.media.router import Stream

# A sender report with its SDES is 28 + 8 + up to 70 bytes: ten stay below a packet's 1200.
_REPORTS_PER_COMPOUND: Final = 10


class Feedback:
    """Reads and writes RTCP for one peer; `ssrc` is the server's own as a receiver."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self._fir_numbers: dict[int, int] = {}

    def handle(
        self,
        packets: Iterable[RtcpPacket],
        *,
        streams: Mapping[int, Stream],
        down_tracks: Mapping[int, DownTrack],
        clock: PublisherClock,
        now: float,
    ) -> None:
        """Act on the messages of one compound packet, `now` in server time."""
        for packet in packets:
            match packet:
                case SenderReport():
                    stream = streams.get(packet.ssrc)
                    if stream is not None:
                        stream.layer.clock.update(packet.ntp, packet.rtp_timestamp)
                        stream.layer.statistics.sender_report(middle32(packet.ntp), now)
                        clock.on_sender_report(packet.ntp / (1 << 32), now)
                    self._keep(packet.reports, down_tracks)
                case ReceiverReport():
                    self._keep(packet.reports, down_tracks)
                case PictureLossIndication():
                    _request_keyframe(down_tracks, packet.media_ssrc, now)
                case FullIntraRequest():
                    for ssrc, _ in packet.entries:
                        _request_keyframe(down_tracks, ssrc, now)
                case _:
                    pass

    @staticmethod
    def _keep(blocks: Iterable[ReportBlock], down_tracks: Mapping[int, DownTrack]) -> None:
        for block in blocks:
            down_track = down_tracks.get(block.ssrc)
            if down_track is not None:
                down_track.last_report = block

    def reports(
        self, streams: Mapping[int, Stream], down_tracks: Iterable[DownTrack], *, now: float, wall_time: float
    ) -> list[list[RtcpPacket]]:
        """The compound packets of this second."""
        blocks = tuple(
            stream.layer.statistics.report(ssrc, now)
            for ssrc, stream in streams.items()
            if stream.layer is stream.up_track.layer
        )[:31]
        compounds: list[list[RtcpPacket]] = [[ReceiverReport(self.ssrc, blocks)]] if blocks else []
        sending = [
            (down_track, report)
            for down_track in down_tracks
            if (report := down_track.sender_report(now, wall_time)) is not None
        ]
        for i in range(0, len(sending), _REPORTS_PER_COMPOUND):
            part = sending[i : i + _REPORTS_PER_COMPOUND]
            names = SourceDescription(tuple((down_track.ssrc, down_track.cname) for down_track, _ in part))
            compounds.append([*(report for _, report in part), names])
        return compounds

    def keyframe_request(self, ssrc: int, *, accepts_pli: bool) -> list[RtcpPacket]:
        """A request to the publisher: PLI (RFC 4585 section 6.3.1), or FIR (RFC 5104 section 4.3.1) without it."""
        empty = ReceiverReport(self.ssrc)
        if accepts_pli:
            return [empty, PictureLossIndication(self.ssrc, ssrc)]
        number = self._fir_numbers[ssrc] = (self._fir_numbers.get(ssrc, -1) + 1) % 256
        return [empty, FullIntraRequest(self.ssrc, ((ssrc, number),))]

    def goodbye(self, ssrcs: Sequence[int]) -> list[RtcpPacket]:
        """Tell the client that these SSRCs end (RFC 3550 section 6.6); at most 31 at a time."""
        return [ReceiverReport(self.ssrc), Bye(tuple(ssrcs[:31]))]


def _request_keyframe(down_tracks: Mapping[int, DownTrack], ssrc: int, now: float) -> None:
    down_track = down_tracks.get(ssrc)
    if down_track is not None:
        down_track.request_keyframe(now)
