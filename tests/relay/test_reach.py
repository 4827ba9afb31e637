"""The relay sends nothing beyond this machine, whatever it is told."""

from __future__ import annotations

import pytest

from tests.relay.support import End, two_ends
from tests.support.eventually import until
from tests.support.namespace import in_own_namespace, network_namespace
from tests.support.relay import Drop, OutOfReachError, Relay

BEYOND = "203.0.113.7"


@pytest.mark.asyncio
@pytest.mark.parametrize("address", [BEYOND, "0.0.0.0", "::", "10.77.0.1", "2001:db8::1", "255.255.255.255"])
async def test_other_addresses_are_refused_even_if_allowed(address: str) -> None:
    for allowed in ([], [address]):
        with pytest.raises(OutOfReachError, match=f"{address} is no loopback address"):
            Relay((address, 0), allowed=allowed)
        with pytest.raises(OutOfReachError):
            Relay(server=(address, 7000), allowed=allowed)
        relay = Relay(allowed=allowed)
        async with two_ends(relay):
            with pytest.raises(OutOfReachError):
                relay.set_server((address, 7000))
            with pytest.raises(OutOfReachError):
                next(iter(relay.clients.values())).move(address)


@pytest.mark.asyncio
async def test_in_a_namespace_of_the_tests_own_an_allowed_address_is_used() -> None:
    assert not in_own_namespace()
    with network_namespace() as host:
        assert in_own_namespace()
        with pytest.raises(OutOfReachError, match="not allowed"):
            Relay((host, 0))
        relay = Relay((host, 0), allowed=[host])
        async with two_ends(relay, host) as (client, server):
            server.send(b"back", server.senders[0])
            assert await client.receives(1) == [b"back"]
    assert not in_own_namespace()


@pytest.mark.asyncio
async def test_a_client_elsewhere_gets_no_answer() -> None:
    with network_namespace() as host:
        async with Relay() as relay:
            with End(host) as client, End() as server:
                relay.set_server(server.address)
                client.send(b"x", relay.address)
                await until(lambda: relay.drops() == {Drop.OUT_OF_REACH: 1})
                assert not relay.clients


@pytest.mark.asyncio
async def test_a_relay_that_outlives_its_namespace_opens_no_socket_outside_of_it() -> None:
    with network_namespace() as host:
        relay = Relay((host, 0), (host, 7000), allowed=[host])
        ann, bob = End(host), End(host)
        ann.send(b"x", relay.address)
        await until(lambda: list(relay.clients) == [ann.address])
    try:
        with pytest.raises(OutOfReachError):
            relay.move()
        bob.send(b"x", relay.address)
        await until(lambda: relay.drops()[Drop.OUT_OF_REACH] == 1)
        assert list(relay.clients) == [ann.address]
    finally:
        for opened in (ann, bob, relay):
            opened.close()
