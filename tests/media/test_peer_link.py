"""The bandwidth of a subscriber's link through two peers over real sockets: numbers, reports, repairs and padding."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.media.calls import Call, Participant, open_call, publish, watch
from tests.media.flows import DELTA, KEYFRAME
from tests.media.raw_client import RawClient, camera, microphone
from tests.media.support import MID, OPUS, VP8, rtp
from tests.support.eventually import until
from zvonim_sfu.bandwidth.estimator import START_BPS
from zvonim_sfu.media.negotiation import TRANSPORT_CC_EXTENSION
from zvonim_sfu.media.sdp import Codec, Extension, parse
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.rtp.rtcp import Nack, ReceiverReport, Remb
from zvonim_sfu.rtp.transport_cc import ArrivalLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from zvonim_sfu.media.sdp import Section

RTX = Codec(97, "rtx", 90000, parameters="apt=96")
NUMBERED = (Extension(4, MID), Extension(3, TRANSPORT_CC_EXTENSION))
VIDEO = (replace(VP8, feedback=("nack", "nack pli", "transport-cc", "goog-remb")), RTX)


def slot(**changes: object) -> Section:
    """A slot of a client that reports on transport-wide numbers."""
    values: dict[str, object] = {"codecs": VIDEO, "extensions": NUMBERED}
    return camera("0", "recvonly", **values | changes)


async def one_to_one(call: Call, *sections: Section) -> tuple[Participant[RawClient], Participant[RawClient]]:
    """Ann's picture in Bob's first slot."""
    ann, bob = call.join("ann"), call.join("bob", slot_mode=True)
    await publish(ann, camera(codecs=VIDEO, extensions=NUMBERED))
    await publish(bob, *(sections or (slot(),)))
    bob.peer.assign({"0": ann.up})
    send(ann, 1, KEYFRAME)
    await until(lambda: len(bob.client.rtp) == 1)
    return ann, bob


def send(ann: Participant[RawClient], number: int, payload: bytes = DELTA) -> None:
    ann.client.send_rtp(rtp(number, 3000 * number, payload=payload, extensions=[(3, b"\xff\xff")]))


def numbers(person: Participant[RawClient]) -> list[int | None]:
    """The transport-wide numbers that came."""
    found = (packet.extension(3) for packet in person.client.packets)
    return [None if value is None else int.from_bytes(value) for value in found]


@contextlib.asynccontextmanager
async def reporting(person: Participant[RawClient]) -> AsyncIterator[None]:
    """Have a client report each 50 ms, as a browser does."""

    async def report() -> None:
        arrivals, seen = ArrivalLog(), 0
        while True:
            await asyncio.sleep(0.01)
            for number in numbers(person)[seen:]:
                seen += 1
                if number is not None:
                    arrivals.received(number, time.monotonic())
            for feedback in arrivals.feedback(time.monotonic(), sender_ssrc=9, media_ssrc=1):
                person.client.send_rtcp(feedback)

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()


@pytest.mark.asyncio
async def test_packets_for_slots_are_numbered_and_repairs_have_numbers_of_their_own() -> None:
    async with open_call() as call:
        ann, bob = await one_to_one(call)
        send(ann, 2)
        await until(lambda: len(bob.client.rtp) == 2)
        lost = bob.client.packets[1]
        bob.client.send_rtcp(ReceiverReport(9), Nack(9, lost.ssrc, (lost.sequence_number,)))
        await until(lambda: len(bob.client.rtp) == 3)
        again = bob.client.packets[2]
        assert again.payload == lost.sequence_number.to_bytes(2) + lost.payload
        assert numbers(bob) == [0, 1, 2]


@pytest.mark.asyncio
async def test_a_server_offer_is_numbered_for_who_has_numbered_the_extension() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        await publish(ann, camera(codecs=(VP8,)))
        await publish(bob, microphone(codecs=(OPUS,), extensions=NUMBERED))
        offered = parse(await watch(bob, ann.up)).sections[1]
        assert Extension(3, TRANSPORT_CC_EXTENSION) in offered.extensions
        assert "transport-cc" in offered.codecs[0].feedback
        send(ann, 1, KEYFRAME)
        await until(lambda: len(bob.client.rtp) == 1)
        assert numbers(bob) == [0]
        assert bob.peer.estimate_bps == START_BPS


@pytest.mark.asyncio
async def test_a_server_offer_numbers_nothing_of_its_own() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        await publish(ann, camera(codecs=VIDEO, extensions=NUMBERED))
        offered = parse(await watch(bob, ann.up)).sections[0]
        assert offered.extensions == ()
        assert "transport-cc" not in offered.codecs[0].feedback
        send(ann, 1, KEYFRAME)
        await until(lambda: len(bob.client.rtp) == 1)
        assert numbers(bob) == [None]
        assert bob.peer.estimate_bps is None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "changes",
    [
        {"codecs": (replace(VP8, feedback=("nack",)), RTX)},  # no feedback
        {"extensions": (Extension(4, MID),)},  # no number
        {"extensions": (Extension(3, TRANSPORT_CC_EXTENSION, "sendonly"),)},  # its own packets only
        {"codecs": VIDEO[:1]},  # repairs have to be the same packets
    ],
)
async def test_who_does_not_report_gets_no_numbers(changes: dict[str, object]) -> None:
    async with open_call() as call:
        _, bob = await one_to_one(call, slot(**changes))
        assert numbers(bob) == [None]
        (down,) = bob.peer.down_tracks.values()
        bob.client.send_rtcp(ReceiverReport(9), Nack(9, down.ssrc, (bob.client.packets[0].sequence_number,)))
        await until(lambda: down.statistics.repaired == 1)
        assert bob.peer.estimate_bps is None


@pytest.mark.asyncio
async def test_a_sound_is_sent_again_as_the_same_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob", slot_mode=True)
        await publish(ann, microphone("0", codecs=(OPUS,)))
        opus = replace(OPUS, feedback=("nack", "transport-cc"))
        await publish(bob, microphone("0", "recvonly", codecs=(opus,), extensions=NUMBERED))
        bob.peer.assign({"0": ann.up})
        datagrams: list[bytes] = []
        monkeypatch.setattr(bob.client.dtls._rx_srtp, "unprotect", datagrams.append)
        for number in (1, 2):
            ann.client.send_rtp(rtp(number, 960 * number, payload_type=111))
        await until(lambda: len(datagrams) == 2)
        (down,) = bob.peer.down_tracks.values()
        lost = int.from_bytes(datagrams[0][2:4])
        bob.client.send_rtcp(ReceiverReport(9), Nack(9, down.ssrc, (lost, lost - 100 & 0xFFFF)))
        await until(lambda: len(datagrams) == 3)
        # Under the same nonce there is the same packet, its transport-wide number included.
        assert datagrams[2] == datagrams[0] != datagrams[1]
        assert down.statistics.repaired == 1
        assert bob.peer._transport.egress.history is not None
        assert bob.peer._transport.egress.history.next_number == 2


@pytest.mark.asyncio
async def test_reports_make_an_estimate_and_the_owner_is_told() -> None:
    async with open_call() as call:
        ann, bob = await one_to_one(call)
        assert bob.peer.estimate_bps == START_BPS
        assert bob.peer.statistics().transport.link is None
        async with reporting(bob):
            for number in range(2, 60):
                send(ann, number, DELTA + bytes(1000))
                await asyncio.sleep(0.01)
            await until(lambda: bob.peer.statistics().transport.link is not None)
        link = bob.peer.statistics().transport.link
        assert link is not None
        assert link.acknowledged_bitrate > 100_000
        assert (link.loss, link.probes, link.padding_bytes) == (0, 0, 0)
        assert link.estimate == round(bob.peer.estimate_bps or 0)


@pytest.mark.asyncio
async def test_padding_goes_as_retransmissions_and_disturbs_nothing() -> None:
    async with open_call() as call:
        ann, bob = await one_to_one(call)
        bob.peer.wanted_bps = 3_000_000
        (down,) = bob.peer.down_tracks.values()
        async with reporting(bob):
            for number in range(2, 200):
                send(ann, number, DELTA + bytes(1000))
                await asyncio.sleep(0.01)
        assert bob.estimates != []
        padding = [packet for packet in bob.client.packets if packet.ssrc != down.ssrc]
        assert len(padding) > 20
        assert all((packet.payload, packet.payload_type) == (b"", 97) for packet in padding)
        assert [n for n in numbers(bob) if n is not None] == list(range(len(bob.client.rtp)))
        pictures = [packet.sequence_number for packet in bob.client.packets if packet.ssrc == down.ssrc]
        assert pictures == [(pictures[0] + offset) & 0xFFFF for offset in range(len(pictures))]
        link = bob.peer.statistics().transport.link
        assert link is not None
        assert link.probes > 0
        assert link.padding_bytes > 0


@pytest.mark.asyncio
async def test_a_remb_and_nonsense() -> None:
    async with open_call() as call:
        _, bob = await one_to_one(call, slot(extensions=(Extension(4, MID),)))
        bob.client.send_rtcp(ReceiverReport(9), Remb(9, 300_000, ()))
        await until(lambda: bob.peer.estimate_bps == 300_000)
        assert bob.estimates == [300_000]
        # A transport feedback with five packets and two deltas.
        feedback = bytes.fromhex("8fcd0005 00000009 00000001 00010005 00000000 20050000")
        bob.client.send_datagram(bob.client.dtls._tx_srtp.protect_rtcp(feedback))
        await until(lambda: bob.peer._transport.drops[DropReason.RTCP_MALFORMED] == 1)
        assert bob.peer.estimate_bps == 300_000
