"""Fuzz one entry point for as long as you like, guided by coverage: python -m tests.fuzz rtp [atheris options].

Needs atheris (`pip install atheris`); in `make test` hypothesis calls the same functions.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["zvonim_sfu"]):
    from tests.fuzz.targets import SEEDS, TARGETS


def main() -> None:
    """Run atheris on the target that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [-max_total_time=60 ...]")
    name = sys.argv.pop(1)
    # libFuzzer reads the corpora that its arguments name, and adds to the first of them: here to one that goes away,
    # unless there is another.
    with tempfile.TemporaryDirectory(prefix="zvonim-fuzz-") as seeds:
        for n, seed in enumerate(SEEDS[name]):
            (Path(seeds) / f"seed-{n}").write_bytes(seed)
        atheris.Setup([*sys.argv, seeds], TARGETS[name])
        atheris.Fuzz()


main()
