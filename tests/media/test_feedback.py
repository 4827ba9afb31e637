from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.media.flows import DELTA, KEYFRAME, Publisher, Subscriber
from tests.media.support import VP8, rtp
from zvonim_sfu.media.feedback import ARRIVALS_INTERVAL_S, REPORT_INTERVAL_S, Feedback
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.rtp.rate import BitrateMeter
from zvonim_sfu.rtp.round_trip import DEFAULT_S
from zvonim_sfu.rtp.rtcp import (
    Bye,
    ExtendedReport,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    Unknown,
    pack_compound,
    parse_compound,
)
from zvonim_sfu.rtp.rtcp_xr import ReferenceTimeAnswer
from zvonim_sfu.rtp.timing import middle32, ntp_from_unix
from zvonim_sfu.rtp.transport_cc import ArrivalLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zvonim_sfu.rtp.rtcp import RtcpPacket

WALL = 1_700_000_000
NACKED = replace(VP8, feedback=("nack", "nack pli"))


class Link:
    """One peer that publishes and subscribes: its feedback, and what it says to the client."""

    def __init__(self, *, wants_remb: bool = False, arrival_extension: int = 0, others: int = 0) -> None:
        self.publisher = Publisher(codecs=[NACKED])
        self.subscriber = Subscriber()
        self.down_track = self.subscriber.down_track
        self.down_track.cname = "ann"
        self.down_track.attach(self.publisher.up_track, 0.0)
        self.publisher.send_frame(1, payload=KEYFRAME)
        self.said: list[list[RtcpPacket]] = []
        self.drops: Counter[DropReason] = Counter()
        self.link_was_told: list[tuple[object, float]] = []
        node = SimpleNamespace(wall_time=lambda now: WALL + now, transports=range(others))
        self.transport = SimpleNamespace(
            router=self.publisher.router,
            egress=self.down_track._sender.egress,
            arrivals=ArrivalLog(),
            arrival_extension=arrival_extension,
            send_rtcp=self.send_rtcp,
            send_packed_rtcp=self.send_packed_rtcp,
            drop=lambda reason: self.drops.update([reason]),
            ingress=SimpleNamespace(bytes_received=0),
            received_rate=BitrateMeter(),
            sent_rate=BitrateMeter(),
            link=SimpleNamespace(on_remb=self.told_of_link, on_feedback=self.told_of_link),
        )
        self.tracks = SimpleNamespace(
            up={"0": self.publisher.up_track},
            down={"1": self.down_track},
            down_by_ssrc={self.down_track.ssrc: self.down_track},
            clock=self.publisher.clock,
            wants_remb=wants_remb,
        )
        self.feedback = Feedback(99, cast("Any", node), cast("Any", self.transport), cast("Any", self.tracks))

    def told_of_link(self, what: object, now: float) -> None:
        self.link_was_told.append((what, now))

    def send_rtcp(self, packets: Sequence[RtcpPacket]) -> None:
        self.send_packed_rtcp(pack_compound(packets))

    def send_packed_rtcp(self, packets: bytes) -> None:
        # What is said is read from the wire.
        self.said.append(parse_compound(packets))

    def handle(self, *packets: RtcpPacket, now: float = 0.0) -> None:
        self.feedback.on_rtcp(pack_compound(packets), now)

    def reports(self, now: float) -> list[list[RtcpPacket]]:
        """What is said at the next time that reports are due."""
        self.said.clear()
        self.feedback._report_at = now
        self.feedback.on_timer(now)
        return self.said


def block(ssrc: int, lost: int = 3) -> ReportBlock:
    return ReportBlock(ssrc, 5, lost, 70000, 12, 0, 0)


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
    assert link.down_track.statistics.report == block(link.down_track.ssrc)
    # A client that sends reports within its sender reports.
    link.handle(SenderReport(7, 0, 0, 0, 0, (block(link.down_track.ssrc, lost=9),)))
    assert link.down_track.statistics.report == block(link.down_track.ssrc, lost=9)


