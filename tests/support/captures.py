"""Session descriptions of real clients, captured by `python -m tests.support.capture_offers`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

OFFERS: Final = Path(__file__).parent.parent / "data" / "offers"


def offer(name: str) -> str:
    """The captured offer `name` (the file's name without `.sdp`), with the line ends it had: CRLF."""
    return (OFFERS / f"{name}.sdp").read_bytes().decode()


def offer_names(client: str = "") -> list[str]:
    """Names of all captured offers, or of those of one client: "chromium", "firefox" or "aiortc"."""
    return sorted(path.stem for path in OFFERS.glob(f"{client}*.sdp"))
