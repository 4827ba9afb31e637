"""The places in the aiohttp application where handlers find what they share."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from zvonim_sfu.rooms.limits import Limits
from zvonim_sfu.rooms.registry import Registry
from zvonim_sfu.signaling.limiter import AddressLimiter

REGISTRY: Final = web.AppKey("registry", Registry)
LIMITS: Final = web.AppKey("limits", Limits)

# Origins ("https://calls.example") that may use this server besides its own; "*" stands for all.
ALLOWED_ORIGINS: Final = web.AppKey("allowed_origins", frozenset[str])

# REST joins, counted per client address.
JOIN_LIMITER: Final = web.AppKey("join_limiter", AddressLimiter)
