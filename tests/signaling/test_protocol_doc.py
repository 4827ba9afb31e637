"""docs/protocol.md says what the code does."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from zvonim_sfu.media import peer, transport
from zvonim_sfu.rooms.events import CloseCode
from zvonim_sfu.rooms.limits import Limits
from zvonim_sfu.signaling import models, session
from zvonim_sfu.signaling.messages import SERVER_MESSAGE, ClientMessage, parse_message, render

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "protocol.md").read_text()
SOURCES = sorted((ROOT / "zvonim_sfu").rglob("*.py"))

EXAMPLES = [
    (match[1], match[2], f"line {TEXT[: match.start()].count(chr(10)) + 1}")
    for match in re.finditer(r"^```json ?(\S*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
]


def examples(role: str) -> list[Any]:
    return [pytest.param(text, id=line) for kind, text, line in EXAMPLES if kind == role]


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(title: str) -> list[str]:
    """The first column of the table in a section."""
    cells = re.findall(r"^\| ([^|]*) \|", section(title), re.MULTILINE)
    return [cell.strip("`") for cell in cells[1:]]


def flatten(message: dict[str, Any]) -> dict[str, Any]:
    return {**message.pop("data"), **message} if "data" in message else message


def test_every_example_says_who_speaks() -> None:
    roles = {role for role, _, _ in EXAMPLES}
    assert {role for role in roles if not role.startswith("rest:")} == {"client", "server"}
    assert TEXT.count("```") == 2 * len(EXAMPLES)


@pytest.mark.parametrize("text", examples("client"))
def test_the_server_understands_what_the_document_has_clients_say(text: str) -> None:
    message, nested = parse_message(text)
    fields = json.loads(text)
    assert nested == ("data" in fields)
    # Nothing in it is ignored.
    known = message.model_dump(mode="json", exclude_unset=True)
    assert known == flatten(fields)


@pytest.mark.parametrize("text", examples("server"))
def test_the_server_says_exactly_what_the_document_has_it_say(text: str) -> None:
    fields = json.loads(text)
    message = SERVER_MESSAGE.validate_python(flatten(json.loads(text)), strict=False)
    assert json.loads(render(message, nested="data" in fields)) == fields


@pytest.mark.parametrize(("role", "text"), [(role, text) for role, text, _ in EXAMPLES if role.startswith("rest:")])
def test_rest_examples_are_of_the_models(role: str, text: str) -> None:
    model = getattr(models, role.removeprefix("rest:"))
    assert model.model_validate_json(text).model_dump(mode="json") == json.loads(text)


def test_every_message_has_an_example() -> None:
    clients = {json.loads(text)["type"] for role, text, _ in EXAMPLES if role == "client"}
    assert clients == {get_args(model.model_fields["type"].annotation)[0] for model in get_args(ClientMessage)}
    servers = {json.loads(text)["type"] for role, text, _ in EXAMPLES if role == "server"}
    schema = SERVER_MESSAGE.json_schema()
    assert servers == set(schema["discriminator"]["mapping"])


def test_the_error_codes_are_those_of_the_code() -> None:
    pattern = r'\b(?:RequestError|NegotiationError|MessageError|Error)\(\s*(?:code=)?"([a-z-]+)"'
    codes = {code for path in SOURCES for code in re.findall(pattern, path.read_text())}
    # The messages' own faults are made in two steps.
    codes |= {"unknown-type", "invalid-message"}
    assert set(first_cells("Errors")) == codes


def test_the_close_codes_are_those_of_the_code() -> None:
    # 1009 is aiohttp's own.
    assert sorted(int(code) for code in first_cells("Close codes")) == sorted([*CloseCode, 1009])


def test_the_limits_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", section("Limits"), re.MULTILINE)
    assert [(name, float(default)) for name, default in rows] == [
        (field.name, float(field.default))  # type: ignore[arg-type]
        for field in dataclasses.fields(Limits)
    ]
    assert f"{session.PATIENCE} messages that are refused" in section("Limits")


def test_the_times_are_those_of_the_code() -> None:
    limits = Limits()
    life = section("Life cycle")
    assert f"{limits.join_timeout_s:.0f} s to open its WebSocket" in life
    assert f"{limits.grace_s:.0f} s of grace" in life
    assert f"forgotten after {limits.empty_room_s:.0f} s" in life
    assert f"ping every {session.HEARTBEAT_S:.0f} s" in section("WebSocket")
    media = " ".join(section("Media with the server").split())
    assert f"no sooner than {peer.FIRST_OFFER_DELAY_S} s after `join`" in media
    assert f"not answered within {peer.ANSWER_TIMEOUT_S:.0f} s" in media
    assert f"no ICE check has come for {transport.DISCONNECTED_AFTER_S:.0f} s" in media
    assert f"none for {transport.FAILED_AFTER_S:.0f} s" in media
    assert f"no connection within {transport.CONNECT_TIMEOUT_S:.0f} s" in media
    delivery = " ".join(section("Delivery by offers").split())
    assert f"within {peer.OFFER_DELAY_S * 1000:.0f} ms are one offer" in delivery


def test_links_within_the_document_lead_somewhere() -> None:
    titles = re.findall(r"^##+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= anchors
