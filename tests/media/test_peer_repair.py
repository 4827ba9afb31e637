"""Loss repair through two peers over real sockets: NACK, RTX, arrivals, and what is left when all has ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.media.calls import Call, Participant, open_call, publish, remains, watch
from tests.media.flows import DELTA, KEYFRAME
from tests.media.raw_client import RawClient, camera
from tests.media.support import MID, VP8, rtp
from tests.support.eventually import until
from zvonim_sfu.media import feedback
from zvonim_sfu.media.negotiation import TRANSPORT_CC_EXTENSION
from zvonim_sfu.media.sdp import Codec, Extension, parse
from zvonim_sfu.rtp.rtcp import (
    ExtendedReport,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    TransportFeedback,
)
from zvonim_sfu.rtp.timing import middle32, ntp_from_unix

if TYPE_CHECKING:
    from zvonim_sfu.media.sdp import Section

RTX = Codec(97, "rtx", 90000, parameters="apt=96")
FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb", "transport-cc")


def repairable(mid: str = "0", direction: str = "sendonly") -> Section:
    """An m-section as browsers offer it."""
    return camera(
        mid,
        direction,
        codecs=(replace(VP8, feedback=FEEDBACK), RTX),
        extensions=(Extension(4, MID), Extension(3, TRANSPORT_CC_EXTENSION)),
    )


async def one_to_one(call: Call) -> tuple[Participant[RawClient], Participant[RawClient]]:
    """Ann's picture, number 1 of it, has come to Bob."""
    ann, bob = call.join("ann"), call.join("bob")
    await publish(ann, repairable())
    await watch(bob, ann.up)
    send(ann, 1, KEYFRAME)
    await until(lambda: len(bob.client.rtp) == 1)
    return ann, bob


def send(ann: Participant[RawClient], number: int, payload: bytes = DELTA) -> None:
    wide = (1000 + number).to_bytes(2, "big")
    ann.client.send_rtp(rtp(number, 3000 * number, payload=payload, extensions=[(3, wide)], marker=True))


@pytest.mark.asyncio
async def test_what_is_lost_on_the_first_leg_comes_by_retransmission_and_in_its_place() -> None:
    async with open_call() as call:
        ann, bob = await one_to_one(call)
        send(ann, 3)
        await until(lambda: ann.client.received(Nack) != [])
        nack = ann.client.received(Nack)[0]
        assert (nack.media_ssrc, nack.lost) == (1, (2,))
        ann.client.send_rtp(rtp(70, 6000, payload_type=97, ssrc=8, payload=b"\0\2" + DELTA, extensions=[(4, b"0")]))
        await until(lambda: len(bob.client.rtp) == 3)
        first = bob.client.packets[0]
        assert [(p.sequence_number - first.sequence_number) & 0xFFFF for p in bob.client.packets] == [0, 2, 1]
        assert {(p.ssrc, p.payload_type) for p in bob.client.packets} == {(first.ssrc, first.payload_type)}
        assert all(not p.extensions() for p in bob.client.packets)
        assert ann.client.received(PictureLossIndication) == []


@pytest.mark.asyncio
async def test_what_is_lost_on_the_second_leg_is_sent_again() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        await publish(ann, repairable())
        offered = parse(await watch(bob, ann.up)).sections[0]
        ((ssrc, rtx_ssrc),) = offered.repairs
        assert [codec.name for codec in offered.codecs] == ["VP8", "rtx"]
        assert "nack" in offered.codecs[0].feedback
        send(ann, 1, KEYFRAME)
        send(ann, 2)
        await until(lambda: len(bob.client.rtp) == 2)
        lost = bob.client.packets[1]
        bob.client.send_rtcp(ReceiverReport(9), Nack(9, ssrc, (lost.sequence_number,)))
        await until(lambda: len(bob.client.rtp) == 3)
        again = bob.client.packets[2]
        assert (again.ssrc, again.payload_type) == (rtx_ssrc, offered.codecs[1].payload_type)
        assert again.payload == lost.sequence_number.to_bytes(2, "big") + lost.payload
        assert (again.timestamp, again.marker) == (lost.timestamp, lost.marker)