def test_the_round_trip_is_measured_by_reports() -> None:
    link = Link()
    assert link.feedback.round_trip.smoothed_s == DEFAULT_S
    sent = middle32(ntp_from_unix(WALL + 10))

    def report(lsr: int, now: float) -> None:
        held = 0.5
        told = block(link.down_track.ssrc)._replace(lsr=lsr, dlsr=int(held * 65536))
        link.handle(ReceiverReport(1, (told,)), now=now)

    report(0, 10.54)  # the client has had no report yet
    assert link.feedback.round_trip.smoothed_s == DEFAULT_S
    report(sent, 10.54)
    assert link.feedback.round_trip.smoothed_s == pytest.approx(0.04, abs=0.001)
    report(sent, 10.62)
    assert link.feedback.round_trip.smoothed_s == pytest.approx(0.05, abs=0.001)
    before = link.feedback.round_trip.smoothed_s
    report(sent, 10.4)  # less than nothing
    report(sent, 30.0)
    assert link.feedback.round_trip.smoothed_s == before


def test_the_round_trip_of_who_only_publishes_is_measured_by_reference_times() -> None:
    link = Link()
    link.tracks.down = {}
    ((report, request),) = link.reports(10.0)
    assert isinstance(report, ReceiverReport)
    assert request == ExtendedReport(99, reference_time=ntp_from_unix(WALL + 10))
    asked = middle32(ntp_from_unix(WALL + 10))
    half = 1 << 15

    def answer(asked: int, now: float, *, ssrc: int = 99, held: int = half) -> None:
        link.handle(ReceiverReport(7), ExtendedReport(7, answers=(ReferenceTimeAnswer(ssrc, asked, held),)), now=now)

    answer(0, 10.54)  # no reference time had come
    answer(asked, 10.54, ssrc=98)  # somebody else's
    assert not link.feedback.round_trip.is_measured
    answer(asked, 10.54)
    assert link.feedback.round_trip.is_measured
    assert link.feedback.round_trip.smoothed_s == pytest.approx(0.04, abs=0.001)
    answer(asked, 10.7)  # by another m-section, to the same
    assert link.feedback.round_trip.smoothed_s == pytest.approx(0.04, abs=0.001)
    link.reports(11.0)
    answer(asked + 65536, 11.62)
    assert link.feedback.round_trip.smoothed_s == pytest.approx(0.05, abs=0.001)
    answer(asked + 2 * 65536, 12.4)  # less than nothing
    answer(asked + 3 * 65536, 40.0)  # longer than any path
    answer(asked + 4 * 65536, 14.1, held=1 << 31)
    assert link.feedback.round_trip.smoothed_s == pytest.approx(0.05, abs=0.001)


def test_who_is_sent_something_is_not_asked_for_the_time() -> None:
    link = Link()
    link.handle(SenderReport(1, ntp_from_unix(1_600_000_000), 4711, 1, 1), now=1.0)
    assert not any(isinstance(packet, ExtendedReport) for compound in link.reports(2.0) for packet in compound)
    link.down_track.detach()
    ((_, request),) = link.reports(3.0)
    assert isinstance(request, ExtendedReport)
    # Nor who only watches, or neither.
    link.tracks.up = {}
    assert link.reports(4.0) == []


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


def test_what_says_nothing_of_use_is_passed_over() -> None:
    link = Link()
    link.handle(
        ReceiverReport(1),
        SourceDescription(((1, "client"),)),
        Nack(1, 12345, (1, 2)),
        Unknown(207, 0, b"\0" * 8),
        Unknown(204, 0, b"\0" * 8),
        ExtendedReport(1),
        Bye((1,)),
        now=10.0,
    )
    assert link.publisher.requests == []
    assert link.publisher.up_track.layer is not None
    link.publisher.send_frame(2)
    assert link.subscriber.numbers == [0, 1]  # Firefox says BYE of tracks that go on
    assert link.said == []


