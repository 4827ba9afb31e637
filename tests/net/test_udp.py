from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from aioice import stun
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.net.links import rtp_header, sessions
from tests.net.support import (
    REMOTE_PWD,
    REMOTE_UFRAG,
    Client,
    FailingListener,
    RecordingListener,
    check_message,
    client_of,
    eventually,
    new_agent,
    open_port,
    settle,
)
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.ice import IceAgent
from zvonim_sfu.net.limiter import AddressLimiter
from zvonim_sfu.net.receiving import MAX_DATAGRAM_BYTES
from zvonim_sfu.net.udp import MAX_ADDRESSES_PER_AGENT, UdpPort

if TYPE_CHECKING:
    from zvonim_sfu.net.path import Path

SRTP = bytes([0x80]) + bytes(40)
SRTCP = bytes([0x81, 201]) + bytes(40)
DTLS = bytes([22]) + bytes(40)


@pytest.mark.asyncio
@pytest.mark.parametrize("index", [0, 1])
async def test_a_reply_leaves_by_the_socket_that_was_asked(index: int) -> None:
    async with open_port(["127.0.0.1", "::1"]) as port:
        assert port.addresses == (("127.0.0.1", port.port), ("::1", port.port))
        agent = new_agent()
        port.add(agent)
        with client_of(port, index) as client:
            # The client's socket is connected: it takes nothing from another address.
            response = await client.check(agent)
            assert response.attributes["XOR-MAPPED-ADDRESS"] == client.address[:2]
            assert response.check_message_integrity(agent.local_pwd.encode())
        assert not port.drops


@pytest.mark.asyncio
async def test_media_and_dtls_are_told_apart_and_go_to_the_agent_of_their_address() -> None:
    async with open_port() as port:
        listeners = RecordingListener(), RecordingListener()
        agents = [new_agent(listener) for listener in listeners]
        with client_of(port) as one, client_of(port) as two:
            for agent, client in zip(agents, (one, two), strict=True):
                port.add(agent)
                await client.check(agent, nominate=True)
            one.send(SRTP)
            tx, agents[0].ingress.session = sessions()
            one.send(tx.protect(rtp_header(7) + b"payload"))
            one.send(SRTCP)
            two.send(DTLS)
            assert await agents[1]._recv() == DTLS
            await eventually(lambda: len(listeners[0].srtcp) == 1)
            assert listeners[0].srtcp == [SRTCP]
            assert [packet.data for packet in listeners[0].rtp] == [rtp_header(7) + b"payload"]
            assert listeners[0].drops == {DropReason.SRTP_REFUSED: 1}
            assert len(listeners[1].srtcp) == len(listeners[1].rtp) == 0
            assert [path.address for path in listeners[1].paths] == [two.address]
        assert not port.drops


@pytest.mark.asyncio
async def test_one_wake_up_has_one_time_and_sends_at_its_end() -> None:
    async with open_port() as port:

        class Batching(RecordingListener):
            flushed = 0

            def on_srtcp(self, data: bytes, now: float) -> None:
                super().on_srtcp(data, now)
                port.batch.append(egress, b"header", b"tail")

        listener, egress = Batching(), port.kernel.Egress()
        agent = new_agent(listener)
        port.add(agent)
        with client_of(port) as client:
            await client.check(agent)
            for _ in range(5):
                client.send(SRTCP)
            await eventually(lambda: len(listener.srtcp) == 5)
        assert len(set(listener.times)) == 1
        assert len(port.batch) == 0
        assert egress.drops == {DropReason.NO_SESSION: 5}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DropReason.TOO_SHORT),
        (b"\x80", DropReason.TOO_SHORT),
        (bytes([0x80]) + bytes(MAX_DATAGRAM_BYTES), DropReason.OVERSIZED),
        (bytes([0x80]) + bytes(9000), DropReason.OVERSIZED),
        (bytes([64]) + bytes(40), DropReason.UNKNOWN_PROTOCOL),
        (bytes([4]) + bytes(40), DropReason.UNKNOWN_PROTOCOL),
        (bytes([19]) + bytes(40), DropReason.UNKNOWN_PROTOCOL),
        (bytes([192]) + bytes(40), DropReason.UNKNOWN_PROTOCOL),
        (SRTP, DropReason.UNKNOWN_ADDRESS),
        (SRTCP, DropReason.UNKNOWN_ADDRESS),
        (DTLS, DropReason.UNKNOWN_ADDRESS),
        (bytes(40), DropReason.STUN_MALFORMED),
    ],
)
async def test_a_strangers_datagram_is_a_counted_drop_without_an_answer(data: bytes, reason: DropReason) -> None:
    async with open_port() as port:
        with client_of(port) as client:
            client.send(data)
            await settle(port, 1)
            assert port.drops == {reason: 1}
            assert client.received_nothing()


