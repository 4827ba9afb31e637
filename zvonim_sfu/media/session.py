"""What two sides have agreed on, as values: nothing here changes in place.

media.negotiation makes them, media.peer keeps the newest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from zvonim_sfu.media.sdp import Codec, Extension
    from zvonim_sfu.media.simulcast import Announced, Encoding


class NegotiationError(ValueError):
    """A description that cannot be accepted.

    `code` is a stable word for programs, `message` a sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Track:
    """What a session has to know of a track that its client is to receive."""

    key: str
    "Names the track among all of the room."
    kind: str
    stream_id: str
    "msid stream: browsers synchronise what shares it."
    track_id: str
    "msid track."
    cname: str
    codecs: tuple[Codec, ...]
    "What its publisher may send, with the publisher's numbers."
    extensions: tuple[str, ...]
    "URIs of the header extensions that its packets may carry."


@dataclass(frozen=True, slots=True)
class Sending:
    """What the server sends in an m-section: a track of its own, or whatever its slot is given."""

    key: str | None
    "Key of the Track, None in a slot."
    stream_id: str
    track_id: str
    cname: str


@dataclass(frozen=True, slots=True)
class Negotiated:
    """One m-section as both sides know it."""

    kind: str
    protocol: str
    mid: str
    stopped: bool = False
    formats: tuple[str, ...] = ()
    "In a stopped section: those of the offer, which are repeated. Firefox insists on that of data channels."
    codecs: tuple[Codec, ...] = ()
    extensions: tuple[Extension, ...] = ()
    "Directions are those of the client's lines."
    extmap_allow_mixed: bool = False
    client_sends: bool = False
    client_receives: bool = False
    "Whether it would take what the server sends here."
    client_ssrcs: tuple[Announced, ...] = ()
    "Those of its media and of its retransmissions, as far as the description names them."
    encodings: tuple[Encoding, ...] = ()
    "Those of its simulcast, named by rid; none where it sends one encoding, or names their SSRCs."
    sending: Sending | None = None
    "In a stopped section: a track that the client refuses."
    ssrc: int = 0
    "The server's own, 0 before it first sends; it stays when the section is used again, as aiortc learns it only once."
    rtx_ssrc: int = 0
    "The same for retransmissions, 0 where the client takes none."
    stream: int = -1
    "In a slot: its number among the slots of its kind."


@dataclass(frozen=True, slots=True)
class Remote:
    """How to reach and recognise the client: ICE credentials, certificate fingerprints, the server's DTLS role."""

    ice_ufrag: str
    ice_pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    dtls_role: str
    "`server` or `client`: what the server is."


@dataclass(frozen=True, slots=True)
class Session:
    """All that was negotiated on one transport."""

    sections: tuple[Negotiated, ...] = ()
    remote: Remote | None = None
    version: int = 0
    extension_ids: dict[str, int] = field(default_factory=dict)
    "One numbering for all m-sections: id by URI."
    codecs: dict[int, Codec] = field(default_factory=dict)
    "The same for payload types."


@dataclass(frozen=True, slots=True)
class Local:
    """The server's own side of a description."""

    ice_ufrag: str
    ice_pwd: str
    fingerprint: tuple[str, str]
    candidates: tuple[str, ...]
    session_id: str
    new_ssrc: Callable[[], int]
