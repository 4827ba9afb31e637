"""What the clients say in SDP: one codec of each kind, the header extensions that a browser sends, no retransmission
payload type (what is repaired comes on the SSRC itself). Who reports arrivals takes retransmissions as well, and
transport-wide numbers on the way down: a server probes a link by retransmissions of nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from benchmarks.client.traffic import Sending, Simulcast
from zvonim_sfu.media.codecs import RTX, codec_key
from zvonim_sfu.media.negotiation import MID_EXTENSION, TRANSPORT_CC_EXTENSION
from zvonim_sfu.media.sdp import Codec, Description, Extension, Section
from zvonim_sfu.media.simulcast import RID_EXTENSION, Encoding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.client.traffic import Pattern

LEVEL_EXTENSION: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
CODECS: Final = {
    "audio": Codec(111, "opus", 48000, 2, "minptime=10;useinbandfec=1", ("transport-cc",)),
    "video": Codec(96, "VP8", 90000, feedback=("nack", "nack pli", "ccm fir", "transport-cc")),
}
REPAIRS: Final = Codec(97, RTX, 90000, parameters="apt=96")
ARRIVAL_NUMBER: Final = 3
"""Under which all clients have the transport-wide number."""
_EXTENSIONS: Final = {
    "audio": (
        Extension(1, LEVEL_EXTENSION),
        Extension(ARRIVAL_NUMBER, TRANSPORT_CC_EXTENSION),
        Extension(4, MID_EXTENSION),
    ),
    "video": (Extension(ARRIVAL_NUMBER, TRANSPORT_CC_EXTENSION), Extension(4, MID_EXTENSION)),
}
_FIRST_SSRC: Final = 1
_SSRCS_PER_SECTION: Final = 16
_PROTOCOL: Final = "UDP/TLS/RTP/SAVPF"
_PORT: Final = 9


@dataclass(frozen=True, slots=True)
class Local:
    """What the client says of its transport."""

    ice_ufrag: str
    ice_pwd: str
    fingerprint: tuple[str, str]
    candidate: str
    reports_arrivals: bool = False
    """Whether it takes transport-wide numbers in m-sections that only receive, and reports on them."""


class DescriptionError(Exception):
    """The server's description is not what the client can use."""


def offer(local: Local, publishes: Iterable[Pattern | Simulcast], receives: Iterable[str] = ()) -> Description:
    """Return an offer of tracks, and of m-sections of the kinds in `receives` that receive."""
    sections: list[Section] = []
    for track in publishes:
        mid = str(len(sections))
        section = replace(_section(local, track.kind, mid, "sendonly"), msid=("benchmark", track.kind))
        if isinstance(track, Simulcast):
            # As browsers do it: packets tell which encoding they are of, and the description names no SSRC.
            rids = tuple(Encoding(encoding.rid) for encoding in track.encodings)
            section = replace(
                section, sent_encodings=rids, extensions=(*section.extensions, Extension(5, RID_EXTENSION))
            )
        else:
            section = replace(section, ssrcs=(_FIRST_SSRC + len(sections),), cname="benchmark")
        sections.append(section)
    sections += [_section(local, kind, str(mid), "recvonly") for mid, kind in enumerate(receives, start=len(sections))]
    return Description(tuple(sections), tuple(section.mid for section in sections), version=1)


def answer(local: Local, offered: Description) -> Description:
    """Return an answer that receives all that is offered with the codecs of this module."""
    sections = []
    for section in offered.sections:
        wanted = codec_key(CODECS[section.kind]) if section.kind in CODECS else None
        codecs = tuple(codec for codec in section.codecs if wanted is not None and codec_key(codec) == wanted)
        if section.rejected or not codecs:
            sections.append(Section(section.kind, 0, section.protocol, section.mid, section.formats))
            continue
        known = {extension.uri for extension in _EXTENSIONS[section.kind]} - {TRANSPORT_CC_EXTENSION}
        answered = _section(local, section.kind, section.mid, "recvonly")
        sections.append(
            replace(
                answered,
                formats=tuple(str(codec.payload_type) for codec in codecs),
                codecs=codecs,
                extensions=tuple(Extension(e.id, e.uri) for e in section.extensions if e.uri in known),
            )
        )
    bundle = tuple(section.mid for section in sections if not section.rejected)
    return Description(tuple(sections), bundle, version=1)


