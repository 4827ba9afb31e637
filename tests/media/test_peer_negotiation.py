"""Who offers when, what happens to the offers, and what is left of a connection that ends."""

from __future__ import annotations

import asyncio
import re

import pytest
from structlog.testing import capture_logs

from tests.media.calls import Call, Participant, open_call, publish, remains, watch
from tests.media.flows import KEYFRAME
from tests.media.raw_client import RawClient, camera, microphone
from tests.media.support import refusal, rtp
from tests.support.captures import offer, offer_names
from tests.support.eventually import until
from zvonim_sfu.media import peer as peer_module
from zvonim_sfu.media.node import MediaNode
from zvonim_sfu.media.sdp import parse
from zvonim_sfu.media.source import Source
from zvonim_sfu.rtp.rtcp import Bye


def code(participant: Participant[RawClient], text: str, *, is_answer: bool = False) -> str:
    """The code with which a description is refused."""
    peer = participant.peer
    return refusal(lambda: peer.handle_answer(text) if is_answer else peer.handle_offer(text, {}))


async def call_with_two_cameras(call: Call) -> tuple[Participant[RawClient], Participant[RawClient]]:
    ann, bob = call.join("ann"), call.join("bob")
    await publish(ann, camera())
    await publish(bob, camera())
    return ann, bob


async def settle(participant: Participant[RawClient]) -> None:
    """Wait longer than an offer of the server takes."""
    await asyncio.sleep(peer_module.FIRST_OFFER_DELAY_S + peer_module.OFFER_DELAY_S)


# Offers of the server


@pytest.mark.asyncio
async def test_changes_of_a_moment_are_one_offer() -> None:
    async with open_call() as call:
        ann, bob = await call_with_two_cameras(call)
        watcher = call.join("watcher")
        for tracks in ([], [ann.up], [bob.up], [ann.up, bob.up]):
            watcher.peer.set_tracks(tracks)
        sections = parse(await watcher.next_offer()).sections
        assert [s.msid for s in sections] == [("ann", "camera"), ("bob", "camera")]
        await settle(watcher)
        assert watcher.offers.empty()


@pytest.mark.asyncio
async def test_a_change_that_is_taken_back_is_no_offer() -> None:
    async with open_call() as call:
        ann, _ = await call_with_two_cameras(call)
        watcher = call.join("watcher")
        watcher.peer.set_tracks([ann.up])
        watcher.peer.set_tracks([])
        await settle(watcher)
        assert watcher.offers.empty()


@pytest.mark.asyncio
async def test_a_newcomer_may_offer_first() -> None:
    async with open_call() as call:
        ann, _ = await call_with_two_cameras(call)
        watcher = call.join("watcher")
        watcher.peer.set_tracks([ann.up])
        # Its own offer makes room for the track, so that the server has nothing to offer.
        await publish(watcher, camera("0", "sendrecv"))
        await settle(watcher)
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
        ann, bob = await call_with_two_cameras(call)
        ann.peer.set_tracks([bob.up])
        offered = await ann.next_offer()
        assert [(s.mid, s.direction) for s in parse(offered).sections] == [("0", "recvonly"), ("s0", "sendonly")]
        # The page is loaded anew, and offers no more than before.
        ann.reload(RawClient())
        await publish(ann, camera())
        offered = await ann.next_offer()
        assert [(s.mid, s.direction) for s in parse(offered).sections] == [("0", "recvonly"), ("s0", "sendonly")]


@pytest.mark.asyncio
async def test_what_changes_while_an_offer_is_out_is_offered_after_the_answer() -> None:
    async with open_call() as call:
        ann, bob = await call_with_two_cameras(call)
        watcher = call.join("watcher")
        watcher.peer.set_tracks([ann.up])
        first = await watcher.next_offer()
        watcher.peer.set_tracks([bob.up])
        await settle(watcher)
        assert watcher.offers.empty()
        watcher.peer.handle_answer(watcher.client.answer(first))
        second = parse(await watcher.next_offer())
        assert [(s.mid, s.msid) for s in second.sections] == [("s0", ("bob", "camera"))]


