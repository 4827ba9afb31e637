from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from zvonim_sfu.signaling.keys import ALLOWED_ORIGINS
from zvonim_sfu.signaling.origin import origin_allowed


def allowed(*origins: str, host: str | None = "calls.example:8080", configured: tuple[str, ...] = ()) -> bool:
    app = web.Application()
    app[ALLOWED_ORIGINS] = frozenset(configured)
    headers = CIMultiDict([("Origin", origin) for origin in origins])
    if host is not None:
        headers["Host"] = host
    return origin_allowed(make_mocked_request("GET", "/ws", headers, app=app))


def test_who_is_no_web_page_may_use_the_server() -> None:
    assert allowed()


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://calls.example:8080", "calls.example:8080"),
        ("https://calls.example:8080", "calls.example:8080"),  # TLS ended in front of the server
        ("https://calls.example", "calls.example"),
        ("https://calls.example", "calls.example:443"),
        ("http://Calls.Example", "calls.EXAMPLE:80"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_pages_of_the_server_itself_may(origin: str, host: str) -> None:
    assert allowed(origin, host=host)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://evil.example:8080",
        "http://calls.example",
        "http://calls.example:8081",
        "http://calls.example:8080.evil.example",
        "http://calls.example:8080@evil.example",
        "http://sub.calls.example:8080",
        "null",
        "",
        "calls.example:8080",
        "http://",
        "http://[",
        "http://calls.example:99999",
        "http://calls.example:x",
        "file://",
    ],
)
def test_other_pages_may_not(origin: str) -> None:
    assert not allowed(origin)


def test_a_port_other_than_the_schemes_own_has_to_be_named() -> None:
    assert not allowed("http://calls.example", host="calls.example:443")
    assert not allowed("http://calls.example:8080", host="calls.example")


@pytest.mark.parametrize("host", [None, "", "[", "a:b:c"])
def test_a_request_without_a_good_host_has_no_pages_of_its_own(host: str | None) -> None:
    assert not allowed("http://calls.example:8080", host=host)


def test_two_origins_are_none() -> None:
    assert not allowed("http://calls.example:8080", "http://calls.example:8080")


def test_configured_origins_may() -> None:
    assert allowed("https://Other.example", configured=("https://other.example",))
    assert not allowed("http://other.example", configured=("https://other.example",))
    assert allowed("null", configured=("*",))
