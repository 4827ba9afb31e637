from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from zvonim_sfu.signaling.errors import ApiError
from zvonim_sfu.signaling.keys import OPERATOR_TOKEN
from zvonim_sfu.signaling.operator import FORWARDED_HEADERS, require_operator

TOKEN = "0123456789abcdef"


def refusal(
    remote: str = "127.0.0.1", host: str | None = "127.0.0.1:8080", token: str | None = None, **headers: str
) -> tuple[str, dict[str, str]] | None:
    """The code and headers of the refusal; None if the request passes."""
    app = web.Application()
    app[OPERATOR_TOKEN] = token
    given = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    if host is not None:
        given["Host"] = host
    request = make_mocked_request("GET", "/metrics", given, app=app).clone(remote=remote)
    try:
        require_operator(request)
    except ApiError as error:
        return error.fault.code, error.headers
    return None


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "localhost:8080", "[::1]:8080"])
def test_who_sits_at_this_computer_is_the_operator(remote: str, host: str) -> None:
    assert refusal(remote, host) is None
    assert refusal(remote, host, token=TOKEN) is None


@pytest.mark.parametrize("remote", ["192.0.2.7", "10.0.0.1", "::ffff:192.0.2.7", "2001:db8::1", "", "127.0.0.1.evil"])
def test_others_are_not(remote: str) -> None:
    assert refusal(remote) == ("operator-only", {})
    code, headers = refusal(remote, token=TOKEN) or ("", {})
    assert (code, headers["WWW-Authenticate"]) == ("unauthorized", 'Bearer realm="operator"')


@pytest.mark.parametrize("name", FORWARDED_HEADERS)
def test_who_comes_through_a_proxy_on_this_computer_is_not(name: str) -> None:
    assert refusal(**{name: "127.0.0.1"}) == ("operator-only", {})
    assert refusal(**{name: ""}) == ("operator-only", {})


@pytest.mark.parametrize("host", ["calls.example", "calls.example:8080", "127.0.0.1.evil.example", "[", "", None])
def test_who_names_this_computer_otherwise_is_not(host: str | None) -> None:
    # A page on evil.example whose name was made to resolve to 127.0.0.1, or a proxy that passes Host and no more.
    assert refusal(host=host) == ("operator-only", {})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_is_as_good_from_anywhere(scheme: str) -> None:
    given = {"Authorization": f"{scheme} {TOKEN}"}
    assert refusal("192.0.2.7", "calls.example", TOKEN, X_Forwarded_For="198.51.100.1", **given) is None
    assert refusal(token=TOKEN, **given) is None


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}x", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer é", ""])
def test_a_wrong_token_is_refused_wherever_it_comes_from(given: str) -> None:
    for remote in ("192.0.2.7", "127.0.0.1"):
        assert (refusal(remote, token=TOKEN, Authorization=given) or ("",))[0] == "unauthorized"


def test_without_a_configured_token_none_helps() -> None:
    for given in ("Bearer None", "Bearer ", f"Bearer {TOKEN}"):
        assert refusal("192.0.2.7", Authorization=given) == ("operator-only", {})
