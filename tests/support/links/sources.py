"""Where video comes from: encoders that follow the estimate, and layers of which a server chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from random import Random

FRAMES_PER_S: Final = 30


class Source(Protocol):
    """What makes frames."""

    wanted_bps: float
    """What would be sent if the link held it."""

    def frame_bytes(self, estimate_bps: float, now: float, random: Random) -> int:
        """Return the size of the next frame."""


class Adaptive:
    """An encoder that makes of video what the estimate allows, in frames of uneven size."""

    def __init__(self, most_bps: float = 10_000_000, *, unevenness: float = 0.2) -> None:
        self.wanted_bps = most_bps
        self._unevenness = unevenness

    def frame_bytes(self, estimate_bps: float, now: float, random: Random) -> int:
        del now
        bps = min(estimate_bps, self.wanted_bps)
        return int(bps / FRAMES_PER_S / 8 * random.uniform(1 - self._unevenness, 1 + self._unevenness))


class Layered:
    """Layers of fixed rate, of which the highest that fits is forwarded: what a server that cannot encode has.

    A switch waits for a keyframe, which is some times as large as other frames; until it comes, the layer of before is
    forwarded.

    Args:
        rates: of the layers in bit/s, ascending.
        share: of the estimate that video may take.
        keyframe: how large one is, against other frames.
        keyframe_s: how long it takes from the request for a keyframe to its coming.
        unevenness: of frames' sizes.
    """

    # Upwards, so much more than needed has to fit.
    _MARGIN: Final = 1.1

    def __init__(
        self, rates: list[float], *, reserved_bps: float = 0.0, keyframe: float = 5.0, keyframe_s: float = 0.15
    ) -> None:
        self._rates = rates
        self._reserved_bps = reserved_bps
        self._keyframe = keyframe
        self._keyframe_s = keyframe_s
        # The layer that is forwarded, -1 for none; the one that is to be, and when its keyframe comes.
        self._current = -1
        self._target = -1
        self._ready_at = 0.0
        self.wanted_bps = rates[-1] + reserved_bps
        self.switches: list[tuple[float, int]] = []
        """When a layer (its index) was forwarded from on."""

    def frame_bytes(self, estimate_bps: float, now: float, random: Random) -> int:
        target = self._choose(estimate_bps - self._reserved_bps)
        if target != self._target:
            self._target = target
            self._ready_at = now + self._keyframe_s
            if target < 0:
                self._switch(now)
        is_keyframe = self._target != self._current and now >= self._ready_at
        if is_keyframe:
            self._switch(now)
        if self._current < 0:
            return 0
        size = self._rates[self._current] / FRAMES_PER_S / 8
        return int(size * (self._keyframe if is_keyframe else random.uniform(0.8, 1.2)))

    def _switch(self, now: float) -> None:
        self._current = self._target
        self.switches.append((now, self._current))

    def _choose(self, bps: float) -> int:
        fits = [
            rate <= bps * (1.0 if index <= self._target else 1 / self._MARGIN) for index, rate in enumerate(self._rates)
        ]
        return max((index for index, fit in enumerate(fits) if fit), default=-1)