@pytest.mark.asyncio
async def test_the_longest_datagram_that_is_allowed_arrives_whole() -> None:
    async with open_port() as port:
        listener = RecordingListener()
        agent = new_agent(listener)
        port.add(agent)
        data = SRTCP + bytes(MAX_DATAGRAM_BYTES - len(SRTCP))
        with client_of(port) as client:
            await client.check(agent)
            client.send(data)
            await eventually(lambda: listener.srtcp == [data])


@pytest.mark.asyncio
async def test_checks_that_are_not_authentic_are_not_answered() -> None:
    async with open_port() as port:
        agent = new_agent()
        port.add(agent)
        ours = f"{agent.local_ufrag}:{REMOTE_UFRAG}"
        unsigned = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes={"USERNAME": ours})
        indication = stun.Message(stun.Method.BINDING, stun.Class.INDICATION)
        anonymous = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        with client_of(port) as client:
            client.send(bytes(check_message(agent, pwd=REMOTE_PWD, nominate=True)))
            client.send(bytes(check_message(agent, username=f"{agent.local_ufrag}:else")))
            client.send(bytes(unsigned))
            client.send(bytes(check_message(agent, username="nobody:clnt")))
            client.send(bytes(indication))
            client.send(bytes(anonymous))
            client.send(SRTCP)
            await settle(port, 7)
            assert client.received_nothing()
        assert agent.selected is None
        assert port.drops == {
            DropReason.STUN_UNAUTHENTICATED: 3,
            DropReason.STUN_UNKNOWN_UFRAG: 1,
            DropReason.STUN_NOT_A_CHECK: 1,
            DropReason.STUN_MALFORMED: 1,
            DropReason.UNKNOWN_ADDRESS: 1,
        }


@pytest.mark.asyncio
async def test_ten_thousand_random_datagrams_are_counted_and_not_answered() -> None:
    rng = random.Random(5764)

    def datagram(ufrag: str) -> bytes:
        data = rng.randbytes(rng.choice((0, 5, 20, 60, 200)))
        kind = rng.randrange(4)
        if kind == 0:
            return data
        if kind == 1:
            return bytes([rng.choice((0, 1, 22, 128, 129, 191))]) + data
        if kind == 2:
            return struct.pack("!HHI", 1, len(data) + 12, stun.COOKIE) + data
        name = f"{ufrag}:{REMOTE_UFRAG}".encode().ljust(16, b"?")
        attribute = struct.pack("!HH", 6, 13) + name
        body = attribute + struct.pack("!HH", 8, 20) + rng.randbytes(20)
        return struct.pack("!HHI12s", 1, len(body), stun.COOKIE, rng.randbytes(12)) + body

    async with open_port() as port:
        agent = new_agent()
        port.add(agent)
        with client_of(port) as client:
            for sent in range(0, 10_000, 250):
                for _ in range(250):
                    client.send(datagram(agent.local_ufrag))
                await settle(port, sent + 250)
            assert client.received_nothing()
        assert port.drops.total() == 10_000
        assert port.drops[DropReason.STUN_UNAUTHENTICATED] > 1000
        assert port.drops[DropReason.HANDLER_ERROR] == 0


