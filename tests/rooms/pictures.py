"""Pictures of one subscriber as tests of quality have them, and a link to it in time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from zvonim_sfu.media.layer import Rung
from zvonim_sfu.rooms.quality import NOTHING, Allotment, Choice, Picture, distribute
from zvonim_sfu.rooms.view import Tile


def ladder(*rates: int, top: tuple[int, int] = (1280, 720), layers: int = 3, fps: float = 30.0) -> tuple[Rung, ...]:
    """Of spatial layers with these bit rates, the last of size `top`, each with temporal layers."""
    return tuple(
        Rung(
            spatial,
            temporal,
            top[0] >> (len(rates) - 1 - spatial),
            top[1] >> (len(rates) - 1 - spatial),
            fps / 2 ** (layers - 1 - temporal),
            int(rate * (1.0, 0.75, 0.6)[layers - 1 - temporal]),
        )
        for spatial, rate in enumerate(rates)
        for temporal in range(layers)
    )


CAMERA = ladder(150_000, 500_000, 1_500_000)
LARGE, MIDDLE, SMALL, HIDDEN = Tile(1280, 720), Tile(640, 360), Tile(320, 180), Tile(0, 0)
PAUSED = (-1, -1)


def picture(mid: str = "v", tile: Tile | None = LARGE, of: tuple[Rung, ...] = CAMERA, **more: bool) -> Picture:
    """Return one in the slot `mid`."""
    return Picture(mid, f"{mid}/camera", of, tile, **more)


def level_of(choice: Choice) -> tuple[int, int]:
    """Return which layers were chosen, spatial and temporal."""
    return PAUSED if choice.selection is None else (choice.selection.spatial, choice.selection.temporal)


@dataclass
class Link:
    """A subscriber with a link, in a time that goes on by tenths of seconds."""

    pictures: list[Picture]
    allotment: Allotment = NOTHING
    tick: int = 0
    history: list[dict[str, tuple[int, int]]] = field(default_factory=list)

    def go(self, estimate: float | None, ticks: int = 1) -> dict[str, tuple[int, int]]:
        """Decide so many times; returns what each picture has then."""
        for _ in range(ticks):
            self.tick += 1
            self.allotment = distribute(self.pictures, estimate, self.allotment, self.tick / 10)
            choices = self.allotment.choices
            self.history.append({mid: level_of(choice) for mid, choice in choices.items()})
        return self.history[-1]

    def moves(self, mid: str) -> list[tuple[int, int]]:
        """Return when a picture was switched, and in which direction: 1 up, -1 down; pauses and their ends left out."""
        return [
            (tick, 1 if after > before else -1)
            for tick, (before, after) in enumerate(itertools.pairwise(self._levels(mid)))
            if after != before and PAUSED not in (before, after)
        ]

    def returns(self, mid: str) -> list[int]:
        """Return when a picture that was paused came back."""
        levels = itertools.pairwise(self._levels(mid))
        return [tick for tick, (before, after) in enumerate(levels) if before == PAUSED != after]

    def _levels(self, mid: str) -> list[tuple[int, int]]:
        return [state[mid] for state in self.history]
