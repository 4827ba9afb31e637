"""The codecs that are forwarded, and when a codec of one side is that of another (RFC 8829 section 5.2.1).

A payload type is a number of one transport; what two transports have in common is a CodecKey.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.media.sdp import Codec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

# Feedback that the server gives and takes; offers of more are answered with these (RFC 4585, RFC 5104, and the
# drafts draft-holmer-rmcat-transport-wide-cc-extensions-01 and draft-alvestrand-rmcat-remb-03).
SUPPORTED_FEEDBACK: Final = ("nack", "nack pli", "ccm fir", "goog-remb", "transport-cc")
# What it offers to who receives.
_OFFERED_FEEDBACK: Final = {"audio": (), "video": ("nack", "nack pli", "ccm fir", "goog-remb")}
RTX: Final = "rtx"
RED: Final = "red"
# Clients of one kind offer the same codecs, in many m-sections each: what a codec is, is found out once. Enough for the
# codecs, and for the lists of them, that some browsers have.
_KEPT_CODECS: Final = 256
_KEPT_LISTS: Final = 32

# Numbers for a transport whose client has not offered any yet: those that Chromium uses, so that logs look familiar.
_USUAL_PAYLOAD_TYPES: Final = {"opus": 111, "VP8": 96, "VP9": 98, "H264": 102, "AV1": 45}
# Neither Chromium nor Firefox gives these another meaning in an offer of its own, where m-sections of the server keep
# its numbers; the first five suit clients that know 96..127 only.
_USUAL_REPAIR_TYPES: Final = (105, 106, 112, 113, 127, *range(50, 63))
# RFC 5761 section 4 keeps 64..95 clear of RTCP; 96..127 first, as old clients know no others.
_FREE_PAYLOAD_TYPES: Final = (*range(96, 128), *range(35, 64))


class CodecKey(NamedTuple):
    """What makes two codecs the same: the name and the parameters that change the payload format."""

    name: str
    "Encoding name in the case of its registration."
    profile: str = ""
    variant: str = ""


_OPUS: Final = CodecKey("opus")
_NAMES: Final = {"opus": "opus", RED: RED, "vp8": "VP8", "vp9": "VP9", "h264": "H264", "av1": "AV1"}
_PROFILES: Final = {"VP9": ("0", "1", "2", "3"), "AV1": ("0", "1", "2")}
_CLOCK_RATES: Final = {"opus": 48000, RED: 48000, "VP8": 90000, "VP9": 90000, "H264": 90000, "AV1": 90000}


@lru_cache(_KEPT_CODECS)
def codec_key(codec: Codec) -> CodecKey | None:
    """The identity of a codec, or None if it is none that the server forwards."""
    name = _NAMES.get(codec.name.lower())
    if name is None or codec.clock_rate != _CLOCK_RATES[name]:
        return None
    parameters = _parameters(codec.parameters)
    match name:
        case "opus":
            return CodecKey(name) if codec.channels == 2 else None
        case "red":
            # The numbers of its blocks are a part of each payload (RFC 2198 section 3).
            carried = stands_on(codec)
            return CodecKey(name, str(carried)) if carried is not None else None
        case "VP9":
            return _profiled(name, parameters.get("profile-id", "0"))
        case "AV1":
            return _profiled(name, parameters.get("profile", "0"))
        case "H264":
            profile = _h264_profile(parameters.get("profile-level-id", "420010"))
            mode = parameters.get("packetization-mode", "0")
            # Mode 2, interleaved (RFC 6184 section 5.4), is nobody's.
            return CodecKey(name, profile, mode) if profile and mode in ("0", "1") else None
    return CodecKey(name)


def _profiled(name: str, profile: str) -> CodecKey | None:
    # Only what exists: else one publisher could name so many that its subscribers run out of payload types.
    return CodecKey(name, profile) if profile in _PROFILES[name] else None


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in text.split(";"))
    return {name.lower(): value.strip() for name, _, value in pairs}


# RFC 6184 section 8.1, table 5: profile_idc, the bits of profile-iop that decide (mask, value), name.
_H264_PROFILES: Final = (
    (0x42, 0x4F, 0x40, "constrained-baseline"),
    (0x4D, 0x8F, 0x80, "constrained-baseline"),
    (0x58, 0xCF, 0xC0, "constrained-baseline"),
    (0x42, 0x4F, 0x00, "baseline"),
    (0x58, 0xCF, 0x80, "baseline"),
    (0x4D, 0xAF, 0x00, "main"),
    (0x64, 0xFF, 0x00, "high"),
    (0x64, 0xFF, 0x0C, "constrained-high"),
    (0xF4, 0xFF, 0x00, "high-444"),
)
# What a decoder of the key also decodes.
_H264_INCLUDES: Final = {
    "baseline": ("constrained-baseline",),
    "main": ("constrained-baseline",),
    "constrained-high": ("constrained-baseline",),
    "high": ("constrained-baseline", "main", "constrained-high"),
}


def _h264_profile(profile_level_id: str) -> str:
    try:
        value = int(profile_level_id, 16)
    except ValueError:
        return ""
    idc, iop = value >> 16 & 0xFF, value >> 8 & 0xFF
    return next((name for i, mask, bits, name in _H264_PROFILES if i == idc and iop & mask == bits), "")


def find_receiver(key: CodecKey, codecs: Iterable[Codec]) -> Codec | None:
    """The codec of a subscriber's session that can take packets of `key`; None if it would be sent garbage."""
    fallback = None
    for codec in codecs:
        other = codec_key(codec)
        if other == key:
            return codec
        if key.name == RED and other == _OPUS:
            fallback = codec  # for what is unwrapped (`unwrapped_type`)
        if (
            fallback is None
            and other is not None
            and other.name == key.name == "H264"
            and key.variant <= other.variant  # what mode 0 may send, mode 1 may too (RFC 6184 section 6.3)
            and key.profile in (other.profile, *_H264_INCLUDES.get(other.profile, ()))
        ):
            fallback = codec
    return fallback


