"""Zvonim SFU: a selective forwarding unit for group video calls."""

from __future__ import annotations

__version__ = "0.1.0"
