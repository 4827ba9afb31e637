"""The real client, used by its links and buttons and read by its DOM contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.browser.senses import HERE, PROBE, Tone, shows, silent, sounds

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tests.browser.senses import Tab
    from tests.support.media_files import Appearance

SCRIPTS: Final = PROBE + (HERE / "call.js").read_text()
"""To be loaded before the client."""


async def join(tab: Tab, server: str, room: str, name: str) -> None:
    """Open a room's link so that it joins at once; a small picture, since the tests' machines are small."""
    await tab.navigate(f"{server}/r/{room}?name={name}&join=now&processing=off&quality=180")


async def observe(tab: Tab) -> View:
    """Read the page as it is now."""
    return View(**await tab.evaluate("() => call.observe()"))


@dataclass(frozen=True, slots=True)
class View:
    """What one participant has before it: the page's state, its tiles and what its audio elements play."""

    state: str | None
    tiles: list[dict[str, Any]]
    tones: list[Tone]

    def tile(self, who: Appearance, source: str = "camera") -> dict[str, Any] | None:
        """The tile under this participant's name, None unless there is exactly one."""
        tiles = [tile for tile in self.tiles if tile["name"] == who.name and tile["source"] == source]
        return tiles[0] if len(tiles) == 1 else None

    def user(self, who: Appearance) -> str:
        """The id of the participant with this name."""
        tile = self.tile(who)
        assert tile is not None, f"{who.name} is not in sight: {self}"
        return str(tile["user"])

    def sees_exactly(self, people: Collection[Appearance]) -> bool:
        """Whether there is a camera tile for each of these people and no other, each with the right picture."""
        cameras = [tile for tile in self.tiles if tile["source"] == "camera"]
        return (
            self.state == "call"
            and len(cameras) == len(people)
            and all(shows((self.tile(who) or {}).get("picture"), who) for who in people)
        )

    def hears_exactly(self, people: Sequence[Appearance]) -> bool:
        """Whether these people's tones are heard, each as often as it is named, and nothing else."""
        tones = [tone for tone in self.tones if not silent(tone)]
        return len(tones) == len(people) and all(
            sum(sounds(tone, who) for tone in tones) == people.count(who) for who in people
        )

    def marks(self) -> dict[tuple[str, str], int]:
        """Where the moving mark is in each picture, by user and source: tells a picture from a frozen one."""
        return {
            (tile["user"], tile["source"]): tile["picture"]["mark"]
            for tile in self.tiles
            if tile["picture"] is not None
        }
