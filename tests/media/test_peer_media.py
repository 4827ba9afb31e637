"""Media from client to client through two peers, over real sockets: what is decrypted at the other end."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.media.calls import Call, Participant, open_call, publish, watch
from tests.media.flows import DELTA, KEYFRAME
from tests.media.raw_client import RawClient, camera, microphone
from tests.media.support import AUDIO_LEVEL, AV1, H264, MID, OPUS, VP8, VP9, rtp
from tests.support.eventually import until
from zvonim_sfu.media import feedback, layer
from zvonim_sfu.media.sdp import Codec, Extension, parse
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.rtp import history
from zvonim_sfu.rtp.rtcp import (
    Bye,
    PictureLossIndication,
    ReceiverReport,
    SenderReport,
    SourceDescription,
)
from zvonim_sfu.rtp.sequence import ts_delta
from zvonim_sfu.rtp.timing import ntp_from_unix

UNKNOWN = "urn:example:an-extension-that-the-server-does-not-know"
BEGINNING = {"opus": b"", "VP8": b"\x10\x00", "VP9": b"\x08", "H264": b"\x67", "AV1": b"\x08"}


async def show(
    publisher: Participant[RawClient], subscriber: Participant[RawClient], first: int = 1, *, ssrc: int = 1
) -> None:
    """Send a keyframe and wait until it is seen."""
    before = len(subscriber.client.rtp)
    publisher.client.send_rtp(rtp(first, 3000 * first, payload=KEYFRAME, ssrc=ssrc))
    await until(lambda: len(subscriber.client.rtp) > before)


async def one_to_one(call: Call) -> tuple[Participant[RawClient], Participant[RawClient]]:
    """Ann's picture on its way to Bob."""
    ann, bob = call.join("ann"), call.join("bob")
    await publish(ann, camera())
    await watch(bob, ann.up)
    await show(ann, bob)
    return ann, bob


# Payload identity


@pytest.mark.asyncio
@pytest.mark.parametrize("codec", [OPUS, VP8, VP9, H264, AV1], ids=lambda codec: codec.name)
@pytest.mark.parametrize("who_offers", ["server", "client"])
async def test_what_is_decrypted_is_what_was_sent(codec: Codec, who_offers: str) -> None:
    rng = random.Random(7)
    kind = "audio" if codec is OPUS else "video"
    numbers = {1: MID, 3: UNKNOWN, 4: AUDIO_LEVEL}
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        offered = microphone if kind == "audio" else camera
        extensions = tuple(Extension(id_, uri) for id_, uri in numbers.items())
        await publish(ann, offered("0", codecs=(replace(codec, payload_type=35),), extensions=extensions))
        mine = (Extension(7, UNKNOWN), Extension(9, MID))
        direction = "recvonly" if who_offers == "client" else "sendonly"
        wanted = replace(codec, payload_type=120)
        await publish(bob, offered("x", direction, codecs=(wanted,), extensions=mine))
        if who_offers == "client":
            bob.peer.set_tracks([ann.up])
            # There is room for it in what the client has offered already.
            await publish(bob, *bob.client.sections)
        else:
            offer = parse(await watch(bob, ann.up))
            assert [(e.id, e.uri) for e in offer.sections[1].extensions] == [(7, UNKNOWN)]
        sizes = [0, 1, 2, 500, 1100, *(rng.randrange(1200) for _ in range(20))]
        payloads = [BEGINNING[codec.name] + rng.randbytes(size) for size in sizes]
        values = [rng.randbytes(rng.randint(1, 16)) for _ in payloads]
        for n, (payload, value) in enumerate(zip(payloads, values, strict=True)):
            carried = [(1, b"0"), (3, value), (4, b"\x81"), (5, b"none of those")]
            marker = n % 3 == 0
            ann.client.send_rtp(
                rtp(65530 + n, 960 * n, payload_type=35, payload=payload, extensions=carried, marker=marker)
            )
        await until(lambda: len(bob.client.rtp) == len(payloads))
        first = bob.client.packets[0]
        for n, packet in enumerate(bob.client.packets):
            assert packet.payload == payloads[n]
            assert packet.extensions() == [(7, values[n])]
            assert (packet.payload_type, packet.marker) == (120, n % 3 == 0)
            assert packet.ssrc == first.ssrc != 1
            assert (packet.sequence_number - first.sequence_number) & 0xFFFF == n
            assert ts_delta(packet.timestamp, first.timestamp) == 960 * n


