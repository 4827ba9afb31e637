from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.relay import Profile, ProfileError


def test_a_text_changes_what_it_names_and_nothing_else() -> None:
    profile = Profile(loss=0.1, rate_bps=1e6, keep_order=True)
    changed = profile.but("delay=40 keep_order=false rate=none queue_bytes=30000 distribution=uniform")
    assert changed == Profile(loss=0.1, delay_ms=40, keep_order=False, queue_bytes=30000, distribution="uniform")
    assert profile.but("") == profile


@pytest.mark.parametrize(
    "profile",
    [
        Profile(),
        Profile(loss=0.05, delay_ms=40, jitter_ms=10),
        Profile(rate_bps=5e5, queue_bytes=9000, keep_order=False, distribution="uniform"),
    ],
)
def test_its_text_makes_the_same_profile(profile: Profile) -> None:
    text = str(profile)
    assert Profile().but("" if text == "nothing" else text) == profile


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("loss=2", "loss = 2.0: must be from 0 to 1"),
        ("loss=nan", "loss = nan: must be"),
        ("delay=-1", "delay_ms = -1.0: must be from 0 to 60000"),
        ("jitter=inf", "jitter_ms = inf: must be"),
        ("rate=0", "rate_bps = 0.0: must be from 1000"),
        ("queue_bytes=-1", "queue_bytes = -1: must be from 0"),
        ("queue_bytes=1.5", "queue_bytes = '1.5': must be a number"),
        ("burst_packets=0.5", "burst_packets = 0.5: must be from 1"),
        ("burst_loss=0.9 burst_packets=5", "so much loss needs longer bursts"),
        ("burst_loss=1", "so much loss needs longer bursts"),
        ("loss", "loss = '': must be a number"),
        ("loss=none", "loss = 'none': must be a number"),
        ("keep_order=1", "keep_order = '1': must be true or false"),
        ("distribution=poisson", "must be one of"),
        ("queue=5", "'queue' is not clear: write one of queue_ms, queue_bytes"),
        ("speed=5", "'speed' is none of loss, "),
        ("=5", "'' is none of loss, "),
    ],
)
def test_a_fault_is_one_sentence(text: str, fault: str) -> None:
    with pytest.raises(ProfileError) as raised:
        Profile().but(text)
    assert fault in str(raised.value)


@given(st.text())
def test_any_text_is_a_profile_or_the_one_error(text: str) -> None:
    with contextlib.suppress(ProfileError):
        assert isinstance(Profile().but(text), Profile)


@given(st.floats(0.01, 0.8), st.floats(1, 100))
def test_bursts_as_asked_for_are_possible_or_refused(loss: float, length: float) -> None:
    possible = loss <= length / (length + 1)
    try:
        profile = Profile(burst_loss=loss, burst_packets=length)
    except ProfileError:
        assert not possible or math.isclose(loss, length / (length + 1))
    else:
        enter, end = profile.enter_burst, 1 / length
        assert math.isclose(enter / (enter + end), loss)