def test_any_datagram_is_one_counted_drop_without_an_answer() -> None:
    with asyncio.Runner() as runner:
        port = runner.run(UdpPort.open(["127.0.0.1"], 0))
        client = Client(port.addresses[0])

        async def exchange(data: bytes) -> None:
            before = port.drops.total()
            client.send(data)
            await settle(port, before + 1)
            assert port.drops.total() == before + 1
            assert client.received_nothing()

        @settings(max_examples=300, deadline=None)
        @given(st.binary(max_size=120))
        def run(data: bytes) -> None:
            runner.run(exchange(data))

        try:
            run()
            assert port.drops[DropReason.HANDLER_ERROR] == 0
        finally:
            client.close()
            port.close()


@pytest.mark.asyncio
async def test_an_address_moves_to_the_agent_that_authenticated_it_last() -> None:
    async with open_port() as port:
        first, second = RecordingListener(), RecordingListener()
        old, new = new_agent(first), new_agent(second)
        port.add(old)
        port.add(new)
        with client_of(port) as client:
            await client.check(old)
            await client.check(new)
            client.send(SRTCP)
            await eventually(lambda: second.srtcp == [SRTCP])
            assert first.srtcp == []
            # What remains of the one must not take the other's address along.
            port.remove(old)
            client.send(SRTCP)
            await eventually(lambda: len(second.srtcp) == 2)


@pytest.mark.asyncio
async def test_a_client_that_changes_its_address_is_followed() -> None:
    async with open_port() as port:
        listener = RecordingListener()
        agent = new_agent(listener)
        port.add(agent)
        with client_of(port) as wifi, client_of(port) as mobile:
            await wifi.check(agent, nominate=True)
            await mobile.check(agent, nominate=True)
            await agent._send(DTLS)
            assert await mobile.receive() == DTLS
            mobile.send(SRTCP)
            await eventually(lambda: listener.srtcp == [SRTCP])
            assert [path.address for path in listener.paths] == [wifi.address, mobile.address]


@pytest.mark.asyncio
async def test_an_agent_keeps_its_latest_addresses_and_the_selected_one() -> None:
    async with open_port() as port:
        listener = RecordingListener()
        agent = new_agent(listener)
        port.add(agent)
        clients = [Client(port.addresses[0]) for _ in range(MAX_ADDRESSES_PER_AGENT + 2)]
        try:
            for number, client in enumerate(clients):
                await client.check(agent, nominate=number == 0)
            for number, client in enumerate(clients):
                client.send(SRTCP + bytes([number]))
            await settle(port, 2)
            await eventually(lambda: len(listener.srtcp) == MAX_ADDRESSES_PER_AGENT)
            assert port.drops == {DropReason.UNKNOWN_ADDRESS: 2}
            forgotten = set(range(len(clients))) - {data[-1] for data in listener.srtcp}
            assert forgotten == {1, 2}
        finally:
            for client in clients:
                client.close()


@pytest.mark.asyncio
async def test_a_removed_agent_is_unknown_and_its_addresses_are_forgotten() -> None:
    async with open_port() as port:
        agent = new_agent()
        port.add(agent)
        with client_of(port) as client:
            await client.check(agent)
            port.remove(agent)
            port.remove(agent)
            client.send(SRTCP)
            client.send(bytes(check_message(agent)))
            await settle(port, 2)
            assert client.received_nothing()
        assert port.drops == {DropReason.UNKNOWN_ADDRESS: 1, DropReason.STUN_UNKNOWN_UFRAG: 1}


@pytest.mark.asyncio
async def test_an_agent_removed_in_answer_to_a_check_leaves_nothing_behind() -> None:
    async with open_port() as port:

        class Leaving(RecordingListener):
            def on_path(self, path: Path) -> None:
                super().on_path(path)
                port.remove(agent)

        agent = new_agent(Leaving())
        port.add(agent)
        with client_of(port) as client:
            await client.check(agent)
            client.send(SRTCP)
            await settle(port, 1)
        assert port.drops == {DropReason.UNKNOWN_ADDRESS: 1}


