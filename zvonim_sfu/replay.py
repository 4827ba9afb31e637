"""Replays traces of bandwidth estimates: python -m zvonim_sfu.replay FILE...

Prints the estimates as they were recorded and as this version makes them of the same feedback. The exit code is 1 if
they differ, and 2 if a file is no trace.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from zvonim_sfu.bandwidth.trace import TraceError, replay

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP_S: Final = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="zvonim_sfu.replay", description=__doc__.splitlines()[0])
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    parser.add_argument("--all", action="store_true", help="print each line, not one for each second")
    options = parser.parse_args(arguments)
    code = 0
    for path in options.files:
        try:
            is_same = _replay(path, every_s=0.0 if options.all else STEP_S)
        except (OSError, UnicodeDecodeError, TraceError) as error:
            print(f"{path}: {error}", file=sys.stderr)  # noqa: T201 - the output of a command
            return 2
        if not is_same:
            code = 1
    return code


def _replay(path: Path, *, every_s: float) -> bool:
    """Print a trace; returns whether the replay made the same estimates."""
    lines = differing = 0
    began_at = printed_at = 0.0
    with path.open(encoding="ascii") as file:
        for step in replay(file):
            if not lines:
                began_at = step.now
                print(f"{path}\n       s    recorded bit/s    replayed bit/s")  # noqa: T201
            if not lines or step.now - printed_at >= every_s:
                printed_at = step.now
                print(f"{step.now - began_at:8.2f}{step.recorded_bps:18.0f}{step.bps:18.0f}")  # noqa: T201
            lines += 1
            differing += step.bps != step.recorded_bps
    print(f"{lines} lines, {differing} of them with another estimate")  # noqa: T201
    return not differing


if __name__ == "__main__":
    sys.exit(main())
