"""Redundant audio (RFC 2198): each packet carries its own sound, the primary block, behind copies of former ones.

A receiver that cannot take it is sent the primary block alone; what the copies would have repaired it does without.
"""

from __future__ import annotations

from typing import Final

_FOLLOWED_BIT: Final = 0x80  # of a block's header: another block follows
_HEADER_BYTES: Final = 4  # of all blocks but the primary, whose header is the payload type alone


def primary_at(data: bytes, start: int, end: int) -> int:
    """Return where the primary block begins in a payload.

    Args:
        data: a packet.
        start: where its payload begins.
        end: where it ends, padding left out; the primary block ends there too (section 3).

    Returns:
        `end` for what is no such payload: headers or copies that reach beyond it.
    """
    copies = 0
    while start < end and data[start] & _FOLLOWED_BIT:
        if start + _HEADER_BYTES > end:
            return end
        copies += (data[start + 2] & 3) << 8 | data[start + 3]
        start += _HEADER_BYTES
    return min(start + 1 + copies, end)
