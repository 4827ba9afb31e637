"""A TCP-like flow that competes for a link: window-based, slow start, halved on loss (RFC 5681)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.links.clock import Clock
    from tests.support.links.link import Link

SEGMENT_BYTES = 1500
INITIAL_WINDOW = 10.0
TIMEOUT_S = 1.0


class TcpFlow:
    """Sends as much as its window allows, until `size` bytes have been acknowledged.

    Loss is noticed a round trip later, as by duplicate acknowledgements; all losses of one window halve it once. What
    was lost is not sent again, for only the load on the link matters.

    Args:
        clock: of the simulation.
        link: the bottleneck.
        start_s: when it begins.
        stop_s: when it ends at the latest.
        size: in bytes; None for as much as there is time for.
        on_end: called when all of it has been acknowledged.
    """

    def __init__(
        self,
        clock: Clock,
        link: Link,
        *,
        start_s: float,
        stop_s: float = float("inf"),
        size: int | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._clock = clock
        self._link = link
        self._stop_s = stop_s
        self._left = size
        self._on_end = on_end
        self._window = INITIAL_WINDOW
        self._threshold = float("inf")
        self._in_flight = 0
        # Losses of packets sent before it belong to a window that was halved already.
        self._recovered_at = start_s
        clock.at(start_s, self._send)

    def _send(self) -> None:
        now = self._clock.now
        while self._in_flight < self._window and now < self._stop_s and (self._left is None or self._left > 0):
            self._in_flight += 1
            if self._left is not None:
                self._left -= SEGMENT_BYTES
            arrival = self._link.send(SEGMENT_BYTES, now)
            if arrival is None:
                # Later packets tell of the gap, after a queue and a round trip; never later than a timeout.
                notice_s = min(2 * self._link.delay_s + 0.05, TIMEOUT_S)
                self._clock.after(notice_s, partial(self._lost, now))
            else:
                self._clock.at(arrival + self._link.delay_s, self._acknowledged)

    def _acknowledged(self) -> None:
        self._in_flight -= 1
        self._window += 1.0 if self._window < self._threshold else 1.0 / self._window
        self._go_on()

    def _lost(self, sent_at: float) -> None:
        self._in_flight -= 1
        if sent_at >= self._recovered_at:
            self._recovered_at = self._clock.now
            self._threshold = self._window = max(self._window / 2, 2.0)
        self._go_on()

    def _go_on(self) -> None:
        self._send()
        if not self._in_flight and self._left is not None and self._left <= 0 and self._on_end:
            self._on_end()
