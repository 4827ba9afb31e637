"""How good a picture each slot gets, and why: what its tile needs, as far as the subscriber's link holds it."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a picture is not better than it is; a client words it."""

    BEST = "best"
    """It is as good as the publisher sends it, and as the tile needs it."""
    TILE = "tile"
    """Its tile shows no more."""
    LINK = "link"
    """The subscriber's link does not hold more."""
    PUBLISHER = "publisher"
    """The publisher sends no better one, though the tile would show it."""
    KEYFRAME = "keyframe"
    """It waits for a keyframe."""
    HIDDEN = "hidden"
    """Nobody looks at it."""
    SOURCE = "source"
    """The publisher sends nothing now."""
