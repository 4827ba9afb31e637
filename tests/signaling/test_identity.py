"""Who may speak for a user: in open mode who knows the user_id, in strict mode who knows the secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.signaling.support import serving
from zvonim_sfu.app import create_app
from zvonim_sfu.config import Settings
from zvonim_sfu.rooms.events import CloseCode

if TYPE_CHECKING:
    from zvonim_sfu.rooms.participant import Participant

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("no_media")]

WRONG = (None, "", "x", "K3dVbq0nJ5sXw1yTzR8uCfLh2mPaGe7o", "é")


def proofs(user: Participant) -> list[dict[str, Any]]:
    """The two ways of proving who one is."""
    return [{"secret": user.secret}, {"protocols": ["zvonim", f"zvonim.secret.{user.secret}"]}]


async def test_in_open_mode_another_member_can_take_a_user_over() -> None:
    # The risk of the documented API: room-state tells everybody's user_id.
    async with serving() as server:
        ann = await server.enter("Ann")
        mallory = await server.enter("Mallory")
        stolen = await server.open(ann.id)
        assert await ann.closed() == CloseCode.REPLACED
        await stolen.send("join", user_id=ann.id)
        state = await stolen.receive("room-state")
        assert state["user_id"] == ann.id
        assert mallory.id in {user["user_id"] for user in state["participants"]}


async def test_in_strict_mode_nobody_can() -> None:
    async with serving(strict=True) as server:
        user, mallory = server.join("Ann"), server.join("Mallory")
        ann = await server.open(user.user_id, secret=user.secret)
        await ann.send("join", user_id=ann.id)
        await ann.receive("room-state")
        for secret in (*WRONG, mallory.secret):
            thief = await server.open(ann.id, secret=secret)
            assert await thief.closed() == CloseCode.INVALID_SECRET
            thief = await server.open(ann.id, protocols=["zvonim", f"zvonim.secret.{mallory.secret}"])
            assert await thief.closed() == CloseCode.INVALID_SECRET
        # She has not noticed anything.
        await ann.send("join", user_id=ann.id)
        assert (await ann.next())["type"] == "room-state"


@pytest.mark.parametrize("strict", [True, False])
async def test_who_proves_itself_gets_in_in_both_modes_and_both_ways(strict: bool) -> None:
    async with serving(strict=strict) as server:
        user = server.join("Ann")
        for proof in proofs(user):
            client = await server.open(user.user_id, **proof)
            assert client.ws.protocol == ("zvonim" if "protocols" in proof else None)
            await client.send("join", user_id=client.id)
            await client.receive("room-state")


async def test_in_open_mode_a_secret_is_not_looked_at() -> None:
    async with serving() as server:
        client = await server.open(server.join("Ann").user_id, secret="x")
        await client.send("join", user_id=client.id)
        await client.receive("room-state")


async def test_a_user_who_does_not_exist_is_told_so_whatever_the_secret() -> None:
    async with serving(strict=True) as server:
        assert await (await server.open("nobody", secret="x")).closed() == CloseCode.UNKNOWN_PARTICIPANT


async def test_others_never_see_a_secret() -> None:
    async with serving(strict=True) as server:
        users = [server.join("Ann"), server.join("Bob")]
        ann, bob = [await server.open(user.user_id, secret=user.secret) for user in users]
        for client in (ann, bob):
            await client.send("join", user_id=client.id)
        await bob.send("offer", to=ann.id, sdp="v=0")
        heard = [await ann.next() for _ in range(3)] + [await bob.next() for _ in range(2)]
        assert {message["type"] for message in heard} == {"room-state", "user-joined", "offer"}
        assert len(users[0].secret) >= 22, "128 bits or more"
        assert users[0].secret != users[1].secret
        assert not any(user.secret in json.dumps(heard) for user in users)


@pytest.mark.parametrize("mode", ["open", "strict"])
async def test_leaving_takes_the_secret_in_strict_mode(mode: Any) -> None:
    settings = Settings(media_host=("127.0.0.1",), media_port=0, identity=mode)
    async with TestClient(TestServer(create_app(settings), host="127.0.0.1")) as client:
        joined = await (await client.post("/api/room/join", json={"user_name": "Ann"})).json()
        named = {"room_id": joined["room_id"], "user_id": joined["user_id"]}
        where = f"/api/room/{joined['room_id']}/info"
        if mode == "strict":
            for secret in WRONG:
                answer = await client.post("/api/room/leave", json=named | {"secret": secret})
                assert (answer.status, (await answer.json())["code"]) == (403, "invalid-secret")
            assert (await client.post("/api/room/leave", json=named)).status == 403
            assert len((await (await client.get(where)).json())["users"]) == 1
        proof = {"secret": joined["secret"]} if mode == "strict" else {}
        for _ in range(2):
            answer = await client.post("/api/room/leave", json=named | proof)
            assert await answer.json() == {"success": True}
        text = await (await client.get(where)).text()
        assert json.loads(text)["users"] == []
        assert joined["secret"] not in text
        assert joined["secret"] not in await (await client.get("/api/statistics")).text()
