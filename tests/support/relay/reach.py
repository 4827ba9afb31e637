"""Where the relay may send: never beyond this machine.

Loopback addresses always. Any other only if the test names it and the calling thread is in a network namespace that
tests.support.namespace has made. The relay asks anew for each socket and each client, so that one that outlives its
namespace cannot go on outside of it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from tests.support.namespace import in_own_namespace

if TYPE_CHECKING:
    from collections.abc import Collection


class OutOfReachError(PermissionError):
    """An address that the relay must not send to or listen on; says why."""


def check_reach(address: str, allowed: Collection[str]) -> None:
    """Raise OutOfReachError unless this address may be used by a socket that this thread opens now."""
    if ipaddress.ip_address(address).is_loopback:
        return
    if address not in allowed:
        raise OutOfReachError(f"{address} is no loopback address and was not allowed")
    if not in_own_namespace():
        raise OutOfReachError(f"{address} is no loopback address, and this is no network namespace of the test's own")
