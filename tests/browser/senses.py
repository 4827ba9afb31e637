"""Tabs, and what one sees and hears, compared with what a participant looks and sounds like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from tests.support.media_files import Appearance

HERE: Final = Path(__file__).parent
PROBE: Final = (HERE / "probe.js").read_text()
"""To be loaded before a page's own scripts: defines `probe`."""

COLOUR_TOLERANCE: Final = 30
"""Per channel of 255. A low-rate encoder shifts a plain colour by some 5; people are at least 90 apart."""
TONE_TOLERANCE_HZ: Final = 25
"""Two bins of the analyser; people are at least 300 Hz apart."""
AUDIBLE_DB: Final = -60
"""The tones arrive at about -26; silence and comfort noise are below -90."""

Picture = dict[str, Any] | None
Tone = dict[str, Any] | None


class Tab(Protocol):
    """What the drivers of Chromium and Firefox have in common."""

    errors: list[str]

    async def navigate(self, url: str) -> None: ...
    async def evaluate(self, function: str, argument: object = None) -> Any: ...
    async def click(self, selector: str) -> None: ...


def shows(picture: Picture, who: Appearance) -> bool:
    """Whether a picture has this participant's colour."""
    return picture is not None and all(
        abs(seen - meant) <= COLOUR_TOLERANCE for seen, meant in zip(picture["colour"], who.colour, strict=True)
    )


def sounds(tone: Tone, who: Appearance) -> bool:
    """Whether a sound is this participant's tone."""
    return tone is not None and tone["level"] > AUDIBLE_DB and abs(tone["hz"] - who.tone_hz) <= TONE_TOLERANCE_HZ


def silent(tone: Tone) -> bool:
    """Whether nothing is heard."""
    return tone is None or tone["level"] < AUDIBLE_DB


def changed(one: Picture, other: Picture) -> bool:
    """Whether the picture is no longer the same: its mark moved or its colour went on, so it is not frozen."""
    if one is None or other is None:
        return False
    pairs = zip(one["colour"], other["colour"], strict=True)
    return bool(one["mark"] != other["mark"] or any(abs(a - b) > COLOUR_TOLERANCE for a, b in pairs))