def test_what_is_no_rtcp_is_counted() -> None:
    link = Link()
    link.feedback.on_rtcp(b"\x80\xc8\0\1" + bytes(4), 1.0)
    assert link.drops == {DropReason.RTCP_MALFORMED: 1}


def test_what_the_client_says_of_its_link_is_kept() -> None:
    link = Link()
    assert link.feedback.link_bitrate is None
    link.handle(Remb(1, 500_000, (link.down_track.ssrc,)))
    assert link.feedback.link_bitrate == 500_000
    feedback = TransportFeedback(1, link.down_track.ssrc, 7, 1, 0, 0, ((0, 3),))
    link.handle(feedback, now=2.0)
    assert [what for what, _ in link.link_was_told] == [500_000, feedback]


def test_what_the_client_misses_is_sent_again_in_time_of_its_round_trip() -> None:
    link = Link()
    number = link.subscriber.sent[0].sequence_number
    for now in (1.0, 1.05, 1.11):  # the second within a round trip
        link.handle(Nack(1, link.down_track.ssrc, (number, (number + 9) & 0xFFFF)), now=now)
    assert link.subscriber.numbers == [0, 0, 0]
    assert (link.down_track.statistics.nacked, link.down_track.statistics.repaired) == (6, 2)


# What is sent


def test_each_down_track_that_carries_something_is_reported_with_its_name() -> None:
    link = Link()
    assert len(link.reports(1.0)) == 1  # the publisher's clock is not known
    link.handle(SenderReport(1, ntp_from_unix(1_600_000_000), 4711, 1, 1), now=1.0)
    received, sent = link.reports(2.0)
    assert [type(packet) for packet in received] == [ReceiverReport]
    assert [type(packet) for packet in sent] == [SenderReport, SourceDescription]
    report, names = sent
    assert isinstance(report, SenderReport)
    assert isinstance(names, SourceDescription)
    assert report.ssrc == link.down_track.ssrc
    assert report.ntp == ntp_from_unix(WALL + 2)
    assert names.chunks == ((link.down_track.ssrc, "ann"),)
    link.down_track.detach()
    assert [type(packet) for compound in link.reports(3.0) for packet in compound] == [ReceiverReport, ExtendedReport]


def test_many_reports_are_spread_over_compounds_that_fit_a_packet() -> None:
    link = Link()
    link.handle(SenderReport(1, ntp_from_unix(1_600_000_000), 4711, 1, 1), now=1.0)
    subscribers = [Subscriber(ssrc=n) for n in range(1, 34)]
    for subscriber in subscribers:
        subscriber.down_track.cname = "x" * 64
        subscriber.down_track.attach(link.publisher.up_track, 1.0)
    link.publisher.send_frame(2, 1.0, payload=KEYFRAME)
    link.tracks.down = {str(subscriber.down_track.ssrc): subscriber.down_track for subscriber in subscribers}
    _, *compounds = link.reports(2.0)
    assert [len(compound) for compound in compounds] == [11, 11, 11, 4]
    assert all(len(pack_compound(compound)) < 1200 for compound in compounds)
    assert {packet.ssrc for compound in compounds for packet in compound if isinstance(packet, SenderReport)} == {
        *range(1, 34)
    }


def test_no_more_sources_are_reported_than_a_report_can_hold() -> None:
    link = Link()
    # A former layer is not reported, the newest one is.
    link.publisher.send_frame(1, 1.0, ssrc=2)
    report, _ = link.reports(2.0)[0]
    assert isinstance(report, ReceiverReport)
    assert [one.ssrc for one in report.reports] == [2]
    publishers = [Publisher(name=str(n)) for n in range(40)]
    for n, publisher in enumerate(publishers):
        publisher.send_frame(1, ssrc=n)
    link.tracks.up = {str(n): publisher.up_track for n, publisher in enumerate(publishers)}
    report, _ = link.reports(3.0)[0]
    assert isinstance(report, ReceiverReport)
    assert len(report.reports) == 31


