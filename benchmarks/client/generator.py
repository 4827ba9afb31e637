"""All clients of a benchmark in one event loop: one timer that lets them send, and reads what has come for them.

Sinks are polled, and never wait in the kernel: waking a sleeping process is paid by who sends to it, which would be
counted as the server's time.
"""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from benchmarks.client.description import REPAIRS
from benchmarks.client.dtls import Identity
from benchmarks.client.inbox import HEAD_BYTES, Inbox, arrival_numbers
from benchmarks.client.peer import Peer
from benchmarks.client.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

POLL_S: Final = 0.002
"""Between polls: frames leave up to so much late, and answers of handshakes are seen so late. Delays are measured by
the kernel's receive times."""
NACK_INTERVAL_S: Final = 0.02
SAMPLE_EVERY: Final = 17
"""A prime, so that every place in a frame gets its turn."""

_RTP_FIRST, _RTP_LAST = 128, 191  # RFC 7983, section 7
_RTCP_FIRST, _RTCP_LAST = 192, 223  # RFC 5761, section 4


@dataclass(slots=True)
class Samples:
    """What was seen since `Generator.measure`."""

    delays_ms: list[float] = field(default_factory=list)
    """Of the packets that were decrypted, from the publisher's send call to the arrival at the sink's socket."""
    late_polls: int = 0
    """Polls that came more than 20 ms late: the generator did not get the processor."""