@pytest.mark.asyncio
async def test_a_replacement_takes_over_the_fragment_and_learns_addresses_anew() -> None:
    async with open_port() as port:
        first, second = RecordingListener(), RecordingListener()
        old = new_agent(first)
        port.add(old)
        with client_of(port) as stale, client_of(port) as fresh:
            await stale.check(old)
            new = IceAgent(second, (old.local_ufrag, old.local_pwd))
            port.replace(old, new)
            new.set_remote("next", "password")
            stale.send(SRTCP)
            stale.send(bytes(check_message(old)))
            await settle(port, 2)
            assert stale.received_nothing()
            await fresh.check(new, username=f"{new.local_ufrag}:next")
            fresh.send(SRTCP)
            await eventually(lambda: second.srtcp == [SRTCP])
            assert first.srtcp == []
            # The old one's owner may remove it late.
            port.remove(old)
            await fresh.check(new, username=f"{new.local_ufrag}:next")


@pytest.mark.asyncio
async def test_two_agents_of_one_fragment_are_refused() -> None:
    async with open_port() as port:
        agent = new_agent()
        port.add(agent)
        with pytest.raises(ValueError, match="username fragment"):
            port.add(IceAgent(RecordingListener(), (agent.local_ufrag, agent.local_pwd)))


@pytest.mark.asyncio
async def test_a_handlers_fault_costs_its_datagram_and_is_logged_once() -> None:
    async with open_port() as port:
        faulty, sound = FailingListener(), RecordingListener()
        agents = [new_agent(faulty), new_agent(sound)]
        with client_of(port) as one, client_of(port) as two, capture_logs() as logs:
            for agent, client in zip(agents, (one, two), strict=True):
                port.add(agent)
                await client.check(agent)
            one.send(SRTCP)
            two.send(SRTCP)
            one.send(SRTCP)
            await eventually(lambda: len(faulty.srtcp) == 2 and len(sound.srtcp) == 1)
            await one.check(agents[0])
        assert port.drops == {DropReason.HANDLER_ERROR: 2}
        assert [entry["event"] for entry in logs] == ["a datagram's handler failed"]
        assert str(logs[0]["exc_info"]) == "a fault in a handler"


@pytest.mark.asyncio
async def test_a_full_dtls_queue_is_counted_by_the_port() -> None:
    async with open_port() as port:
        agent = new_agent()
        port.add(agent)
        with client_of(port) as client:
            await client.check(agent)
            for _ in range(200):
                client.send(DTLS)
            await settle(port, 72)
        assert port.drops == Counter({DropReason.DTLS_QUEUE_FULL: 72})


@pytest.mark.asyncio
async def test_a_closed_port_can_be_opened_again() -> None:
    port = await UdpPort.open(["127.0.0.1"], 0)
    port.close()
    port.close()
    again = await UdpPort.open(["127.0.0.1"], port.port)
    assert again.port == port.port
    again.close()


@pytest.mark.asyncio
async def test_a_port_without_an_address_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="stop the process that uses it"):
            await UdpPort.open(["127.0.0.1"], other.getsockname()[1])


@pytest.mark.asyncio
async def test_handshakes_that_clients_of_one_address_begin_are_limited() -> None:
    async with open_port(handshakes=AddressLimiter(20.0, 2)) as port:
        agents = [new_agent() for _ in range(3)]
        with client_of(port) as one, client_of(port) as two, client_of(port) as three:
            for agent, client in zip(agents, (one, two, three), strict=True):
                port.add(agent)
                await client.check(agent, nominate=True)
            for _ in range(5):
                one.send(DTLS)  # what goes on costs nothing more
            two.send(DTLS)
            for agent, flights in ((agents[0], 5), (agents[1], 1)):
                for _ in range(flights):
                    assert await agent._recv() == DTLS
            three.send(DTLS)
            await eventually(lambda: port.drops == {DropReason.HANDSHAKE_LIMITED: 1})
            await asyncio.sleep(0.1)
            three.send(DTLS)  # as DTLS does when it gets no answer
            assert await asyncio.wait_for(agents[2]._recv(), 5) == DTLS
        assert port.drops == {DropReason.HANDSHAKE_LIMITED: 1}
