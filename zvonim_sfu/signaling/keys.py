"""The places in the aiohttp application where handlers find what they share."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from zvonim_sfu.net.limiter import AddressLimiter
from zvonim_sfu.rooms.limits import Limits
from zvonim_sfu.rooms.registry import Registry

REGISTRY: Final = web.AppKey("registry", Registry)
LIMITS: Final = web.AppKey("limits", Limits)

# Origins ("https://calls.example") that may use this server besides its own; "*" stands for all.
ALLOWED_ORIGINS: Final = web.AppKey("allowed_origins", frozenset[str])

# Whether a user has to be proven by its secret; else its user_id is enough, as in the documented API.
STRICT_IDENTITY: Final = web.AppKey("strict_identity", bool)

# What proves the operator from elsewhere than this computer; None: nothing does.
OPERATOR_TOKEN: Final = web.AppKey[str | None]("operator_token")

# REST joins, counted per client address.
JOIN_LIMITER: Final = web.AppKey("join_limiter", AddressLimiter)
