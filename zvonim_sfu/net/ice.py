"""The ICE-lite agent (RFC 8445, section 2.5): answers checks and follows the address that the client nominates.

Only this module knows aioice, whose `stun` module reads and writes the bytes. An `IceAgent` stands in for
aiortc's RTCIceTransport under RTCDtlsTransport, which uses `role`, `_recv` and `_send` of it.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import string
import struct
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from aioice import stun

from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.path import send

if TYPE_CHECKING:
    from zvonim_sfu.net.path import Path
    from zvonim_sfu.net.receiving import Ingress
    from zvonim_sfu.rtp.packet import RtpPacket

# RFC 8839, section 5.4: at least 4 characters (24 bits), and at least 22 (128 bits); one here has 5.95 bits.
UFRAG_CHARACTERS: Final = 8
PWD_CHARACTERS: Final = 24
ICE_CHARACTERS: Final = string.ascii_letters + string.digits

# Four times a wake-up's datagrams: a data channel's burst passes, and an agent holds 256 KiB at most.
DTLS_QUEUE_MAX_DATAGRAMS: Final = 128

# A client renews consent every 5 s or sooner (RFC 7675, section 5.1). One whose address changed behind its back (a
# router's new mapping) goes on checking what it has nominated, and Firefox does not say so again: its first check from
# the new address comes about 5 s after the last from the old.
PATH_SILENT_S: Final = 4.0

ROLE_CONFLICT: Final = (487, "Role Conflict")
MAGIC_COOKIE: Final = struct.pack("!I", stun.COOKIE)


class StunError(ValueError):
    """A datagram that looks like STUN and is not, or a binding request without a usable USERNAME."""


class IceListener(Protocol):
    """The owner of an agent: what it is told. The port calls all but the last."""

    def on_rtp(self, packet: RtpPacket, now: float) -> None:
        """Take an RTP packet that came from an authenticated address, and was decrypted."""

    def on_srtcp(self, data: bytes, now: float) -> None:
        """Take an SRTCP packet that came from an authenticated address."""

    def drop(self, reason: DropReason) -> None:
        """Count an SRTP packet from an authenticated address that was dropped."""

    def on_path(self, path: Path) -> None:
        """Send by this path from now on: the first valid one, then the newest nominated one."""


@dataclass(slots=True, frozen=True)
class Check:
    """A connectivity check, not authenticated yet."""

    local_ufrag: str
    remote_ufrag: str
    message: stun.Message


def parse_check(data: bytes) -> Check | None:
    """Return the connectivity check in a datagram, None if it is STUN of another kind. Raises StunError."""
    if data[4:8] != MAGIC_COOKIE:
        raise StunError("no STUN magic cookie")
    try:
        # A FINGERPRINT that does not match is an error there.
        message = stun.parse_message(data)
    except (ValueError, struct.error) as error:
        raise StunError(str(error)) from error
    if (message.message_method, message.message_class) != (stun.Method.BINDING, stun.Class.REQUEST):
        return None
    # RFC 8445, section 7.2.2: the name is the receiver's fragment, a colon and the sender's fragment.
    local_ufrag, colon, remote_ufrag = message.attributes.get("USERNAME", "").partition(":")
    if not (local_ufrag and colon and remote_ufrag):
        raise StunError("a check without a USERNAME of two fragments")
    return Check(local_ufrag, remote_ufrag, message)


class IceAgent:
    """The server's end of one transport's ICE association.

    Its owner adds it to the UdpPort, removes it there and closes it.
    """

    role: Final = "controlled"
    """An ICE-lite agent never controls a full one (RFC 8445, section 6.1.1)."""

    ingress: Ingress
    """What decrypts the packets of its addresses; the port makes it when the agent is added."""

    def __init__(self, listener: IceListener, credentials: tuple[str, str] | None = None) -> None:
        """Make an agent; `credentials` (fragment, password) are those of the agent that it is to replace."""
        self.listener = listener
        self.local_ufrag, self.local_pwd = credentials or new_credentials()
        self.remote: tuple[str, str] | None = None
        """The client's credentials; others in a later description are an ICE restart (RFC 8839, 4.4.1.1.1)."""
        self.selected: Path | None = None
        self.last_check = -math.inf
        """When the last valid check came, on the clock of `now`: a silent client went away."""
        self.drops: Counter[DropReason] = Counter()
        """Replaced by the port's counter when the agent is added to a port."""
        self._selected_check = -math.inf
        self.shakes_hands = False
        """Whether a DTLS datagram came: the port lets only so many begin with that from one address."""
        self._closed = False
        self._datagrams: deque[bytes] = deque()
        self._readable = asyncio.Event()

    def set_remote(self, ufrag: str, pwd: str) -> None:
        """Accept checks of this client only; until then, those of any that knows the password.

        Checks may well arrive before the client's description does.
        """
        self.remote = (ufrag, pwd)

    def restart(self, credentials: tuple[str, str]) -> None:
        """Take new local credentials (called by the port, which knows the agent by its username fragment).

        Until the client nominates a path with them, the selected one stays.
        """
        self.local_ufrag, self.local_pwd = credentials
        self.remote = None

    def handle_check(self, check: Check, path: Path, now: float) -> bytes | None:
        """Answer a check that names this agent; None, and no effect, if it is not authentic.

        Before the first nomination the first valid path is selected, after it the newest nominated one; and whichever
        the client checks, once the selected one has fallen silent.
        """
        key = self.local_pwd.encode()
        if not check.message.check_message_integrity(key):
            return None
        if self.remote is not None and self.remote[0] != check.remote_ufrag:
            return None
        response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, check.message.transaction_id)
        if "ICE-CONTROLLED" in check.message.attributes:
            # RFC 8445, section 7.3.1.1: the client is to switch, a lite agent has no other role.
            response.message_class = stun.Class.ERROR
            response.attributes["ERROR-CODE"] = ROLE_CONFLICT
        else:
            response.attributes["XOR-MAPPED-ADDRESS"] = path.address[:2]
            self.last_check = now
            nominating = "USE-CANDIDATE" in check.message.attributes
            if nominating or self.selected is None or now - self._selected_check > PATH_SILENT_S:
                self._select(path)
            if path == self.selected:
                self._selected_check = now
        response.add_message_integrity(key)
        return bytes(response)

    def feed_dtls(self, data: bytes) -> None:
        """Queue a DTLS datagram for `_recv`; a full queue drops it, as a network would."""
        if len(self._datagrams) >= DTLS_QUEUE_MAX_DATAGRAMS:
            self.drops[DropReason.DTLS_QUEUE_FULL] += 1
            return
        self._datagrams.append(data)
        self._readable.set()

    def close(self) -> None:
        """End the association: `_recv` and `_send` raise ConnectionError from now on."""
        self._closed = True
        self._datagrams.clear()
        self._readable.set()

    async def _recv(self) -> bytes:
        """Wait for the next DTLS datagram (called by RTCDtlsTransport)."""
        self._check_open()
        while not self._datagrams:
            self._readable.clear()
            await self._readable.wait()
            self._check_open()
        return self._datagrams.popleft()

    async def _send(self, data: bytes) -> None:
        """Send a DTLS datagram by the selected path (called by RTCDtlsTransport; DTLS repeats what is lost)."""
        self._check_open()
        drop = DropReason.NO_PATH if self.selected is None else send(self.selected, data)
        if drop is not None:
            self.drops[drop] += 1

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionError("the transport is closed")

    def _select(self, path: Path) -> None:
        if path != self.selected:
            self.selected = path
            self.listener.on_path(path)


def new_credentials() -> tuple[str, str]:
    """Return a random username fragment and password (RFC 8839, section 5.4)."""
    return _random(UFRAG_CHARACTERS), _random(PWD_CHARACTERS)


def _random(length: int) -> str:
    return "".join(secrets.choice(ICE_CHARACTERS) for _ in range(length))
