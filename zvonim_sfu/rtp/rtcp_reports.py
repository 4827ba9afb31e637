"""The RTCP packets of RFC 3550 (reports, descriptions, byes), and those that are not read at all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

MAX_COUNT: Final = 31  # report blocks, chunks or sources in one packet: its count field has five bits
MAX_CNAME_BYTES: Final = 255  # an item's length field has eight bits

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
BYE: Final = 203
HEADER: Final = Struct("!BBH")
SSRC: Final = Struct("!I")

_CNAME: Final = 1
# Of who publishes in large rooms.
_KEPT_NAMES: Final = 1024
_SENDER_INFO: Final = Struct("!IQIII")
_REPORT_BLOCK: Final = Struct("!IIIIII")


class RtcpError(ValueError):
    """Bytes that are not RTCP, or values that no RTCP packet can carry."""


def pack_packet(packet_type: int, count: int, body: bytes) -> bytes:
    """Put the header before a body (RFC 3550, section 6.4.1).

    Raises:
        RtcpError: a count of more than five bits, or a body that is not made of whole words.
    """
    if not 0 <= count <= MAX_COUNT:
        raise RtcpError("RTCP packet has more than 31 entries")
    if len(body) % 4:
        raise RtcpError("RTCP packet is not made of whole words")
    return HEADER.pack(2 << 6 | count, packet_type, len(body) // 4) + body


class ReportBlock(NamedTuple):
    """What a receiver says of one source (RFC 3550, section 6.4.1)."""

    ssrc: int
    fraction_lost: int
    """Of 256, since the last report."""
    packets_lost: int
    """Since the beginning; signed, 24 bits (duplicates count against losses)."""
    highest_sequence: int
    """Extended: the low 16 bits are the sequence number, the high ones count its cycles."""
    jitter: int
    """In units of the RTP timestamp."""
    lsr: int
    """Middle 32 bits of the NTP time of the last sender report, 0 = none yet."""
    dlsr: int
    """Delay since that report, in 1/65536 s."""

    def pack(self) -> bytes:
        """Return the block's 24 bytes."""
        losses = self.fraction_lost << 24 | self.packets_lost & 0xFFFFFF
        return _REPORT_BLOCK.pack(self.ssrc, losses, self.highest_sequence, self.jitter, self.lsr, self.dlsr)


