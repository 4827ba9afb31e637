"""Descriptions and packets for the tests of the media package."""

from __future__ import annotations

import itertools
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from tests.support.captures import offer, offer_names
from zvonim_sfu.media.negotiation import answer
from zvonim_sfu.media.sdp import Codec, Description, Extension, Section
from zvonim_sfu.media.session import Local, NegotiationError, Session, Track

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OPUS: Final = Codec(111, "opus", 48000, 2, "minptime=10;useinbandfec=1")
VP8: Final = Codec(96, "VP8", 90000, feedback=("ccm fir", "nack pli"))
VP9: Final = Codec(98, "VP9", 90000, parameters="profile-id=0", feedback=("nack pli",))
H264: Final = Codec(
    102, "H264", 90000, parameters="level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
)
AV1: Final = Codec(45, "AV1", 90000, parameters="level-idx=5;profile=0;tier=0", feedback=("nack pli",))
MID: Final = "urn:ietf:params:rtp-hdrext:sdes:mid"
AUDIO_LEVEL: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
FINGERPRINT: Final = ("sha-256", ":".join(["AB"] * 32))


def examples(number: int) -> settings:
    """That many examples, the same in every run."""
    return settings(max_examples=number, derandomize=True)


def local() -> Local:
    """The server's side, with SSRCs 1000, 1001, ..."""
    numbers = itertools.count(1000)
    return Local("srvufrag", "s" * 24, ("sha-256", ":".join(["CD"] * 32)), ("1 1 udp 1 127.0.0.1 9 typ host",), "7",
                 lambda: next(numbers))  # fmt: skip


def section(kind: str, mid: str, direction: str = "sendrecv", **changes: Any) -> Section:
    """An m-section as a client offers it, with all that the server asks for."""
    made = Section(
        kind=kind,
        port=9,
        protocol="UDP/TLS/RTP/SAVPF",
        mid=mid,
        direction=direction,
        codecs=(OPUS,) if kind == "audio" else (VP8,),
        extensions=(Extension(4, MID),),
        rtcp_mux=True,
        ice_ufrag="clnt",
        ice_pwd="c" * 22,
        fingerprints=(FINGERPRINT,),
        setup="actpass",
    )
    return replace(made, **changes)


def described(*sections: Section) -> Description:
    """A client's description in which all live m-sections are bundled."""
    return Description(sections, tuple(s.mid for s in sections if not s.rejected))


REVERSED: Final = {
    "": "",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "sendrecv": "sendrecv",
    "inactive": "inactive",
}


def accepted(offered: Description, **changes: Any) -> Description:
    """A client's answer that takes what is offered, all live sections changed alike.

    It sends where it sent before, and nothing in the m-sections of the server's making.
    """
    sections = []
    for s in offered.sections:
        if s.rejected:
            sections.append(s)
            continue
        own = REVERSED[s.direction]
        watching = "recvonly" if s.sends else "inactive"
        direction = watching if s.mid.startswith("s") else own
        said = {"direction": direction, "codecs": s.codecs, "extensions": s.extensions, "setup": "active"}
        sections.append(section(s.kind, s.mid, **said | changes))
    return described(*sections)


def refusal(negotiate: Callable[[], object]) -> str:
    """The code with which something is refused."""
    with pytest.raises(NegotiationError) as caught:
        negotiate()
    assert caught.value.message == str(caught.value) != ""
    return caught.value.code


def joined(offered: Description, *tracks: Track, slot_mode: bool = False) -> Session:
    """The session after a client's first offer."""
    return answer(Session(), offered, local=local(), tracks=tracks, slot_mode=slot_mode)[0]


def track(name: str, kind: str = "video", codecs: Sequence[Codec] = (), extensions: Sequence[str] = ()) -> Track:
    """A track of the participant whom the part of `name` before the slash names."""
    user_id, _, track_id = name.partition("/")
    usual = (OPUS,) if kind == "audio" else (VP8,)
    return Track(name, kind, user_id, track_id, user_id, tuple(codecs) or usual, tuple(extensions))


@st.composite
def mutated_offers(draw: st.DrawFn) -> str:
    """A real offer in which lines are missing, doubled, moved or garbled."""
    lines = offer(draw(st.sampled_from(offer_names()))).split("\r\n")
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["delete", "double", "move", "flip", "cut", "word", "value"])):
            case "delete" if len(lines) > 1:
                del lines[at]
            case "double":
                lines.insert(draw(st.integers(0, len(lines))), lines[at])
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
            case "flip" if lines[at]:
                where = draw(st.integers(0, len(lines[at]) - 1))
                lines[at] = lines[at][:where] + draw(st.characters()) + lines[at][where + 1 :]
            case "cut":
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case "word":
                words = lines[at].split(" ")
                words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(["", "0", "-1", "99999999999", "é"]))
                lines[at] = " ".join(words)
            case "value":
                lines[at] = lines[at].partition(":")[0] + ":" + draw(st.text(max_size=20))
    return "\r\n".join(lines)


def rtp(
    sequence_number: int,
    timestamp: int = 0,
    *,
    payload_type: int = 96,
    ssrc: int = 1,
    payload: bytes = b"\x10\x01",
    extensions: Sequence[tuple[int, bytes]] = (),
    marker: bool = False,
) -> bytes:
    """An RTP packet; its header extensions in the one-byte form, if that has room for them."""
    is_short = all(0 < len(value) <= 16 for _, value in extensions)
    block = b"".join(
        bytes((number << 4 | len(value) - 1,) if is_short else (number, len(value))) + value
        for number, value in extensions
    )
    block += bytes(-len(block) % 4)
    header = struct.pack(
        "!BBHII",
        0x90 if extensions else 0x80,
        marker << 7 | payload_type,
        sequence_number & 0xFFFF,
        timestamp & 0xFFFFFFFF,
        ssrc,
    )
    if extensions:
        header += struct.pack("!HH", 0xBEDE if is_short else 0x1000, len(block) // 4) + block
    return header + payload