class Generator:
    """Owns the peers, which it makes. Use it as an async context manager.

    Args:
        host: the address of this machine by which the servers are reached.
        sample_every: one of so many packets is decrypted.
        inspect: called with each packet that is decrypted, and whose it is.
        reports_arrivals: whether receivers report on transport-wide numbers, where the server sends such.
    """

    def __init__(
        self,
        host: str,
        *,
        sample_every: int = SAMPLE_EVERY,
        inspect: Callable[[Peer, bytes], None] | None = None,
        reports_arrivals: bool = False,
    ) -> None:
        self.identity = Identity()
        self._host = host
        self._sample_every = sample_every
        self._inspect = inspect
        self._reports_arrivals = reports_arrivals
        self.samples = Samples()
        self._peers: dict[int, Peer] = {}
        self._number = 0
        self._inbox = Inbox()
        self._owners = np.zeros(self._inbox.rows.shape[0], np.int64)
        self._seen = 0
        self._task: asyncio.Task[None] | None = None
        self._next_nack = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Those that are polled."""
        return tuple(self._peers.values())

    def new_peer(self) -> Peer:
        """Make a peer that is polled from now on. `remove` ends that."""
        self._number += 1
        peer = Peer(self.identity, self._host, self._inspect, reports_arrivals=self._reports_arrivals)
        self._peers[self._number] = peer
        return peer

    def remove(self, peer: Peer) -> None:
        """Close a peer; a second time does nothing."""
        self._peers = {number: other for number, other in self._peers.items() if other is not peer}
        peer.close()

    def measure(self) -> Samples:
        """Begin new samples and return them; they grow until the next call."""
        # What has been made so far stays: the collector need not look at it again while packets are on their way.
        gc.collect()
        gc.freeze()
        self.samples = Samples()
        return self.samples

    def check_alive(self) -> None:
        """Raise what ended the poll, if anything did."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now - due > 0.02:
                self.samples.late_polls += 1
            due = max(due + POLL_S, now)
            self._poll(now)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _poll(self, now: float) -> None:
        inbox = self._inbox
        for number, peer in list(self._peers.items()):
            peer.advance(now)
            descriptor = peer.socket.fileno()
            while True:
                if not inbox.has_room:
                    self._take()
                start = inbox.used
                if descriptor < 0 or not inbox.read(descriptor):
                    break
                self._owners[start : inbox.used] = number
        self._take()
        if now >= self._next_nack:
            self._next_nack = now + NACK_INTERVAL_S
            for peer in self._peers.values():
                peer.ask_for_missing(now)

    def _take(self) -> None:
        """Sort what was received by peer and SSRC, and count it."""
        inbox = self._inbox
        used = inbox.used
        if not used:
            return
        rows, owners, lengths = inbox.rows[:used], self._owners[:used], inbox.lengths()
        is_rtp = (rows[:, 0] >= _RTP_FIRST) & (rows[:, 0] <= _RTP_LAST)
        is_rtp &= (rows[:, 1] < _RTCP_FIRST) | (rows[:, 1] > _RTCP_LAST)
        for row in np.flatnonzero(~is_rtp).tolist():
            if lengths[row]:
                self._peers[int(owners[row])].on_control(inbox.datagram(row, int(lengths[row])))
        if self._reports_arrivals:
            received = np.flatnonzero(is_rtp)
            if received.size:
                self._note_arrivals(received, inbox.arrivals_ns())
            is_repair = is_rtp & (rows[:, 1] & 0x7F == REPAIRS.payload_type)
            for row in np.flatnonzero(is_repair).tolist():
                self._peers[int(owners[row])].on_repair(inbox.datagram(row, int(lengths[row])))
            is_rtp &= ~is_repair
        media = np.flatnonzero(is_rtp)
        if media.size:
            self._take_media(media, lengths)
        inbox.clear()

    def _take_media(
        self, media: np.ndarray[tuple[int], np.dtype[np.intp]], lengths: np.ndarray[tuple[int], np.dtype[np.int64]]
    ) -> None:
        inbox = self._inbox
        headers = inbox.rows[media, :12].astype(np.int64)
        ssrcs = headers[:, 8] << 24 | headers[:, 9] << 16 | headers[:, 10] << 8 | headers[:, 11]
        numbers = headers[:, 2] << 8 | headers[:, 3]
        keys = self._owners[media] << 32 | ssrcs
        order = np.argsort(keys, kind="stable")
        keys, numbers = keys[order], numbers[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        ends = [*starts[1:].tolist(), len(keys)]
        sampled = np.zeros(len(media), bool)
        sampled[(-self._seen) % self._sample_every :: self._sample_every] = True
        self._seen += len(media)
        sequence = numbers.tolist()
        for start, end, key in zip(starts.tolist(), ends, keys[starts].tolist(), strict=True):
            peer = self._peers[key >> 32]
            ssrc = key & 0xFFFFFFFF
            stream = peer.streams.get(ssrc)
            if stream is None:
                stream = peer.streams[ssrc] = Stream(ssrc, sequence[start])
                # libsrtp has to see the first packet: it tells where the numbers begin.
                sampled[order[start]] = True
            stream.take(sequence[start:end])
        arrivals = inbox.arrivals_ns()
        for index in np.flatnonzero(sampled).tolist():
            row = int(media[index])
            self._sample(self._peers[int(self._owners[row])], row, int(lengths[row]), int(arrivals[row]))

    def _note_arrivals(
        self, media: np.ndarray[tuple[int], np.dtype[np.intp]], arrivals: np.ndarray[tuple[int], np.dtype[np.int64]]
    ) -> None:
        owners = self._owners[media]
        order = np.argsort(owners, kind="stable")
        owners, media = owners[order], media[order]
        numbers = arrival_numbers(self._inbox.rows[media, :HEAD_BYTES]).tolist()
        times = (arrivals[media] / 1e9).tolist()
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(owners)], strict=True):
            self._peers[int(owners[start])].on_arrivals(numbers[start:end], times[start:end])

    def _sample(self, peer: Peer, row: int, length: int, arrival_ns: int) -> None:
        if not peer.first_media_ns:
            peer.first_media_ns = arrival_ns
        sent_ns = peer.sent_at_ns(self._inbox.datagram(row, length))
        if sent_ns is not None:
            self.samples.delays_ms.append((arrival_ns - sent_ns) / 1e6)
