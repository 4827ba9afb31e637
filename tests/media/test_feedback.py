from __future__ import annotations

from typing import TYPE_CHECKING

from tests.media.flows import KEYFRAME, Publisher, Subscriber
from zvonim_sfu.media.feedback import Feedback
from zvonim_sfu.rtp.rtcp import (
    Bye,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
    Unknown,
    pack_compound,
    parse_compound,
)
from zvonim_sfu.rtp.timing import middle32, ntp_from_unix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zvonim_sfu.media.router import Stream
    from zvonim_sfu.rtp.rtcp import RtcpPacket


class Link:
    """A publisher, a subscriber, and the feedback between them."""

    def __init__(self) -> None:
        self.publisher = Publisher()
        self.subscriber = Subscriber()
        self.down_track = self.subscriber.down_track
        self.down_track.cname = "ann"
        self.down_track.attach(self.publisher.up_track, 0.0)
        self.publisher.send_frame(1, payload=KEYFRAME)
        self.feedback = Feedback(99)

    def handle(self, *packets: RtcpPacket, now: float = 0.0) -> None:
        self.feedback.handle(
            parse_compound(pack_compound(packets)),
            streams=self.publisher.router.streams,
            down_tracks={self.down_track.ssrc: self.down_track},
            clock=self.publisher.clock,
            now=now,
        )

    def reports(self, now: float, down_tracks: Sequence[object] | None = None) -> list[list[RtcpPacket]]:
        return self.feedback.reports(
            self.publisher.router.streams,
            down_tracks or [self.down_track],  # type: ignore[arg-type] # down tracks
            now=now,
            wall_time=1_700_000_000 + now,
        )


def block(ssrc: int, lost: int = 3) -> ReportBlock:
    return ReportBlock(ssrc, 5, lost, 70000, 12, 1, 2)


def test_picture_loss_asks_the_publisher() -> None:
    link = Link()
    link.handle(PictureLossIndication(1, link.down_track.ssrc), now=10.0)
    assert link.publisher.requests == [(1, True)]
    link.handle(FullIntraRequest(1, ((link.down_track.ssrc, 0), (12345, 0))), now=20.0)
    assert len(link.publisher.requests) == 2
    link.handle(PictureLossIndication(1, 12345), now=30.0)
    assert len(link.publisher.requests) == 2


def test_receiver_reports_are_kept_for_the_down_track() -> None:
    link = Link()
    link.handle(ReceiverReport(1, (block(link.down_track.ssrc), block(12345))))
    assert link.down_track.last_report == block(link.down_track.ssrc)
    # A client that sends reports within its sender reports.
    link.handle(SenderReport(7, 0, 0, 0, 0, (block(link.down_track.ssrc, lost=9),)))
    assert link.down_track.last_report == block(link.down_track.ssrc, lost=9)


def test_a_sender_report_sets_the_clocks_and_comes_back_in_the_report() -> None:
    link = Link()
    ntp = ntp_from_unix(1_600_000_000)
    link.handle(SenderReport(1, ntp, 4711, 1, 1), now=10.0)
    layer = link.publisher.up_track.layer
    assert layer is not None
    assert layer.clock.rtp_at(ntp / (1 << 32)) == 4711
    assert link.publisher.clock.timestamp_at(layer.clock, 10.0) == 4711
    (receiver_report,) = link.reports(10.5)[0]
    assert isinstance(receiver_report, ReceiverReport)
    (report,) = receiver_report.reports
    assert (receiver_report.ssrc, report.ssrc, report.lsr, report.dlsr) == (99, 1, middle32(ntp), 32768)


def test_a_report_of_an_unknown_source_sets_no_clock() -> None:
    link = Link()
    link.handle(SenderReport(555, ntp_from_unix(1_600_000_000), 4711, 1, 1), now=10.0)
    layer = link.publisher.up_track.layer
    assert layer is not None
    assert not layer.clock.known
    assert link.publisher.clock.timestamp_at(layer.clock, 10.0) is None


