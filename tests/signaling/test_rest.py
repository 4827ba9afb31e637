from __future__ import annotations

import gzip
import json
import re
import unicodedata
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from zvonim_sfu.app import create_app
from zvonim_sfu.config import Settings
from zvonim_sfu.rooms.limits import Limits, clean_name, valid_id
from zvonim_sfu.signaling.keys import REGISTRY
from zvonim_sfu.signaling.models import request_models, rfc3339_nano

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Client = TestClient[web.Request, web.Application]

MODELS = request_models(Limits())
JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def running(**limits: Any) -> AsyncIterator[Client]:
    settings = Settings(media_host=("127.0.0.1",), media_port=0, **limits)
    async with TestClient(TestServer(create_app(settings), host="127.0.0.1")) as client:
        yield client


async def join(client: Client, **body: object) -> dict[str, Any]:
    async with client.post("/api/room/join", json=body) as answer:
        assert answer.status == 200, await answer.text()
        joined: dict[str, Any] = await answer.json()
        return joined


async def refused(client: Client, method: str, path: str, **request: Any) -> tuple[int, str, str]:
    """Status, code and detail of a request that is answered with a problem document."""
    async with client.request(method, path, **request) as answer:
        assert answer.content_type == "application/problem+json"
        body = await answer.json()
        assert set(body) == {"type", "title", "status", "detail", "code"}
        assert body["status"] == answer.status
        assert body["type"] == f"/docs#{body['code']}"
        return answer.status, body["code"], body["detail"]


async def post(client: Client, body: object, path: str = "/api/room/join") -> tuple[int, str, str]:
    return await refused(client, "POST", path, json=body)


@pytest.mark.asyncio
async def test_join_info_and_leave_as_documented() -> None:
    async with running() as client:
        first = await join(client, room_id="kitchen", user_name=" Аня ")
        assert first.pop("secret")
        assert first == {"room_id": "kitchen", "user_id": first["user_id"], "users_in_room": [first["user_id"]]}
        second = await join(client, room_id="kitchen", user_name="Bob")
        assert second["users_in_room"] == [first["user_id"], second["user_id"]]

        info = await (await client.get("/api/room/kitchen/info")).json()
        created_at = info.pop("created_at")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z", created_at)
        assert abs(datetime.fromisoformat(created_at) - datetime.now(UTC)) < timedelta(minutes=1)
        assert info == {
            "room_id": "kitchen",
            "users": [
                {"user_id": first["user_id"], "user_name": "Аня", "is_online": False},
                {"user_id": second["user_id"], "user_name": "Bob", "is_online": False},
            ],
        }

        body = {"room_id": "kitchen", "user_id": first["user_id"]}
        for _ in range(2):  # leaving twice is fine
            async with client.post("/api/room/leave", json=body) as answer:
                assert (answer.status, await answer.text()) == (200, '{"success":true}')
        info = await (await client.get("/api/room/kitchen/info")).json()
        assert [user["user_id"] for user in info["users"]] == [second["user_id"]]


@pytest.mark.asyncio
@pytest.mark.parametrize("body", [{}, {"room_id": None}, {"room_id": ""}])
async def test_without_a_room_id_a_new_room_is_made(body: dict[str, Any]) -> None:
    async with running() as client:
        one = await join(client, user_name="a", **body)
        two = await join(client, user_name="a", **body)
        assert one["room_id"] != two["room_id"]
        assert valid_id(one["room_id"], 32)


@pytest.mark.asyncio
async def test_a_participant_is_online_while_its_websocket_is_open() -> None:
    async with running() as client:
        joined = await join(client, room_id="r", user_name="a")
        async with client.ws_connect(f"/ws?room_id=r&user_id={joined['user_id']}"):
            info = await (await client.get("/api/room/r/info")).json()
            assert info["users"][0]["is_online"] is True


@pytest.mark.asyncio
async def test_fields_that_are_not_known_are_ignored() -> None:
    async with running() as client:
        joined = await join(client, room_id="r", user_name="a", user_id="mine", avatar="x")
        assert joined["user_id"] != "mine"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "user_name is missing: send it."),
        ({"user_name": None}, "user_name must be a string."),
        ({"user_name": 7}, "user_name must be a string."),
        ({"user_name": "  "}, "user_name: The name must not be empty."),
        ({"user_name": "x" * 65}, "user_name: The name must not be longer than 64 characters."),
        ({"user_name": "a\u202eb"}, "user_name: The name must not contain control characters."),
        ({"user_name": "a\tb"}, "user_name: The name must not contain control characters."),
        ({"user_name": "a", "room_id": 1}, "room_id must be a string."),
        ({"user_name": "a", "room_id": "a/b"}, "room_id: Send an id of 1 to 64 characters out of"),
        ({"user_name": "a", "room_id": "x" * 65}, "room_id: Send an id of 1 to 64 characters out of"),
        ({"user_name": "a", "room_id": "кухня"}, "room_id: Send an id of 1 to 64 characters out of"),
        ([], "The body must be a JSON object."),
        ("text", "The body must be a JSON object."),
    ],
)
async def test_a_value_that_is_not_allowed_is_named(body: object, sentence: str) -> None:
    async with running() as client:
        status, code, detail = await post(client, body)
        assert (status, code) == (422, "invalid-request")
        assert detail.startswith(sentence)


