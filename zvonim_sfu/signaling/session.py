"""One WebSocket: what a client says goes to its participant, what the room says goes to the client.

What is in the outbox is written by the room's turns, all of it in one piece: what a room tells its members at a time
costs each of them one system call. Two tasks each: the handler's own, which reads, and one that writes to a client that
is behind with reading. Nothing in the room ever waits for a client.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import WSMsgType, web

from zvonim_sfu.media.session import NegotiationError
from zvonim_sfu.net.limiter import TokenBucket
from zvonim_sfu.rooms.events import SFU_ID, Answer, CloseCode, Error, IceCandidate, Offer, UserJoined
from zvonim_sfu.rooms.limits import clean_name
from zvonim_sfu.rooms.view import Tile, View, Wish
from zvonim_sfu.signaling.frames import PING, text_frame
from zvonim_sfu.signaling.keys import LIMITS, REGISTRY, STRICT_IDENTITY
from zvonim_sfu.signaling.messages import (
    ClientAnswer,
    ClientCandidate,
    ClientOffer,
    ClientView,
    Join,
    Leave,
    MessageError,
    MuteTrack,
    parse_message,
    render,
)
from zvonim_sfu.signaling.origin import origin_allowed
from zvonim_sfu.signaling.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zvonim_sfu.rooms.events import ServerMessage, Signal
    from zvonim_sfu.rooms.limits import Limits
    from zvonim_sfu.rooms.participant import Participant
    from zvonim_sfu.rooms.room import Room
    from zvonim_sfu.signaling.messages import ClientMessage

# A ping at every beat; who has said nothing at all since the last one is gone. So a dead client is found within two
# beats, 26 s. (aiohttp's own heartbeat, in 3.14, starts again with the client's close frame and keeps every closed
# WebSocket in memory for another round.)
HEARTBEAT_S: Final = 13.0
# What a client may offer as subprotocols (RFC 6455 section 1.9). Only the first is ever chosen; the second holds its
# secret, which so stays out of the access logs of proxies, where addresses are written.
SUBPROTOCOL: Final = "zvonim"
PROOF_PREFIX: Final = "zvonim.secret."

# In the outbox: a ping frame in the place of a message.
_PING: Final = ""

# What is written in one piece at most; the writer waits with more until the client has read some of it.
MAX_AT_ONCE_BYTES: Final = 65536

# From the decision to close: time to read what waits, and for the client's own close frame. Then the connection is
# cut. Less than Registry.close waits.
CLOSE_TIMEOUT_S: Final = 2.5

# Refused messages that a client may send at once, and how many of them are forgiven per second. A client that
# waits after an error never gets there.
PATIENCE: Final = 100
FORGIVEN_PER_S: Final = 1.0

# Messages of the largest size that a client may send at once, 0.5 s of work: it answers an offer for each burst of
# joins, and in a full room each answer is almost of that size.
LARGEST_AT_ONCE: Final = 16

# To whom a message may be addressed that is meant for the server. Go's models leave an empty string out.
_SERVER_NAMES: Final = (None, "", "all", SFU_ID)

_REASONS: Final[Mapping[CloseCode, str]] = {
    CloseCode.GOING_AWAY: "The server is being stopped.",
    CloseCode.PROTOCOL_ERROR: "Too many messages that the server does not understand.",
    CloseCode.REPLACED: "This user has opened a newer WebSocket.",
    CloseCode.LEFT: "This user has left the room.",
    CloseCode.TOO_SLOW: "This client does not read what it is sent.",
    CloseCode.UNKNOWN_PARTICIPANT: "No such user in this room. Join again.",
    CloseCode.RATE_LIMITED: "Too many messages.",
    CloseCode.INVALID_SECRET: "The secret that the join was answered with is missing or wrong.",
}


class RequestError(Exception):
    """A message that is understood and still cannot be complied with. Fields as in NegotiationError."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


async def websocket_handler(request: web.Request) -> web.StreamResponse:
    """Serve `WS /ws?room_id=&user_id=`."""
    if not origin_allowed(request):
        raise web.HTTPForbidden(text="Pages of this origin may not use this server.")
    limits = request.app[LIMITS]
    # Without compression: 256 KB of state per client, to save little beside the media.
    ws = web.WebSocketResponse(
        autoping=False,
        timeout=CLOSE_TIMEOUT_S,
        max_msg_size=limits.message_bytes,
        compress=False,
        protocols=(SUBPROTOCOL,),
    )
    await ws.prepare(request)
    room = request.app[REGISTRY].get(request.query.get("room_id", ""))
    participant = None if room is None else room.participants.get(request.query.get("user_id", ""))
    if room is None or participant is None:
        # Only now: a browser tells its page a close code, but no HTTP status.
        await _refuse(ws, CloseCode.UNKNOWN_PARTICIPANT)
    elif request.app[STRICT_IDENTITY] and not participant.is_proven_by(_secret(request)):
        await _refuse(ws, CloseCode.INVALID_SECRET)
    else:
        await Session(ws, request.transport, room, participant, limits).run()
    return ws


