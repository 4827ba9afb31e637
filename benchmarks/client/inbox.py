"""Receives datagrams in batches: recvmmsg into one array, so that numpy reads the headers of a whole poll at once.

The kernel's own receive times come with the datagrams (SO_TIMESTAMPNS): how often a socket is polled does not show in
the delays. UDP_GRO is not used: the segments that a server's UDP_SEGMENT saves it on its way to the network are split
on loopback as well, in the send call, as they would be before a network card.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from typing import Final

import numpy as np

from benchmarks.client.description import ARRIVAL_NUMBER

ROW_BYTES: Final = 2048
"""Above any datagram of a server's."""
ROWS: Final = 1024
"""What is received before it is looked at: 2 MiB, which stay in the cache."""
ROWS_PER_CALL: Final = 64
HEAD_BYTES: Final = 64
"""Of a datagram, in which header extensions are looked for; more than a server of benchmarks puts before a payload."""
_MAX_ELEMENTS: Final = 6

_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; Python's socket module has no name for it
# struct mmsghdr of 64-bit Linux is eight words, of which these count here.
_WORDS: Final = 8
_IOVEC, _IOVEC_COUNT, _CONTROL, _CONTROL_BYTES, _LENGTH = 2, 3, 4, 5, 7
_LENGTH_MASK: Final = 0xFFFFFFFF
# One control message: struct cmsghdr (two words), then struct timespec (two words).
_CONTROL_WORDS: Final = 4
_SECONDS, _NANOSECONDS = 2, 3

assert sys.maxsize > 2**32, "the layout of struct mmsghdr is that of 64-bit Linux"
_libc = ctypes.CDLL(None, use_errno=True)


def open_socket(host: str, buffer_bytes: int = 1 << 20) -> socket.socket:
    """Return a non-blocking UDP socket on any free port of `host`, whose datagrams are stamped. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind((host, 0))
    except OSError:
        sock.close()
        raise
    return sock


def arrival_numbers(
    heads: np.ndarray[tuple[int, int], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the transport-wide numbers of RTP packets, -1 for what has none, by their first HEAD_BYTES.

    As SRTP leaves header extensions readable, nothing is decrypted. One-byte elements (RFC 8285 section 4.2) without
    padding between them, and packets without CSRCs, are read.
    """
    heads = heads.astype(np.int64)
    rows = np.arange(len(heads))
    found = np.full(len(heads), -1)
    has_elements = (heads[:, 0] & 0x1F == 0x10) & (heads[:, 12] == 0xBE) & (heads[:, 13] == 0xDE)
    end = np.minimum(16 + 4 * (heads[:, 14] << 8 | heads[:, 15]), HEAD_BYTES - 2)
    at = np.where(has_elements, 16, HEAD_BYTES)
    for _ in range(_MAX_ELEMENTS):
        inside = at < end
        place = np.where(inside, at, 0)
        element = heads[rows, place]
        is_number = inside & (element == ARRIVAL_NUMBER << 4 | 1)
        found = np.where(is_number, heads[rows, place + 1] << 8 | heads[rows, place + 2], found)
        at = at + (element & 15) + 2
    return found


class Inbox:
    """Rows of datagrams: `read` appends, `clear` begins anew."""

    def __init__(self) -> None:
        self.rows = np.zeros((ROWS, ROW_BYTES), np.uint8)
        self.used = 0
        self._iovecs = np.zeros((ROWS, 2), np.uint64)
        self._control = np.zeros((ROWS, _CONTROL_WORDS), np.int64)
        self._headers = np.zeros((ROWS, _WORDS), np.uint64)
        index = np.arange(ROWS, dtype=np.uint64)
        self._iovecs[:, 0] = self.rows.ctypes.data + index * np.uint64(ROW_BYTES)
        self._iovecs[:, 1] = ROW_BYTES
        self._headers[:, _IOVEC] = self._iovecs.ctypes.data + index * np.uint64(self._iovecs.strides[0])
        self._headers[:, _IOVEC_COUNT] = 1
        self._headers[:, _CONTROL] = self._control.ctypes.data + index * np.uint64(self._control.strides[0])
        # The kernel writes the length that it has filled there, which is this one again: every datagram is stamped.
        self._headers[:, _CONTROL_BYTES] = self._control.strides[0]
        self._first_header = self._headers.ctypes.data
        self._header_bytes = self._headers.strides[0]

    @property
    def has_room(self) -> bool:
        """Whether another `read` may be made before `clear`."""
        return self.used <= ROWS - ROWS_PER_CALL

    def read(self, descriptor: int) -> int:
        """Append what waits in a socket, some 64 datagrams at most; returns how many. Raises OSError."""
        at = self._first_header + self.used * self._header_bytes
        count: int = _libc.recvmmsg(descriptor, ctypes.c_void_p(at), ROWS_PER_CALL, socket.MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number in (11, 111):  # EAGAIN: nothing waits; ECONNREFUSED: the server's socket is gone
                return 0
            raise OSError(number, os.strerror(number))
        self.used += count
        return count

    def clear(self) -> None:
        """Forget all rows."""
        self.used = 0

    def lengths(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Bytes of each datagram."""
        return (self._headers[: self.used, _LENGTH] & np.uint64(_LENGTH_MASK)).astype(np.int64)

    def arrivals_ns(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """When each datagram came, in nanoseconds of time.time_ns."""
        control = self._control[: self.used]
        return control[:, _SECONDS] * 1_000_000_000 + control[:, _NANOSECONDS]

    def datagram(self, row: int, length: int) -> bytes:
        """Return a copy of one datagram."""
        return self.rows[row, :length].tobytes()
