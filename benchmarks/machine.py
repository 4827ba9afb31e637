"""Where a run takes place: the machine, and the network that the servers get."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.results import Machine
from tests.support.namespace import NamespaceError, network_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"


def machine() -> Machine:
    """Describe this machine and what it is doing now."""
    return Machine(
        processor=_processor(),
        processors=len(os.sched_getaffinity(0)),
        memory_mb=psutil.virtual_memory().total // 10**6,
        kernel=platform.release(),
        python=platform.python_version(),
        load_before=round(os.getloadavg()[0], 2),
    )


@contextmanager
def network() -> Iterator[str]:
    """Yield the address on which servers are measured.

    It is one of a network namespace that reaches no other machine, since Janus does not use loopback addresses. Who
    may not make one gets 127.0.0.1, which does for Zvonim alone.
    """
    try:
        namespace = network_namespace()
        address = namespace.__enter__()
    except NamespaceError as error:
        print(f"Measuring on {LOOPBACK}, which Janus cannot use: {error}", file=sys.stderr)
        yield LOOPBACK
        return
    try:
        yield address
    finally:
        namespace.__exit__(None, None, None)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
