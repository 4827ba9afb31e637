"""WebSocket frames as a server sends them (RFC 6455 section 5.2): whole messages, not masked, not compressed.

aiohttp writes each frame by a call of its own, which is a system call. Frames that are made here can be joined.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final

PING: Final = b"\x89\x00"

_TEXT: Final = 0x81
_LONGEST_OF_7_BITS: Final = 125
_LONGEST_OF_16_BITS: Final = 0xFFFF
# Short ones are often those of a whole room.
_SHORT_LENGTH: Final = 1024
_KEPT_FRAMES: Final = 128
_SHORT: Final = Struct("!BB").pack
_MEDIUM: Final = Struct("!BBH").pack
_LONG: Final = Struct("!BBQ").pack


def text_frame(text: str) -> bytes:
    """Return the frame of a text message."""
    return _short_frame(text) if len(text) <= _SHORT_LENGTH else _frame(text)


def _frame(text: str) -> bytes:
    payload = text.encode()
    length = len(payload)
    if length <= _LONGEST_OF_7_BITS:
        return _SHORT(_TEXT, length) + payload
    if length <= _LONGEST_OF_16_BITS:
        return _MEDIUM(_TEXT, 126, length) + payload
    return _LONG(_TEXT, 127, length) + payload


_short_frame: Final = lru_cache(maxsize=_KEPT_FRAMES)(_frame)
