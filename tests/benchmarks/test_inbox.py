"""Batches of datagrams, with the kernel's receive times."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.client.description import ARRIVAL_NUMBER
from benchmarks.client.inbox import HEAD_BYTES, ROWS, ROWS_PER_CALL, Inbox, arrival_numbers, open_socket


def test_datagrams_come_in_order_with_length_and_time() -> None:
    inbox = Inbox()
    with open_socket("127.0.0.1") as sink, open_socket("127.0.0.1") as sender:
        sent = [bytes([number]) * (number + 1) for number in range(100)]
        before = time.time_ns()
        for datagram in sent:
            sender.sendto(datagram, sink.getsockname())
        assert [inbox.read(sink.fileno()) for _ in range(3)] == [ROWS_PER_CALL, 100 - ROWS_PER_CALL, 0]
        assert [inbox.datagram(row, int(length)) for row, length in enumerate(inbox.lengths())] == sent
        arrivals = inbox.arrivals_ns().tolist()
        assert arrivals == sorted(arrivals)
        # The kernel reads a coarser clock than Python.
        assert before - 10_000_000 < arrivals[0] <= time.time_ns()
        inbox.clear()
        assert inbox.used == 0


def test_there_is_room_for_another_call_until_there_is_none() -> None:
    inbox = Inbox()
    inbox.used = ROWS - ROWS_PER_CALL
    assert inbox.has_room
    inbox.used += 1
    assert not inbox.has_room


def test_transport_wide_numbers_are_read_from_headers() -> None:
    heads = np.zeros((5, HEAD_BYTES), np.uint8)
    level = b"\x10\x1e"
    number = bytes([ARRIVAL_NUMBER << 4 | 1, 0xAB, 0xCD])
    for row, (first, block) in enumerate(
        [
            (0x90, level + number + b"\0\0\0"),
            (0x90, number + b"\0"),
            (0x90, level + b"\0\0"),
            (0x80, number),
            (0x91, number),
        ]
    ):
        head = bytes([first]) + bytes(11) + b"\xbe\xde" + (len(block) // 4).to_bytes(2) + block
        heads[row, : len(head)] = np.frombuffer(head, np.uint8)
    assert arrival_numbers(heads).tolist() == [0xABCD, 0xABCD, -1, -1, -1]
