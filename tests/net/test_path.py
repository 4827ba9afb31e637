from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from tests.net.links import link
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.path import Path, send


class RefusingSocket(socket.socket):
    """A socket whose system takes nothing."""

    error = OSError()

    def sendto(self, *_: Any) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BlockingIOError(errno.EAGAIN, ""), DropReason.SOCKET_FULL),
        (OSError(errno.ENOBUFS, ""), DropReason.NO_BUFFERS),
        (OSError(errno.ENETUNREACH, ""), DropReason.SEND_FAILED),
        (OSError(errno.EPERM, ""), DropReason.SEND_FAILED),
    ],
)
def test_what_the_socket_refuses_has_a_reason(error: OSError, reason: DropReason) -> None:
    with RefusingSocket(socket.AF_INET, socket.SOCK_DGRAM) as refusing:
        refusing.error = error
        assert send(Path(refusing, ("127.0.0.1", 9)), b"data") is reason


def test_a_closed_socket_is_a_drop() -> None:
    with link() as (path, _):
        path.socket.close()
        assert send(path, b"data") is DropReason.SEND_FAILED


def test_what_was_sent_has_none() -> None:
    with link() as (path, receiver):
        assert send(path, b"data") is None
        assert receiver.recv(10) == b"data"
