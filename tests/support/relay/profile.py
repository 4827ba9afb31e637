"""What one direction of a link does to packets: values, checked, and their text form."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, get_args

Distribution = Literal["normal", "uniform"]

MAX_DELAY_MS: Final = 60_000
"""Longer than anything that is tested; what is under way is kept in memory until then."""
MIN_RATE_BPS: Final = 1_000
"""Below this a single packet takes longer than MAX_DELAY_MS."""


class ProfileError(ValueError):
    """Values that no link can have; says which and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One direction of a link. A packet passes the bottleneck, then what may lose it, then what delays it."""

    loss: float = 0.0
    """Share of packets lost, each on its own."""
    burst_loss: float = 0.0
    """Share of packets lost in bursts (Gilbert and Elliott's two states, in the bad one of which all is lost)."""
    burst_packets: float = 5.0
    """Mean length of those bursts, in packets."""
    delay_ms: float = 0.0
    """One-way delay without jitter."""
    jitter_ms: float = 0.0
    """How far the delay varies from packet to packet: the standard deviation, or half the width if uniform."""
    distribution: Distribution = "normal"
    """Of the jitter. A delay that would be negative is none, so jitter is to be small against the delay."""
    keep_order: bool = True
    """Whether a packet waits for those before it, as in a queue. Jitter then delays in lumps, and a dense stream
    altogether longer: by the worst luck of the last packets rather than the mean."""
    reorder: float = 0.0
    """Share of packets that come `reorder_ms` late, whatever `keep_order` says, so that later ones overtake them."""
    reorder_ms: float = 20.0
    """What those are late by, besides delay and jitter."""
    duplicate: float = 0.0
    """Share of packets that arrive twice, at the same time."""
    rate_bps: float | None = None
    """Rate of the bottleneck in bit/s, counted in bytes on the wire (the relay adds the IP and UDP headers)."""
    queue_ms: float = 200.0
    """What may wait for the bottleneck, as waiting time; what comes when it is full is dropped."""
    queue_bytes: int | None = None
    """The same in bytes; if given, it holds instead of `queue_ms`."""

    def __post_init__(self) -> None:
        for name in ("loss", "burst_loss", "reorder", "duplicate"):
            self._check(name, 0, 1)
        for name in ("delay_ms", "jitter_ms", "reorder_ms", "queue_ms"):
            self._check(name, 0, MAX_DELAY_MS)
        self._check("burst_packets", 1, 1e6)
        if self.rate_bps is not None:
            self._check("rate_bps", MIN_RATE_BPS, 1e12)
        if self.queue_bytes is not None:
            self._check("queue_bytes", 0, 2**30)
        if self.distribution not in get_args(Distribution):
            raise ProfileError(f"distribution = {self.distribution!r}: must be one of {get_args(Distribution)}")
        if not self.enter_burst <= 1:
            raise ProfileError(
                f"burst_loss = {self.burst_loss:g} with burst_packets = {self.burst_packets:g}: "
                "so much loss needs longer bursts, as at least one packet gets through between two"
            )

    def _check(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not low <= value <= high:  # false for NaN too
            raise ProfileError(f"{name} = {value!r}: must be from {low:g} to {high:g}")

    @property
    def enter_burst(self) -> float:
        """Probability that a burst begins after a packet that was not in one.

        A burst ends after each of its packets with probability r = 1/burst_packets; the share of time in bursts is
        p / (p + r) (Gilbert, "Capacity of a burst-noise channel", 1960), of which this is the p.
        """
        if self.burst_loss == 1:
            return math.inf
        return self.burst_loss / ((1 - self.burst_loss) * self.burst_packets)

    def but(self, text: str) -> Profile:
        """Return this profile with the values in a text such as `loss=0.05 delay=40 keep_order=false rate=none`.

        A name may be cut short as long as it is clear. Raises ProfileError.
        """
        return replace(self, **dict(map(_read, text.split())))

    def __str__(self) -> str:
        changed = (f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default)
        return " ".join(changed) or "nothing"


def _read(word: str) -> tuple[str, Any]:
    """Read `name=value`."""
    name, _, text = word.partition("=")
    names = [field.name for field in fields(Profile)]
    meant = [name] if name in names else [known for known in names if name and known.startswith(name)]
    if len(meant) != 1:
        raise ProfileError(f"{name!r} is {'not clear: write one' if meant else 'none'} of {', '.join(meant or names)}")
    return meant[0], _value(meant[0], text.lower())


def _value(name: str, text: str) -> Any:
    match name, text:
        case "distribution", _:
            return text
        case "keep_order", "true" | "false":
            return text == "true"
        case "rate_bps" | "queue_bytes", "none":
            return None
        case "keep_order", _:
            raise ProfileError(f"{name} = {text!r}: must be true or false")
    try:
        return int(text) if name == "queue_bytes" else float(text)
    except ValueError:
        raise ProfileError(f"{name} = {text!r}: must be a number") from None
