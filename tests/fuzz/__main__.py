"""Fuzz one entry point for as long as you like, guided by coverage: python -m tests.fuzz rtp [atheris options].

Needs atheris (`pip install atheris`); in `make test` hypothesis calls the same functions.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["zvonim_sfu"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Run atheris on the target that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [-max_total_time=60 ...]")
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


main()
