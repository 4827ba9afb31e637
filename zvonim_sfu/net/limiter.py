"""Token buckets: how often a client may do something. Pure: the time is an argument."""

from __future__ import annotations

import ipaddress
from typing import Final

# A bucket is about 200 bytes: a flood from ever new addresses costs at most some 4 MB.
MAX_ADDRESSES: Final = 20_000


class TokenBucket:
    """Grants `rate` things per second in the long run, and `burst` of them at once."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, *, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at = now

    def take(self, tokens: float = 1, *, now: float) -> bool:
        """Take one token, or as many as something costs. False: there are not enough, and nothing was taken."""
        self._fill(now)
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True

    def wait_s(self, *, now: float) -> float:
        """Return the seconds until a token can be taken; 0 means now."""
        self._fill(now)
        if self._tokens >= 1:
            return 0.0
        return (1 - self._tokens) / self._rate

    def is_full(self, *, now: float) -> bool:
        """Tell whether the bucket is as good as a new one."""
        self._fill(now)
        return self._tokens >= self._burst

    def _fill(self, now: float) -> None:
        elapsed = max(0.0, now - self._filled_at)
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
        self._filled_at = now


class AddressLimiter:
    """A token bucket for each client address."""

    __slots__ = ("_buckets", "_burst", "_rate")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, TokenBucket] = {}  # the least recently used first

    def take(self, address: str, *, now: float) -> float:
        """Take a token of `address`. Returns 0, or the seconds after which it is worth another try."""
        key = _network(address)
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            self._make_room(now)
            bucket = TokenBucket(self._rate, self._burst, now=now)
        self._buckets[key] = bucket
        return 0.0 if bucket.take(now=now) else bucket.wait_s(now=now)

    def __len__(self) -> int:
        return len(self._buckets)

    def _make_room(self, now: float) -> None:
        """Forget the buckets that are full again, and the oldest one when there are too many all the same."""
        while self._buckets:
            oldest = next(iter(self._buckets))
            if len(self._buckets) < MAX_ADDRESSES and not self._buckets[oldest].is_full(now=now):
                return
            del self._buckets[oldest]


def _network(address: str) -> str:
    """Return what one client can be taken to own: an IPv4 address, or the /64 of an IPv6 address (RFC 6177)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False).network_address)
