from __future__ import annotations

import asyncio
import contextlib
import math
import re
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from tests.net.support import REMOTE_UFRAG, RecordingListener, check_message, new_agent
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.ice import DTLS_QUEUE_MAX_DATAGRAMS, Check, IceAgent, StunError, parse_check
from zvonim_sfu.net.path import Path

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        yield held


def answer(agent: IceAgent, path: Path, now: float = 1.0, **options: Any) -> stun.Message | None:
    check = parse_check(bytes(check_message(agent, **options)))
    assert check is not None
    response = agent.handle_check(check, path, now)
    return None if response is None else stun.parse_message(response)


def stun_bytes(*attributes: tuple[int, bytes], message_type: int = 0x0001) -> bytes:
    body = b"".join(struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4) for kind, value in attributes)
    return struct.pack("!HHI12s", message_type, len(body), stun.COOKIE, b"transaction!") + body


def test_credentials_are_random_and_of_the_required_strength() -> None:
    one, two = new_agent(), new_agent()
    assert one.local_ufrag != two.local_ufrag
    assert one.local_pwd != two.local_pwd
    # RFC 8839, section 5.4.
    assert re.fullmatch(r"[A-Za-z0-9+/]{4,256}", one.local_ufrag)
    assert re.fullmatch(r"[A-Za-z0-9+/]{22,256}", one.local_pwd)


def test_a_replacement_keeps_the_credentials() -> None:
    old = new_agent()
    new = IceAgent(RecordingListener(), (old.local_ufrag, old.local_pwd))
    assert (new.local_ufrag, new.local_pwd) == (old.local_ufrag, old.local_pwd)


@pytest.mark.parametrize("address", [("127.0.0.1", 4000), ("::1", 4000, 0, 0)])
def test_an_authentic_check_gets_a_signed_response_with_its_address(address: Any, sock: socket.socket) -> None:
    agent = new_agent()
    response = answer(agent, Path(sock, address))
    assert response is not None
    assert response.message_class == stun.Class.RESPONSE
    assert response.attributes["XOR-MAPPED-ADDRESS"] == address[:2]
    assert response.check_message_integrity(agent.local_pwd.encode())
    assert list(response.attributes)[-1] == "FINGERPRINT"


@pytest.mark.parametrize(
    "options",
    [
        {"pwd": "not-the-password-of-this"},
        {"username": "{ufrag}:somebody-else"},
    ],
)
def test_a_check_of_somebody_else_has_no_answer_and_no_effect(options: dict[str, str], sock: socket.socket) -> None:
    listener = RecordingListener()
    agent = new_agent(listener)
    filled: dict[str, Any] = {key: value.format(ufrag=agent.local_ufrag) for key, value in options.items()}
    assert answer(agent, Path(sock, ("127.0.0.1", 4000)), nominate=True, **filled) is None
    assert agent.selected is None
    assert agent.last_check == -math.inf
    assert listener.paths == []


def test_a_check_without_integrity_has_no_answer(sock: socket.socket) -> None:
    agent = new_agent()
    check = parse_check(stun_bytes((0x0006, f"{agent.local_ufrag}:{REMOTE_UFRAG}".encode())))
    assert check is not None
    assert agent.handle_check(check, Path(sock, ("127.0.0.1", 4000)), 1.0) is None


def test_checks_may_come_before_the_clients_description(sock: socket.socket) -> None:
    agent = IceAgent(RecordingListener())
    assert answer(agent, Path(sock, ("127.0.0.1", 4000))) is not None
    agent.set_remote("another", "password")
    assert agent.remote == ("another", "password")
    assert answer(agent, Path(sock, ("127.0.0.1", 4000))) is None


def test_a_check_in_the_agents_own_role_is_a_role_conflict(sock: socket.socket) -> None:
    listener = RecordingListener()
    agent = new_agent(listener)
    response = answer(agent, Path(sock, ("127.0.0.1", 4000)), role="ICE-CONTROLLED", nominate=True)
    assert response is not None
    assert response.message_class == stun.Class.ERROR
    assert response.error_code == 487
    assert response.check_message_integrity(agent.local_pwd.encode())
    assert "FINGERPRINT" in response.attributes
    assert listener.paths == []


def test_the_first_valid_path_serves_until_one_is_nominated_then_the_newest_nominated(
    sock: socket.socket,
) -> None:
    listener = RecordingListener()
    agent = new_agent(listener)
    one, two, three = (Path(sock, ("127.0.0.1", number)) for number in (4001, 4002, 4003))
    answer(agent, one)
    answer(agent, two)
    assert agent.selected == one
    answer(agent, two, nominate=True)
    answer(agent, two, nominate=True)
    answer(agent, three)
    assert agent.selected == two
    answer(agent, three, nominate=True, now=9.0)
    assert agent.selected == three
    assert agent.last_check == 9.0
    assert listener.paths == [one, two, three]


