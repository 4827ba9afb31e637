"""RTCP of one peer: what is done with each message that comes in, and what is sent when.

| from the client | what the server does                                                                            |
|-----------------|-------------------------------------------------------------------------------------------------|
| SR              | feeds the layer's and the publisher's clock (lip sync), and LSR/DLSR of the next report         |
| RR              | kept: loss, jitter and round trip of the down track                                             |
| SDES, APP, unknown | nothing                                                                                      |
| BYE             | nothing: Firefox sends one for tracks that go on; negotiation tells when a track ends           |
| PLI, FIR        | asks the publisher of the down track for a keyframe (media.up_track throttles)                  |
| NACK            | sends again what is kept of it, within the receiver's budget (media.down_track)                 |
| XR with RRTR    | answered by DLRR with the next report                                                           |
| XR with DLRR    | round trip to who only publishes                                                                |
| REMB            | to the estimate of the link (media.link): what the client thinks it holds                       |
| transport-cc    | the same: when packets that were numbered transport-wide came                                   |

Sent each second: SR and SDES for each down track that carries something, receiver reports for each layer that comes
in, REMB to publishers that negotiated nothing better, and RRTR (RFC 3611 section 4.4) to who publishes and is sent
nothing, so that no receiver report tells the round trip. Chromium 156 and Firefox 153 answer that though their SDP
does not name it, by DLRR in the next RTCP of each m-section; aiortc does not. Each 100 ms: transport-cc to publishers
that negotiated it, each 200 ms to those that send little. When there is need: NACK for what is missing, PLI or FIR for
a keyframe, BYE when the m-section of a down track ends.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from zvonim_sfu.media.link import EARLY_S
from zvonim_sfu.media.up_track import CHECK_SLACK_S
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.rtp.budget import RepairBudget
from zvonim_sfu.rtp.remb import RembEstimator
from zvonim_sfu.rtp.round_trip import RoundTrip
from zvonim_sfu.rtp.rtcp import (
    Bye,
    ExtendedReport,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpError,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    parse_compound,
)
from zvonim_sfu.rtp.rtcp_xr import ReferenceTimeAnswer
from zvonim_sfu.rtp.timing import middle32, ntp_from_unix

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.node import MediaNode
    from zvonim_sfu.media.tracks import Tracks
    from zvonim_sfu.media.transport import Transport

REPORT_INTERVAL_S: Final = 1.0
# What libwebrtc's receivers use; its senders take 50 to 250 ms.
ARRIVALS_INTERVAL_S: Final = 0.1
# So many transports tell arrivals at the same moment: one wake-up for all of them is half of what each its own costs.
# Others have another moment, that far away, so that no packet waits for all transports of a large call.
_ARRIVALS_TOGETHER: Final = 16
_ARRIVALS_APART_S: Final = 0.01
# Fewer arrivals, as of who only speaks (five), wait for the next time: libwebrtc's receivers tell those each 250 ms.
_FEW_ARRIVALS: Final = 6
# A sender report with its SDES is 28 + 8 + up to 70 bytes: ten stay below a packet's 1200.
_REPORTS_PER_COMPOUND: Final = 10
_MAX_BLOCKS: Final = 31  # five bits count them


class Feedback:
    """Reads and writes RTCP for one peer on one transport; `ssrc` is the server's own as a receiver."""

    def __init__(self, ssrc: int, node: MediaNode, transport: Transport, tracks: Tracks) -> None:
        self.round_trip = RoundTrip()
        "To the client and back."
        self.link_bitrate: int | None = None
        "What the client says that its link holds (REMB), in bit/s."
        self._ssrc = ssrc
        self._nothing = ReceiverReport(ssrc)
        "What a compound begins with that reports on nothing."
        self._node = node
        self._transport = transport
        self._tracks = tracks
        self._budget: RepairBudget | None = None
        self._estimator = RembEstimator()
        self._fir_numbers: dict[int, int] = {}
        self._reference: tuple[ExtendedReport, float] | None = None
        self._last_answered = 0
        "The latest reference time that the client answered."
        self._report_at = 0.0
        self._tracks_at: float = -math.inf
        "When an up track wants its turn."
        self._arrivals_at = 0.0
        self._arrivals_waited = False
        self._arrivals_phase = len(node.transports) // _ARRIVALS_TOGETHER * _ARRIVALS_APART_S

    def on_rtcp(self, data: bytes, now: float) -> None:
        """Act on a compound packet (or a reduced-size one, RFC 5506) of the client."""
        try:
            packets = parse_compound(data)
        except RtcpError:
            self._transport.drop(DropReason.RTCP_MALFORMED)
            return
        for packet in packets:
            match packet:
                case SenderReport():
                    self._on_sender_report(packet, now)
                    self._keep(packet.reports, now)
                case ReceiverReport():
                    self._keep(packet.reports, now)
                case PictureLossIndication():
                    self._on_picture_lost(packet.media_ssrc, now)
                case FullIntraRequest():
                    for ssrc, _ in packet.entries:
                        self._on_picture_lost(ssrc, now)
                case Nack():
                    self._on_nack(packet, now)
                case TransportFeedback():
                    self._transport.link.on_feedback(packet, now)
                case Remb():
                    self.link_bitrate = packet.bitrate
                    self._transport.link.on_remb(packet.bitrate, now)
                case ExtendedReport():
                    self._on_extended_report(packet, now)
                case _:
                    pass

    def _on_sender_report(self, report: SenderReport, now: float) -> None:
        stream = self._transport.router.streams.get(report.ssrc)
        if stream is not None and stream.layer is not None:
            stream.layer.clock.update(report.ntp, report.rtp_timestamp)
            stream.layer.statistics.sender_report(middle32(report.ntp), now)
            self._tracks.clock.on_sender_report(report.ntp / (1 << 32), now)

    def _keep(self, blocks: Iterable[ReportBlock], now: float) -> None:
        present = self._present(now)
        for block in blocks:
            down_track = self._tracks.down_by_ssrc.get(block.ssrc)
            if down_track is None:
                continue
            down_track.statistics.report = block
            self._measure(block.lsr, block.dlsr, now, present)

    def _on_extended_report(self, report: ExtendedReport, now: float) -> None:
        if report.reference_time is not None:
            self._reference = report, now
        for answer in report.answers:
            # Each m-section of a browser answers, Firefox with some twenty in a second: the first one counts.
            if answer.ssrc == self._ssrc and answer.last_reference_time != self._last_answered:
                self._last_answered = answer.last_reference_time
                self._measure(answer.last_reference_time, answer.delay, now, self._present(now))

    def _present(self, now: float) -> int:
        """Return the middle of the NTP time of this moment."""
        return middle32(ntp_from_unix(self._node.wall_time(now)))

    def _measure(self, sent: int, held: int, now: float, present: int) -> None:
        """Learn the round trip from an answer (RFC 3550 section 6.4.1, RFC 3611 section 4.5).

        `sent` is the middle of the NTP time of what it answers, 0 = of nothing, `held` how long the client had that,
        in 1/65536 s, and `present` the middle of the NTP time of `now`.
        """
        if sent:
            self.round_trip.measured((present - sent - held & 0xFFFFFFFF) / 65536, now)

    def _on_picture_lost(self, ssrc: int, now: float) -> None:
        down_track = self._tracks.down_by_ssrc.get(ssrc)
        if down_track is not None:
            down_track.request_keyframe(now)

    def _on_nack(self, nack: Nack, now: float) -> None:
        down_track = self._tracks.down_by_ssrc.get(nack.media_ssrc)
        if down_track is not None:
            if self._budget is None:
                self._budget = RepairBudget(sent=self._transport.egress.bytes_sent, now=now)
            down_track.repair(nack.lost, self._budget, now, self.round_trip.shortest_s)

    def on_timer(self, now: float) -> float:
        """Send what is due; returns when something will be next."""
        tells_arrivals = bool(self._transport.arrival_extension and self._tracks.up)
        # Who tells arrivals wakes up often enough: reports go with those that are nearest.
        if now >= self._report_at - (ARRIVALS_INTERVAL_S / 2 if tells_arrivals else 0):
            self._report_at = now + REPORT_INTERVAL_S
            self._send_reports(now)
        next_at = self._report_at
        if tells_arrivals:
            if now >= self._arrivals_at - EARLY_S:
                turns = math.floor((now - self._arrivals_phase + EARLY_S) / ARRIVALS_INTERVAL_S) + 1
                self._arrivals_at = turns * ARRIVALS_INTERVAL_S + self._arrivals_phase
                self._arrivals_waited = not self._arrivals_waited and len(self._transport.arrivals) < _FEW_ARRIVALS
                if not self._arrivals_waited:
                    self._send_arrivals(now)
            next_at = self._arrivals_at
        if now >= self._tracks_at - CHECK_SLACK_S:
            round_trip_s = self.round_trip.smoothed_s
            wanted = [track.on_timer(now, round_trip_s) for track in self._tracks.up.values()]
            self._tracks_at = min(wanted, default=math.inf)
        return min(next_at, self._tracks_at)

    def wake_tracks(self, at: float) -> None:
        """Give up tracks a turn of the timer at this time, or before."""
        self._tracks_at = min(self._tracks_at, at)

    def _layers(self) -> list[Layer]:
        return [layer for track in self._tracks.up.values() for layer in track.ordered]

    def _send_reports(self, now: float) -> None:
        layers = self._layers()
        ntp = ntp_from_unix(self._node.wall_time(now))
        sending = [
            (down_track, report)
            for down_track in self._tracks.down.values()
            if (report := down_track.sender_report(now, ntp)) is not None
        ]
        self._send_receiver_report(layers, now, with_time=not sending)
        for i in range(0, len(sending), _REPORTS_PER_COMPOUND):
            part = sending[i : i + _REPORTS_PER_COMPOUND]
            names = SourceDescription(tuple((down_track.ssrc, down_track.cname) for down_track, _ in part))
            self._transport.send_rtcp([*(report for _, report in part), names])
        if layers and self._tracks.wants_remb and not self._transport.arrival_extension:
            self._send_remb(layers, now)
        for track in self._tracks.up.values():
            track.measure(now)
        for down_track in self._tracks.down.values():
            down_track.statistics.rate.update(down_track.statistics.octets, now)
        self._transport.received_rate.update(self._transport.ingress.bytes_received, now)
        self._transport.sent_rate.update(self._transport.egress.bytes_sent, now)

    def _send_receiver_report(self, layers: Sequence[Layer], now: float, *, with_time: bool) -> None:
        blocks = tuple(layer.statistics.report(layer.ssrc, now) for layer in layers[:_MAX_BLOCKS])
        reference_time = ntp_from_unix(self._node.wall_time(now)) if layers and with_time else None
        answers: tuple[ReferenceTimeAnswer, ...] = ()
        if self._reference is not None:
            request, came_at = self._reference
            self._reference = None
            delay = int((now - came_at) * 65536)
            answers = (ReferenceTimeAnswer(request.ssrc, middle32(request.reference_time or 0), delay),)
        compound: list[RtcpPacket] = [ReceiverReport(self._ssrc, blocks)]
        if answers or reference_time is not None:
            compound.append(ExtendedReport(self._ssrc, reference_time, answers))
        if blocks or answers:
            self._transport.send_rtcp(compound)

    def _send_remb(self, layers: Sequence[Layer], now: float) -> None:
        bitrate = self._estimator.update(
            octets=sum(layer.octets for layer in layers),
            expected=sum(layer.statistics.expected for layer in layers),
            received=sum(layer.statistics.received for layer in layers),
            now=now,
        )
        if bitrate is not None:
            ssrcs = tuple(layer.ssrc for layer in layers)
            self._transport.send_rtcp([self._nothing, Remb(self._ssrc, bitrate, ssrcs)])

    def _send_arrivals(self, now: float) -> None:
        media_ssrc = next((layer.ssrc for track in self._tracks.up.values() for layer in track.ordered), 0)
        for packet in self._transport.arrivals.packed(now, sender_ssrc=self._ssrc, media_ssrc=media_ssrc):
            self._transport.send_packed_rtcp(self._nothing.pack() + packet)

    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None:
        """Send the publisher a PLI (RFC 4585 section 6.3.1), or a FIR (RFC 5104 section 4.3.1) where it takes none."""
        request: RtcpPacket = PictureLossIndication(self._ssrc, ssrc)
        if not accepts_pli:
            number = self._fir_numbers[ssrc] = (self._fir_numbers.get(ssrc, -1) + 1) % 256
            request = FullIntraRequest(self._ssrc, ((ssrc, number),))
        self._transport.send_rtcp([self._nothing, request])

    def request_packets(self, ssrc: int, lost: Sequence[int]) -> None:
        """Send the publisher a NACK (RFC 4585 section 6.2.1)."""
        self._transport.send_rtcp([self._nothing, Nack(self._ssrc, ssrc, tuple(lost))])

    def goodbye(self, ssrc: int) -> None:
        """Tell the client that this SSRC ends (RFC 3550 section 6.6)."""
        self._transport.send_rtcp([self._nothing, Bye((ssrc,))])