def test_nothing_is_sent_where_nothing_is_received_or_carried() -> None:
    link = Link(wants_remb=True, arrival_extension=3)
    link.tracks.up, link.tracks.down = {}, {}
    assert link.reports(1.0) == []


def test_the_reported_loss_is_that_of_the_link_repaired_or_not() -> None:
    link = Link()
    for n in range(2, 102):
        if n % 4:
            link.publisher.send_frame(n, 1 + n / 100)
    link.publisher.send_frame(102, 2.1)
    link.publisher.up_track.configure([NACKED], {})
    first, _ = link.reports(2.2)[0]
    assert isinstance(first, ReceiverReport)
    assert first.reports[0].packets_lost == 25
    assert first.reports[0].fraction_lost == pytest.approx(256 * 25 / 102, abs=1)
    second, _ = link.reports(3.2)[0]
    assert isinstance(second, ReceiverReport)
    assert (second.reports[0].packets_lost, second.reports[0].fraction_lost) == (25, 0)


def test_a_reference_time_is_answered_once() -> None:
    link = Link()
    ntp = ntp_from_unix(1_650_000_000)
    link.handle(ReceiverReport(7), ExtendedReport(7, reference_time=ntp), now=10.0)
    report, answer = link.reports(10.25)[0]
    assert isinstance(report, ReceiverReport)
    assert isinstance(answer, ExtendedReport)
    (one,) = answer.answers
    assert (one.ssrc, one.last_reference_time, one.delay) == (7, middle32(ntp), 16384)
    _, request = link.reports(11.25)[0]
    assert isinstance(request, ExtendedReport)
    assert request.answers == ()
    # Also of a client that only receives.
    link.tracks.up, link.tracks.down = {}, {}
    link.handle(ExtendedReport(7, reference_time=ntp), now=12.0)
    assert [type(packet) for packet in link.reports(12.0)[0]] == [ReceiverReport, ExtendedReport]


def stream(link: Link, *, until: float) -> None:
    """Three packets in each 10 ms, and the timer as it asks to be called."""
    at, now, number = 0.0, 0.0, 2
    while now < until:
        now += 0.01
        for _ in range(3):
            data = rtp(
                number, int(now * 90000), payload=DELTA + bytes(500), extensions=[(3, number.to_bytes(2, "big"))]
            )
            if number % 10:
                link.transport.arrivals.received(number, now)
                link.publisher.send(data, now)
            number += 1
        if now >= at:
            at = link.feedback.on_timer(now)
            assert at > now


def test_arrivals_of_several_transports_are_told_at_the_same_moments() -> None:
    first, second, other = (Link(arrival_extension=3, others=others) for others in (0, 15, 16))
    for link in (first, second, other):
        link.feedback._report_at = math.inf
    for turn in range(50):
        now = 1234.5 + turn * ARRIVALS_INTERVAL_S
        at = first.feedback.on_timer(now + 0.01)
        assert second.feedback.on_timer(now + 0.07) == at
        assert other.feedback.on_timer(now + 0.07) == pytest.approx(at + 0.01)
        assert now + 0.07 < at < now + 0.11
        # A timer that comes a little early is in time, and the next one is a whole interval away.
        assert first.feedback.on_timer(at - 1e-6) == pytest.approx(at + ARRIVALS_INTERVAL_S)


def test_few_arrivals_are_told_five_times_a_second() -> None:
    link = Link(arrival_extension=3)
    at = 0.0
    for number in range(100):  # a microphone
        now = 0.02 * number
        link.transport.arrivals.received(number, now)
        if now >= at:
            at = link.feedback.on_timer(now)
    told = [packet for compound in link.said for packet in compound if isinstance(packet, TransportFeedback)]
    assert len(told) == pytest.approx(10, abs=1)
    assert [number for packet in told for number, _ in packet.arrivals()] == list(range(told[-1].arrivals()[-1][0] + 1))


