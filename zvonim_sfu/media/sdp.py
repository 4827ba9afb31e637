"""Session descriptions (RFC 8866, RFC 8829) as values: text in, typed sections out, and back.

aiortc.sdp is not used: it loses rid, simulcast, bundle-only and the direction of extmap, refuses payload types that
browsers offer, and answers a malformed line with whatever exception it hits. Only what a forwarding server acts on
is kept; the rest of an offer is not echoed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from zvonim_sfu.media.simulcast import parse_encodings, write_encodings

if TYPE_CHECKING:
    from zvonim_sfu.media.simulcast import Encoding

MAX_SECTIONS: Final = 256  # more m-sections than any call needs; bounds the work that one offer can cause
MAX_LINES: Final = 20_000
MAX_RIDS: Final = 64  # a=rid lines of one m-section that are read
# The m-sections of one kind have the same codecs and extensions, as do clients of one kind: most of the text has been
# read before. Enough for some browsers, and not too many for entries as long as the longest message.
_KEPT: Final = 32
DIRECTIONS: Final[tuple[str, ...]] = ("sendrecv", "sendonly", "recvonly", "inactive")

_TOKEN = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,64}\Z")  # RFC 8866 token: what a mid, a rid or an encoding name may be
_ICE_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}\Z")
_ICE_PWD = re.compile(r"[A-Za-z0-9+/]{22,256}\Z")
# What an answer, or an offer to others, repeats word for word: visible ASCII, so that every client can take it.
_WORD = re.compile(r"[!-~]{1,256}\Z")
_PARAMETERS = re.compile(r"[ -~]{0,4096}\Z")
_FINGERPRINT = re.compile(r"([A-Za-z0-9-]{1,16}) ((?:[0-9A-Fa-f]{2}:){15,63}[0-9A-Fa-f]{2})\Z")
_SETUP: Final = ("actpass", "active", "passive")


class SdpError(ValueError):
    """The text is not a session description that can be acted on; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type of an m-section."""

    payload_type: int
    name: str
    "Encoding name as written, for instance `VP8` or `opus`."
    clock_rate: int
    "In Hz."
    channels: int = 1
    parameters: str = ""
    "The format parameters (a=fmtp) as written."
    feedback: tuple[str, ...] = ()
    "The a=rtcp-fb values of this payload type."


@dataclass(frozen=True, slots=True)
class Extension:
    """One RTP header extension (RFC 8285): a=extmap."""

    id: int
    uri: str
    direction: str = ""
    "One of DIRECTIONS, or empty where the line names none."


@dataclass(frozen=True, slots=True)
class Section:
    """One m-section."""

    kind: str
    "`audio`, `video`, `application` or another media name."
    port: int
    protocol: str
    mid: str
    formats: tuple[str, ...] = ()
    direction: str = "sendrecv"
    codecs: tuple[Codec, ...] = ()
    extensions: tuple[Extension, ...] = ()
    extmap_allow_mixed: bool = False
    msid: tuple[str, str] | None = None
    "Stream id (`-` for none) and track id (may be empty)."
    ssrcs: tuple[int, ...] = ()
    "SSRCs of media; those of repair flows are left out."
    repairs: tuple[tuple[int, int], ...] = ()
    "Pairs of a media SSRC and that of its retransmissions (a=ssrc-group:FID, RFC 5576 section 4.2)."
    simulcast_ssrcs: tuple[int, ...] = ()
    "SSRCs of media that are encodings of one picture (a=ssrc-group:SIM): how clients without rids tell."
    sent_encodings: tuple[Encoding, ...] = ()
    "Those that who wrote this section sends (a=simulcast:send)."
    received_encodings: tuple[Encoding, ...] = ()
    "Those that it takes (a=simulcast:recv)."
    cname: str = ""
    rtcp_mux: bool = False
    bundle_only: bool = False
    ice_ufrag: str = ""
    ice_pwd: str = ""
    fingerprints: tuple[tuple[str, str], ...] = ()
    "Pairs of hash name (lower case) and value (upper case)."
    setup: str = ""
    candidates: tuple[str, ...] = ()

    @property
    def rejected(self) -> bool:
        """Port 0 rejects or stops an m-section, unless it waits for its bundle (RFC 9143 section 6)."""
        return self.port == 0 and not self.bundle_only

    @property
    def sends(self) -> bool:
        """Whether who wrote this section sends media in it."""
        return not self.rejected and self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        """Whether who wrote this section is ready to receive media in it."""
        return not self.rejected and self.direction in ("sendrecv", "recvonly")


@dataclass(frozen=True, slots=True)
class Description:
    """A whole session description."""

    sections: tuple[Section, ...]
    bundle: tuple[str, ...] = ()
    "The mids of the (only) BUNDLE group."
    session_id: str = "0"
    version: int = 0
    ice_lite: bool = False


def parse(text: str) -> Description:
    """Read a session description; raises SdpError, and nothing else, on any text."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "v=0":
        raise SdpError("The description does not begin with v=0.")
    if len(lines) > MAX_LINES:
        raise SdpError("The description has too many lines.")
    groups: list[list[str]] = [[]]
    for line in lines[1:]:
        if line.startswith("m="):
            groups.append([])
        groups[-1].append(line.rstrip())
    if len(groups) > MAX_SECTIONS + 1:
        raise SdpError(f"The description has more than {MAX_SECTIONS} m-sections.")
    shared = _attributes(groups[0])
    sections = tuple(_parse_section(group, shared) for group in groups[1:])
    mids = [section.mid for section in sections if section.mid]
    if len(set(mids)) != len(mids):
        raise SdpError("Two m-sections have the same a=mid.")
    bundles = [value.split()[1:] for value in shared.get("group", ()) if value.split()[:1] == ["BUNDLE"]]
    origin = next((line[2:].split() for line in groups[0] if line.startswith("o=")), [])
    if len(origin) != 6:
        raise SdpError("The o= line is missing or malformed.")
    return Description(
        sections=sections,
        bundle=tuple(bundles[0]) if bundles else (),
        session_id=origin[1],
        version=_number(origin[2], "the version in the o= line", 2**64 - 1),
        ice_lite="ice-lite" in shared,
    )


