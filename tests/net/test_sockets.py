from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from zvonim_sfu.net import sockets
from zvonim_sfu.net.sockets import open_sockets

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Sockets to be closed after the test."""
    held: list[socket.socket] = []
    yield held
    for sock in held:
        sock.close()


def names(opened: Sequence[socket.socket]) -> list[str]:
    return [sock.getsockname()[0] for sock in opened]


def test_any_free_port_is_the_same_on_all_addresses(opened: list[socket.socket]) -> None:
    opened += open_sockets(["127.0.0.1", "::1"], 0)
    assert names(opened) == ["127.0.0.1", "::1"]
    assert len({sock.getsockname()[1] for sock in opened}) == 1
    assert not any(sock.getblocking() for sock in opened)


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::", "0::0", ""])
def test_a_wildcard_is_one_socket_for_each_address_of_the_host(
    wildcard: str, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "host_addresses", lambda: ("127.0.0.1", "::1"))
    opened += open_sockets([wildcard, "127.0.0.1"], 0)
    assert names(opened) == ["127.0.0.1", "::1"]


def test_an_ipv4_mapped_address_is_refused() -> None:
    with pytest.raises(OSError, match="cannot be opened on ::ffff"):
        open_sockets(["::ffff:127.0.0.1"], 0)


def test_one_address_that_cannot_be_bound_is_logged_and_left_out(opened: list[socket.socket]) -> None:
    opened += open_sockets(["::1"], 0)
    port = opened[0].getsockname()[1]
    with capture_logs() as logs:
        others = open_sockets(["127.0.0.1", "::1"], port)
    opened += others
    assert names(others) == ["127.0.0.1"]
    assert [(entry["event"], entry["address"]) for entry in logs] == [("udp address skipped", "::1")]


def test_no_address_at_all_is_an_error_that_says_what_to_do(opened: list[socket.socket]) -> None:
    opened += open_sockets(["127.0.0.1"], 0)
    port = opened[0].getsockname()[1]
    with pytest.raises(OSError, match=f"UDP port {port} cannot be opened on 127.0.0.1: stop the process"):
        open_sockets(["127.0.0.1"], port)


@pytest.mark.parametrize("host", ["media.example", "127.0.0.1:7000", "300.1.1.1"])
def test_a_host_that_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(OSError, match="is no IP address: set an address of this host"):
        open_sockets([host], 0)


class Taken:
    """Lets binding ::1 fail, as if another process had the port, a given number of times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.bind = sockets._bind

    def __call__(self, address: str, port: int) -> socket.socket:
        if address == "::1" and self.times > 0:
            self.times -= 1
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return self.bind(address, port)


def test_a_port_that_is_taken_on_one_address_is_given_up_for_another(
    opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "_bind", Taken(3))
    with capture_logs() as logs:
        opened += open_sockets(["127.0.0.1", "::1"], 0)
    assert names(opened) == ["127.0.0.1", "::1"]
    assert logs == []


def test_the_search_for_a_free_port_ends(opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_bind", Taken(1_000_000))
    opened += open_sockets(["127.0.0.1", "::1"], 0)
    assert names(opened) == ["127.0.0.1"]


def test_small_buffers_are_one_warning_that_names_the_settings(
    opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SOCKET_BUFFER_BYTES", 64 * 1024)
    with capture_logs() as logs:
        opened += open_sockets(["127.0.0.1", "::1"], 0)
    assert len(logs) == 1
    assert logs[0]["log_level"] == "warning"
    assert "net.core.rmem_max" in logs[0]["event"]
    assert "net.core.wmem_max" in logs[0]["event"]