@pytest.mark.asyncio
async def test_who_leaves_makes_room_for_the_next() -> None:
    async with open_call() as call:
        ann, bob = await call_with_two_cameras(call)
        watcher = call.join("watcher")
        await watch(watcher, ann.up)
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(watcher.client.rtp) == 1)
        ann.peer.close()
        emptied = parse(await watch(watcher))
        assert [(s.mid, s.direction) for s in emptied.sections] == [("s0", "inactive")]
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
        ann, _ = await call_with_two_cameras(call)
        watcher = call.join("watcher")
        watcher.peer.resume()
        assert watcher.offers.empty()
        watcher.peer.set_tracks([ann.up])
        first = await watcher.next_offer()
        watcher.peer.resume()
        assert await watcher.next_offer() == first
        watcher.peer.handle_answer(watcher.client.answer(first))
        watcher.peer.resume()
        await settle(watcher)
        assert watcher.offers.empty()


# Glare and answers


@pytest.mark.asyncio
async def test_offers_that_cross_are_decided_for_the_server() -> None:
    async with open_call() as call:
        ann, bob = await call_with_two_cameras(call)
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
        ann, _ = await call_with_two_cameras(call)
        watcher = call.join("watcher")
        assert code(watcher, offer("chromium-audio-video"), is_answer=True) == "unexpected-answer"
        text = await watch(watcher, ann.up)
        assert code(watcher, watcher.client.answer(text), is_answer=True) == "unexpected-answer"


@pytest.mark.asyncio
async def test_a_wrong_answer_leaves_the_offer_open() -> None:
    async with open_call() as call:
        ann, _ = await call_with_two_cameras(call)
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
        ann, bob = await call_with_two_cameras(call)
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
        ann, _ = await call_with_two_cameras(call)
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
        ann, _ = await call_with_two_cameras(call)
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


# The end of a connection


@pytest.mark.asyncio
async def test_closing_tells_the_client_and_leaves_nothing() -> None:
    async with open_call() as call:
        ann, bob = await call_with_two_cameras(call)
        await watch(bob, ann.up)
        (down,) = bob.peer.down_tracks
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(bob.client.rtp) == 1)
        bob.peer.close()
        bob.peer.close()
        await until(lambda: bob.client.was_told_of_the_end)
        assert [bye.ssrcs for bye in bob.client.received(Bye)] == [(down.ssrc,)]
        assert bob.published == []
        assert bob.peer.connection_state == "closed"
        assert ann.up._receivers == ()
        ann.peer.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert remains(call.node) == {}


@pytest.mark.asyncio
async def test_a_peer_that_never_connected_leaves_nothing() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        ann.peer.handle_offer(ann.client.offer(camera(), camera("1", "recvonly")), {})
        bob.peer.set_tracks([ann.up])
        await bob.next_offer()
        assert len(remains(call.node)["ssrcs"]) == 3  # each one's own, and the section that was offered to Bob
        for participant in (ann, bob):
            participant.peer.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert remains(call.node) == {}


@pytest.mark.asyncio
async def test_a_node_can_be_closed_before_its_peers() -> None:
    node = await MediaNode.open(["127.0.0.1"], 0)
    client = RawClient()
    ann = Participant(node, "ann", client)
    await publish(ann, camera())
    await node.close()
    ann.peer.close()
    await client.close()
    assert remains(node) == {}


@pytest.mark.asyncio
async def test_ssrcs_of_offers_that_came_to_nothing_are_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "ANSWER_TIMEOUT_S", 0.001)
    async with open_call() as call:
        ann, bob = await call_with_two_cameras(call)
        before = remains(call.node)["ssrcs"]
        for _ in range(3):
            bob.peer.set_tracks([ann.up])
            await bob.next_offer()
            bob.peer.set_tracks([])
            await asyncio.sleep(0.005)
            bob.peer.handle_offer(bob.client.offer(camera()), {})
        for _ in range(3):
            text = bob.client.offer(*(camera(str(n), "sendrecv") for n in range(5)))
            assert code(bob, text) == "too-many-tracks"
        bob.peer.handle_offer(bob.client.offer(camera()), {})
        assert remains(call.node)["ssrcs"] == before


