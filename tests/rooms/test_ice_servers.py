from __future__ import annotations

import time

import pytest

from tests.rooms.support import Call, Client
from zvonim_sfu.rooms.events import IceServer, RoomState
from zvonim_sfu.rooms.ice_servers import SharedSecretServer, ice_servers_for
from zvonim_sfu.rooms.limits import Limits
from zvonim_sfu.rooms.registry import Registry

URLS = ("turn:turn.example:3478",)


@pytest.mark.parametrize(
    ("secret", "expires", "user_id", "credential"),
    [
        # printf %s USERNAME | openssl dgst -binary -sha1 -hmac SECRET | base64
        ("north", 1700000000, "qU2w8Xr0b1mZ4cVd7TfA", "drX90i0k2Y66YorNSkPJov5COz4="),
        ("logen", 1433895918, "ninefingers", "HY+Vd729N0UZ/xCzjg1F0GsoMK8="),
    ],
)
def test_credentials_are_those_that_coturn_expects(secret: str, expires: int, user_id: str, credential: str) -> None:
    server = SharedSecretServer(URLS, secret, lifetime_s=600)
    assert server.for_user(user_id, expires - 600 + 0.9) == IceServer(URLS, f"{expires}:{user_id}", credential)


def test_servers_without_a_secret_are_told_as_they_are() -> None:
    stun, turn = IceServer(("stun:stun.example",)), IceServer(URLS, "ann", "word")
    shared = SharedSecretServer(URLS, "north")
    told = ice_servers_for("bob", [stun, shared, turn], 0)
    assert (told[0], told[2]) == (stun, turn)
    assert told[1].username == "86400:bob"


def test_the_secret_does_not_get_into_logs() -> None:
    assert "north" not in repr(SharedSecretServer(URLS, "north"))


@pytest.mark.asyncio
async def test_each_participant_gets_its_own_with_each_room_state() -> None:
    call = Call()
    call.registry = Registry(call.node.as_node(), Limits(), ice_servers=[SharedSecretServer(URLS, "north", 90)])

    def told(client: Client) -> IceServer:
        (state,) = client.connection.take(RoomState)
        (server,) = state.ice_servers
        assert server.username is not None
        expires, _, user_id = server.username.partition(":")
        assert user_id == client.id
        assert 85 < int(expires) - time.time() <= 90
        return server

    ann, bob = call.enter("Ann"), call.enter("Bob")
    assert told(ann).credential != told(bob).credential
    ann.participant.join(None, slot_mode=False)
    told(ann)
