"""STUN and TURN servers as participants are told of them, with credentials made for each where a secret is shared."""

from __future__ import annotations

import hmac
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from zvonim_sfu.rooms.events import IceServer

if TYPE_CHECKING:
    from collections.abc import Iterable

# A day: longer than calls last. A client keeps its credentials for as long as its peer connection lives, and TURN
# servers ask for them again when an allocation is renewed.
DEFAULT_LIFETIME_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class SharedSecretServer:
    """A TURN server that knows no users, but shares a secret with this server.

    The scheme of draft-uberti-behave-turn-rest-00, which coturn (use-auth-secret) and others implement.
    """

    urls: tuple[str, ...]
    secret: str = field(repr=False)
    lifetime_s: int = DEFAULT_LIFETIME_S

    def for_user(self, user_id: str, unix_time: float) -> IceServer:
        """Return the server with credentials for this user that are good for `lifetime_s` from this time on."""
        username = f"{int(unix_time) + self.lifetime_s}:{user_id}"
        mac = hmac.digest(self.secret.encode(), username.encode(), "sha1")
        return IceServer(self.urls, username, b64encode(mac).decode())


def ice_servers_for(
    user_id: str, servers: Iterable[IceServer | SharedSecretServer], unix_time: float
) -> tuple[IceServer, ...]:
    """Return the servers as this user is told of them."""
    return tuple(
        server.for_user(user_id, unix_time) if isinstance(server, SharedSecretServer) else server for server in servers
    )