@pytest.mark.asyncio
async def test_a_client_that_closes_takes_its_tracks_along_and_may_come_back() -> None:
    async with open_call() as call:
        ann, bob = await call_with_two_cameras(call)
        await watch(bob, ann.up)
        await ann.client.close()
        await until(lambda: ann.published == [])
        assert ann.states[-1] == "closed"
        assert ann.peer.connection_state == "new"
        ann.reload(RawClient())
        await publish(ann, camera(), microphone())
        assert ann.published == ["ann/camera", "ann/microphone"]
        await until(lambda: ann.peer.connection_state == "connected")


@pytest.mark.asyncio
async def test_a_page_that_was_loaded_anew_offers_from_the_beginning() -> None:
    async with open_call() as call:
        ann, bob = await call_with_two_cameras(call)
        await watch(bob, ann.up)
        before = ann.up
        ann.reload(RawClient())
        await publish(ann, camera("x"), microphone("y"))
        assert ann.published == ["ann/camera", "ann/microphone"]
        after = next(up for up in ann.peer.up_tracks if up.kind == "video")
        assert after is not before
        # The same name, so that its subscribers need no new m-section.
        bob.peer.set_tracks([after])
        await settle(bob)
        assert bob.offers.empty()
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(bob.client.rtp) == 1)
        await until(lambda: ann.clients[0].was_told_of_the_end)


@pytest.mark.asyncio
async def test_a_page_that_was_loaded_anew_may_offer_while_an_offer_is_out() -> None:
    async with open_call() as call:
        ann, bob = await call_with_two_cameras(call)
        bob.peer.set_tracks([ann.up])
        await bob.next_offer()
        bob.reload(RawClient())
        await publish(bob, camera(direction="sendrecv"))
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(bob.client.rtp) == 1)


@pytest.mark.asyncio
async def test_a_page_that_was_loaded_anew_may_answer_its_predecessors_offer() -> None:
    async with open_call() as call:
        ann, bob = await call_with_two_cameras(call)
        watcher = call.join("watcher")
        await watch(watcher, ann.up)
        watcher.peer.set_tracks([ann.up, bob.up])
        await watcher.next_offer()
        watcher.reload(RawClient())
        watcher.peer.resume()
        text = await watcher.next_offer()
        watcher.peer.handle_answer(watcher.client.answer(text))
        await watcher.client.connect(text)
        for publisher in (ann, bob):
            publisher.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(watcher.client.rtp) == 2)
        await until(lambda: watcher.clients[0].was_told_of_the_end)


@pytest.mark.asyncio
async def test_an_ice_restart_renews_both_sides_and_media_goes_on() -> None:
    async with open_call() as call:
        ann, bob = await call_with_two_cameras(call)
        await watch(bob, ann.up)
        old = ann.client.server_ufrag
        ann.client.ufrag, ann.client.pwd = "restarted", "r" * 24
        answer = parse(ann.peer.handle_offer(ann.client.offer(camera()), {}))
        assert answer.sections[0].ice_ufrag != old
        assert answer.sections[0].setup == "passive"
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(bob.client.rtp) == 1)
        drops = call.node.udp.drops.copy()
        checked_at = ann.peer._transport.agent.last_check
        ann.client.check()  # by the old credentials
        await until(lambda: call.node.udp.drops != drops)
        assert ann.peer._transport.agent.last_check == checked_at
        ann.client.server_ufrag, ann.client.server_pwd = answer.sections[0].ice_ufrag, answer.sections[0].ice_pwd
        ann.client.check()
        await until(lambda: ann.peer._transport.agent.last_check > checked_at)
        assert ann.published == ["ann/camera"]
        assert ann.states == ["connecting", "connected"]
