"""What each layer of a scalable stream costs, and how many frames it shows: what rungs of a ladder are made of."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.rtp.description import MAX_LAYERS, Restriction
from zvonim_sfu.rtp.intake import Intake

if TYPE_CHECKING:
    from zvonim_sfu.rtp.description import Description

# Looks that rates are taken over, of one second each: smooths what differs between groups of pictures, and a keyframe.
MAX_LOOKS: Final = 4

_CELLS: Final = MAX_LAYERS * MAX_LAYERS


class _Look(NamedTuple):
    at: float
    octets: tuple[int, ...]
    frames: tuple[int, ...]


class LayerRates:
    """Counts the octets and frames of each layer, and tells rates between looks at the counters.

    Its owner adds each packet, and looks about once a second.

    Args:
        intake: where they are counted, instead of what was counted there; None: on their own.
    """

    __slots__ = ("_frames", "_looks", "_octets")

    def __init__(self, intake: Intake | None = None) -> None:
        intake = intake or Intake()
        self._octets = intake.layer_octets = [0] * _CELLS
        self._frames = intake.layer_frames = [0] * _CELLS
        self._looks: deque[_Look] = deque(maxlen=MAX_LOOKS)

    def add(self, description: Description, octets: int) -> None:
        """Count a packet of this description with so many octets."""
        cell = description[0] * MAX_LAYERS + description[1]
        self._octets[cell] += octets
        if description[2]:
            self._frames[cell] += 1

    def begin_anew(self) -> None:
        """Forget what was seen up to now: nothing has come for a while."""
        self._looks.clear()

    def look(self, now: float) -> None:
        """Take rates up to this time (s, monotonic)."""
        self._looks.append(_Look(now, tuple(self._octets), tuple(self._frames)))

    def restrictions(self) -> list[Restriction]:
        """Return which layers came between the looks, the lowest first; none before the second look."""
        if len(self._looks) < 2:
            return []
        before, after = self._looks[0].octets, self._looks[-1].octets
        return [Restriction(*divmod(cell, MAX_LAYERS)) for cell in range(_CELLS) if after[cell] > before[cell]]

    def bitrate(self, restriction: Restriction) -> int:
        """Return the bit/s of all layers up to these."""
        if len(self._looks) < 2:
            return 0
        first, last = self._looks[0], self._looks[-1]
        octets = sum(
            last.octets[cell] - first.octets[cell]
            for spatial in range(restriction.spatial + 1)
            for cell in range(spatial * MAX_LAYERS, spatial * MAX_LAYERS + restriction.temporal + 1)
        )
        return int(octets * 8 / max(last.at - first.at, 1e-3))

    def frame_rate(self, restriction: Restriction) -> float:
        """Return how many frames of this spatial layer come in a second, with temporal layers up to this one."""
        if len(self._looks) < 2:
            return 0.0
        first, last = self._looks[0], self._looks[-1]
        start = restriction.spatial * MAX_LAYERS
        cells = range(start, start + restriction.temporal + 1)
        return sum(last.frames[cell] - first.frames[cell] for cell in cells) / max(last.at - first.at, 1e-3)
