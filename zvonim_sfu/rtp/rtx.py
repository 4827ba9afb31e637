"""Retransmission payload format (RFC 4588): a packet sent again in a stream of its own.

Its payload is the original sequence number (OSN), then the original payload (section 4). Everything else of the header,
CSRCs and extensions included, stands where it stands in any packet.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from zvonim_sfu.rtp.packet import FIXED_HEADER_BYTES, RtpPacket

if TYPE_CHECKING:
    from zvonim_sfu.rtp.packet import Tail

OSN_BYTES: Final = 2
# A packet without payload, and with the most padding that one can have: in a stream of retransmissions it repairs
# nothing, and probes the link.
PADDING: Final = RtpPacket.parse(b"\xa0".ljust(FIXED_HEADER_BYTES, b"\0") + bytes(254) + b"\xff")

_MARKER_BIT: Final = 0x80

_write_numbers: Final = Struct("!BBH").pack
_write_ssrc: Final = Struct("!I").pack


def unwrap(packet: RtpPacket, *, ssrc: int, payload_type: int) -> bytes | None:
    """Return the packet that was sent again, as it was sent first.

    Extensions and padding stay as they came: they are those of the retransmission, so mid and repaired-rid may be among
    them.

    Args:
        packet: of the retransmission stream.
        ssrc: of the original stream.
        payload_type: that the retransmission's is associated with (`apt`, RFC 4588, section 8.1).

    Returns:
        None for a packet that repairs nothing: browsers probe the link with packets of padding alone.
    """
    if len(packet.payload) < OSN_BYTES:
        return None
    data = packet.data
    at = packet.payload_offset
    header = _write_numbers(data[0], packet.marker << 7 | payload_type, data[at] << 8 | data[at + 1])
    return b"".join((header, data[4:8], _write_ssrc(ssrc), data[FIXED_HEADER_BYTES:at], data[at + OSN_BYTES :]))


def wrap(header: bytes, tail: Tail, *, ssrc: int, payload_type: int, sequence_number: int) -> tuple[bytes, bytes]:
    """Return header and tail of the retransmission of a packet that went out as `header` + `tail.data`.

    Args:
        header: the packet's fixed header, 12 bytes, as its receiver knows it.
        tail: what follows it (`RtpPacket.tail`).
        ssrc: of the retransmission stream, as all that follows.
        payload_type: the retransmission's own.
        sequence_number: the next of that stream, 16 bits.
    """
    data = tail.data
    at = len(data) - tail.octets
    second = header[1] & _MARKER_BIT | payload_type
    wrapped = _write_numbers(header[0], second, sequence_number) + header[4:8] + _write_ssrc(ssrc)
    return wrapped, b"".join((data[:at], header[2:4], data[at:]))
