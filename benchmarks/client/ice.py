"""The client's half of ICE (RFC 8445) towards one candidate of a server, without I/O."""

from __future__ import annotations

import os
from typing import Final

from aioice import stun

from zvonim_sfu.net.ice import new_credentials

# Host candidate, component 1, preferred: what a browser computes for its peer-reflexive candidate.
_PRIORITY: Final = 1845501695


class IceClient:
    """Checks, and answers checks; either role."""

    def __init__(self) -> None:
        self.local_ufrag, self.local_pwd = new_credentials()
        self.connected = False
        """Whether the server has answered a check."""
        self.controlling = True
        """Whether the client nominates; with a lite server it does always."""
        self._remote_ufrag = self._remote_pwd = ""
        self._tie_breaker = int.from_bytes(os.urandom(8))
        self._pending: set[bytes] = set()

    def set_remote(self, ufrag: str, pwd: str, *, controlling: bool) -> None:
        """Take the server's credentials, and who nominates."""
        self._remote_ufrag, self._remote_pwd, self.controlling = ufrag, pwd, controlling

    def check(self) -> bytes:
        """Return a connectivity check, which nominates if that is the client's part; later checks renew consent."""
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{self._remote_ufrag}:{self.local_ufrag}"
        message.attributes["PRIORITY"] = _PRIORITY
        message.attributes["ICE-CONTROLLING" if self.controlling else "ICE-CONTROLLED"] = self._tie_breaker
        if self.controlling:
            message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(self._remote_pwd.encode())
        message.add_fingerprint()
        self._pending.add(message.transaction_id)
        return bytes(message)

    def receive(self, datagram: bytes, sender: tuple[str, int]) -> bytes | None:
        """Take a STUN datagram from the server; returns the answer to one that asks."""
        message = stun.parse_message(datagram)
        if message.message_class == stun.Class.REQUEST:
            return self._answer(message, sender)
        if message.message_class == stun.Class.RESPONSE and message.transaction_id in self._pending:
            self._pending.clear()
            self.connected = True
        return None

    def _answer(self, request: stun.Message, sender: tuple[str, int]) -> bytes | None:
        key = self.local_pwd.encode()
        if not request.check_message_integrity(key):
            return None
        response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
        response.attributes["XOR-MAPPED-ADDRESS"] = sender
        response.add_message_integrity(key)
        response.add_fingerprint()
        return bytes(response)
