from __future__ import annotations

import random

import pytest

from tests.soak import soak

SECONDS = 60


@pytest.mark.asyncio
@pytest.mark.minute
@pytest.mark.timeout(180)
async def test_a_minute_of_coming_and_going_leaves_nothing_behind() -> None:
    seed = random.randrange(10**6)
    try:
        done = await soak(SECONDS, seed)
    except BaseException as error:
        error.add_note(f"again: python -m tests.soak --seconds {SECONDS} --seed {seed}")
        raise
    assert sum(done.values()) > SECONDS, done
