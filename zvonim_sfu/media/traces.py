"""Where traces of estimators (bandwidth.trace) are written: a file for each transport, for who asks about a picture.

They hold times, sizes and what clients report on them, no media, no names and no addresses.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

# An hour or so of a call; a trace ends there, and what there is of it can be replayed.
MAX_TRACE_BYTES: Final = 32 * 2**20
# The oldest give place.
MAX_TRACES: Final = 100

_SUFFIX: Final = ".jsonl"


class Trace:
    """One file, by the recorder that writes it and the link that closes it."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._left = MAX_TRACE_BYTES

    def write(self, line: str) -> None:
        """Add a line, of ASCII; nothing once the file is full or its disk is."""
        self._left -= len(line)
        if self._left < 0:
            self.close()
            return
        try:
            self._file.write(line)
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Write no more. A second time does nothing."""
        self._left = 0
        try:
            self._file.close()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._left = 0
        structlog.get_logger().warning("trace not written", file=self._file.name, reason=error.strerror)


class Traces:
    """A directory for traces."""

    def __init__(self, directory: Path) -> None:
        """Make it if need be. Raises OSError with a sentence for the operator."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"No traces can be kept in {directory} ({error.strerror}): set another trace_dir") from error
        self._directory = directory

    def open(self, name: str) -> Trace | None:
        """Begin a trace; `name` is part of its file's. None if it cannot be written, which the log tells."""
        word = "".join(character if character.isalnum() else "_" for character in name)
        path = self._directory / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{word}{_SUFFIX}"
        try:
            for old in sorted(self._directory.glob(f"*{_SUFFIX}"))[: -MAX_TRACES + 1]:
                old.unlink(missing_ok=True)
            return Trace(path.open("w", encoding="ascii"))
        except OSError as error:
            structlog.get_logger().warning("trace not written", file=str(path), reason=error.strerror)
            return None
