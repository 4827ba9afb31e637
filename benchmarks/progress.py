"""What the terminal shows during a run."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console
from rich.markup import escape


class Progress:
    """A line for each thing that is measured, and one for each step of it, with the time since the beginning.

    Nothing moves by itself: a display that refreshes would take time from what is measured.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console: Final = console or Console(stderr=True, highlight=False)
        self._started = time.monotonic()

    def begin(self, title: str) -> None:
        """Something new is measured."""
        self._line(f"[bold]{escape(title)}[/]")

    def step(self, text: str) -> None:
        """A part of it is done."""
        self._line(f"  {escape(text)}")

    def say(self, text: str) -> None:
        """Something is not as it ought to be."""
        self._line(f"  [yellow]{escape(text)}[/]")

    def _line(self, text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        self._console.print(f"[dim]{minutes}:{seconds:02}[/] {text}", soft_wrap=True)
