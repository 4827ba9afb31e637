"""How a connection ends, begins anew or is restarted, and what is left of it."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from tests.media.calls import Participant, code, open_call, publish, remains, settle, two_cameras, watch
from tests.media.flows import KEYFRAME
from tests.media.raw_client import RawClient, camera, microphone
from tests.media.support import rtp
from tests.support.eventually import until
from zvonim_sfu.media import peer as peer_module
from zvonim_sfu.media.node import MediaNode
from zvonim_sfu.media.sdp import parse
from zvonim_sfu.rtp.rtcp import Bye


@pytest.mark.asyncio
async def test_closing_tells_the_client_and_leaves_nothing() -> None:
    async with open_call() as call:
        ann, bob = await two_cameras(call)
        await watch(bob, ann.up)
        (down,) = bob.peer.down_tracks.values()
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
async def test_what_closing_frees_does_not_wait_for_the_collector() -> None:
    async with open_call() as call:
        ann, bob = await two_cameras(call)
        await watch(bob, ann.up)
        await until(lambda: bob.peer.connection_state == "connected")
        dtls = bob.peer._transport._dtls
        assert dtls is not None
        association = weakref.ref(dtls._dtls._ssl)
        del dtls
        published = weakref.ref(ann.up)
        gc.collect()
        gc.disable()
        try:
            bob.peer.close()
            await until(lambda: association() is None)
            assert published() is not None
            ann.peer.close()
            await until(lambda: published() is None)  # it is Ann's no more, and Bob has let go of it
        finally:
            gc.enable()


@pytest.mark.asyncio
async def test_a_peer_that_never_connected_leaves_nothing() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        ann.peer.handle_offer(ann.client.offer(camera(), camera("1", "recvonly")), {})
        bob.peer.set_tracks([ann.up])
        await bob.next_offer()
        assert len(remains(call.node)["ssrcs"]) == 4  # each one's own, and two in the section that was offered to Bob
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
        ann, bob = await two_cameras(call)
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
        ann, bob = await two_cameras(call)
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
        ann, bob = await two_cameras(call)
        await watch(bob, ann.up)
        before = ann.up
        ann.reload(RawClient())
        await publish(ann, camera("x"), microphone("y"))
        assert ann.published == ["ann/camera", "ann/microphone"]
        after = next(up for up in ann.peer.up_tracks if up.kind == "video")
        assert after is not before
        # The same name, so that its subscribers need no new m-section.
        bob.peer.set_tracks([after])
        await settle()
        assert bob.offers.empty()
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(bob.client.rtp) == 1)
        await until(lambda: ann.clients[0].was_told_of_the_end)


@pytest.mark.asyncio
async def test_a_page_that_was_loaded_anew_may_offer_while_an_offer_is_out() -> None:
    async with open_call() as call:
        ann, bob = await two_cameras(call)
        bob.peer.set_tracks([ann.up])
        await bob.next_offer()
        bob.reload(RawClient())
        await publish(bob, camera(direction="sendrecv"))
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(bob.client.rtp) == 1)


@pytest.mark.asyncio
async def test_a_page_that_was_loaded_anew_may_answer_its_predecessors_offer() -> None:
    async with open_call() as call:
        ann, bob = await two_cameras(call)
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
        ann, bob = await two_cameras(call)
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
