"""What the processes of a server have used: CPU time and memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import psutil

_CPU_CLOCK: Final = 2  # CPUCLOCK_SCHED of the kernel's include/linux/posix-timers.h: what clock_getcpuclockid(3) gives


@dataclass(frozen=True, slots=True)
class Usage:
    """All processes of a server together."""

    cpu_s: float
    """User and system time since their start, ended threads included."""
    rss_bytes: int
    """Resident memory."""
    uss_bytes: int
    """The part of it that no other process shares."""


def usage(pid: int) -> Usage:
    """Return what a process and its children use. Raises psutil.NoSuchProcess."""
    main = psutil.Process(pid)
    processes = [main, *main.children(recursive=True)]
    memory = [process.memory_full_info() for process in processes]
    return Usage(
        cpu_s=sum(map(_cpu_s, (process.pid for process in processes))),
        rss_bytes=sum(info.rss for info in memory),
        uss_bytes=sum(info.uss for info in memory),
    )


def cpu_s(pid: int) -> float:
    """Return user and system time of a process and its children. Raises psutil.NoSuchProcess."""
    main = psutil.Process(pid)
    return sum(_cpu_s(process.pid) for process in [main, *main.children(recursive=True)])


def _cpu_s(pid: int) -> float:
    # psutil's cpu_times are the same in ticks of 10 ms: too coarse for rounds of some seconds.
    try:
        return time.clock_gettime(~pid << 3 | _CPU_CLOCK)
    except OSError:
        raise psutil.NoSuchProcess(pid) from None
