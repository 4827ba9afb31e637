"""RTCP datagrams: compound parsing and building. The packets themselves are in the modules beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from zvonim_sfu.rtp.rtcp_feedback import (
    APPLICATION,
    FIR,
    NACK,
    PAYLOAD_FEEDBACK,
    PLI,
    REMB,
    TRANSPORT_FEEDBACK,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    Remb,
)
from zvonim_sfu.rtp.rtcp_reports import (
    BYE,
    HEADER,
    RECEIVER_REPORT,
    SENDER_REPORT,
    SOURCE_DESCRIPTION,
    Bye,
    ReceiverReport,
    ReportBlock,
    RtcpError,
    SenderReport,
    SourceDescription,
    Unknown,
)
from zvonim_sfu.rtp.rtcp_xr import EXTENDED_REPORT, ExtendedReport
from zvonim_sfu.rtp.transport_cc import TRANSPORT_CC, TransportFeedback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "Bye",
    "ExtendedReport",
    "FullIntraRequest",
    "Nack",
    "PictureLossIndication",
    "ReceiverReport",
    "Remb",
    "ReportBlock",
    "RtcpError",
    "RtcpPacket",
    "SenderReport",
    "SourceDescription",
    "TransportFeedback",
    "Unknown",
    "pack_compound",
    "parse_compound",
]

MAX_PACKETS: Final = 64  # in one compound; browsers send five at most

_PADDING_BIT: Final = 0x20

RtcpPacket: TypeAlias = (
    SenderReport
    | ReceiverReport
    | SourceDescription
    | Bye
    | Nack
    | PictureLossIndication
    | FullIntraRequest
    | Remb
    | TransportFeedback
    | ExtendedReport
    | Unknown
)

_PARSERS: Final[dict[int, Callable[[int, bytes], RtcpPacket]]] = {
    SENDER_REPORT: SenderReport.parse,
    RECEIVER_REPORT: ReceiverReport.parse,
    SOURCE_DESCRIPTION: SourceDescription.parse,
    BYE: Bye.parse,
    EXTENDED_REPORT: ExtendedReport.parse,
}
_FEEDBACK_PARSERS: Final[dict[tuple[int, int], Callable[[bytes], RtcpPacket]]] = {
    (TRANSPORT_FEEDBACK, NACK): Nack.parse,
    (TRANSPORT_FEEDBACK, TRANSPORT_CC): TransportFeedback.parse,
    (PAYLOAD_FEEDBACK, PLI): PictureLossIndication.parse,
    (PAYLOAD_FEEDBACK, FIR): FullIntraRequest.parse,
}


def parse_compound(data: bytes) -> list[RtcpPacket]:
    """Read the packets of one datagram; it need not begin with a report (reduced size, RFC 5506).

    Raises:
        RtcpError: a version, length or padding is wrong anywhere, bytes are left over, or there are more than 64
            packets. Nothing of such a datagram is to be used.
    """
    packets: list[RtcpPacket] = []
    at = 0
    while True:
        if at + HEADER.size > len(data):
            raise RtcpError("RTCP packet is shorter than its header")
        if len(packets) == MAX_PACKETS:
            raise RtcpError("RTCP compound has too many packets")
        first, packet_type, words = HEADER.unpack_from(data, at)
        if first >> 6 != 2:
            raise RtcpError("RTCP version is not 2")
        start = at + HEADER.size
        at = start + 4 * words
        if at > len(data):
            raise RtcpError("RTCP packet is longer than its datagram")
        body = data[start:at]
        if first & _PADDING_BIT:
            body = _without_padding(body, odd=(packet_type, first & 0x1F) == (TRANSPORT_FEEDBACK, TRANSPORT_CC))
        packets.append(_parse_body(packet_type, first & 0x1F, body))
        if at == len(data):
            return packets


def pack_compound(packets: Iterable[RtcpPacket]) -> bytes:
    """Return the bytes of one datagram; the order is the caller's (RFC 3550, section 6.1: a report comes first).

    Raises:
        RtcpError: a value that its packet cannot carry.
    """
    return b"".join(packet.pack() for packet in packets)


def _without_padding(body: bytes, *, odd: bool) -> bytes:
    # The last byte counts itself too; whole words (RFC 3550, section 6.4.1). But libwebrtc fills the last word of its
    # transport feedback with one to three bytes and calls that padding.
    padding = body[-1] if body else 0
    if padding == 0 or (padding % 4 and not odd) or padding > len(body):
        raise RtcpError("RTCP padding length is invalid")
    return body[:-padding]


def _parse_body(packet_type: int, count: int, body: bytes) -> RtcpPacket:
    if parse := _PARSERS.get(packet_type):
        return parse(count, body)
    if parse_feedback := _FEEDBACK_PARSERS.get((packet_type, count)):
        return parse_feedback(body)
    if (packet_type, count) == (PAYLOAD_FEEDBACK, APPLICATION) and body[8:12] == REMB:
        return Remb.parse(body)
    return Unknown(packet_type, count, body)
