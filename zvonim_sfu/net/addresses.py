"""The addresses of this host and the ICE candidates made of them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final

import ifaddr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# RFC 8445, section 5.1.2.2: the recommended type preference of host candidates.
HOST_TYPE_PREFERENCE: Final = 126
MAX_LOCAL_PREFERENCE: Final = 65535
# RTP and RTCP share one component (RFC 5761).
COMPONENT: Final = 1


class AddressError(ValueError):
    """A text that names no address; says what would."""


@dataclass(slots=True, frozen=True)
class Announced:
    """An address under which clients reach this server when it is not a bound one (NAT, relay)."""

    address: str
    port: int | None = None
    """None: the bound port."""


@dataclass(slots=True, frozen=True)
class Candidate:
    """An ICE host candidate for UDP (RFC 8839, section 5.1)."""

    address: str
    port: int
    priority: int
    foundation: str

    def to_sdp(self) -> str:
        """Return what follows `a=candidate:`."""
        return f"{self.foundation} {COMPONENT} udp {self.priority} {self.address} {self.port} typ host"


def host_addresses() -> tuple[str, ...]:
    """Return the host's addresses, loopback last; no link-local ones, which need an interface beside them."""
    found: dict[str, bool] = {}
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            address = ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            if not (address.is_link_local or address.is_unspecified or address.is_multicast):
                found[str(address)] = address.is_loopback
    return tuple(sorted(found, key=found.__getitem__))


def parse_announced(text: str) -> Announced:
    """Read `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`. Raises AddressError."""
    host, port = text.strip(), ""
    if host.startswith("["):
        host, closed, rest = host[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise AddressError(f"{text!r} is no address: write [IPv6]:PORT")
        has_port, port = bool(rest), rest[1:]
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
        has_port = True
    else:
        has_port = False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise AddressError(
            f"{text!r} is no address: write an IP address, if need be with a port, as in 203.0.113.7:7000"
        ) from None
    if address.is_unspecified or address.is_multicast:
        raise AddressError(f"{text!r} is no address that a client can send to")
    if not has_port:
        return Announced(str(address))
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise AddressError(f"{text!r} has no valid port: write a number from 1 to 65535")
    return Announced(str(address), int(port))


def candidates(bound: Sequence[tuple[str, int]], announced: Sequence[Announced]) -> tuple[Candidate, ...]:
    """Return the candidates to offer, the most preferred first.

    Args:
        bound: the addresses and ports of the sockets, one port for all.
        announced: if not empty, offered instead of the bound ones, in this order of preference.

    """
    if announced:
        offered = [(entry.address, entry.port or bound[0][1]) for entry in announced]
    else:
        offered = _by_preference(bound)
    return tuple(
        Candidate(
            address=address,
            port=port,
            # RFC 8445, section 5.1.2.1.
            priority=(HOST_TYPE_PREFERENCE << 24) + ((MAX_LOCAL_PREFERENCE - index) << 8) + (256 - COMPONENT),
            # Each has a base of its own, thus a foundation of its own (RFC 8445, section 5.1.1.3).
            foundation=str(index + 1),
        )
        for index, (address, port) in enumerate(dict.fromkeys(offered))
    )


def _by_preference(bound: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Order by preference: loopback last, the rest with the two IP versions in turn (RFC 8421, section 4)."""
    loopback: list[tuple[str, int]] = []
    by_version: dict[int, list[tuple[str, int]]] = {6: [], 4: []}
    for entry in bound:
        address = ipaddress.ip_address(entry[0])
        (loopback if address.is_loopback else by_version[address.version]).append(entry)
    alternating = chain.from_iterable(zip_longest(by_version[6], by_version[4]))
    return [entry for entry in alternating if entry is not None] + loopback