def test_the_time_of_the_last_check_tells_silence(sock: socket.socket) -> None:
    agent = new_agent()
    answer(agent, Path(sock, ("127.0.0.1", 4000)), now=2.5)
    answer(agent, Path(sock, ("127.0.0.1", 4000)), now=5.0, pwd="wrong")
    assert agent.last_check == 2.5


@pytest.mark.asyncio
async def test_dtls_datagrams_are_handed_on_in_order() -> None:
    agent = new_agent()
    waiting = asyncio.create_task(agent._recv())
    await asyncio.sleep(0)
    agent.feed_dtls(b"one")
    agent.feed_dtls(b"two")
    assert await waiting == b"one"
    assert await agent._recv() == b"two"


@pytest.mark.asyncio
async def test_a_cancelled_wait_for_dtls_loses_nothing() -> None:
    agent = new_agent()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(agent._recv(), timeout=0.001)
    agent.feed_dtls(b"one")
    assert await agent._recv() == b"one"


@pytest.mark.asyncio
async def test_the_dtls_queue_is_bounded_and_what_it_drops_is_counted() -> None:
    agent = new_agent()
    for number in range(DTLS_QUEUE_MAX_DATAGRAMS + 3):
        agent.feed_dtls(b"%d" % number)
    assert agent.drops == {DropReason.DTLS_QUEUE_FULL: 3}
    assert await agent._recv() == b"0"
    agent.feed_dtls(b"again")
    assert agent.drops == {DropReason.DTLS_QUEUE_FULL: 3}


@pytest.mark.asyncio
async def test_closing_ends_waiting_receiving_and_sending() -> None:
    agent = new_agent()
    agent.feed_dtls(b"unread")
    assert await agent._recv() == b"unread"
    waiting = asyncio.create_task(agent._recv())
    await asyncio.sleep(0)
    agent.close()
    agent.close()
    with pytest.raises(ConnectionError):
        await waiting
    agent.feed_dtls(b"late")
    with pytest.raises(ConnectionError):
        await agent._recv()
    with pytest.raises(ConnectionError):
        await agent._send(b"late")


@pytest.mark.asyncio
async def test_dtls_leaves_by_the_selected_path_and_before_there_is_one_is_dropped(
    sock: socket.socket,
) -> None:
    agent = new_agent()
    await agent._send(b"too early")
    assert agent.drops == {DropReason.NO_PATH: 1}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(5)
        answer(agent, Path(sock, client.getsockname()))
        await agent._send(b"hello")
        assert client.recvfrom(100) == (b"hello", sock.getsockname())


@pytest.mark.parametrize("message_type", [0x0011, 0x0101, 0x0111, 0x0003])
def test_stun_that_is_no_binding_request_is_no_check(message_type: int) -> None:
    assert parse_check(stun_bytes((0x0006, b"a:b"), message_type=message_type)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01\x00\x00",
        stun_bytes((0x0006, b"a:b"))[:4] + b"RFC3489!" + bytes(12),
        stun_bytes(),
        stun_bytes((0x0006, b"no colon")),
        stun_bytes((0x0006, b":only-remote")),
        stun_bytes((0x0006, b"only-local:")),
        stun_bytes((0x0006, b"\xff\xfe:b")),
        stun_bytes((0x0006, b"a:b"), (0x0024, b"12345")),
        stun_bytes((0x0006, b"a:b"), (0x0020, b"\x00\x01")),
        stun_bytes((0x0006, b"a:b"), (0x8028, b"\x00\x00\x00\x00")),
        stun_bytes((0x0006, b"a:b")) + b"more",
        stun_bytes((0x0006, b"a:b"), message_type=0x0FFF),
    ],
)
def test_malformed_stun_is_the_one_error(data: bytes) -> None:
    with pytest.raises(StunError):
        parse_check(data)


def test_a_check_names_both_fragments() -> None:
    check = parse_check(stun_bytes((0x0006, b"local:remote")))
    assert check is not None
    assert (check.local_ufrag, check.remote_ufrag) == ("local", "remote")


attribute_types = st.sampled_from(sorted(stun.ATTRIBUTES_BY_TYPE)) | st.integers(0, 0xFFFF)
attributes = st.tuples(attribute_types, st.binary(max_size=32))


@given(
    st.binary(max_size=200)
    | st.binary(max_size=60).map(lambda rest: b"\x00\x01\x00\x08" + stun_bytes()[4:8] + rest)
    | st.builds(
        lambda parts, kind: stun_bytes(*parts, message_type=kind),
        st.lists(attributes, max_size=6),
        st.just(0x0001) | st.integers(0, 0x3FFF),
    )
)
def test_any_bytes_are_a_check_or_other_stun_or_the_one_error(data: bytes) -> None:
    with contextlib.suppress(StunError):
        assert isinstance(parse_check(data), Check | None)
