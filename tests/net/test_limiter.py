from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.net import limiter
from zvonim_sfu.net.limiter import AddressLimiter, TokenBucket

if TYPE_CHECKING:
    import pytest


def test_a_burst_is_granted_and_then_the_rate() -> None:
    bucket = TokenBucket(2.0, 3, now=0.0)
    assert [bucket.take(now=0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s(now=0.0) == 0.5
    assert not bucket.take(now=0.4)
    assert bucket.take(now=0.5)
    assert not bucket.take(now=0.5)
    assert not bucket.is_full(now=1.0)
    assert bucket.is_full(now=100.0)


def test_a_thing_may_cost_more_than_one_token_and_costs_nothing_when_refused() -> None:
    bucket = TokenBucket(2.0, 3, now=0.0)
    assert bucket.take(2.5, now=0.0)
    assert not bucket.take(2, now=0.5)
    assert bucket.take(1.5, now=0.5)


@given(st.lists(st.floats(-1, 5), max_size=200))
def test_no_more_is_granted_than_burst_and_rate_allow(steps: list[float]) -> None:
    bucket, now, latest, granted = TokenBucket(2.0, 3, now=0.0), 0.0, 0.0, 0
    for step in steps:
        now += step
        granted += bucket.take(now=now)
        latest = max(latest, now)
    backwards = sum(-step for step in steps if step < 0)
    assert granted <= 3 + 2.0 * (latest + backwards) + 1e-6


def test_addresses_do_not_pay_for_each_other() -> None:
    addresses = AddressLimiter(1.0, 1)
    assert addresses.take("192.0.2.1", now=0.0) == 0
    assert addresses.take("192.0.2.1", now=0.0) == 1.0
    assert addresses.take("192.0.2.2", now=0.0) == 0
    assert addresses.take("::ffff:192.0.2.2", now=0.0) == 1.0
    assert addresses.take("192.0.2.1", now=1.0) == 0


def test_one_network_of_ipv6_is_one_client() -> None:
    addresses = AddressLimiter(1.0, 1)
    assert addresses.take("2001:db8::1", now=0.0) == 0
    assert addresses.take("2001:db8::ffff:2", now=0.0) > 0
    assert addresses.take("2001:db8:0:1::1", now=0.0) == 0
    assert addresses.take("fe80::1%eth0", now=0.0) == 0


def test_what_is_no_address_is_limited_too() -> None:
    addresses = AddressLimiter(1.0, 1)
    assert addresses.take("", now=0.0) == 0
    assert addresses.take("", now=0.0) > 0


def test_addresses_are_forgotten_when_that_changes_nothing() -> None:
    addresses = AddressLimiter(1.0, 2)
    for n in range(100):
        addresses.take(f"192.0.2.{n}", now=0.0)
    assert len(addresses) == 100
    addresses.take("198.51.100.1", now=10.0)
    assert len(addresses) == 1


def test_a_flood_from_new_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "MAX_ADDRESSES", 50)
    addresses = AddressLimiter(1.0, 1)
    for n in range(200):
        addresses.take(f"192.0.2.{n}", now=0.0)
    assert len(addresses) == 50
