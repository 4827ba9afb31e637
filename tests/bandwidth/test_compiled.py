"""What is compiled as it stands says the same as its source, to the last bit."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from tests.support.as_they_stand import ROOT, sources

# Where the modules came from, then the estimate after each line of a recorded trace.
REPLAY: Final = """
from tests.bandwidth.test_recorded import replayed
steps = replayed()
import sys
print(*(sys.modules[name].__file__ for name in {names!r}))
print(*(float(step.bps).hex() for step in steps))
"""
FROM_SOURCES: Final = "from tests.support import as_they_stand; as_they_stand.import_from_sources()"


def replay(before: str = "") -> tuple[list[str], list[str]]:
    script = before + REPLAY.format(names=list(sources()))
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files, estimates = said.splitlines()
    return files.split(), estimates.split()


def test_a_trace_is_replayed_to_the_last_bit_compiled_and_not() -> None:
    compiled_files, compiled = replay()
    plain_files, plain = replay(FROM_SOURCES)
    assert all(file.endswith(".so") for file in compiled_files)
    assert all(file.endswith(".py") for file in plain_files)
    assert len(compiled) > 700
    assert compiled == plain
