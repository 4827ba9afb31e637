"""Who ends a benchmark ends the servers that it has started."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.eventually import until

ROOT = Path(__file__).parents[2]


def servers(benchmark: psutil.Process) -> list[psutil.Process]:
    """Those that it has started so far."""
    found = []
    for child in benchmark.children():
        with suppress(psutil.NoSuchProcess):
            found += [child] if "--media-port=0" in child.cmdline() else []
    return found


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_benchmark_that_is_told_to_end_takes_its_servers_with_it(number: int, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    process = await asyncio.create_subprocess_exec(
        # As a shell starts what is to be in the background.
        *("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh"),
        *(sys.executable, "-m", "benchmarks", "run", "--shapes", "meeting-8", "--output", result),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    started: list[psutil.Process] = []
    try:
        itself = psutil.Process(process.pid)
        await until(lambda: any(servers(itself)), 20)
        started = servers(itself)
        process.send_signal(number)
        async with asyncio.timeout(20):
            assert await process.wait() != 0
        assert [child for child in started if child.is_running()] == []
        assert result.exists()
    finally:
        for pid in (process.pid, *(server.pid for server in started)):
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