def test_reports_go_with_arrivals() -> None:
    link = Link(arrival_extension=3)
    at, turns, reported = 0.0, 0, []
    while turns < 30:
        link.said.clear()
        at, now = link.feedback.on_timer(at), at
        turns += 1
        if any(isinstance(packet, ReceiverReport) and packet.reports for compound in link.said for packet in compound):
            reported.append(now)
    assert turns == 30
    assert at == pytest.approx(3.0)
    assert reported == pytest.approx([0.0, 1.0, 2.0])


def test_a_look_at_several_encodings_goes_with_arrivals() -> None:
    link = Link(arrival_extension=3)
    assert link.publisher.up_track.add_layer(7, NACKED.payload_type, "another") is not None
    at, turns = 0.03, 0
    while at < 3.0:
        at = link.feedback.on_timer(at)
        turns += 1
    # Thirty, and the first ones, before they have come together.
    assert turns <= 32


def test_arrivals_are_told_ten_times_a_second_to_who_negotiated_that() -> None:
    link = Link(wants_remb=True, arrival_extension=3)
    stream(link, until=2.0)
    told = [packet for compound in link.said for packet in compound if isinstance(packet, TransportFeedback)]
    assert len(told) == pytest.approx(2.0 / ARRIVALS_INTERVAL_S, abs=3)
    assert [packet.number for packet in told] == list(range(len(told)))
    arrived = [number for packet in told for number, _ in packet.arrivals()]
    assert arrived == sorted(set(arrived))
    assert all(number % 10 for number in arrived)
    assert len(arrived) > 500
    assert not any(isinstance(packet, Remb) for compound in link.said for packet in compound)


def test_a_bitrate_is_told_to_who_negotiated_nothing_better() -> None:
    link = Link(wants_remb=True)
    stream(link, until=5.0)
    told = [packet for compound in link.said for packet in compound if isinstance(packet, Remb)]
    assert 3 <= len(told) <= 5 / REPORT_INTERVAL_S
    assert all(packet.ssrcs == (1,) and packet.bitrate > 0 for packet in told)
    link = Link()
    stream(link, until=5.0)
    assert not any(isinstance(packet, Remb | TransportFeedback) for compound in link.said for packet in compound)


def test_the_timer_looks_for_what_is_missing() -> None:
    link = Link()
    link.feedback.on_timer(1.0)
    link.publisher.send_frame(3, 1.0)
    link.feedback.wake_tracks(link.publisher.timer)  # as the peer does
    at = link.feedback.on_timer(1.005)
    assert at == pytest.approx(link.publisher.timer)
    link.feedback.on_timer(at)
    assert link.publisher.nacks == [(1, [2])]


def test_nacks_say_what_is_missing() -> None:
    link = Link()
    link.feedback.request_packets(7, [65535, 0, 40])
    assert link.said == [[ReceiverReport(99), Nack(99, 7, (65535, 0, 40))]]


def test_requests_take_the_form_that_was_negotiated() -> None:
    link = Link()
    link.feedback.request_keyframe(7, accepts_pli=True)
    assert link.said.pop() == [ReceiverReport(99), PictureLossIndication(99, 7)]
    for number in range(3):
        link.feedback.request_keyframe(7, accepts_pli=False)
        assert link.said.pop()[1] == FullIntraRequest(99, ((7, number),))
    # Each source has a count of its own (RFC 5104, section 4.3.1.1).
    link.feedback.request_keyframe(8, accepts_pli=False)
    assert link.said.pop()[1] == FullIntraRequest(99, ((8, 0),))
    for _ in range(255):
        link.feedback.request_keyframe(7, accepts_pli=False)
    assert link.said.pop()[1] == FullIntraRequest(99, ((7, 1),))


def test_goodbye_names_what_ends() -> None:
    link = Link()
    link.feedback.goodbye(5)
    assert link.said == [[ReceiverReport(99), Bye((5,))]]
