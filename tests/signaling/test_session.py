from __future__ import annotations

import asyncio
import gc
import json
import socket
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import WSMsgType, web
from structlog.testing import capture_logs

from zvonim_sfu.rooms.events import Offer
from zvonim_sfu.signaling import session

from .support import TIMEOUT_S, Client, Server, serving, until

if TYPE_CHECKING:
    from zvonim_sfu.rooms.participant import Participant

pytestmark = pytest.mark.usefixtures("no_media")


async def error_after(client: Client, kind: str, **fields: Any) -> str:
    """Send a message and return the code of the error that answers it."""
    await client.send(kind, **fields)
    error = await client.receive("error")
    assert error["request"] == kind
    assert error["message"].endswith(".")
    return str(error["code"])


# Entering


@pytest.mark.asyncio
async def test_join_is_answered_with_the_state_of_the_room() -> None:
    async with serving() as server:
        ann = await server.enter("Ann", offer="microphone camera")
        bob = await server.open(server.join("Bob").user_id)
        await bob.send("join", user_id=bob.id, user_name="Robert")
        state = await bob.next()
        assert state["type"] == "room-state"
        assert [(p["user_name"], len(p["tracks"])) for p in state["participants"]] == [("Ann", 2), ("Robert", 0)]
        assert await ann.receive("user-joined") == {"type": "user-joined", "user_id": bob.id, "user_name": "Robert"}


@pytest.mark.asyncio
async def test_each_client_is_answered_in_the_form_that_it_speaks() -> None:
    async with serving() as server:
        ann = await server.enter("Ann", nested=True)
        bob = await server.enter("Bob")
        await ann.send("offer", to="all", sdp="camera")
        assert await ann.receive("answer") == {"type": "answer", "from": "sfu", "to": ann.id, "sdp": "answer to camera"}
        assert (await bob.receive("track-published"))["source"] == "camera"
        await ann.ws.send_str("no JSON")
        assert (await ann.receive("error"))["code"] == "invalid-json"
        ann.nested = False
        await ann.ws.send_str('{"type": "fly"}')
        assert (await ann.receive("error"))["code"] == "unknown-type"


@pytest.mark.asyncio
async def test_a_new_websocket_is_spoken_to_in_the_old_form() -> None:
    async with serving() as server:
        ann = await server.enter("Ann", nested=True)
        again = await server.open(ann.id)
        again.nested = True
        await until(lambda: ann.peer.resumed)
        ann.peer.offer("outstanding")
        assert (await again.receive("offer"))["sdp"] == "outstanding"


@pytest.mark.asyncio
async def test_the_user_id_has_to_be_that_of_the_websocket() -> None:
    async with serving() as server:
        ann = await server.enter("Ann")
        bob = await server.open(server.join("Bob").user_id)
        assert await error_after(bob, "join", user_id=ann.id, user_name="Ann") == "wrong-user"
        assert bob.participant is not None
        assert not bob.participant.is_joined


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["", "  ", "a\0b", "x" * 65])
async def test_names_are_as_in_the_rest_call(name: str) -> None:
    async with serving() as server:
        bob = await server.open(server.join("Bob").user_id)
        assert await error_after(bob, "join", user_id=bob.id, user_name=name) == "invalid-name"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "fields"),
    [("offer", {"sdp": "camera"}), ("answer", {"sdp": "x"}), ("ice-candidate", {}),
     ("track-muted", {"track_id": "camera", "muted": True}), ("view", {})],
)  # fmt: skip
async def test_join_comes_first(kind: str, fields: dict[str, Any]) -> None:
    async with serving() as server:
        bob = await server.open(server.join("Bob").user_id)
        assert await error_after(bob, kind, **fields) == "join-required"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("room_id", "user_id"), [("room", "nobody"), ("nowhere", "ann"), ("", ""), ("комната", "x" * 5000)]
)
async def test_who_has_not_joined_is_told_so_by_a_close_code(room_id: str, user_id: str) -> None:
    async with serving() as server:
        server.join()
        client = await server.open(user_id, room_id)
        assert await client.closed() == 4004


@pytest.mark.asyncio
async def test_pages_of_other_origins_are_kept_out() -> None:
    async with serving() as server:
        user_id = server.join().user_id
        assert await server.get_status(user_id, {"Origin": "http://evil.example"}) == 403
        client = await server.open(user_id, headers={"Origin": f"http://{server.host}"})
        await client.send("join", user_id=user_id)
        await client.receive("room-state")


