"""What a client has on its screen, as it says itself: the sizes of its tiles, and the tracks that it asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Tile:
    """The size of a slot's picture on the screen in device pixels; without any it is hidden."""

    width: int
    height: int

    @property
    def is_hidden(self) -> bool:
        """Whether nobody sees it."""
        return self.width == 0 or self.height == 0


@dataclass(frozen=True, slots=True)
class Wish:
    """A track that the client asks for by name."""

    participant_id: str
    track_id: str
    pinned: bool
    """Whether it is to be seen whoever speaks."""

    @property
    def key(self) -> str:
        """Names the track among all of the room, as UpTrack.key does."""
        return f"{self.participant_id}/{self.track_id}"


@dataclass(frozen=True, slots=True)
class View:
    """What one client's `view` message says."""

    tiles: Mapping[str, Tile] = field(default_factory=lambda: MappingProxyType({}))
    """By mid. A slot that is not among them is seen at any size."""
    wishes: tuple[Wish, ...] = ()
    """The most important first."""


EVERYTHING: Final = View()
"""What a client wants that says nothing."""