@pytest.mark.asyncio
async def test_two_tracks_of_one_publisher_keep_apart() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        await publish(ann, camera("0", ssrcs=(1,)), camera("1", ssrcs=(2,)))
        offer = parse(await watch(bob, *ann.peer.up_tracks))
        assert [s.msid for s in offer.sections] == [("ann", "camera"), ("ann", "screen")]
        ssrcs = [s.ssrcs[0] for s in offer.sections]
        ann.client.send_rtp(rtp(1, payload=KEYFRAME + b"camera", ssrc=1))
        ann.client.send_rtp(rtp(1, payload=KEYFRAME + b"screen", ssrc=2))
        await until(lambda: len(bob.client.rtp) == 2)
        assert {p.ssrc: p.payload[-6:] for p in bob.client.packets} == {ssrcs[0]: b"camera", ssrcs[1]: b"screen"}


# Keyframes


@pytest.mark.asyncio
async def test_a_subscriber_gets_its_keyframe_as_soon_as_it_is_connected() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        await publish(ann, camera())
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: ann.up.layer is not None)
        bob.peer.set_tracks([ann.up])
        offer = await bob.next_offer()
        bob.peer.handle_answer(bob.client.answer(offer))
        ann.client.send_rtp(rtp(2, 3000, payload=DELTA))
        # Not before there are keys: it would be lost on the way out.
        await bob.client.connect(offer)
        await until(lambda: len(bob.client.rtp) == 2)
        ann.client.send_rtp(rtp(3, 6000, payload=DELTA))
        await until(lambda: len(bob.client.rtp) == 3)
        assert [packet.payload for packet in bob.client.packets] == [KEYFRAME, DELTA, DELTA]
        first = bob.client.packets[0].sequence_number
        assert [(p.sequence_number - first) & 0xFFFF for p in bob.client.packets] == [0, 1, 2]
        # The publisher was not asked for anything.
        assert ann.client.received(PictureLossIndication) == []
        assert not any(drop in bob.peer._transport.egress.drops for drop in (DropReason.NO_SESSION, DropReason.NO_PATH))


@pytest.mark.asyncio
async def test_a_subscriber_has_a_keyframe_asked_for_where_none_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_AGE_S", 0.0)
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        await publish(ann, camera())
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: ann.up.layer is not None)
        bob.peer.set_tracks([ann.up])
        offer = await bob.next_offer()
        bob.peer.handle_answer(bob.client.answer(offer))
        assert ann.client.received(PictureLossIndication) == []
        await bob.client.connect(offer)
        await until(lambda: len(ann.client.received(PictureLossIndication)) == 1)
        assert ann.client.received(PictureLossIndication)[0].media_ssrc == 1
        ann.client.send_rtp(rtp(3, 6000, payload=DELTA))
        await show(ann, bob, 4)
        assert [packet.payload for packet in bob.client.packets] == [KEYFRAME]


@pytest.mark.asyncio
async def test_a_picture_that_a_subscriber_lost_is_asked_of_its_publisher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "KEYFRAME_INTERVAL_S", 0.0)
    async with open_call() as call:
        ann, bob = await one_to_one(call)
        before = len(ann.client.received(PictureLossIndication))
        (down,) = bob.peer.down_tracks.values()
        bob.client.send_rtcp(ReceiverReport(9), PictureLossIndication(9, down.ssrc))
        await until(lambda: len(ann.client.received(PictureLossIndication)) > before)


@pytest.mark.asyncio
async def test_a_picture_goes_on_while_others_are_negotiated() -> None:
    async with open_call() as call:
        ann, bob = await one_to_one(call)
        cy = call.join("cy")
        await publish(cy, camera())
        requests = len(ann.client.received(PictureLossIndication))
        await watch(bob, ann.up, cy.up)
        await publish(ann, camera(), microphone())
        ann.client.send_rtp(rtp(2, 6000, payload=DELTA))
        await until(lambda: len(bob.client.rtp) == 2)
        assert bob.client.packets[1].payload == DELTA
        assert len(ann.client.received(PictureLossIndication)) == requests


# Reports


@pytest.mark.asyncio
async def test_reports_name_the_publisher_and_map_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "REPORT_INTERVAL_S", 0.05)
    async with open_call() as call:
        ann, bob = await one_to_one(call)
        ann.client.send_rtcp(SenderReport(1, ntp_from_unix(1_000_000_000), 3000, 1, 10))
        await until(lambda: bob.client.received(SenderReport) != [])
        (down,) = bob.peer.down_tracks.values()
        report = bob.client.received(SenderReport)[0]
        assert (report.ssrc, report.packets, report.octets) == (down.ssrc, 1, len(KEYFRAME))
        # Ann's 3000 was just now, and it went out as the first packet's timestamp.
        elapsed = ts_delta(report.rtp_timestamp, bob.client.packets[0].timestamp) / 90000
        assert 0 <= elapsed < 2
        names = bob.client.received(SourceDescription)[0]
        assert names.chunks == ((down.ssrc, "ann"),)
        await until(lambda: any(report.reports for report in ann.client.received(ReceiverReport)))
        (block,) = next(report.reports for report in ann.client.received(ReceiverReport) if report.reports)
        assert (block.ssrc, block.packets_lost) == (1, 0)


# Slots