# The session with the server


@pytest.mark.asyncio
@pytest.mark.parametrize("to", [{}, {"to": "all"}, {"to": "sfu"}, {"to": None}, {"to": ""}])
async def test_what_is_for_nobody_else_is_for_the_server(to: dict[str, Any]) -> None:
    async with serving() as server:
        ann = await server.enter("Ann")
        await ann.send("offer", sdp="camera", **to)
        assert await ann.next() == {"type": "answer", "from": "sfu", "to": ann.id, "sdp": "answer to camera"}
        ann.peer.offer("an offer")
        assert await ann.next() == {"type": "offer", "from": "sfu", "to": ann.id, "sdp": "an offer"}
        await ann.send("answer", sdp="an answer", **to)
        await ann.send("ice-candidate", candidate="candidate:1", **to)
        await until(lambda: ann.peer.answers == ["an answer"])


@pytest.mark.asyncio
async def test_sources_reach_the_peer_and_slots_the_client() -> None:
    async with serving() as server:
        ann = await server.enter("Ann", offer="screen")
        bob = await server.enter("Bob", delivery="slots")
        await bob.send("offer", to="all", sdp="pairs=1", sources={"0": "camera"})
        assert (await bob.next())["type"] == "answer"
        slots = await bob.next()
        assert slots["changes"][1] == {
            "mid": "v0", "user_id": ann.id, "track_id": "screen", "source": "screen", "muted": False,
        }  # fmt: skip


@pytest.mark.asyncio
async def test_a_description_that_cannot_be_accepted_is_an_error() -> None:
    async with serving() as server:
        ann = await server.enter("Ann", offer="camera")
        await ann.send("offer", to="all", sdp="bad")
        assert await ann.receive("error") == {
            "type": "error", "code": "invalid-sdp", "message": "There is no v= line.", "request": "offer",
        }  # fmt: skip
        await ann.send("offer", to="all", sdp="camera")
        await ann.receive("answer")


@pytest.mark.asyncio
async def test_a_defect_is_logged_once_and_the_call_goes_on() -> None:
    async with serving() as server:
        ann = await server.enter("Ann")
        with capture_logs() as logs:
            assert await error_after(ann, "offer", sdp="boom") == "internal"
        (failure,) = [entry for entry in logs if entry["log_level"] == "error"]
        assert failure["exc_info"]
        await ann.send("offer", sdp="camera")
        await ann.receive("answer")


@pytest.mark.asyncio
async def test_muting_reaches_the_others_and_only_own_tracks_can_be_muted() -> None:
    async with serving() as server:
        ann, bob = await server.enter("Ann", offer="camera"), await server.enter("Bob")
        await ann.send("track-muted", track_id="camera", muted=True)
        assert await bob.receive("track-muted") == {
            "type": "track-muted", "user_id": ann.id, "track_id": "camera", "muted": True,
        }  # fmt: skip
        assert await error_after(bob, "track-muted", track_id="camera", muted=False) == "unknown-track"


@pytest.mark.asyncio
async def test_only_who_has_slots_has_a_view() -> None:
    async with serving() as server:
        ann = await server.enter("Ann")
        assert await error_after(ann, "view", tiles=[{"mid": "4", "width": 1, "height": 1}]) == "slots-required"
        await ann.send("join", user_id=ann.id, delivery="slots")
        await ann.send("view", tiles=[{"mid": "4", "width": 0, "height": 0}], wanted=[])
        assert await error_after(ann, "track-muted", track_id="none", muted=True) == "unknown-track"


@pytest.mark.asyncio
async def test_leaving_closes_and_is_told() -> None:
    async with serving() as server:
        ann, bob = await server.enter("Ann"), await server.enter("Bob")
        await ann.send("leave")
        assert await ann.closed() == 4002
        assert await bob.receive("user-left") == {"type": "user-left", "user_id": ann.id}


# Between members


