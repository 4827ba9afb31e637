"""Who offers when, and what happens to the offers."""

from __future__ import annotations

import asyncio
import re

import pytest
from structlog.testing import capture_logs

from tests.media.calls import code, open_call, publish, remains, settle, two_cameras, watch
from tests.media.flows import KEYFRAME
from tests.media.raw_client import RawClient, camera, microphone
from tests.media.support import rtp
from tests.support.captures import offer, offer_names
from tests.support.eventually import until
from zvonim_sfu.media import peer as peer_module
from zvonim_sfu.media.sdp import parse
from zvonim_sfu.media.source import Source

# Offers of the server


@pytest.mark.asyncio
async def test_changes_of_a_moment_are_one_offer() -> None:
    async with open_call() as call:
        ann, bob = await two_cameras(call)
        watcher = call.join("watcher")
        for tracks in ([], [ann.up], [bob.up], [ann.up, bob.up]):
            watcher.peer.set_tracks(tracks)
        sections = parse(await watcher.next_offer()).sections
        assert [s.msid for s in sections] == [("ann", "camera"), ("bob", "camera")]
        await settle()
        assert watcher.offers.empty()


@pytest.mark.asyncio
async def test_a_change_that_is_taken_back_is_no_offer() -> None:
    async with open_call() as call:
        ann, _ = await two_cameras(call)
        watcher = call.join("watcher")
        watcher.peer.set_tracks([ann.up])
        watcher.peer.set_tracks([])
        await settle()
        assert watcher.offers.empty()


@pytest.mark.asyncio
async def test_a_newcomer_may_offer_first() -> None:
    async with open_call() as call:
        ann, _ = await two_cameras(call)
        watcher = call.join("watcher")
        watcher.peer.set_tracks([ann.up])
        # Its own offer makes room for the track, so that the server has nothing to offer.
        await publish(watcher, camera("0", "sendrecv"))
        await settle()
        assert watcher.offers.empty()
        assert [s.mid for s in watcher.peer._session.sections if s.sending] == ["0"]
        patient = call.join("patient")
        joined_at = asyncio.get_running_loop().time()
        patient.peer.set_tracks([ann.up])
        await patient.next_offer()
        assert asyncio.get_running_loop().time() - joined_at > peer_module.FIRST_OFFER_DELAY_S - 0.01


@pytest.mark.asyncio
async def test_what_a_clients_offer_has_no_room_for_is_offered() -> None:
    async with open_call() as call:
        ann, bob = await two_cameras(call)
        ann.peer.set_tracks([bob.up])
        offered = await ann.next_offer()
        assert [(s.mid, s.direction) for s in parse(offered).sections] == [("0", "recvonly"), ("s0", "sendrecv")]
        # The page is loaded anew, and offers no more than before.
        ann.reload(RawClient())
        await publish(ann, camera())
        offered = await ann.next_offer()
        assert [(s.mid, s.direction) for s in parse(offered).sections] == [("0", "recvonly"), ("s0", "sendrecv")]


@pytest.mark.asyncio
async def test_what_changes_while_an_offer_is_out_is_offered_after_the_answer() -> None:
    async with open_call() as call:
        ann, bob = await two_cameras(call)
        watcher = call.join("watcher")
        watcher.peer.set_tracks([ann.up])
        first = await watcher.next_offer()
        watcher.peer.set_tracks([bob.up])
        await settle()
        assert watcher.offers.empty()
        watcher.peer.handle_answer(watcher.client.answer(first))
        second = parse(await watcher.next_offer())
        assert [(s.mid, s.msid) for s in second.sections] == [("s0", ("bob", "camera"))]


@pytest.mark.asyncio
async def test_who_leaves_makes_room_for_the_next() -> None:
    async with open_call() as call:
        ann, bob = await two_cameras(call)
        watcher = call.join("watcher")
        await watch(watcher, ann.up)
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(watcher.client.rtp) == 1)
        ann.peer.close()
        emptied = parse(await watch(watcher))
        assert [(s.mid, s.direction) for s in emptied.sections] == [("s0", "recvonly")]
        filled = parse(await watch(watcher, bob.up))
        assert [(s.mid, s.msid) for s in filled.sections] == [("s0", ("bob", "camera"))]
        bob.client.send_rtp(rtp(1, payload=KEYFRAME + b"bob"))
        await until(lambda: len(watcher.client.rtp) == 2)
        first, second = watcher.client.packets
        assert (first.ssrc, second.payload) == (second.ssrc, KEYFRAME + b"bob")
        assert (second.sequence_number - first.sequence_number) & 0xFFFF == 1


@pytest.mark.asyncio
async def test_a_new_signalling_connection_gets_the_open_offer_again() -> None:
    async with open_call() as call:
        ann, _ = await two_cameras(call)
        watcher = call.join("watcher")
        watcher.peer.resume()
        assert watcher.offers.empty()
        watcher.peer.set_tracks([ann.up])
        first = await watcher.next_offer()
        watcher.peer.resume()
        assert await watcher.next_offer() == first
        watcher.peer.handle_answer(watcher.client.answer(first))
        watcher.peer.resume()
        await settle()
        assert watcher.offers.empty()