def _attributes(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            found.setdefault(name, []).append(value.strip())
    return found


def _parse_section(lines: list[str], shared: dict[str, list[str]]) -> Section:
    kind, port, protocol, formats = _parse_media_line(lines[0])
    attributes = _attributes(lines)
    rejected = port == 0 and "bundle-only" not in attributes
    mid = _first(attributes, "mid")
    if mid and not _TOKEN.match(mid):
        raise SdpError("An a=mid is not a token of 1 to 64 characters.")
    if not mid and not rejected:
        raise SdpError("An m-section has no a=mid.")
    codecs: tuple[Codec, ...] = ()
    extensions: tuple[Extension, ...] = ()
    if kind in ("audio", "video") and not rejected:
        codecs = _parse_codecs(formats, *_values(attributes, "rtpmap", "fmtp", "rtcp-fb"))
        extensions = _parse_extensions(*_values(attributes, "extmap"))
    direction = next((d for where in (attributes, shared) for d in DIRECTIONS if d in where), DIRECTIONS[0])
    fingerprints = attributes.get("fingerprint") or shared.get("fingerprint") or []
    ssrcs, repairs, simulcast_ssrcs, cname = _parse_sources(attributes)
    rids, simulcast = attributes.get("rid", [])[:MAX_RIDS], _first(attributes, "simulcast")
    msid = _first(attributes, "msid").split()
    return Section(
        kind=kind,
        port=port,
        protocol=protocol,
        mid=mid,
        formats=formats,
        direction=direction,
        codecs=codecs,
        extensions=extensions,
        extmap_allow_mixed="extmap-allow-mixed" in attributes or "extmap-allow-mixed" in shared,
        msid=(msid[0], msid[1] if len(msid) > 1 else "") if msid else None,
        ssrcs=ssrcs,
        repairs=repairs,
        simulcast_ssrcs=simulcast_ssrcs,
        sent_encodings=parse_encodings(rids, simulcast, "send"),
        received_encodings=parse_encodings(rids, simulcast, "recv"),
        cname=cname,
        rtcp_mux="rtcp-mux" in attributes,
        bundle_only="bundle-only" in attributes,
        ice_ufrag=_checked(attributes, shared, "ice-ufrag", _ICE_UFRAG),
        ice_pwd=_checked(attributes, shared, "ice-pwd", _ICE_PWD),
        fingerprints=tuple(_parse_fingerprint(value) for value in fingerprints[:8]),
        setup=_parse_setup(_first(attributes, "setup") or _first(shared, "setup")),
        candidates=tuple(attributes.get("candidate", ())),
    )


def _parse_media_line(line: str) -> tuple[str, int, str, tuple[str, ...]]:
    parts = line[2:].split()
    if len(parts) < 4:
        raise SdpError("An m= line is malformed.")
    if not all(_WORD.match(part) for part in parts):
        raise SdpError("An m= line is malformed.")
    return parts[0], _number(parts[1], "the port of an m= line", 65535), parts[2], tuple(parts[3:])


def _values(attributes: dict[str, list[str]], *names: str) -> list[tuple[str, ...]]:
    return [tuple(attributes.get(name, ())) for name in names]


def _first(attributes: dict[str, list[str]], name: str) -> str:
    return attributes.get(name, [""])[0]


def _checked(
    attributes: dict[str, list[str]], shared: dict[str, list[str]], name: str, pattern: re.Pattern[str]
) -> str:
    value = _first(attributes, name) or _first(shared, name)
    if value and not pattern.match(value):
        raise SdpError(f"The a={name} is malformed.")
    return value


def _number(text: str, what: str, most: int) -> int:
    # isascii too: str.isdigit alone accepts digits that int() refuses.
    if not (text.isascii() and text.isdigit() and len(text) <= 20) or int(text) > most:
        raise SdpError(f"{text[:20]!r} is not {what}.")
    return int(text)


def _parse_setup(value: str) -> str:
    if value and value not in _SETUP:
        raise SdpError("The a=setup is none of actpass, active and passive.")
    return value


def _parse_fingerprint(value: str) -> tuple[str, str]:
    match = _FINGERPRINT.match(value)
    if match is None:
        raise SdpError("An a=fingerprint is malformed.")
    return match[1].lower(), match[2].upper()


@lru_cache(_KEPT)
def _parse_codecs(
    formats: tuple[str, ...], rtpmaps: tuple[str, ...], fmtps: tuple[str, ...], rtcp_fbs: tuple[str, ...]
) -> tuple[Codec, ...]:
    # Attributes of payload types that the m= line does not list are passed over: Firefox writes such rtcp-fb lines.
    parameters = dict(_parse_indexed(value) for value in fmtps)
    feedback: dict[str, list[str]] = {}
    for value in rtcp_fbs:
        index, what = _parse_indexed(value)
        feedback.setdefault(index, []).append(what)
    maps = dict(_parse_indexed(value) for value in rtpmaps)
    codecs = []
    for text in dict.fromkeys(formats):
        payload_type = _number(text, "a payload type", 127)
        if text not in maps:
            continue  # a static payload type (RFC 3551): none that is forwarded
        encoding = maps[text].split("/")
        if len(encoding) not in (2, 3) or not _TOKEN.match(encoding[0]):
            raise SdpError("An a=rtpmap is malformed.")
        if not _PARAMETERS.match(parameters.get(text, "")):
            raise SdpError("An a=fmtp is malformed.")
        codecs.append(
            Codec(
                payload_type=payload_type,
                name=encoding[0],
                clock_rate=_number(encoding[1], "a clock rate", 2**31 - 1),
                channels=_number(encoding[2], "a number of channels", 255) if len(encoding) == 3 else 1,
                parameters=parameters.get(text, ""),
                feedback=tuple(feedback.get("*", []) + feedback.get(text, [])),
            )
        )
    return tuple(codecs)


def _parse_indexed(value: str) -> tuple[str, str]:
    index, _, rest = value.partition(" ")
    return index, rest.strip()


@lru_cache(_KEPT)
def _parse_extensions(extmaps: tuple[str, ...]) -> tuple[Extension, ...]:
    extensions = []
    for value in extmaps:
        parts = value.split()
        if len(parts) < 2:
            raise SdpError("An a=extmap is malformed.")
        number, _, direction = parts[0].partition("/")
        if direction and direction not in DIRECTIONS:
            raise SdpError("An a=extmap has an unknown direction.")
        id_ = _number(number, "the id of a header extension", 4351)
        # Ids above 255 are RFC 8285's range of "offered, pick a number yourself"; browsers do not use it.
        if not _WORD.match(parts[1]):
            raise SdpError("An a=extmap is malformed.")
        if 1 <= id_ <= 255:
            extensions.append(Extension(id_, parts[1], direction))
    if len({extension.id for extension in extensions}) != len(extensions):
        raise SdpError("Two header extensions of one m-section have the same id.")
    return tuple(extensions)


def _parse_sources(
    attributes: dict[str, list[str]],
) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...], str]:
    repair: set[int] = set()
    pairs: list[tuple[int, int]] = []
    simulcast: tuple[int, ...] = ()
    for value in attributes.get("ssrc-group", ()):
        semantics, *members = value.split() or [""]
        if semantics in ("FID", "FEC-FR"):
            media, *others = [_number(member, "an SSRC", 2**32 - 1) for member in members] or [0]
            repair.update(others)
            pairs += [(media, other) for other in others if semantics == "FID"]
        elif semantics == "SIM" and not simulcast:
            simulcast = tuple(_number(member, "an SSRC", 2**32 - 1) for member in dict.fromkeys(members))
    ssrcs: dict[int, None] = {}
    cname = ""
    for value in attributes.get("ssrc", ()):
        number, what = _parse_indexed(value)
        ssrc = _number(number, "an SSRC", 2**32 - 1)
        if ssrc not in repair:
            ssrcs[ssrc] = None
        if what.startswith("cname:"):
            cname = what[6:]
    return tuple(ssrcs), tuple(pairs), simulcast, cname


