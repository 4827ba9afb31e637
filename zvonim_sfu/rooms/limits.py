"""What a node grants: sizes, numbers and durations, and the two checks that need nothing else.

The defaults stand here and nowhere else: settings and documentation are made from these fields.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_.~-]+", re.ASCII)

# Control characters and lone surrogates, line and paragraph separators: nothing that a name needs.
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})

# Embeddings, overrides and isolates reorder the text around a name, so one name could pose as another.
# Joiners (category Cf too) stay: emoji and several scripts are written with them.
_BIDI_CONTROLS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one node. Past one of them a caller gets an error, and nobody else notices."""

    body_bytes: int = 16_384
    """Largest body of a REST request."""

    message_bytes: int = 262_144
    """Largest WebSocket message. An answer for 200 tracks is about 200 KB."""

    name_length: int = 64
    """Code points of a user's name, after trimming and NFC."""

    id_length: int = 64
    """Characters of a room_id or user_id."""

    rooms: int = 1000
    """Rooms on this node."""

    participants_per_room: int = 100
    """Participants of one room, those within their grace time included."""

    up_tracks_per_participant: int = 8
    """Tracks that one participant may publish at a time."""

    microphones_heard: int = 5
    """Microphones that anybody hears at a time: those that spoke last. 0 is all."""

    messages_per_second: float = 50.0
    """WebSocket messages per second that one client may go on sending."""

    message_burst: int = 200
    """WebSocket messages that one client may send at once: a connection trickles its candidates in a burst."""

    message_bytes_per_second: float = 1_048_576.0
    """Bytes of WebSocket messages per second that one client may go on sending, and 16 of the largest messages at once:
    what a description costs grows with its size."""

    joins_per_second: float = 5.0
    """REST joins per second that one address may go on making."""

    join_burst: int = 40
    """REST joins that one address may make at once: an office or a class behind one address."""

    handshakes_per_second: float = 20.0
    """DTLS handshakes per second that one address may go on beginning; what is above waits for its turn."""

    handshake_burst: int = 200
    """DTLS handshakes that one address may begin at once: everybody behind it, after a restart of the server."""

    join_timeout_s: float = 60.0
    """Seconds from the REST join until the WebSocket has to be open."""

    grace_s: float = 20.0
    """Seconds that a participant outlives its WebSocket, so that a reload or a blip is not a goodbye."""

    empty_room_s: float = 60.0
    """Seconds until a room without participants is forgotten."""

    outbox_messages: int = 512
    """Messages that wait for a client to read them before it is cut off."""

    outbox_bytes: int = 4 * 2**20
    """Bytes that wait for a client to read them before it is cut off."""


def clean_name(name: str, length: int) -> str:
    """Return a user's name as the room shows it: trimmed, in Unicode's normal form NFC.

    Raises ValueError, with a sentence for the user, for a name that is empty, longer than `length` code points, or
    holds control characters.
    """
    cleaned = unicodedata.normalize("NFC", name).strip()
    if not cleaned:
        msg = "The name must not be empty."
        raise ValueError(msg)
    if len(cleaned) > length:
        msg = f"The name must not be longer than {length} characters."
        raise ValueError(msg)
    if any(unicodedata.category(c) in _REFUSED_CATEGORIES or c in _BIDI_CONTROLS for c in cleaned):
        msg = "The name must not contain control characters."
        raise ValueError(msg)
    return cleaned


def valid_id(value: str, length: int) -> bool:
    """Tell whether `value` may be a room_id or a user_id: 1 to `length` letters, digits, `_`, `.`, `~` or `-`."""
    return len(value) <= length and _ID_PATTERN.fullmatch(value) is not None
