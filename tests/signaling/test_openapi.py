from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import settings

from tests.support.server import RunningServer, running_server
from zvonim_sfu.rooms.limits import Limits
from zvonim_sfu.signaling.models import request_models
from zvonim_sfu.signaling.openapi import openapi_document

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES_PER_OPERATION = 150

# The document has to hold for any server that is up: here nobody runs into a limit, and 503 is not expected.
SETTINGS = {
    "limit_joins_per_second": 1_000_000,
    "limit_join_burst": 1_000_000,
    "limit_rooms": 1_000_000,
    "limit_participants_per_room": 10_000,
}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """The real command on a loopback port; a thread reads its log meanwhile."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    context = running_server(**SETTINGS)
    try:
        yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
        # Raises if an error was logged, or anything that is no event.
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


DOCUMENT = openapi_document(request_models(Limits()))
schema = schemathesis.openapi.from_dict(DOCUMENT)


def test_the_server_hands_out_this_document(server: RunningServer) -> None:
    with urllib.request.urlopen(f"{server.url}/openapi.json", timeout=10) as answer:
        assert json.load(answer) == DOCUMENT


@schema.parametrize()
@settings(max_examples=EXAMPLES_PER_OPERATION, derandomize=True, deadline=None)
def test_every_answer_is_as_described(case: schemathesis.Case[Any], server: RunningServer) -> None:
    case.call_and_validate(base_url=server.url)


def test_a_room_that_is_there_is_told_as_described(server: RunningServer) -> None:
    join = schema["/api/room/join"]["POST"].Case(body={"room_id": "kitchen", "user_name": "Аня"})
    user_id = join.call_and_validate(base_url=server.url).json()["user_id"]
    info = schema["/api/room/{room_id}/info"]["GET"].Case(path_parameters={"room_id": "kitchen"})
    users = info.call_and_validate(base_url=server.url).json()["users"]
    assert [user["user_id"] for user in users] == [user_id]
    leave = schema["/api/room/leave"]["POST"].Case(body={"room_id": "kitchen", "user_id": user_id})
    assert leave.call_and_validate(base_url=server.url).json() == {"success": True}


def test_each_error_stands_where_it_can_happen() -> None:
    described = {
        (path, status): response["description"]
        for path, methods in DOCUMENT["paths"].items()
        for operation in methods.values()
        for status, response in operation["responses"].items()
    }
    assert "`room-full`" in described["/api/room/join", "409"]
    assert "`invalid-json`" in described["/api/room/leave", "400"]
    assert "`room-not-found`" in described["/api/room/{room_id}/info", "404"]
    retry = DOCUMENT["paths"]["/api/room/join"]["post"]["responses"]["429"]["headers"]["Retry-After"]
    assert retry["required"]


def test_the_limits_of_the_server_stand_in_the_document() -> None:
    document = openapi_document(request_models(Limits(name_length=7, id_length=33)))
    schemas = document["components"]["schemas"]
    assert schemas["JoinRequest"]["properties"]["user_name"]["description"].startswith("1 to 7 characters")
    assert schemas["LeaveRequest"]["properties"]["user_id"]["maxLength"] == 33
