"""Several encodings of one picture in one m-section: a=rid (RFC 8851) and a=simulcast (RFC 8853)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

# Nobody sends more, and each costs the server what a track costs: the first ones of an offer are taken.
MAX_ENCODINGS: Final = 3

RID_EXTENSION: Final = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID_EXTENSION: Final = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
# They name encodings in packets (RFC 8852), and are of use only where a client sends several.
RID_EXTENSIONS: Final = frozenset({RID_EXTENSION, REPAIRED_RID_EXTENSION})

_RID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")  # RFC 8851 section 10; the RFC's 255 are nobody's
_RESTRICTIONS: Final = re.compile(r"[!-:<-~]{1,64}(;[!-:<-~]{1,64}){0,15}\Z")


@dataclass(frozen=True, slots=True)
class Encoding:
    """One stream of a simulcast."""

    rid: str
    restrictions: str = ""
    "The parameters of its a=rid line as written, `pt=...` among them."
    paused: bool = False
    "Whether it begins, or is now, switched off (`~`)."


@dataclass(frozen=True, slots=True)
class Announced:
    """What a description says of an SSRC (RFC 5576)."""

    ssrc: int
    encoding: str = ""
    "Its place among the encodings of one picture (a=ssrc-group:SIM), `0` first; empty where it is none of several."
    repairs: bool = False
    "Whether it carries the retransmissions of that encoding (a=ssrc-group:FID)."


def parse_encodings(rids: Iterable[str], simulcast: str, direction: str) -> tuple[Encoding, ...]:
    """Read what the lines of an m-section say of one direction, in the order of a=simulcast.

    Of alternatives for one stream only the first with an a=rid line of its own counts: an answer may take the others
    away (RFC 8853 section 5.3.2). Lines that are malformed count as absent, as RFC 8851 section 6 says.

    Args:
        rids: the values of a=rid.
        simulcast: the value of a=simulcast, empty where there is none.
        direction: `send` or `recv`.
    """
    words = simulcast.split()
    streams = dict(zip(words[::2], words[1::2], strict=False)).get(direction, "")
    restrictions: dict[str, str] = {}
    for value in rids:
        rid, _, rest = value.partition(" ")
        way, _, limits = rest.strip().partition(" ")
        if way == direction and _RID.match(rid) and (not limits or _RESTRICTIONS.match(limits)):
            restrictions.setdefault(rid, limits)
    encodings: dict[str, Encoding] = {}
    for stream in streams.split(";")[:64]:
        for alternative in stream.split(",")[:64]:
            rid = alternative.removeprefix("~")
            if rid in restrictions and rid not in encodings:
                encodings[rid] = Encoding(rid, restrictions[rid], paused=rid != alternative)
                break
    return tuple(encodings.values())


def write_encodings(sent: Sequence[Encoding], received: Sequence[Encoding]) -> list[str]:
    """Return the lines of an m-section that say what who writes it sends, and takes."""
    lines = []
    streams = []
    for direction, encodings in (("send", sent), ("recv", received)):
        if encodings:
            lines += [f"a=rid:{' '.join(filter(None, (e.rid, direction, e.restrictions)))}" for e in encodings]
            streams.append(f"{direction} {';'.join('~' * e.paused + e.rid for e in encodings)}")
    return [*lines, f"a=simulcast:{' '.join(streams)}"] if streams else []


def acceptable(encodings: Iterable[Encoding], payload_types: Collection[int]) -> tuple[Encoding, ...]:
    """Return those that are taken, in the form in which an answer repeats them.

    What an encoding is restricted to stays (RFC 8851 section 6.3), but for payload types that are not taken; one that
    had no others is not taken either.
    """
    taken = []
    for encoding in encodings:
        limits = []
        for limit in encoding.restrictions.split(";") if encoding.restrictions else ():
            name, _, value = limit.partition("=")
            if name == "pt":
                numbers = [number for number in value.split(",") if number.isdecimal() and int(number) in payload_types]
                if not numbers:
                    break
                limits.append(f"pt={','.join(numbers)}")
            else:
                limits.append(limit)
        else:
            taken.append(replace(encoding, restrictions=";".join(limits)))
    return tuple(taken[:MAX_ENCODINGS])


def encoding_names(encodings: Sequence[Encoding], said: Iterable[Announced]) -> list[str]:
    """Return how the encodings of one picture are called: by their rids, or else by their places."""
    return [e.rid for e in encodings] or sorted({a.encoding for a in said if a.encoding})


def announced(
    ssrcs: Iterable[int], simulcast: Sequence[int], repairs: Iterable[tuple[int, int]]
) -> tuple[Announced, ...]:
    """Return what a description says of the SSRCs that it names.

    Args:
        ssrcs: those of media.
        simulcast: those of them that are encodings of one picture, in their order.
        repairs: pairs of a media SSRC and that of its retransmissions.
    """
    places = {ssrc: str(i) for i, ssrc in enumerate(simulcast[:MAX_ENCODINGS])}
    media = tuple(Announced(ssrc, places.get(ssrc, "")) for ssrc in ssrcs)
    return media + tuple(Announced(repair, places.get(ssrc, ""), repairs=True) for ssrc, repair in repairs)