def write(description: Description) -> str:
    """The text of a description that the server made."""
    lines = [
        "v=0",
        f"o=- {description.session_id} {description.version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        *(["a=ice-lite"] if description.ice_lite else []),
        *([f"a=group:BUNDLE {' '.join(description.bundle)}"] if description.bundle else []),
        "a=msid-semantic: WMS *",
    ]
    for section in description.sections:
        lines += _write_section(section)
    return "\r\n".join(lines) + "\r\n"


def _write_section(section: Section) -> list[str]:
    formats = " ".join(section.formats) or "0"
    lines = [f"m={section.kind} {section.port} {section.protocol} {formats}", "c=IN IP4 0.0.0.0"]
    if section.mid:
        lines.append(f"a=mid:{section.mid}")
    if section.rejected:
        return [*lines, "a=inactive"]
    lines.append(f"a={section.direction}")
    if section.msid is not None:
        lines.append(f"a=msid:{section.msid[0]} {section.msid[1]}")
    lines += [f"a=ice-ufrag:{section.ice_ufrag}", f"a=ice-pwd:{section.ice_pwd}"]
    lines += [f"a=fingerprint:{name} {value}" for name, value in section.fingerprints]
    lines.append(f"a=setup:{section.setup}")
    lines += ["a=rtcp-mux"] if section.rtcp_mux else []
    lines += ["a=extmap-allow-mixed"] if section.extmap_allow_mixed else []
    for extension in section.extensions:
        direction = f"/{extension.direction}" if extension.direction else ""
        lines.append(f"a=extmap:{extension.id}{direction} {extension.uri}")
    for codec in section.codecs:
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        lines.append(f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.clock_rate}{channels}")
        lines += [f"a=rtcp-fb:{codec.payload_type} {value}" for value in codec.feedback]
        if codec.parameters:
            lines.append(f"a=fmtp:{codec.payload_type} {codec.parameters}")
    lines += write_encodings(section.sent_encodings, section.received_encodings)
    if section.simulcast_ssrcs:
        lines.append(f"a=ssrc-group:SIM {' '.join(map(str, section.simulcast_ssrcs))}")
    lines += [f"a=ssrc-group:FID {media} {repair}" for media, repair in section.repairs]
    ssrcs = (*section.ssrcs, *(repair for _, repair in section.repairs))
    lines += [f"a=ssrc:{ssrc} cname:{section.cname}" for ssrc in ssrcs]
    lines += [f"a=candidate:{candidate}" for candidate in section.candidates]
    lines += ["a=end-of-candidates"] if section.candidates else []
    return lines