@pytest.mark.asyncio
async def test_leave_and_info_take_ids_only() -> None:
    async with running() as client:
        for body in ({}, {"room_id": "r"}, {"room_id": "r", "user_id": ""}, {"room_id": "r", "user_id": "a b"}):
            assert (await post(client, body, "/api/room/leave"))[:2] == (422, "invalid-request")
        for path in (
            "/api/room/a%20b/info",
            "/api/room/%00/info",
            "/api/room/a%2Fb/info",
            f"/api/room/{'x' * 65}/info",
        ):
            assert (await refused(client, "GET", path))[:2] == (422, "invalid-request")
        assert (await refused(client, "GET", "/api/room/unknown/info"))[:2] == (404, "room-not-found")


@pytest.mark.asyncio
@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"user_name": "\\ud800"}', b"[" * 10_000, b"nan", b"{}{}"])
async def test_a_body_that_is_no_json_is_refused(data: bytes) -> None:
    async with running() as client:
        status, code, _ = await refused(client, "POST", "/api/room/join", data=data, headers=JSON)
        assert (status, code) == (400, "invalid-json")


@pytest.mark.asyncio
async def test_a_body_has_to_be_declared_as_json_and_be_what_its_headers_say() -> None:
    async with running() as client:
        data = json.dumps({"user_name": "a"}).encode()
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream"):
            request: dict[str, Any] = {"data": data, "headers": {"Content-Type": content_type}}
            assert (await refused(client, "POST", "/api/room/join", **request))[:2] == (415, "unsupported-media-type")
        async with client.post(
            "/api/room/join", data=data, headers={"Content-Type": "application/json; charset=utf-8"}
        ) as answer:
            assert answer.status == 200
        headers = JSON | {"Content-Encoding": "gzip"}
        assert (await refused(client, "POST", "/api/room/join", data=data, headers=headers))[:2] == (400, "bad-request")


@pytest.mark.asyncio
async def test_a_body_that_is_too_large_is_refused_packed_or_not() -> None:
    async with running(limit_body_bytes=2048) as client:
        data = json.dumps({"user_name": "a", "x": "y" * 2048}).encode()
        assert (await refused(client, "POST", "/api/room/join", data=data, headers=JSON))[:2] == (413, "body-too-large")
        bomb = gzip.compress(b" " * 10_000_000)
        headers = JSON | {"Content-Encoding": "gzip"}
        # aiohttp's own client would pack it again.
        request: dict[str, Any] = {"data": bomb, "headers": headers, "compress": False}
        assert (await refused(client, "POST", "/api/room/join", **request))[:2] == (413, "body-too-large")


@pytest.mark.asyncio
async def test_unknown_addresses_and_methods_are_problem_documents_too() -> None:
    async with running() as client:
        assert (await refused(client, "GET", "/api/room"))[:2] == (404, "not-found")
        async with client.get("/api/room/join") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
            assert (await answer.json())["code"] == "method-not-allowed"
        assert (await refused(client, "GET", "/ws"))[:2] == (400, "bad-request")


@pytest.mark.asyncio
async def test_full_rooms_and_a_full_server() -> None:
    async with running(limit_participants_per_room=1, limit_rooms=1) as client:
        await join(client, room_id="r", user_name="a")
        assert (await post(client, {"room_id": "r", "user_name": "b"}))[:2] == (409, "room-full")
        assert (await post(client, {"user_name": "b"}))[:2] == (503, "too-many-rooms")


