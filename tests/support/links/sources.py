"""Where video comes from: encoders that follow the estimate, and layers of which a server chooses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from zvonim_sfu.media.layer import Rung
from zvonim_sfu.rooms.quality import NOTHING, Picture, distribute

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


class Slow:
    """One layer of few frames per second, each so much larger: a camera on a computer that is busy.

    Args:
        bps: what it takes, whatever the estimate is.
        every: one frame, where others make so many.
        wanted_bps: what the next larger layer would take.
    """

    def __init__(self, bps: float, every: int, wanted_bps: float) -> None:
        self.wanted_bps = wanted_bps
        self._frame_bytes = bps / 8 / FRAMES_PER_S * every
        self._every = every
        self._frames = 0

    def frame_bytes(self, estimate_bps: float, now: float, random: Random) -> int:
        del estimate_bps, now
        self._frames += 1
        return int(self._frame_bytes * random.uniform(0.8, 1.2)) if self._frames % self._every == 0 else 0


class Layered:
    """Pictures in layers of fixed rate, of which the server's allocation chooses; it makes none itself.

    A switch waits for a keyframe, which is some times as large as other frames; until it comes, the layer of before is
    forwarded. All pictures' frames come at once.

    Args:
        rates: of the layers of each picture in bit/s, ascending.
        pictures: how many there are, the most important first.
        reserved_bps: what is sent beside them.
        keyframe: how large one is, against other frames.
        keyframe_s: how long it takes from the request for a keyframe to its coming.
    """

    # How often the allocation is made, as the server does.
    _INTERVAL_S: Final = 0.1

    def __init__(
        self,
        rates: list[float],
        *,
        pictures: int = 1,
        reserved_bps: float = 0.0,
        keyframe: float = 5.0,
        keyframe_s: float = 0.15,
    ) -> None:
        self._rates = rates
        self._reserved_bps = reserved_bps
        self._keyframe = keyframe
        self._keyframe_s = keyframe_s
        ladder = tuple(
            Rung(layer, 0, 320 << layer, 180 << layer, FRAMES_PER_S, round(rate)) for layer, rate in enumerate(rates)
        )
        self._pictures = [Picture(str(index), f"user{index}", ladder) for index in range(pictures)]
        self._allotment = NOTHING
        self._allotted_at = -math.inf
        # For each picture the layer that is forwarded, -1 for none; the one that is to be, and when its keyframe comes.
        self._current = [-1] * pictures
        self._target = [-1] * pictures
        self._ready_at = [0.0] * pictures
        self.wanted_bps = pictures * rates[-1] + reserved_bps
        self.switches: list[tuple[float, int, int]] = []
        """When which picture was forwarded at which layer from on."""

    def frame_bytes(self, estimate_bps: float, now: float, random: Random) -> int:
        if now - self._allotted_at >= self._INTERVAL_S:
            self._allotted_at = now
            self._allot(estimate_bps, now)
        return sum(self._frame(index, now, random) for index in range(len(self._pictures)))

    def _allot(self, estimate_bps: float, now: float) -> None:
        self._allotment = distribute(
            self._pictures, estimate_bps, self._allotment, now, reserved_bps=self._reserved_bps
        )
        self.wanted_bps = self._allotment.wanted_bps
        for index, picture in enumerate(self._pictures):
            selection = self._allotment.choices[picture.mid].selection
            target = -1 if selection is None else min(selection.spatial, len(self._rates) - 1)
            if target != self._target[index]:
                self._target[index] = target
                self._ready_at[index] = now if target < 0 else now + self._keyframe_s

    def _frame(self, index: int, now: float, random: Random) -> int:
        is_keyframe = self._target[index] != self._current[index] and now >= self._ready_at[index]
        if is_keyframe:
            self._current[index] = self._target[index]
            self.switches.append((now, index, self._current[index]))
        if self._current[index] < 0:
            return 0
        size = self._rates[self._current[index]] / FRAMES_PER_S / 8
        return int(size * (self._keyframe if is_keyframe else random.uniform(0.8, 1.2)))
