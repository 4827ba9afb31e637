"""How an association comes up, falls silent and ends."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest
from structlog.testing import capture_logs

from tests.media.calls import open_call, publish, watch
from tests.media.flows import KEYFRAME
from tests.media.raw_client import camera
from tests.media.support import rtp
from tests.support.eventually import until
from zvonim_sfu.media import transport
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.rtp.packet import RtpPacket
from zvonim_sfu.rtp.rtcp import PictureLossIndication, ReceiverReport


@pytest.mark.asyncio
async def test_it_connects_and_says_so_once() -> None:
    async with open_call() as call:
        ann = call.join("ann")
        with capture_logs() as logs:
            await publish(ann, camera())
            await until(lambda: ann.peer.connection_state == "connected")
        assert ann.states == ["connecting", "connected"]
        (entry,) = [entry for entry in logs if entry["event"] == "transport connected"]
        assert entry["profile"] == "SRTP_AEAD_AES_128_GCM"
        assert entry["address"].startswith("127.0.0.1:")


@pytest.mark.asyncio
async def test_it_is_the_dtls_client_of_who_wants_to_be_the_server() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        async with asyncio.timeout(0.9):  # no flight has to be repeated, the first repetition comes after a second
            await publish(ann, camera(setup="passive"))
        await watch(bob, ann.up)
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(bob.client.rtp) == 1)


@pytest.mark.asyncio
async def test_a_client_with_another_certificate_than_announced_is_refused_and_may_try_anew() -> None:
    async with open_call() as call:
        ann = call.join("ann")
        true = ann.client.offer(camera())
        false = re.sub("sha-256 ..:", "sha-256 00:", true)
        answer = ann.peer.handle_offer(false if false != true else re.sub("sha-256 ..:", "sha-256 11:", true), {})
        await ann.client.accept_answer(answer)
        await until(lambda: ann.peer.connection_state == "failed")
        assert ann.peer._transport.is_dead
        ann.reload(type(ann.client)())
        await publish(ann, camera())
        await until(lambda: ann.peer.connection_state == "connected")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("is_checked", "reason"), [(False, "no check has arrived"), (True, "the DTLS handshake did not end")]
)
async def test_who_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch, reason: str, *, is_checked: bool) -> None:
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 0.1)
    async with open_call() as call:
        ann = call.join("ann")
        with capture_logs() as logs:
            answer = ann.peer.handle_offer(ann.client.offer(camera()), {})
            if is_checked:
                await ann.client.reach(answer)
            await until(lambda: ann.peer.connection_state == "failed")
        assert [entry["reason"] for entry in logs if entry["event"] == "transport not connected"] == [reason]
        assert ann.states == ["connecting", "failed"]
        # The same client may try again.
        monkeypatch.undo()
        await publish(ann, camera())
        await until(lambda: ann.peer.connection_state == "connected")


@pytest.mark.asyncio
async def test_silence_ends_consent_and_a_check_renews_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONSENT_CHECK_S", 0.01)
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        await publish(ann, camera())
        await watch(bob, ann.up)
        await until(lambda: bob.peer.connection_state == "connected")
        monkeypatch.setattr(transport, "DISCONNECTED_AFTER_S", 0.0)
        await until(lambda: bob.peer.connection_state == "disconnected")
        monkeypatch.setattr(transport, "FAILED_AFTER_S", 0.0)
        await until(lambda: bob.peer.connection_state == "failed")
        assert bob.states == ["connecting", "connected", "disconnected", "failed"]
        # Nothing is sent any more to who does not say that he wants it, and the publisher is still heard.
        egress = bob.peer._transport.egress
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: egress.drops[DropReason.NO_PATH] > 0)
        assert not bob.peer._transport.is_dead
        monkeypatch.setattr(transport, "FAILED_AFTER_S", 30)
        monkeypatch.setattr(transport, "DISCONNECTED_AFTER_S", 30)
        bob.client.check()
        await until(lambda: bob.peer.connection_state == "connected")
        ann.client.send_rtp(rtp(2, payload=KEYFRAME))
        await until(lambda: len(bob.client.rtp) == 1)


@pytest.mark.asyncio
async def test_the_path_follows_the_clients_nomination() -> None:
    async with open_call() as call:
        ann = call.join("ann")
        await publish(ann, camera())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            other.sendto(ann.client.check_message(), ("127.0.0.1", call.node.udp.port))
            await until(lambda: _path(ann.peer._transport) == other.getsockname())


def _path(of: transport.Transport) -> object:
    return of.egress.path.address if of.egress.path is not None else None


@pytest.mark.asyncio
async def test_media_before_the_handshake_is_dropped() -> None:
    async with open_call() as call:
        ann = call.join("ann")
        answer = ann.peer.handle_offer(ann.client.offer(camera()), {})
        await ann.client.reach(answer)
        ann.client.send_datagram(rtp(1) + bytes(16))
        await until(lambda: call.node.udp.drops[DropReason.SRTP_TOO_EARLY] == 1)


@pytest.mark.asyncio
async def test_a_flood_of_reports_is_cut_off_and_media_goes_on() -> None:
    async with open_call() as call:
        ann, bob = call.join("ann"), call.join("bob")
        await publish(ann, camera())
        await watch(bob, ann.up)
        await until(lambda: bob.peer.connection_state == "connected")
        drops = bob.peer._transport.drops
        sent = 2 * transport.RTCP_BURST_BYTES // transport.LEAST_RTCP_BYTES
        for index in range(sent):
            bob.client.send_rtcp(ReceiverReport(1))
            if index % 50 == 0:
                await asyncio.sleep(0.001)  # or they would be lost in the socket's buffer
        await until(lambda: drops[DropReason.RTCP_LIMITED] > sent / 4)
        ann.client.send_rtp(rtp(1, payload=KEYFRAME))
        await until(lambda: len(bob.client.rtp) == 1)
        # What is left out is made up for in time.
        await asyncio.sleep(0.05)
        limited = drops[DropReason.RTCP_LIMITED]
        bob.client.send_rtcp(PictureLossIndication(1, RtpPacket.parse(bob.client.rtp[0]).ssrc))
        await until(lambda: any(isinstance(packet, PictureLossIndication) for packet in ann.client.rtcp))
        assert drops[DropReason.RTCP_LIMITED] == limited


@pytest.mark.asyncio
async def test_the_end_of_the_agent_is_the_end_of_the_association() -> None:
    async with open_call() as call:
        ann = call.join("ann")
        await publish(ann, camera())
        before = ann.peer._transport
        before.agent.close()
        await until(lambda: ann.states[-1] == "closed")
        assert ann.peer._transport is not before
        await asyncio.sleep(0)
        assert before.state is transport.TransportState.CLOSED
        assert list(call.node.udp._agents) == [ann.peer._transport.agent.local_ufrag]
