from __future__ import annotations

import errno
import socket
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.net.links import link
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.path import MAX_MESSAGE_BYTES, MAX_SEGMENTS, CannotCutError, Path, runs, send, send_run


class RefusingSocket(socket.socket):
    """A socket whose system takes nothing."""

    error = OSError()

    def sendto(self, *_: Any) -> int:
        raise self.error

    def sendmsg(self, *_: Any) -> int:
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
        path = Path(refusing, ("127.0.0.1", 9))
        assert send(path, b"data") is send_run(path, (b"data", b"data")) is reason


def test_a_closed_socket_is_a_drop() -> None:
    with link() as (path, _):
        path.socket.close()
        assert send(path, b"data") is DropReason.SEND_FAILED


def test_what_was_sent_has_none() -> None:
    with link() as (path, receiver):
        assert send(path, b"data") is None
        assert receiver.recv(10) == b"data"


@pytest.mark.parametrize("error", [errno.EIO, errno.EINVAL, errno.EMSGSIZE])
def test_a_system_that_cuts_no_messages_is_told_from_one_that_sends_nothing(error: int) -> None:
    with RefusingSocket(socket.AF_INET, socket.SOCK_DGRAM) as refusing:
        refusing.error = OSError(error, "")
        path = Path(refusing, ("127.0.0.1", 9))
        with pytest.raises(CannotCutError):
            send_run(path, (b"data", b"data"))
        assert send_run(path, (b"data",)) is DropReason.SEND_FAILED


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_run_arrives_as_the_datagrams_that_it_was_made_of(host: str) -> None:
    datagrams = [bytes([n]) * 100 for n in range(5)] + [b"short"]
    with link(host) as (path, receiver):
        (run,) = runs(datagrams)
        assert send_run(path, run) is None
        assert [receiver.recv(200) for _ in datagrams] == datagrams


@given(st.lists(st.sampled_from((1, 40, 1000, 1001, 1400)), max_size=150))
def test_runs_are_what_one_message_can_carry(sizes: list[int]) -> None:
    datagrams = [bytes(size) for size in sizes]
    found = list(runs(datagrams))
    assert [datagram for run in found for datagram in run] == datagrams
    for run in found:
        assert 1 <= len(run) <= MAX_SEGMENTS
        assert sum(map(len, run)) <= MAX_MESSAGE_BYTES
        assert {len(datagram) for datagram in run[:-1]} <= {len(run[0])}
        assert len(run[-1]) <= len(run[0])
    for run, following in pairwise(found):  # and no shorter than they have to be
        is_full = len(run) == MAX_SEGMENTS or sum(map(len, (*run, following[0]))) > MAX_MESSAGE_BYTES
        assert is_full or len(run[-1]) < len(run[0]) or len(following[0]) > len(run[0])