@pytest.mark.asyncio
async def test_who_takes_no_retransmissions_gets_the_packet_itself() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        await publish(ann, repairable())
        bob.peer.set_tracks([ann.up])
        offer = await bob.next_offer()
        bob.peer.handle_answer(bob.client.answer(offer, codecs=(replace(VP8, feedback=("nack",)),)))
        await bob.client.connect(offer)
        send(ann, 1, KEYFRAME)
        await until(lambda: len(bob.client.rtp) == 1)
        (down,) = bob.peer.down_tracks.values()
        # As the same SRTP packet would: a receiver that has it drops it, one that lost it takes it.
        lost = bob.client.packets[0]
        sent = bob.peer._transport.egress
        before = sent.packets_sent
        bob.client.send_rtcp(ReceiverReport(9), Nack(9, down.ssrc, (lost.sequence_number,)))
        await until(lambda: sent.packets_sent == before + 1)
        assert not sent.drops
        assert down.statistics.repaired == 1


@pytest.mark.asyncio
async def test_nobody_is_sent_what_is_another_ones() -> None:
    async with open_call() as call:
        ann, bob = await one_to_one(call)
        cy = call.join("cy")
        await watch(cy, ann.up)
        await until(lambda: len(cy.client.rtp) == 1)
        (down,) = bob.peer.down_tracks.values()
        before = [len(person.client.rtp) for person in (bob, cy)]
        number = bob.client.packets[0].sequence_number
        cy.client.send_rtcp(ReceiverReport(9), Nack(9, down.ssrc, (number,)), Nack(9, 1, (1,)))
        cy.client.send_rtcp(ReceiverReport(9), ExtendedReport(9, reference_time=ntp_from_unix(1_600_000_000)))
        await until(lambda: cy.client.received(ExtendedReport) != [])
        assert [len(person.client.rtp) for person in (bob, cy)] == before


@pytest.mark.asyncio
async def test_arrivals_and_the_round_trip_are_measured() -> None:
    async with open_call() as call:
        ann, bob = await one_to_one(call)
        for number in range(2, 20):
            send(ann, number)
        await until(lambda: sum(len(p.received) for p in ann.client.received(TransportFeedback)) == 19)
        arrived = [number for p in ann.client.received(TransportFeedback) for number, _ in p.arrivals()]
        assert arrived == list(range(1001, 1020))
        assert ann.client.received(Remb) == []
        ann.client.send_rtcp(SenderReport(1, ntp_from_unix(1_600_000_000), 3000, 1, 1))
        await until(lambda: bob.client.received(SenderReport) != [])
        report = bob.client.received(SenderReport)[0]
        (down,) = bob.peer.down_tracks.values()
        block = ReportBlock(down.ssrc, 0, 0, 1, 0, middle32(report.ntp), 0)
        bob.client.send_rtcp(ReceiverReport(9, (block,)))
        await until(lambda: down.statistics.report == block)
        assert 0 < bob.peer._feedback.round_trip.smoothed_s < 0.09


@pytest.mark.asyncio
async def test_a_publisher_that_knows_only_remb_is_told_a_bitrate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "REPORT_INTERVAL_S", 0.05)
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        await publish(ann, camera(codecs=(replace(VP8, feedback=("goog-remb",)),)))
        await publish(bob, camera())
        for number in range(1, 100):
            for person in (ann, bob):
                send(person, number, KEYFRAME + bytes(1000))
            if ann.client.received(Remb):
                break
            await asyncio.sleep(0.02)
        assert ann.client.received(Remb)[0].ssrcs == (1,)
        assert bob.client.received(Remb) == []
        assert ann.client.received(TransportFeedback) == []


@pytest.mark.asyncio
async def test_ssrcs_of_retransmissions_are_released_with_their_sections() -> None:
    async with open_call() as call:
        ann, bob = await one_to_one(call)
        assert len(remains(call.node)["ssrcs"]) == 4
        again = bob.client.answer(bob.peer._offer_sdp)
        assert again
        bob.peer.close()
        assert len(remains(call.node)["ssrcs"]) == 1
        ann.peer.close()
        assert "ssrcs" not in remains(call.node)


@pytest.mark.asyncio
async def test_timers_end_with_their_owner() -> None:
    async with open_call() as call:
        ann, _ = await one_to_one(call)
        send(ann, 3)
        await until(lambda: ann.client.received(Nack) != [])
        transport = ann.peer._transport
        assert transport._timer is not None
        ann.peer.close()
        assert transport._timer is None
        transport.wake(0.0)
        assert transport._timer is None
