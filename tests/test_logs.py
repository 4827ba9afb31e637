from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Literal

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage

from zvonim_sfu.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def configured(form: Literal["text", "json"], level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logs(level, form, stream)
    return stream


def test_json_is_an_object_per_line_with_what_was_bound() -> None:
    stream = configured("json")
    structlog.get_logger().bind(room="r", participant="p").info("joined", tracks=2)
    logging.getLogger("aiohttp.server").warning("slow %s", "client")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "joined", "level": "info", "room": "r", "participant": "p", "tracks": 2}
    assert (second["event"], second["logger"], second["level"]) == ("slow client", "aiohttp.server", "warning")


def test_an_exception_in_json_stays_on_its_line() -> None:
    stream = configured("json")
    try:
        raise LookupError("lost")
    except LookupError:
        structlog.get_logger().exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "LookupError: lost" in json.loads(line)["exception"]


def test_text_shows_event_and_ids_on_one_line() -> None:
    stream = configured("text")
    structlog.get_logger().bind(room="кухня").info("room opened")
    (line,) = stream.getvalue().splitlines()
    assert "room opened" in line
    assert "room=кухня" in line


def test_text_shows_a_traceback() -> None:
    stream = configured("text")
    try:
        raise LookupError("lost")
    except LookupError:
        structlog.get_logger().exception("failed")
    assert "LookupError: lost" in stream.getvalue()


def test_control_characters_of_clients_do_not_reach_the_terminal() -> None:
    stream = configured("text")
    structlog.get_logger().info("refused", name="a\x1b[2J\nb\u202e")
    logging.getLogger("aiohttp.server").error("path %s", "\x1b[2J\n")
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()
    assert r"a\x1b[2J\nb\u202e" in stream.getvalue().replace("\\\\", "\\")


def test_what_is_below_the_level_is_not_logged() -> None:
    stream = configured("text", "warning")
    structlog.get_logger().info("no")
    logging.getLogger("aiohttp.server").info("no")
    assert stream.getvalue() == ""


def test_the_packet_logs_of_aiortc_and_aioice_stay_off() -> None:
    stream = configured("text", "debug")
    logging.getLogger("aiortc.rtcdtlstransport").debug("packet")
    logging.getLogger("aioice.ice").info("packet")
    assert stream.getvalue() == ""
    logging.getLogger("aiortc.rtcdtlstransport").warning("trouble")
    assert "trouble" in stream.getvalue()


def test_a_clients_broken_http_is_no_event() -> None:
    stream = configured("text")
    try:
        raise BadHttpMessage("no HTTP")
    except BadHttpMessage:
        logging.getLogger("aiohttp.server").exception("Error handling request")
    assert stream.getvalue() == ""