@pytest.mark.asyncio
async def test_joins_from_one_address_are_limited_and_nothing_else_is() -> None:
    async with running(limit_join_burst=2, limit_joins_per_second=0.1) as client:
        joined = [await join(client, room_id="r", user_name="a") for _ in range(2)]
        async with client.post("/api/room/join", json={"user_name": "a"}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (429, "rate-limited")
            assert 1 <= int(answer.headers["Retry-After"]) <= 10
        assert (await client.get("/api/room/r/info")).status == 200
        body = {"room_id": "r", "user_id": joined[0]["user_id"]}
        assert (await client.post("/api/room/leave", json=body)).status == 200


@pytest.mark.asyncio
async def test_an_unexpected_exception_is_logged_once_and_tells_the_client_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as client:
        assert client.app is not None

        def fail(_room_id: str) -> NoReturn:
            raise RuntimeError("inner matter")

        monkeypatch.setattr(client.app[REGISTRY], "get", fail)
        with capture_logs() as events:
            status, code, detail = await refused(client, "GET", "/api/room/r/info")
        assert (status, code) == (500, "internal-error")
        assert "inner" not in detail
        (event,) = [event for event in events if event["log_level"] == "error"]
        assert event["path"] == "/api/room/r/info"


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/api/room/join", "/api/room/r/info", "/api/nowhere"])
async def test_pages_of_other_origins_are_refused(path: str) -> None:
    async with running() as client:
        for method in ("GET", "POST", "OPTIONS"):
            async with client.request(method, path, headers={"Origin": "https://evil.example"}) as answer:
                assert (answer.status, (await answer.json())["code"]) == (403, "origin-not-allowed")
                assert "Access-Control-Allow-Origin" not in answer.headers
                assert answer.headers["Vary"] == "Origin"


@pytest.mark.asyncio
async def test_pages_of_allowed_origins_are_let_in_and_may_read_errors() -> None:
    origin = "https://calls.example"
    async with running(allowed_origins=(origin,)) as client:
        async with client.options(
            "/api/room/join", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
        ) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]
            assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type"
        for body, status in (({"user_name": "a"}, 200), ({}, 422)):
            async with client.post("/api/room/join", json=body, headers={"Origin": origin}) as answer:
                assert answer.status == status
                assert answer.headers["Access-Control-Allow-Origin"] == origin
        async with client.options("/api/room/join", headers={"Origin": origin}) as answer:
            assert answer.status == 405


@pytest.mark.asyncio
async def test_the_servers_own_pages_are_let_in() -> None:
    async with running() as client:
        origin = f"http://127.0.0.1:{client.port}"
        async with client.post("/api/room/join", json={"user_name": "a"}, headers={"Origin": origin}) as answer:
            assert answer.status == 200


@pytest.mark.asyncio
async def test_the_origin_rule_is_for_the_api_alone() -> None:
    async with running() as client, client.get("/healthz", headers={"Origin": "https://evil.example"}) as answer:
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 3, 1, 9, 30, tzinfo=UTC), "2026-03-01T09:30:00Z"),
        (datetime(2026, 3, 1, 9, 30, 10, 250_000, tzinfo=UTC), "2026-03-01T09:30:10.25Z"),
        (datetime(2026, 3, 1, 9, 30, 0, 1, tzinfo=UTC), "2026-03-01T09:30:00.000001Z"),
        (datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=3))), "2026-02-28T22:00:00Z"),
    ],
)
def test_times_are_written_as_go_writes_them(moment: datetime, text: str) -> None:
    assert rfc3339_nano(moment) == text


# The patterns of the OpenAPI document are the rules of rooms/limits.py, written a second time.
ID_PATTERN = MODELS.path_id.json_schema()["pattern"]
NAME_PATTERNS = {
    length: request_models(Limits(name_length=length)).join.model_json_schema()["properties"]["user_name"]["pattern"]
    for length in (1, 2, 5)
}
texts = st.text(max_size=9) | st.text("\u202e\u2069\u2028\x85\x1c \u00a0\u200d\ufeffa~.-/\n", max_size=9)


@given(texts)
def test_the_documented_pattern_of_ids_is_the_rule(text: str) -> None:
    # JSON Schema's $ does not stop before a last newline, as Python's does.
    documented = re.search(ID_PATTERN, text) is not None and not text.endswith("\n")
    assert documented == valid_id(text, 64)


@given(texts.map(partial(unicodedata.normalize, "NFC")), st.sampled_from(sorted(NAME_PATTERNS)))
def test_the_documented_pattern_of_names_is_the_rule(text: str, length: int) -> None:
    try:
        clean_name(text, length)
    except ValueError:
        accepted = False
    else:
        accepted = True
    assert (re.search(NAME_PATTERNS[length], text) is not None) == accepted


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_body_gives_a_request_or_a_validation_error(body: bytes) -> None:
    for model in (MODELS.join, MODELS.leave):
        try:
            model.model_validate_json(body)
        except ValidationError as error:
            assert error.errors()  # noqa: PT017 - that it can be told is the point