@pytest.mark.asyncio
async def test_a_slot_changes_hands_without_a_word_of_sdp() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        cy = call.join("cy", slot_mode=True)
        for publisher in (ann, bob):
            await publish(publisher, camera())
        await publish(cy, microphone("a", "recvonly"), camera("v", "recvonly"))
        assert [(slot.mid, slot.kind, slot.stream) for slot in cy.peer.slots] == [("a", "audio", 0), ("v", "video", 0)]
        cy.peer.assign({"v": ann.up})
        await show(ann, cy, 100)
        cy.peer.assign({"v": bob.up})
        ann.client.send_rtp(rtp(101, 3000 * 101, payload=DELTA))
        bob.client.send_rtp(rtp(9, 3000 * 9, payload=DELTA))
        await show(bob, cy, 10)
        cy.peer.assign({"v": None, "a": None})
        bob.client.send_rtp(rtp(11, 3000 * 11, payload=DELTA))
        cy.peer.assign({"v": ann.up})
        # What is kept of Ann's comes again at once, as it is not old; what Bob sends now does not.
        await show(ann, cy, 102)
        packets = cy.client.packets
        assert [packet.payload for packet in packets] == [KEYFRAME, KEYFRAME, KEYFRAME, DELTA, KEYFRAME]
        assert len({packet.ssrc for packet in packets}) == 1
        assert [(p.sequence_number - packets[0].sequence_number) & 0xFFFF for p in packets] == [0, 1, 2, 3, 4]
        assert all(ts_delta(b.timestamp, a.timestamp) > 0 for a, b in pairwise(packets))
        assert cy.offers.empty()
        assert cy.client.received(Bye) == []


@pytest.mark.asyncio
async def test_what_is_assigned_before_the_client_is_connected_is_not_lost() -> None:
    async with open_call() as call:
        ann, cy = call.join("ann"), call.join("cy", slot_mode=True)
        await publish(ann, camera())
        answer = cy.peer.handle_offer(cy.client.offer(camera("v", "recvonly")), {})
        cy.peer.assign({"v": ann.up})
        await cy.client.accept_answer(answer)
        await show(ann, cy)
        assert cy.client.packets[0].payload == KEYFRAME


@pytest.mark.asyncio
async def test_slots_survive_a_negotiation_of_their_client() -> None:
    async with open_call() as call:
        ann, cy = call.join("ann"), call.join("cy", slot_mode=True)
        await publish(ann, camera())
        await publish(cy, camera("v", "recvonly"))
        cy.peer.assign({"v": ann.up})
        await show(ann, cy)
        await publish(cy, camera("v", "recvonly"), camera("mine"))
        ann.client.send_rtp(rtp(2, 6000, payload=DELTA))
        await until(lambda: len(cy.client.rtp) == 2)
        assert cy.published == ["cy/camera"]


# What cannot be carried


@pytest.mark.asyncio
async def test_who_has_no_codec_for_a_track_is_told_and_spared() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        await publish(ann, camera(codecs=(VP8, H264)))
        bob.peer.set_tracks([ann.up])
        offer = await bob.next_offer()
        bob.peer.handle_answer(bob.client.answer(offer, codecs=(H264,)))
        await bob.client.connect(offer)
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: bob.unsupported == ["ann/camera"])
        ann.client.send_rtp(rtp(2, payload=KEYFRAME))
        ann.client.send_rtp(rtp(3, payload_type=H264.payload_type, payload=b"\x67 sets"))
        await until(lambda: len(bob.client.rtp) == 1)
        assert bob.client.packets[0].payload == b"\x67 sets"
        assert bob.unsupported == ["ann/camera"]


@pytest.mark.asyncio
async def test_what_is_no_media_is_dropped_by_name() -> None:
    async with open_call() as call:
        ann, bob = await one_to_one(call)
        drops = call.node.udp.drops
        srtp = ann.client.dtls._tx_srtp.protect(rtp(2, payload=DELTA))
        ann.client.send_datagram(srtp[:-1] + bytes([srtp[-1] ^ 1]))
        ann.client.send_datagram(bytes([0x80, 200]) + bytes(30))
        ann.client.send_rtp(rtp(3, payload=DELTA, payload_type=77, ssrc=5))
        ann.client.send_datagram(
            ann.client.dtls._tx_srtp.protect(b"\xb0" + rtp(4, payload=b"")[1:] + b"\xbe\xde\0\0\xff")
        )
        ann.client.send_datagram(ann.client.dtls._tx_srtp.protect_rtcp(b"\x80\xc8\0\1" + bytes(4)))
        await until(lambda: sum(drops.values()) >= 5)
        assert drops == {
            DropReason.SRTP_REFUSED: 2,
            DropReason.UNKNOWN_SSRC: 1,
            DropReason.RTP_MALFORMED: 1,
            DropReason.RTCP_MALFORMED: 1,
        }
        await show(ann, bob, 5)
