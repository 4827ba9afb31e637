from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS
from zvonim_sfu.net.drops import DropReason

SEED = 4


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=1500))
def test_any_bytes_give_a_value_or_the_one_error(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_bytes_that_begin_like_the_real_thing(name: str) -> None:
    chance = random.Random(SEED)
    for _ in range(40):
        for beginning in SEEDS[name]:
            TARGETS[name](beginning + chance.randbytes(chance.randrange(200)))


def test_every_reason_for_a_drop_has_its_own_name() -> None:
    assert len({reason.value for reason in DropReason}) == len(DropReason)