@pytest.mark.asyncio
async def test_directed_messages_are_relayed_and_nobody_speaks_for_another() -> None:
    async with serving() as server:
        ann, bob = await server.enter("Ann"), await server.enter("Bob", nested=True)
        await ann.send("offer", **{"to": bob.id, "from": "sfu", "sdp": "v=0", "secret": "x"})
        relayed = await bob.next()
        assert relayed == {"type": "offer", "data": {"sdp": "v=0"}, "from": ann.id, "to": bob.id}
        await bob.send("answer", to=ann.id, sdp="v=1")
        assert await ann.receive("answer") == {"type": "answer", "from": bob.id, "to": ann.id, "sdp": "v=1"}
        candidate = {"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "abcd"}
        await bob.send("ice-candidate", to=ann.id, candidate={**candidate, "secret": "x"})
        assert (await ann.receive("ice-candidate"))["candidate"] == candidate
        await bob.send("ice-candidate", to=ann.id, candidate="candidate:2")
        assert (await ann.receive("ice-candidate"))["candidate"] == "candidate:2"


@pytest.mark.asyncio
async def test_only_members_who_are_online_can_be_reached() -> None:
    async with serving() as server:
        ann, offline = await server.enter("Ann"), server.join("Bob")
        elsewhere = server.join("Cem", room_id="other")
        for to in (offline.user_id, elsewhere.user_id, ann.id, "nobody", "ALL"):
            assert await error_after(ann, "offer", to=to, sdp="v=0") == "unknown-recipient"


@pytest.mark.asyncio
async def test_a_member_cannot_cut_off_another_by_flooding() -> None:
    async with serving(outbox_messages=10) as server:
        ann, bob = await server.enter("Ann"), await server.enter("Bob")
        participant = bob.participant
        assert participant is not None
        # Within one turn of the loop nothing leaves the outbox, as with a client that does not read.
        relayed = [participant.relay(Offer(ann.id, bob.id, "v=0")) for _ in range(20)]
        assert relayed == [True] * 5 + [False] * 15
        await bob.receive("offer")


@pytest.mark.asyncio
async def test_who_floods_another_is_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server:
        ann, bob = await server.enter("Ann"), await server.enter("Bob")
        monkeypatch.setattr("zvonim_sfu.signaling.outbox.Outbox.can_take", lambda _outbox, _message: False)
        assert await error_after(ann, "offer", to=bob.id, sdp="v=0") == "recipient-busy"


# The WebSocket


class CountingTransport:
    """A transport that counts what is written to it in one piece."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.writes: list[int] = []

    def write(self, data: bytes) -> None:
        self.writes.append(len(data))
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@pytest.mark.asyncio
async def test_all_that_somebody_is_told_of_one_event_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    transports: dict[str, CountingTransport] = {}
    make = session.Session

    def counted(ws: Any, transport: Any, room: Any, participant: Participant, limits: Any) -> session.Session:
        counting = transports[participant.user_id] = CountingTransport(transport)
        return make(ws, cast("asyncio.Transport", counting), room, participant, limits)

    monkeypatch.setattr(session, "Session", counted)
    async with serving() as server:
        watchers = [await server.enter(f"watcher {k}", delivery="slots", offer="pairs=2") for k in range(3)]
        bob = server.join("Bob")
        await server.open(bob.user_id)
        await asyncio.sleep(0.2)  # until all that they are told of each other has been told
        for transport in transports.values():
            transport.writes.clear()
        bob.join(None, slot_mode=True)
        await asyncio.sleep(0.02)  # as long as an offer may take
        bob.handle_offer("microphone camera pairs=2", {})
        for watcher in watchers:
            for kind in ("user-joined", "track-published", "track-published", "slots"):
                assert (await watcher.receive(kind))["type"] == kind
            assert len(transports[watcher.id].writes) == 1
            transports[watcher.id].writes.clear()
        bob.leave()
        for watcher in watchers:
            for kind in ("user-left", "slots"):
                assert (await watcher.receive(kind))["type"] == kind
            assert len(transports[watcher.id].writes) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("length", [0, 100, 200, 60_000, 70_000, 200_000])
async def test_messages_of_any_length_arrive_in_their_order(length: int) -> None:
    async with serving() as server:
        ann = await server.enter("Ann")
        assert ann.participant is not None
        for number in range(3):
            ann.participant.send(Offer("sfu", ann.id, f"{number}" + "x" * length))
            ann.participant.send(Offer("sfu", ann.id, f"{number}"))
        for number in range(3):
            assert (await ann.receive("offer"))["sdp"] == f"{number}" + "x" * length
            assert (await ann.receive("offer"))["sdp"] == f"{number}"


@pytest.mark.asyncio
async def test_a_newer_websocket_replaces_the_older() -> None:
    async with serving() as server:
        ann = await server.enter("Ann")
        again = await server.open(ann.id)
        assert await ann.closed() == 4001
        await again.send("join", user_id=ann.id)
        await again.receive("room-state")
        assert ann.peer.resumed == 1


@pytest.mark.asyncio
async def test_a_lost_websocket_shows_until_the_grace_time_is_over() -> None:
    async with serving(grace_s=0.1) as server:
        ann, bob = await server.enter("Ann"), await server.enter("Bob")
        participant = ann.participant
        assert participant is not None
        await ann.ws.close()
        await until(lambda: not participant.is_online)
        assert ann.participant is participant
        assert (await bob.receive("user-left"))["user_id"] == ann.id


@pytest.mark.asyncio
async def test_binary_and_malformed_messages_are_answered_and_in_the_end_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "PATIENCE", 3)
    async with serving() as server:
        ann = await server.enter("Ann")
        await ann.ws.send_bytes(b"\x00")
        assert (await ann.receive("error"))["code"] == "invalid-message"
        for _ in range(3):
            await ann.ws.send_str("[]")
        assert await ann.closed() == 4000


@pytest.mark.asyncio
async def test_too_many_messages_are_refused_and_in_the_end_the_client_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PATIENCE", 10)
    async with serving(messages_per_second=1.0, message_burst=5) as server:
        ann = await server.enter("Ann")
        for _ in range(5):
            await ann.send("ice-candidate")
        error = await ann.receive("error")
        assert (error["code"], error["request"]) == ("rate-limited", None)
        for _ in range(50):
            await ann.send("ice-candidate")
        assert await ann.closed() == 4005


@pytest.mark.asyncio
async def test_large_messages_cost_more_than_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LARGEST_AT_ONCE", 2)
    async with serving(message_bytes=10_000, message_bytes_per_second=1.0) as server:
        ann = await server.enter("Ann")
        for _ in range(2):
            await ann.send("offer", to="nobody", sdp="v" * 9000)
            assert (await ann.receive("error"))["code"] == "unknown-recipient"
        await ann.send("offer", to="nobody", sdp="v" * 9000)
        assert (await ann.receive("error"))["code"] == "rate-limited"
        await ann.send("offer", to="nobody", sdp="v")
        assert (await ann.receive("error"))["code"] == "unknown-recipient"


@pytest.mark.asyncio
async def test_a_message_that_is_too_big_closes_the_websocket() -> None:
    async with serving(message_bytes=1000) as server:
        ann = await server.enter("Ann")
        await ann.send("offer", sdp="x" * 2000)
        assert await ann.closed() == 1009


@pytest.mark.asyncio
async def test_stopping_the_server_tells_every_client() -> None:
    async with serving() as server:
        ann, bob = await server.enter("Ann"), await server.enter("Bob")
        closing = asyncio.create_task(server.registry.close())
        assert [await ann.closed(), await bob.closed()] == [1001, 1001]
        await closing


@pytest.mark.asyncio
async def test_a_dead_client_is_found_by_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEARTBEAT_S", 0.1)
    async with serving() as server:
        ann = await server.open(server.join("Ann").user_id, autoping=False)
        participant = ann.participant
        assert participant is not None
        await until(lambda: participant.is_online)
        await until(lambda: not participant.is_online)


@pytest.mark.asyncio
async def test_a_client_that_answers_pings_or_pings_itself_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEARTBEAT_S", 0.1)
    async with serving() as server:
        ann = await server.enter("Ann")
        bob = await server.open(server.join("Bob").user_id, autoping=False)
        reading = asyncio.create_task(ann.ws.receive())
        for _ in range(20):
            await bob.ws.ping(b"still here")
            await asyncio.sleep(0.02)
        for client in (ann, bob):
            assert client.participant is not None
            assert client.participant.is_online
        assert not reading.done()
        reading.cancel()
        kinds = [(await bob.ws.receive()).type for _ in range(10)]
        assert {WSMsgType.PING, WSMsgType.PONG} <= set(kinds)


def test_a_dead_client_is_found_within_30_s() -> None:
    assert 2 * session.HEARTBEAT_S <= 30


@pytest.mark.asyncio
async def test_nothing_keeps_a_closed_websocket() -> None:
    async with serving(grace_s=0.01) as server:
        for name in ("Ann", "Bob"):
            client = await server.enter(name)
            await client.send("leave")
            await client.closed()
            client = await server.enter(name)
            await client.ws.close()
        await until(lambda: not server.registry.rooms["room"].participants)
        del client
        await asyncio.sleep(0.05)
        gc.collect()
        kept = [o for o in gc.get_objects() if isinstance(o, (web.WebSocketResponse, session.Session))]
        assert kept == []


async def raw_client(server: Server, user_id: str) -> socket.socket:
    """A client with the smallest of receive buffers, which has opened a WebSocket and reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", server.port))
    request = (
        f"GET /ws?room_id=room&user_id={user_id} HTTP/1.1\r\nHost: {server.host}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    await loop.sock_sendall(sock, request.encode())
    return sock


async def read_to_end(sock: socket.socket) -> bytes:
    received = b""
    try:
        while data := await asyncio.get_running_loop().sock_recv(sock, 65536):
            received += data
    except ConnectionResetError:
        pass
    return received


@pytest.mark.asyncio
async def test_who_does_not_read_is_cut_off_and_the_room_does_not_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CLOSE_TIMEOUT_S", 0.3)
    async with serving(outbox_bytes=100_000, grace_s=60.0) as server:
        ann = await server.enter("Ann")
        slow = server.join("Slow")
        sock = await raw_client(server, slow.user_id)
        try:
            await until(lambda: slow.is_online)
            before = asyncio.get_running_loop().time()
            for _ in range(1000):
                slow.send(Offer("sfu", slow.user_id, "x" * 10_000))
                await asyncio.sleep(0)  # time to write as much as the socket takes
            assert asyncio.get_running_loop().time() - before < 2
            await until(lambda: not slow.is_online)
            # The socket is gone too, with all that had not been read.
            received = await asyncio.wait_for(read_to_end(sock), TIMEOUT_S)
            assert len(received) < 9_000_000
        finally:
            sock.close()
        await ann.send("offer", sdp="camera")
        await ann.receive("answer")


@pytest.mark.asyncio
async def test_who_falls_behind_and_then_reads_is_told_why() -> None:
    async with serving(outbox_messages=50) as server:
        ann = await server.enter("Ann")
        participant = ann.participant
        assert participant is not None
        for _ in range(60):
            participant.send(Offer("sfu", ann.id, "v=0"))
        assert await ann.closed() == 4003


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(3))
async def test_no_message_breaks_a_session(seed: int) -> None:
    """The hostile ones of test_messages, and everything that means something at the wrong time."""
    async with serving(messages_per_second=1e6, message_burst=10**6) as server:
        ann, bob = await server.enter("Ann", offer="camera"), await server.enter("Bob")
        texts = ["[" * 100_000, '{"type": "offer", "sdp": "\\ud800"}', '{"a": 1, "a": 2}', "9" * 5000, "{}", "NaN"]
        for kind in ("join", "offer", "answer", "ice-candidate", "track-muted", "user-left", "room-state"):
            values: list[Any] = [None, "x", [], {}, 1e308, bob.id, "all"]
            for value in values:
                fields = dict.fromkeys(("user_id", "to", "sdp", "candidate", "track_id", "muted", "sources"), value)
                texts += [json.dumps({"type": kind, **fields}), json.dumps({"type": kind, "data": fields, "to": value})]
        for text in texts[seed::3][: session.PATIENCE]:
            await ann.ws.send_str(text)
        await ann.send("offer", sdp="camera screen")
        async with asyncio.timeout(TIMEOUT_S):
            while (message := await ann.ws.receive_json()).get("sdp") != "answer to camera screen":
                assert message["type"] in ("error", "room-state", "answer", "user-joined")
        await bob.send("track-muted", track_id="x", muted=True)
        await bob.receive("error")


@pytest.mark.asyncio
async def test_what_is_no_websocket_is_refused() -> None:
    async with serving() as server:
        user_id = server.join().user_id
        assert await server.get_status(user_id, {}) == 400
        assert await server.get_status(user_id, {"Upgrade": "websocket", "Connection": "Upgrade"}) == 400