def test_what_was_not_negotiated_is_passed_over() -> None:
    link = Link()
    ssrc = link.down_track.ssrc
    link.handle(
        ReceiverReport(1),
        SourceDescription(((1, "client"),)),
        Nack(1, ssrc, (1, 2)),
        Remb(1, 100_000, (ssrc,)),
        Unknown(207, 0, b"\0" * 8),
        Bye((1,)),
        now=10.0,
    )
    assert link.publisher.requests == []
    assert link.publisher.up_track.layer is not None
    link.publisher.send_frame(2)
    assert link.subscriber.numbers == [0, 1]  # Firefox says BYE of tracks that go on


def test_each_down_track_that_carries_something_is_reported_with_its_name() -> None:
    link = Link()
    assert len(link.reports(1.0)) == 1
    link.handle(SenderReport(1, ntp_from_unix(1_600_000_000), 4711, 1, 1), now=1.0)
    received, sent = link.reports(2.0)
    assert [type(packet) for packet in received] == [ReceiverReport]
    assert [type(packet) for packet in sent] == [SenderReport, SourceDescription]
    report, names = sent
    assert isinstance(report, SenderReport)
    assert isinstance(names, SourceDescription)
    assert report.ssrc == link.down_track.ssrc
    assert report.ntp == ntp_from_unix(1_700_000_002)
    assert names.chunks == ((link.down_track.ssrc, "ann"),)
    link.down_track.detach()
    assert [type(packet) for compound in link.reports(3.0) for packet in compound] == [ReceiverReport]


def test_many_reports_are_spread_over_compounds_that_fit_a_packet() -> None:
    link = Link()
    link.handle(SenderReport(1, ntp_from_unix(1_600_000_000), 4711, 1, 1), now=1.0)
    subscribers = [Subscriber(ssrc=n) for n in range(1, 34)]
    for subscriber in subscribers:
        subscriber.down_track.cname = "x" * 64
        subscriber.down_track.attach(link.publisher.up_track, 1.0)
    link.publisher.send_frame(2, 1.0, payload=KEYFRAME)
    _, *compounds = link.reports(2.0, [subscriber.down_track for subscriber in subscribers])
    assert [len(compound) for compound in compounds] == [11, 11, 11, 4]
    assert all(len(pack_compound(compound)) < 1200 for compound in compounds)
    assert {packet.ssrc for compound in compounds for packet in compound if isinstance(packet, SenderReport)} == {
        *range(1, 34)
    }


def test_no_more_sources_are_reported_than_a_report_can_hold() -> None:
    link = Link()
    # A former layer is not reported, the newest one is.
    link.publisher.send_frame(1, 1.0, ssrc=2)
    (report,) = link.reports(2.0)[0]
    assert isinstance(report, ReceiverReport)
    assert [one.ssrc for one in report.reports] == [2]
    publishers = [Publisher(name=str(n)) for n in range(40)]
    streams: dict[int, Stream] = {}
    for n, publisher in enumerate(publishers):
        publisher.send_frame(1, ssrc=n)
        streams |= publisher.router.streams
    (compound,) = link.feedback.reports(streams, [], now=1.0, wall_time=1.0)
    (report,) = compound
    assert isinstance(report, ReceiverReport)
    assert len(report.reports) == 31


def test_nothing_is_sent_where_nothing_is_received_or_carried() -> None:
    assert Feedback(1).reports({}, [], now=1.0, wall_time=1.0) == []


def test_requests_take_the_form_that_was_negotiated() -> None:
    feedback = Feedback(99)
    assert feedback.keyframe_request(7, accepts_pli=True) == [ReceiverReport(99), PictureLossIndication(99, 7)]
    requests = [feedback.keyframe_request(7, accepts_pli=False)[1] for _ in range(3)]
    assert requests == [FullIntraRequest(99, ((7, number),)) for number in range(3)]
    # Each source has a count of its own (RFC 5104, section 4.3.1.1).
    assert feedback.keyframe_request(8, accepts_pli=False)[1] == FullIntraRequest(99, ((8, 0),))
    for _ in range(254):
        feedback.keyframe_request(7, accepts_pli=False)
    assert feedback.keyframe_request(7, accepts_pli=False)[1] == FullIntraRequest(99, ((7, 1),))


def test_goodbye_names_all_that_ends() -> None:
    assert Feedback(99).goodbye([5, 6]) == [ReceiverReport(99), Bye((5, 6))]
    assert len(pack_compound(Feedback(99).goodbye(range(100)))) == 8 + 4 + 31 * 4
