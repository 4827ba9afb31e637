"""The adapter of Janus: in the long set, as it takes a network namespace."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import servers
from benchmarks.client.generator import Generator
from benchmarks.machine import network
from benchmarks.rounds import build_alive
from tests.benchmarks.test_zvonim import SMALL


@pytest.mark.long
@pytest.mark.parametrize("name", ["janus", "janus_loops"])
def test_a_small_call(name: str) -> None:
    adapter = servers.adapter(name)
    assert not adapter.missing()

    async def call(host: str) -> float:
        async with adapter.start(host) as server, Generator(host) as generator:
            stage = await build_alive(server, generator, SMALL, print)
            round_ = await stage.measure(1.0)
            await stage.close()
            return round_.delivered

    with network() as host:
        assert asyncio.run(call(host)) == pytest.approx(1.0, abs=0.05)
