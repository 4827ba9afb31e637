"""What the processes of a server have used: CPU time and memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import psutil

_CPU_CLOCK: Final = 2  # CPUCLOCK_SCHED of the kernel's include/linux/posix-timers.h: what clock_getcpuclockid(3) gives


@dataclass(frozen=True, slots=True)
class Memory:
    """Of all processes of a server, in bytes."""

    rss: int
    """Resident."""
    uss: int
    """The part of it that no other process shares."""


def cpu_s(pid: int) -> float:
    """Return user and system time of a process and its children, ended threads included.

    Raises psutil.NoSuchProcess.
    """
    return sum(map(_cpu_s, _family(pid)))


def memory(pid: int) -> Memory:
    """Return what a process and its children hold. Raises psutil.NoSuchProcess."""
    infos = [process.memory_full_info() for process in _family(pid)]
    return Memory(rss=sum(info.rss for info in infos), uss=sum(info.uss for info in infos))


def _family(pid: int) -> list[psutil.Process]:
    main = psutil.Process(pid)
    return [main, *main.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    # psutil's cpu_times are the same in ticks of 10 ms: too coarse for rounds of some seconds.
    try:
        return time.clock_gettime(~process.pid << 3 | _CPU_CLOCK)
    except OSError:
        raise psutil.NoSuchProcess(process.pid) from None