def _secret(request: web.Request) -> str | None:
    """Return what the client proves itself with: the query's `secret`, or the subprotocol that holds one."""
    if "secret" in request.query:
        return request.query["secret"]
    offered = (word.strip() for word in ",".join(request.headers.getall("Sec-WebSocket-Protocol", ())).split(","))
    return next((word.removeprefix(PROOF_PREFIX) for word in offered if word.startswith(PROOF_PREFIX)), None)


async def _refuse(ws: web.WebSocketResponse, code: CloseCode) -> None:
    await ws.close(code=code, message=_REASONS[code].encode())


class Session:
    """A participant's WebSocket from opening to close. It is the participant's Connection."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        room: Room,
        participant: Participant,
        limits: Limits,
    ) -> None:
        self._ws = ws
        self._transport = transport
        self._room = room
        self._participant = participant
        self._limits = limits
        self._log = structlog.get_logger().bind(room=room.id, participant=participant.user_id)
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._messages = TokenBucket(limits.messages_per_second, limits.message_burst, now=now)
        self._bytes = TokenBucket(limits.message_bytes_per_second, LARGEST_AT_ONCE * limits.message_bytes, now=now)
        self._patience = TokenBucket(FORGIVEN_PER_S, PATIENCE, now=now)
        self._outbox = Outbox(limits.outbox_messages, limits.outbox_bytes)
        self._close_code: CloseCode | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        self._heard = True
        "Whether the client has said anything since the last beat."
        self._reading: asyncio.Timeout | None = None
        self._closed = asyncio.Event()

    async def run(self) -> None:
        """Serve the WebSocket until either side closes it."""
        self._log.debug("websocket opened")
        writer = asyncio.create_task(self._write())
        try:
            self._participant.attach(self)
            self._beat()
            await self._read()
            if self._close_code is not None:
                await self._ws.close(code=self._close_code, message=_REASONS[self._close_code].encode())
        finally:
            # First what must not be missed, should this task be cancelled too.
            writer.cancel()
            self._participant.detach(self)
            self._cut_off()
            self._closed.set()
            self._log.info("websocket closed", code=int(self._close_code or self._ws.close_code or 0))
            await asyncio.wait((writer,))

    # Connection

    def send(self, message: ServerMessage) -> None:
        """Put a message into the outbox; cut the client off when it is full."""
        self._log.debug(">", type=message.type)
        if self._outbox.put(render(message, nested=self._participant.nested_form)):
            # Who joins is about to offer: what a room is told of both is one write for each client.
            turns = self._room.turns
            (turns.add_later if isinstance(message, UserJoined) else turns.add)(self._flush)
        else:
            self.close(CloseCode.TOO_SLOW)

    def sample(self, message: ServerMessage) -> None:
        """Put a message into the outbox if the client keeps up with reading."""
        if self._keeps_up():
            self.send(message)

    def relay(self, signal: Signal) -> bool:
        """Put another participant's message into the outbox, unless that would fill it by more than half."""
        text = render(signal, nested=self._participant.nested_form)
        if not (self._outbox.can_take(text) and self._outbox.put(text)):
            return False
        self._room.turns.add(self._flush)
        return True

    def close(self, code: CloseCode) -> None:
        """Send what waits, if the client can be expected to read it, and close."""
        if self._close_code is None:
            self._close_code = code
            self._outbox.finish(discard=code == CloseCode.TOO_SLOW)
            self._abort_timer = self._loop.call_later(CLOSE_TIMEOUT_S, self._abort)

    async def wait_closed(self) -> None:
        """Return when the WebSocket is closed."""
        await self._closed.wait()

    # Writing

    def _keeps_up(self) -> bool:
        """Whether all that was written has left for the client."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not transport.get_write_buffer_size()

    def _flush(self) -> None:
        """Write what waits, and with it what the participant is to be told of changes that it has not followed yet."""
        self._room.catch_up(self._participant.user_id)
        self._write_out()

    def _write_out(self) -> None:
        """Write what waits in one piece, or leave it to the writer if the client does not keep up."""
        if not self._keeps_up() or self._ws.closed or self._outbox.waiting_bytes > MAX_AT_ONCE_BYTES:
            self._outbox.wake()
        elif self._transport is not None and (texts := self._outbox.take()):
            self._transport.write(b"".join(PING if text == _PING else text_frame(text) for text in texts))

    # The two tasks

    async def _write(self) -> None:
        try:
            while (text := await self._outbox.get()) is not None:
                await (self._ws.ping() if text == _PING else self._ws.send_str(text))
        except ConnectionError:
            pass  # the reader finds that too
        if self._reading is not None:
            self._reading.reschedule(self._loop.time())

    async def _read(self) -> None:
        """Read until the client closes, or until the writer has sent the last message and ends the reading."""
        try:
            async with asyncio.timeout(None) as self._reading:
                async for message in self._ws:
                    self._heard = True
                    if message.type is WSMsgType.PING:
                        await self._ws.pong(message.data)
                    elif self._close_code is None and message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                        self._handle(message.data if message.type is WSMsgType.TEXT else None)
                        # What it is answered does not wait for the others' turns.
                        self._room.turns.discard(self._flush)
                        self._write_out()
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self._reading = None

    def _beat(self) -> None:
        if self._heard:
            self._heard = False
            self._outbox.put(_PING)
            self._room.turns.add(self._flush)
            self._beat_timer = self._loop.call_later(HEARTBEAT_S, self._beat)
        else:
            self._log.info("websocket silent")
            self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _cut_off(self) -> None:
        """Let go of the socket: closing alone would wait for a client that has stopped reading."""
        for timer in (self._beat_timer, self._abort_timer):
            if timer is not None:
                timer.cancel()
        if self._transport is not None and self._transport.get_write_buffer_size():
            self._transport.abort()

    # Messages

    def _handle(self, text: str | None) -> None:
        """Handle one message; None stands for a binary one."""
        now = self._loop.time()
        if not self._messages.take(now=now) or not self._bytes.take(len(text or ""), now=now):
            self._refuse(CloseCode.RATE_LIMITED, Error("rate-limited", "Too many messages. Send less per second."))
            return
        if text is None:
            self._refuse(CloseCode.PROTOCOL_ERROR, Error("invalid-message", "A message has to be text, not binary."))
            return
        try:
            message, self._participant.nested_form = parse_message(text)
        except MessageError as exc:
            if exc.nested is not None:
                self._participant.nested_form = exc.nested
            self._refuse(CloseCode.PROTOCOL_ERROR, Error(exc.code, exc.message, exc.request))
            return
        self._log.debug("<", type=message.type)
        try:
            if not self._participant.is_joined and not isinstance(message, (Join, Leave)):
                raise RequestError("join-required", "Send a join message first.")
            _HANDLERS[type(message)](self, message)
        except (RequestError, NegotiationError) as exc:
            self.send(Error(exc.code, exc.message, message.type))
        except Exception:  # noqa: BLE001 - whatever it was, the client can go on
            self._log.exception("message failed", type=message.type)
            self.send(Error("internal", "The server failed to handle the message. Join again.", message.type))

    def _refuse(self, code: CloseCode, error: Error) -> None:
        """Send an error; close the WebSocket when it is one of too many."""
        self.send(error)
        if not self._patience.take(now=self._loop.time()):
            self.close(code)

    def _on_join(self, message: Join) -> None:
        if message.user_id != self._participant.user_id:
            raise RequestError("wrong-user", "The user_id has to be that of this WebSocket's address.")
        name = message.user_name
        if name is not None:
            try:
                name = clean_name(name, self._limits.name_length)
            except ValueError as exc:
                raise RequestError("invalid-name", str(exc)) from None
        self._participant.join(name, slot_mode=message.delivery == "slots")

    def _on_offer(self, message: ClientOffer) -> None:
        if message.to in _SERVER_NAMES:
            self._participant.handle_offer(message.sdp, message.sources)
        else:
            self._relay(Offer(self._participant.user_id, str(message.to), message.sdp))

    def _on_answer(self, message: ClientAnswer) -> None:
        if message.to in _SERVER_NAMES:
            self._participant.handle_answer(message.sdp)
        else:
            self._relay(Answer(self._participant.user_id, str(message.to), message.sdp))

    def _on_candidate(self, message: ClientCandidate) -> None:
        # The server's ICE-lite agent answers checks from wherever they come, and never sends any of its own
        # (RFC 8445 section 2.5): it has no use for candidates.
        if message.to not in _SERVER_NAMES:
            self._relay(IceCandidate(self._participant.user_id, str(message.to), message.candidate))

    def _on_mute(self, message: MuteTrack) -> None:
        if not self._participant.set_muted(message.track_id, muted=message.muted):
            raise RequestError("unknown-track", "This user publishes no track of that track_id.")

    def _on_view(self, message: ClientView) -> None:
        tiles = {tile.mid: Tile(tile.width, tile.height) for tile in message.tiles}
        wishes = [Wish(wanted.user_id, wanted.track_id, wanted.pinned) for wanted in message.wanted]
        if not self._participant.set_view(View(tiles, tuple(wishes))):
            raise RequestError("slots-required", "Only a client that joined with delivery: slots has tiles.")

    def _on_leave(self, _message: Leave) -> None:
        self._participant.leave()

    def _relay(self, signal: Signal) -> None:
        recipient = self._room.participants.get(signal.to)
        if recipient is None or recipient is self._participant or not recipient.is_online:
            raise RequestError("unknown-recipient", "Nobody else in this room is online under that user_id.")
        if not recipient.relay(signal):
            raise RequestError("recipient-busy", "The other client is behind with reading. Send it again later.")


_HANDLERS: Final[Mapping[type[ClientMessage], Callable[[Session, Any], None]]] = {
    Join: Session._on_join,
    ClientOffer: Session._on_offer,
    ClientAnswer: Session._on_answer,
    ClientCandidate: Session._on_candidate,
    MuteTrack: Session._on_mute,
    ClientView: Session._on_view,
    Leave: Session._on_leave,
}
