from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS
from zvonim_sfu.net.drops import DropReason

SEED = 4


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=1500))
def test_any_bytes_give_a_value_or_the_one_error(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_bytes_that_begin_like_the_real_thing(name: str) -> None:
    chance = random.Random(SEED)
    beginnings = {
        "rtp": [
            b"\x80\x60",
            b"\x90\x60" + bytes(10) + b"\xbe\xde\x00\x02",
            b"\xb0\xe0" + bytes(10) + b"\x10\x00\x00\x01",
        ],
        "rtcp": [bytes([0x80 | n, t, 0, 6]) for n in (0, 1, 15, 31) for t in range(200, 208)],
        "stun": [b"\x00\x01\x00\x20\x21\x12\xa4\x42" + bytes(12) + b"\x00\x06\x00\x09"],
        "description": [bytes([n]) for n in range(0, 256, 5)],
        "message": [b'{"type":"offer","sdp":"', b'{"type":"join","data":{', b'{"type":"ice-candidate","candidate":'],
    }[name]
    for _ in range(40):
        for beginning in beginnings:
            TARGETS[name](beginning + chance.randbytes(chance.randrange(200)))


def test_every_reason_for_a_drop_has_its_own_name() -> None:
    assert len({reason.value for reason in DropReason}) == len(DropReason)
