"""A server that sends media to a receiver behind a link: the real estimator, prober and pacer between the two."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Final

from zvonim_sfu.bandwidth.estimator import Estimator
from zvonim_sfu.bandwidth.pacer import Pacer, Priority
from zvonim_sfu.rtp.transport_cc import ArrivalLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.links.clock import Clock
    from tests.support.links.link import Link
    from zvonim_sfu.bandwidth.trace import Recorder

FRAMES_PER_S: Final = 30
PACKET_BYTES: Final = 1100
TIMER_S: Final = 0.1
AUDIO_BYTES: Final = 110
AUDIO_INTERVAL_S: Final = 0.02


class Adaptive:
    """An encoder that makes of video what the estimate allows, in frames of uneven size."""

    def __init__(self, most_bps: float = 10_000_000, *, unevenness: float = 0.2) -> None:
        self.wanted_bps = most_bps
        self._unevenness = unevenness

    def frame_bytes(self, estimate_bps: float, random: Random) -> int:
        bps = min(estimate_bps, self.wanted_bps)
        return int(bps / FRAMES_PER_S / 8 * random.uniform(1 - self._unevenness, 1 + self._unevenness))


class Layered:
    """Layers of fixed rate, of which the highest that fits is forwarded: what a server that cannot encode has.

    Switching up brings a keyframe, some times as large as other frames.
    """

    def __init__(self, rates: list[float], *, keyframe: float = 6.0) -> None:
        self._rates = rates
        self._keyframe = keyframe
        self._current = 0
        self.wanted_bps = rates[-1]
        self.switches = 0

    def frame_bytes(self, estimate_bps: float, random: Random) -> int:
        del random
        fitting = [index for index, rate in enumerate(self._rates) if rate <= estimate_bps]
        index = fitting[-1] if fitting else 0
        switched, self._current = index != self._current, index
        self.switches += switched
        size = self._rates[index] / FRAMES_PER_S / 8
        return int(size * self._keyframe if switched else size)


class MediaFlow:
    """Frames go through the pacer onto the link; feedback comes back at an interval, as Chromium sends it.

    Args:
        clock: of the simulation.
        link: the bottleneck.
        source: of video.
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
        source: Adaptive | Layered,
        *,
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
        self._extra_delay_s = extra_delay_s
        self._pauses = pauses or []
        self._feedback_s = feedback_s
        self._random = Random(seed)
        self.estimator = recorder.estimator if recorder else estimator or Estimator()
        self._told = recorder or self.estimator
        self._pacer: Pacer[int] = Pacer(estimate_bps=self.estimator.estimate_bps)
        self._release_at: float | None = None
        self._is_probing = False
        self._log = ArrivalLog()
        self._on_the_way: deque[tuple[float, int, int]] = deque()
        self.arrivals: list[float] = []
        self._received = [0]
        self.estimates: list[tuple[float, float]] = []
        self.probes = 0
        self.padding_bytes = 0
        self.overflows = 0
        self.releases = 0
        # Whether the receiver's reports get through.
        self.feedback_lost: Callable[[float], bool] = lambda _now: False
        clock.at(start_s, self._frame)
        clock.at(start_s + feedback_s, self._feedback)
        clock.at(start_s, self._timer)
        if audio:
            clock.at(start_s, self._audio)

    def rate(self, start: float, end: float) -> float:
        """Return what came in a span of time, padding left out, in bit/s."""
        first, last = bisect_left(self.arrivals, start), bisect_left(self.arrivals, end)
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
        return max(bps for time, bps in self.estimates if start <= time < end)

    def _frame(self) -> None:
        now = self._clock.now
        self._clock.at(now + 1 / FRAMES_PER_S, self._frame)
        if any(start <= now < end for start, end in self._pauses):
            return
        left = max(self.source.frame_bytes(self.estimator.estimate_bps, self._random), 50)
        while left > 0:
            size = min(left, PACKET_BYTES)
            self._pace(size, Priority.VIDEO)
            left -= size

    def _audio(self) -> None:
        self._clock.after(AUDIO_INTERVAL_S, self._audio)
        self._pace(AUDIO_BYTES, Priority.AUDIO)

    def _pace(self, size: int, priority: Priority) -> None:
        if self._pacer.admit(size, self._clock.now, priority):
            self._send(size)
        elif self._pacer.enqueue(size, size, priority):
            self._arm()
        else:
            self.overflows += 1

    def _arm(self) -> None:
        at = self._pacer.next_at()
        if at is not None and (self._release_at is None or at < self._release_at):
            self._release_at = at
            self._clock.at(at, self._release)

    def _release(self) -> None:
        if self._release_at is None or self._clock.now < self._release_at:
            return  # another call was armed for an earlier time
        self._release_at = None
        self.releases += 1
        items, padding = self._pacer.release(self._clock.now)
        for size in items:
            self._send(size)
        self.padding_bytes += padding
        while padding > 0:
            self._send(min(padding, PACKET_BYTES), is_padding=True)
            padding -= PACKET_BYTES
        if self._is_probing and not self._pacer.is_probing:
            self._is_probing = False
            self._told.on_probe_sent(self._clock.now)
        self._arm()

    def _send(self, size: int, *, is_padding: bool = False) -> None:
        now = self._clock.now
        number = self.estimator.on_sent(size, now)
        arrival = self._link.send(size, now)
        if arrival is not None:
            self._on_the_way.append((arrival + self._extra_delay_s, number, 0 if is_padding else size))

    def _feedback(self) -> None:
        now = self._clock.now
        self._clock.at(now + self._feedback_s, self._feedback)
        way = self._on_the_way
        while way and way[0][0] <= now:
            arrival, number, size = way.popleft()
            self._log.received(number & 0xFFFF, arrival)
            self.arrivals.append(arrival)
            self._received.append(self._received[-1] + size)
        feedbacks = self._log.feedback(now, sender_ssrc=1, media_ssrc=2)
        if self.feedback_lost(now):
            return

        def arrive() -> None:
            for feedback in feedbacks:
                self._told.on_feedback(feedback, self._clock.now)
            self._follow()

        if feedbacks:
            self._clock.after(self._link.delay_s + self._extra_delay_s, arrive)

    def _timer(self) -> None:
        self._clock.after(TIMER_S, self._timer)
        self._told.on_timer(self._clock.now)
        self._follow()

    def _follow(self) -> None:
        """Tell the pacer of the estimate, and probe if it is time."""
        now = self._clock.now
        self.estimates.append((now, self.estimator.estimate_bps))
        self._pacer.set_estimate(self.estimator.estimate_bps)
        if self._pacer.is_probing:
            return
        paused = any(start <= now < end for start, end in self._pauses)
        probe = self._told.next_probe(now, 0.0 if paused else self.source.wanted_bps)
        if probe is not None:
            self.probes += 1
            self._is_probing = True
            self._pacer.begin_probe(probe, now)
            self._arm()