# Glare and answers


@pytest.mark.asyncio
async def test_offers_that_cross_are_decided_for_the_server() -> None:
    async with open_call() as call:
        ann, bob = await two_cameras(call)
        bob.peer.set_tracks([ann.up])
        theirs = await bob.next_offer()
        mine = bob.client.offer(camera(), microphone())
        assert code(bob, mine) == "glare"
        # The client rolls back, answers, and offers again.
        bob.peer.handle_answer(bob.client.answer(theirs))
        sections = bob.client.sections
        answered = parse(bob.peer.handle_offer(bob.client.offer(*sections, microphone("5")), {}))
        assert [s.direction for s in answered.sections] == ["recvonly", "sendonly", "recvonly"]
        assert bob.published == ["bob/camera", "bob/microphone"]


@pytest.mark.asyncio
async def test_an_answer_to_nothing_is_refused() -> None:
    async with open_call() as call:
        ann, _ = await two_cameras(call)
        watcher = call.join("watcher")
        assert code(watcher, offer("chromium-audio-video"), is_answer=True) == "unexpected-answer"
        text = await watch(watcher, ann.up)
        assert code(watcher, watcher.client.answer(text), is_answer=True) == "unexpected-answer"


@pytest.mark.asyncio
async def test_a_wrong_answer_leaves_the_offer_open() -> None:
    async with open_call() as call:
        ann, _ = await two_cameras(call)
        watcher = call.join("watcher")
        watcher.peer.set_tracks([ann.up])
        text = await watcher.next_offer()
        assert code(watcher, "v=0 and so on", is_answer=True) == "invalid-sdp"
        assert code(watcher, watcher.client.answer(text, rtcp_mux=False), is_answer=True) == "rtcp-mux-required"
        watcher.peer.handle_answer(watcher.client.answer(text))
        await watcher.client.connect(text)


@pytest.mark.asyncio
async def test_an_offer_that_is_never_answered_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "ANSWER_TIMEOUT_S", 0.01)
    async with open_call() as call:
        ann, bob = await two_cameras(call)
        with capture_logs() as logs:
            bob.peer.set_tracks([ann.up])
            await bob.next_offer()
            await until(lambda: "offer not answered" in [entry["event"] for entry in logs])
        bob.peer.handle_offer(bob.client.offer(camera(), microphone()), {})
        assert bob.published == ["bob/camera", "bob/microphone"]
        # What it had no room for is offered again.
        assert [s.msid for s in parse(await bob.next_offer()).sections][2:] == [("ann", "camera")]


@pytest.mark.asyncio
async def test_a_late_answer_is_better_than_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "ANSWER_TIMEOUT_S", 0.01)
    async with open_call() as call:
        ann, _ = await two_cameras(call)
        watcher = call.join("watcher")
        watcher.peer.set_tracks([ann.up])
        text = await watcher.next_offer()
        await asyncio.sleep(0.03)
        watcher.peer.handle_answer(watcher.client.answer(text))
        await watcher.client.connect(text)
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(watcher.client.rtp) == 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", [name for name in offer_names() if "data-channel-only" not in name])
async def test_a_captured_offer_makes_the_tracks_it_speaks_of(name: str) -> None:
    async with open_call() as call:
        ann = call.join("ann", slot_mode="slots" in name)
        answer = parse(ann.peer.handle_offer(offer(name), {}))
        assert len(ann.published) == sum(s.receives for s in answer.sections)
        assert len(ann.peer.down_tracks) == sum(s.sends for s in answer.sections) == len(ann.peer.slots)
        assert ann.states == ["connecting"]
        (port,) = {re.split(r"\s", s.candidates[0])[5] for s in answer.sections if s.candidates}
        assert int(port) == call.node.udp.port


@pytest.mark.asyncio
async def test_a_refused_offer_changes_nothing() -> None:
    async with open_call() as call:
        ann, _ = await two_cameras(call)
        session, held = ann.peer._session, remains(call.node)
        for text, expected in [
            ("", "invalid-sdp"),
            (offer("chromium-two-cameras-and-screen").replace("a=rtcp-mux\r\n", ""), "rtcp-mux-required"),
            (ann.client.offer(*(camera(str(n)) for n in range(5))), "too-many-tracks"),
        ]:
            assert code(ann, text) == expected
        assert ann.peer._session is session
        assert remains(call.node) == held
        assert ann.published == ["ann/camera"]
        assert ann.peer.connection_state == "connected"


@pytest.mark.asyncio
async def test_sources_name_the_tracks() -> None:
    async with open_call() as call:
        ann = call.join("ann")
        text = ann.client.offer(camera("0"), camera("1"), microphone("2"))
        ann.peer.handle_offer(text, {"0": Source.SCREEN, "1": Source.CAMERA})
        assert ann.published == ["ann/screen", "ann/camera", "ann/microphone"]