class SenderReport(NamedTuple):
    """RFC 3550, section 6.4.1; profile-specific extensions are not kept."""

    ssrc: int
    ntp: int
    """64-bit fixed point, seconds since 1900."""
    rtp_timestamp: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()

    def pack(self) -> bytes:
        """Return the packet's bytes; the two counters go out modulo 2^32.

        Raises:
            RtcpError: more than 31 report blocks.
        """
        info = _SENDER_INFO.pack(
            self.ssrc, self.ntp, self.rtp_timestamp, self.packets & 0xFFFFFFFF, self.octets & 0xFFFFFFFF
        )
        return pack_packet(SENDER_REPORT, len(self.reports), info + _pack_reports(self.reports))

    @classmethod
    def parse(cls, count: int, body: bytes) -> SenderReport:
        """Read the body of such a packet; raises RtcpError."""
        if len(body) < _SENDER_INFO.size + count * _REPORT_BLOCK.size:
            raise RtcpError("RTCP sender report is too short")
        ssrc, ntp, rtp_timestamp, packets, octets = _SENDER_INFO.unpack_from(body)
        return cls(ssrc, ntp, rtp_timestamp, packets, octets, _parse_reports(count, body, _SENDER_INFO.size))


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """RFC 3550, section 6.4.2; profile-specific extensions are not kept."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()

    def pack(self) -> bytes:
        """Return the packet's bytes.

        Raises:
            RtcpError: more than 31 report blocks.
        """
        return pack_packet(RECEIVER_REPORT, len(self.reports), SSRC.pack(self.ssrc) + _pack_reports(self.reports))

    @classmethod
    def parse(cls, count: int, body: bytes) -> ReceiverReport:
        """Read the body of such a packet; raises RtcpError."""
        if len(body) < SSRC.size + count * _REPORT_BLOCK.size:
            raise RtcpError("RTCP receiver report is too short")
        (ssrc,) = SSRC.unpack_from(body)
        return cls(ssrc, _parse_reports(count, body, SSRC.size))


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """RFC 3550, section 6.5; only the canonical names are kept."""

    chunks: tuple[tuple[int, str], ...]
    """Source and its CNAME, empty where a chunk has none."""

    def pack(self) -> bytes:
        """Return the packet's bytes.

        Raises:
            RtcpError: more than 31 chunks, or a name longer than 255 bytes.
        """
        body = bytearray()
        for ssrc, cname in self.chunks:
            body += SSRC.pack(ssrc)
            body += _items(cname)
        return pack_packet(SOURCE_DESCRIPTION, len(self.chunks), bytes(body))

    @classmethod
    def parse(cls, count: int, body: bytes) -> SourceDescription:
        """Read the body of such a packet; raises RtcpError."""
        chunks = []
        at = 0
        for _ in range(count):
            if at + SSRC.size > len(body):
                raise RtcpError("RTCP source description ends before its last chunk")
            (ssrc,) = SSRC.unpack_from(body, at)
            cname, at = _parse_items(body, at + SSRC.size)
            chunks.append((ssrc, cname))
        if at != len(body):
            raise RtcpError("RTCP source description is longer than its chunks")
        return cls(tuple(chunks))


@dataclass(frozen=True, slots=True)
class Bye:
    """RFC 3550, section 6.6; the reason is not kept."""

    ssrcs: tuple[int, ...]

    def pack(self) -> bytes:
        """Return the packet's bytes.

        Raises:
            RtcpError: more than 31 sources.
        """
        return pack_packet(BYE, len(self.ssrcs), b"".join(map(SSRC.pack, self.ssrcs)))

    @classmethod
    def parse(cls, count: int, body: bytes) -> Bye:
        """Read the body of such a packet; raises RtcpError."""
        reason = count * SSRC.size
        if reason > len(body):
            raise RtcpError("RTCP bye is too short")
        if reason < len(body) and reason + 1 + body[reason] > len(body):
            raise RtcpError("RTCP bye ends in its reason")
        return cls(tuple(ssrc for (ssrc,) in SSRC.iter_unpack(body[:reason])))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A packet of a type or format that is not read here."""

    packet_type: int
    count: int
    """The five bits that hold a count or, in feedback, the format."""
    body: bytes
    """Everything after the four bytes of the header, without padding; whole words."""

    def pack(self) -> bytes:
        """Return the packet's bytes."""
        return pack_packet(self.packet_type, self.count, self.body)


def _parse_reports(count: int, body: bytes, at: int) -> tuple[ReportBlock, ...]:
    return tuple(
        # the sign of 24 bits
        ReportBlock(ssrc, losses >> 24, (losses & 0xFFFFFF ^ 0x800000) - 0x800000, highest, jitter, lsr, dlsr)
        for ssrc, losses, highest, jitter, lsr, dlsr in _REPORT_BLOCK.iter_unpack(
            body[at : at + count * _REPORT_BLOCK.size]
        )
    )


@lru_cache(_KEPT_NAMES)
def _items(cname: str) -> bytes:
    """Return the items of a chunk in whole words."""
    name = cname.encode()
    if len(name) > MAX_CNAME_BYTES:
        raise RtcpError("RTCP CNAME is longer than 255 bytes")
    item = bytes((_CNAME, len(name))) + name
    return item + bytes(4 - len(item) % 4)  # one zero ends the items, more fill the word


def _parse_items(body: bytes, at: int) -> tuple[str, int]:
    """Return the CNAME among the items of a chunk, and where the next chunk begins (RFC 3550, section 6.5)."""
    cname = ""
    while at < len(body) and body[at]:
        end = at + 2 + body[at + 1] if at + 1 < len(body) else len(body) + 1
        if end > len(body):
            raise RtcpError("RTCP source description ends in an item")
        if body[at] == _CNAME:
            cname = body[at + 2 : end].decode(errors="replace")
        at = end
    at += 4 - at % 4  # the zero that ends the items, and more up to the next word
    if at > len(body):
        raise RtcpError("RTCP source description ends before the end of its items")
    return cname, at


def _pack_reports(reports: tuple[ReportBlock, ...]) -> bytes:
    return b"".join(report.pack() for report in reports)