def sendings(
    publishes: Sequence[Pattern | Simulcast], offered: Description, answered: Description
) -> list[tuple[Sending, Pattern]]:
    """Return what was negotiated for each encoding of each track that the client publishes.

    Raises DescriptionError.
    """
    result = []
    sections = zip(publishes, offered.sections, answered.sections, strict=False)  # what receives comes last
    for index, (track, mine, theirs) in enumerate(sections):
        if theirs.rejected or not theirs.receives:
            raise DescriptionError(f"The server does not take {mine.kind}.")
        encodings = track.encodings if isinstance(track, Simulcast) else (track,)
        taken = {encoding.rid for encoding in theirs.received_encodings}
        if missing := {encoding.rid for encoding in encodings if encoding.rid} - taken:
            raise DescriptionError(f"The server does not take the encodings {', '.join(sorted(missing))}.")
        numbers = {extension.uri: extension.id for extension in theirs.extensions}
        negotiated = Sending(
            mid=mine.mid,
            ssrc=_FIRST_SSRC + index,
            payload_type=theirs.codecs[0].payload_type,
            mid_extension=numbers.get(MID_EXTENSION, 0),
            arrival_extension=numbers.get(TRANSPORT_CC_EXTENSION, 0),
            level_extension=numbers.get(LEVEL_EXTENSION, 0),
            rid_extension=numbers.get(RID_EXTENSION, 0),
        )
        result += [
            (replace(negotiated, ssrc=negotiated.ssrc + number * _SSRCS_PER_SECTION), encoding)
            for number, encoding in enumerate(encodings)
        ]
    return result


@dataclass(frozen=True, slots=True)
class Remote:
    """What the server says of its transport."""

    ice_ufrag: str
    ice_pwd: str
    ice_lite: bool
    fingerprints: tuple[tuple[str, str], ...]
    address: tuple[str, int]


def remote(description: Description, host: str) -> Remote:
    """Return the server's transport: that of the first m-section, and its UDP candidate at `host`.

    Raises DescriptionError where there is none: a benchmark does not leave the machine.
    """
    section = next((section for section in description.sections if not section.rejected), None)
    if section is None:
        raise DescriptionError("The server rejects all m-sections.")
    for candidate in section.candidates:
        _, component, protocol, _, address, port, *_ = candidate.split()
        if (component, protocol.lower(), address) == ("1", "udp", host):
            return Remote(
                section.ice_ufrag, section.ice_pwd, description.ice_lite, section.fingerprints, (host, int(port))
            )
    raise DescriptionError(f"The server does not announce {host}, only {section.candidates}.")


def _section(local: Local, kind: str, mid: str, direction: str) -> Section:
    codecs: tuple[Codec, ...] = (CODECS[kind],)
    if kind == "video" and direction == "recvonly" and local.reports_arrivals:
        codecs += (REPAIRS,)
    numbered = direction != "recvonly" or local.reports_arrivals
    extensions = tuple(e for e in _EXTENSIONS[kind] if numbered or e.uri != TRANSPORT_CC_EXTENSION)
    return Section(
        kind=kind,
        port=_PORT,
        protocol=_PROTOCOL,
        mid=mid,
        formats=tuple(str(codec.payload_type) for codec in codecs),
        direction=direction,
        codecs=codecs,
        extensions=extensions,
        rtcp_mux=True,
        ice_ufrag=local.ice_ufrag,
        ice_pwd=local.ice_pwd,
        fingerprints=(local.fingerprint,),
        # The client begins the handshake: the server picks the SRTP profile, from the one that is offered.
        setup="active",
        candidates=(local.candidate,),
    )
