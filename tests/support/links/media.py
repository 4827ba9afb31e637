"""A server that sends media to a receiver behind a link: the real estimator, prober and pacer between the two."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Final

from tests.support.links.sources import FRAMES_PER_S
from zvonim_sfu.bandwidth.estimator import Estimator
from zvonim_sfu.bandwidth.pacer import Pacer, Priority
from zvonim_sfu.rtp.transport_cc import TICKS_PER_REFERENCE, TICKS_PER_S, TransportFeedback

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.links.clock import Clock
    from tests.support.links.link import Link
    from tests.support.links.sources import Source
    from zvonim_sfu.bandwidth.trace import Recorder

PACKET_BYTES: Final = 1100
TIMER_S: Final = 0.1
MEASURE_S: Final = 0.25
AUDIO_BYTES: Final = 110
AUDIO_INTERVAL_S: Final = 0.02
# Of a feedback on the way back, with all headers below it; and for each packet that it tells of.
FEEDBACK_BYTES: Final = 70
REPORT_BYTES: Final = 1


class MediaFlow:
    """Frames go through the pacer onto the link; feedback comes back at an interval, as Chromium sends it.

    Args:
        clock: of the simulation.
        link: the bottleneck.
        source: of video; None for sound alone.
        back: the link that feedback takes; by default one that is never full.
        extra_delay_s: one way, of this flow alone, behind the bottleneck.
        start_s: when it begins.
        pauses: spans of time in which no video is sent.
        audio: whether there is sound beside it.
        feedback_s: between feedbacks.
        seed: of the frames' sizes.
        estimator: by default one with the usual bounds.
        recorder: writes down what its estimator is told.
    """

    def __init__(
        self,
        clock: Clock,
        link: Link,
        source: Source | None,
        *,
        back: Link | None = None,
        extra_delay_s: float = 0.0,
        start_s: float = 0.0,
        pauses: list[tuple[float, float]] | None = None,
        audio: bool = False,
        feedback_s: float = 0.05,
        seed: int = 1,
        estimator: Estimator | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._clock = clock
        self._link = link
        self.source = source
        self._back = back
        self._extra_delay_s = extra_delay_s
        self._pauses = pauses or []
        self._feedback_s = feedback_s
        self._random = Random(seed)
        self.estimator = recorder.estimator if recorder else estimator or Estimator()
        self._told = recorder or self.estimator
        self._pacer: Pacer[int] = Pacer(estimate_bps=self.estimator.estimate_bps)
        self._release_at: float | None = None
        # What was sent since when, and at which rate before.
        self._sent_bytes = 0
        self._measured_at = start_s
        self._sent_bps = 0.0
        self._is_probing = False
        # Of what came or will come: when, and how many bytes of media; in order of numbers, and what feedback has told.
        self._arrivals: list[float] = []
        self._sizes: list[int] = []
        self._numbers: list[int] = []
        self._told_of = 0
        self._next_number = 0
        self._received: list[int] = []
        self.estimates: list[tuple[float, float]] = []
        self.sound: list[tuple[float, float]] = []
        """When each packet of sound was sent, and how long it waited for the link (s)."""
        self.probes = 0
        self.padding_bytes = 0
        self.overflows = 0
        self.releases = 0
        # Whether the receiver's reports get through.
        self.feedback_lost: Callable[[float], bool] = lambda _now: False
        if source is not None:
            clock.at(start_s, self._frame)
        clock.at(start_s + feedback_s, self._feedback)
        clock.at(start_s, self._timer)
        if audio:
            clock.at(start_s, self._audio)

    def rate(self, start: float, end: float) -> float:
        """Return what came in a span of time, padding left out, in bit/s."""
        if len(self._received) <= len(self._sizes):
            self._received = list(accumulate(self._sizes, initial=0))
        first, last = bisect_left(self._arrivals, start), bisect_left(self._arrivals, end)
        return (self._received[last] - self._received[first]) * 8 / (end - start)

    def reached(self, bps: float, after: float, *, over_s: float = 1.0) -> float:
        """Return how long after a moment that rate came for the first time, in seconds; infinite if it never did."""
        time = after
        while time + over_s <= self._clock.now:
            if self.rate(time, time + over_s) >= bps:
                return time - after
            time += 0.1
        return float("inf")

    def highest_estimate(self, start: float, end: float) -> float:
        """Return the highest estimate that was in force in a span of time, in bit/s."""
        times = [time for time, _ in self.estimates]
        first = max(bisect_right(times, start) - 1, 0)
        return max(bps for _, bps in self.estimates[first : bisect_left(times, end)])

    def _is_paused(self, now: float) -> bool:
        return any(start <= now < end for start, end in self._pauses)

    def _frame(self) -> None:
        now = self._clock.now
        self._clock.at(now + 1 / FRAMES_PER_S, self._frame)
        if self.source is None or (self._pauses and self._is_paused(now)):
            return
        left = self.source.frame_bytes(self.estimator.estimate_bps, now, self._random)
        if left:
            self._pace(left, now)

    def _pace(self, left: int, now: float) -> None:
        pacer = self._pacer
        if pacer.admit(left, now):
            while left > PACKET_BYTES:
                self._send(PACKET_BYTES)
                left -= PACKET_BYTES
            self._send(left)
            return
        while left > 0:
            size = min(left, PACKET_BYTES)
            left -= size
            if pacer.admit(size, now):
                self._send(size)
            elif pacer.enqueue(size, size):
                self._arm()
            else:
                self.overflows += 1

    def _audio(self) -> None:
        now = self._clock.now
        self._clock.at(now + AUDIO_INTERVAL_S, self._audio)
        self._pacer.admit(AUDIO_BYTES, now, Priority.AUDIO)
        sent = len(self._arrivals)
        self._send(AUDIO_BYTES)
        if len(self._arrivals) > sent:
            self.sound.append((now, self._arrivals[-1] - now - self._link.delay_s - self._extra_delay_s))

    def _arm(self) -> None:
        at = self._pacer.next_at()
        if at is not None and (self._release_at is None or at < self._release_at):
            self._release_at = at
            self._clock.at(at, self._release)

    def _release(self) -> None:
        now = self._clock.now
        if self._release_at is None or now < self._release_at:
            return  # another call was armed for an earlier time
        self._release_at = None
        self.releases += 1
        items, padding = self._pacer.release(now)
        for size in items:
            self._send(size)
        self.padding_bytes += padding
        while padding > 0:
            self._send(min(padding, PACKET_BYTES), is_padding=True)
            padding -= PACKET_BYTES
        if self._is_probing and not self._pacer.is_probing:
            self._is_probing = False
            self._told.on_probe_sent(now)
        self._arm()

    def _send(self, size: int, *, is_padding: bool = False) -> None:
        now = self._clock.now
        number = self.estimator.history.add(size, now)
        self._sent_bytes += size
        arrival = self._link.send(size, now)
        if arrival is not None:
            self._arrivals.append(arrival + self._extra_delay_s)
            self._sizes.append(0 if is_padding else size)
            self._numbers.append(number)

    def _feedback(self) -> None:
        """Tell of what has come since the last time, as a receiver does; the link keeps the order."""
        now = self._clock.now
        self._clock.at(now + self._feedback_s, self._feedback)
        first, self._told_of = self._told_of, bisect_left(self._arrivals, now, self._told_of)
        if first == self._told_of:
            return
        numbers = self._numbers[first : self._told_of]
        base, self._next_number = self._next_number, numbers[-1] + 1
        ticks = [round(arrival * TICKS_PER_S) for arrival in self._arrivals[first : self._told_of]]
        reference = ticks[0] // TICKS_PER_REFERENCE
        last = reference * TICKS_PER_REFERENCE
        received = []
        for number, tick in zip(numbers, ticks, strict=True):
            received.append((number - base, tick - last))
            last = tick
        if self.feedback_lost(now):
            return
        feedback = TransportFeedback(
            1, 2, base & 0xFFFF, numbers[-1] + 1 - base, reference & 0xFFFFFF, 0, tuple(received)
        )

        def arrive() -> None:
            self._told.on_feedback(feedback, self._clock.now)
            self._follow()

        if self._back is None:
            self._clock.at(now + self._link.delay_s + self._extra_delay_s, arrive)
            return
        arrival = self._back.send(FEEDBACK_BYTES + REPORT_BYTES * len(received), now)
        if arrival is not None:
            self._clock.at(arrival, arrive)

    def _timer(self) -> None:
        now = self._clock.now
        self._clock.at(now + TIMER_S, self._timer)
        self._told.on_timer(now)
        self._follow()

    def _follow(self) -> None:
        """Tell the pacer of the estimate, and probe if it is time."""
        now = self._clock.now
        estimate_bps = self.estimator.estimate_bps
        if not self.estimates or self.estimates[-1][1] != estimate_bps:
            self.estimates.append((now, estimate_bps))
        if now - self._measured_at >= MEASURE_S:
            self._sent_bps = self._sent_bytes * 8 / (now - self._measured_at)
            self._sent_bytes, self._measured_at = 0, now
        # As media.link has it: bursts are spread, but the pacer holds nothing back that goes on.
        self._pacer.set_estimate(max(estimate_bps, self._sent_bps))
        if self._is_probing:
            return
        wanted_bps = 0.0 if self.source is None or self._is_paused(now) else self.source.wanted_bps
        probe = self._told.next_probe(now, wanted_bps)
        if probe is not None:
            self.probes += 1
            self._is_probing = True
            self._pacer.begin_probe(probe, now)
            self._arm()
