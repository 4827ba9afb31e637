"""From RTP payloads to what decoders take: written from the payload formats, and sharing nothing with the server."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import av

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zvonim_sfu.rtp.packet import RtpPacket

DECODERS: Final = {"VP8": "libvpx", "VP9": "libvpx-vp9", "H264": "h264", "AV1": "libdav1d"}
"""Those that browsers have; each takes several spatial layers at once and shows the highest."""

_TEMPORAL_DELIMITER: Final = b"\x12\x00"


class Picture(NamedTuple):
    """What a decoder showed."""

    width: int
    height: int
    digest: bytes


def vp8(payload: bytes) -> bytes:
    """RFC 7741, section 4.2: what follows the descriptor."""
    at = 1
    if payload[0] & 0x80:
        flags = payload[1]
        at = 2
        if flags & 0x80:
            at += 2 if payload[at] & 0x80 else 1
        at += (flags & 0x40 > 0) + (flags & 0x30 > 0)
    return payload[at:]


def vp9(payload: bytes) -> bytes:
    """RFC 9628, section 4.2: what follows the descriptor."""
    first = payload[0]
    at = 1
    if first & 0x80:
        at += 2 if payload[at] & 0x80 else 1
    if first & 0x20:
        at += 1 if first & 0x10 else 2
    if first & 0x50 == 0x50:
        while payload[at] & 1:
            at += 1
        at += 1
    if first & 0x02:
        header = payload[at]
        at += 1
        if header & 0x10:
            at += 4 * ((header >> 5) + 1)
        if header & 0x08:
            pictures = payload[at]
            at += 1
            for _ in range(pictures):
                at += 1 + (payload[at] >> 2 & 3)
    return payload[at:]


def h264(payloads: Sequence[bytes]) -> bytes:
    """RFC 6184, sections 5.6 to 5.8: units with start codes."""
    data = b""
    for payload in payloads:
        match payload[0] & 0x1F:
            case 28:
                if payload[1] & 0x80:
                    data += b"\0\0\0\1" + bytes([payload[0] & 0xE0 | payload[1] & 0x1F])
                data += payload[2:]
            case 24:
                at = 1
                while at < len(payload):
                    size = int.from_bytes(payload[at : at + 2])
                    data += b"\0\0\0\1" + payload[at + 2 : at + 2 + size]
                    at += 2 + size
            case _:
                data += b"\0\0\0\1" + payload
    return data


def av1(payloads: Sequence[bytes]) -> bytes:
    """AV1 RTP specification, section 4: OBUs put together and given their lengths, behind a temporal delimiter."""
    elements: list[bytes] = []
    for payload in payloads:
        first, at, index = payload[0], 1, 0
        count = first >> 4 & 3
        while at < len(payload):
            index += 1
            size = len(payload) - at
            if index != count:
                size, at = _leb128(payload, at)
            element = payload[at : at + size]
            at += size
            if index == 1 and first & 0x80:
                elements[-1] += element
            else:
                elements.append(element)
    return _TEMPORAL_DELIMITER + b"".join(_with_size(element) for element in elements)


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def _with_size(obu: bytes) -> bytes:
    if obu[0] & 0x02:
        return obu
    header = 2 if obu[0] & 0x04 else 1
    size = len(obu) - header
    written = b""
    while size > 0x7F:
        written += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([obu[0] | 0x02]) + obu[1:header] + written + bytes([size]) + obu[header:]


def _concatenated(depacketize: Callable[[bytes], bytes]) -> Callable[[Sequence[bytes]], bytes]:
    return lambda payloads: b"".join(depacketize(payload) for payload in payloads)


ASSEMBLE: Final[dict[str, Callable[[Sequence[bytes]], bytes]]] = {
    "VP8": _concatenated(vp8),
    "VP9": _concatenated(vp9),
    "H264": h264,
    "AV1": av1,
}
"""From the payloads of one picture to what a decoder takes at once."""


def decode(encoding: str, packets: Sequence[RtpPacket]) -> dict[int, Picture]:
    """Decode packets in order; returns what is shown, by timestamp. Raises av.error.FFmpegError on a broken stream."""
    pictures: dict[int, list[bytes]] = {}
    for packet in packets:
        pictures.setdefault(packet.timestamp, []).append(packet.payload)
    context = av.CodecContext.create(DECODERS[encoding], "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_count = 1
    shown: dict[int, Picture] = {}
    order = list(pictures)

    def show(frames: Sequence[av.VideoFrame]) -> None:
        for frame in frames:
            assert not frame.is_corrupt
            digest = blake2b(frame.to_ndarray().tobytes(), digest_size=8).digest()
            assert frame.pts is not None
            timestamp = order[frame.pts]
            assert timestamp not in shown
            shown[timestamp] = Picture(frame.width, frame.height, digest)

    for index, payloads in enumerate(pictures.values()):
        data = av.Packet(ASSEMBLE[encoding](payloads))
        data.pts = data.dts = index
        show(context.decode(data))
    show(context.decode(None))
    return shown