@lru_cache(_KEPT_LISTS)
def supported(codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """Those of the offered codecs that the server forwards, with the feedback that it gives, in the offered order.

    Retransmissions (RFC 4588) and redundant audio (RFC 2198) of such codecs are among them; without any codec to
    forward there is none.
    """
    forwarded = {codec.payload_type for codec in codecs if codec_key(codec) is not None and stands_on(codec) is None}
    return tuple(
        replace(codec, feedback=tuple(value for value in codec.feedback if value in SUPPORTED_FEEDBACK))
        for codec in codecs
        if codec.payload_type in forwarded or stands_on(codec) in forwarded
    )


@lru_cache(_KEPT_CODECS)
def associated(codec: Codec) -> int | None:
    """The payload type whose packets a codec sends again (RFC 4588 section 8.1, `apt`); None if it is no such codec."""
    if codec.name.lower() != RTX:
        return None
    apt = _parameters(codec.parameters).get("apt", "")
    return int(apt) if apt.isascii() and apt.isdigit() and len(apt) <= 3 else None


@lru_cache(_KEPT_CODECS)
def stands_on(codec: Codec) -> int | None:
    """The payload type without which a codec is of no use: what it sends again, or what redundant audio carries.

    None for a codec by itself, and for redundant audio of several codecs, which nobody sends.
    """
    if codec.name.lower() != RED:
        return associated(codec)
    if (codec.clock_rate, codec.channels) != (48000, 2):
        return None  # that of video, which carries FEC (RFC 5109)
    carried = set(codec.parameters.strip().split("/"))
    number = carried.pop() if len(carried) == 1 else ""
    return int(number) if number.isascii() and number.isdigit() and len(number) <= 3 else None


def unwrapped_type(sent: Iterable[Codec], received: Iterable[Codec]) -> int:
    """The payload type of a publisher's redundant audio, if a subscriber cannot take it as it is; 0 for none."""
    redundant = [codec for codec in sent if codec.name.lower() == RED]
    if not redundant:
        return 0
    taken = {codec_key(codec) for codec in received}
    return next((codec.payload_type for codec in redundant if codec_key(codec) not in taken), 0)


def repair_types(codecs: Iterable[Codec]) -> dict[int, int]:
    """For each codec that can be sent again: its payload type, and the one of its retransmissions."""
    return {apt: codec.payload_type for codec in codecs if (apt := associated(codec)) is not None}


def renumber(codecs: Iterable[Codec], known: dict[int, Codec], *, transport_cc: bool = False) -> tuple[Codec, ...]:
    """Codecs as they are to be offered on a transport whose numbers so far are `known` (by payload type).

    A codec that the transport knows keeps the number and the parameters it has there, and its retransmissions if it
    has some; others get free numbers, video with retransmissions, and are added to `known`. Codecs for which no number
    is free are left out. With `transport_cc` they are offered that feedback too.
    """
    by_key: dict[CodecKey | None, Codec] = {}
    for codec in known.values():
        by_key.setdefault(codec_key(codec), codec)
    repairs = repair_types(known.values())
    result: list[Codec] = []
    for codec in codecs:
        key = codec_key(codec)
        if key is None:
            continue
        numbered = by_key.get(key)
        if numbered is None and key.name == RED:
            continue  # whoever has not offered it is sent what it carries
        if numbered is None:
            payload_type = _free_payload_type((_USUAL_PAYLOAD_TYPES[key.name],), known)
            if payload_type is None:
                continue
            feedback = _OFFERED_FEEDBACK["audio" if key.name == "opus" else "video"]
            if transport_cc:
                feedback = (*feedback, "transport-cc")
            numbered = replace(codec, payload_type=payload_type, feedback=feedback)
            by_key[key] = known[payload_type] = numbered
            again = _free_payload_type(_USUAL_REPAIR_TYPES, known) if key.name != "opus" else None
            if again is not None:
                known[again] = Codec(again, RTX, numbered.clock_rate, parameters=f"apt={payload_type}")
                repairs[payload_type] = again
        result.append(numbered)
        if numbered.payload_type in repairs:
            result.append(known[repairs[numbered.payload_type]])
    return tuple(dict.fromkeys(result))


def _free_payload_type(usual: Sequence[int], used: Collection[int]) -> int | None:
    return next((number for number in (*usual, *_FREE_PAYLOAD_TYPES) if number not in used), None)
