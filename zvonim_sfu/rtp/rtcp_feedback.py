"""The RTCP packets by which a receiver asks its sender for something (RFC 4585, RFC 5104, REMB)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from zvonim_sfu.rtp.rtcp_reports import SSRC, RtcpError, pack_packet

MAX_LOST: Final = 1024  # numbers in one NACK: libwebrtc never misses more than 1000 before it asks for a key frame
MAX_BITRATE: Final = (1 << 64) - 1

TRANSPORT_FEEDBACK: Final = 205
NACK: Final = 1  # its format
PAYLOAD_FEEDBACK: Final = 206
PLI: Final = 1  # its formats
FIR: Final = 4
APPLICATION: Final = 15
REMB: Final = b"REMB"

_FEEDBACK: Final = Struct("!II")
_FIR_ENTRY: Final = Struct("!IB3x")
_NACK_ENTRY: Final = Struct("!HH")
# How far behind the first number those are that the low byte of a NACK's bit mask names, by its value; the high byte.
_BEHIND: Final = [tuple(bit + 1 for bit in range(8) if byte >> bit & 1) for byte in range(256)]
_FURTHER_BEHIND: Final = [tuple(distance + 8 for distance in distances) for distances in _BEHIND]
_REMB_FIXED: Final = Struct("!II4sI")


@dataclass(frozen=True, slots=True)
class Nack:
    """Generic negative acknowledgement (RFC 4585, section 6.2.1)."""

    sender_ssrc: int
    media_ssrc: int
    lost: tuple[int, ...]
    """Sequence numbers, the bit masks already expanded; at least one."""

    def pack(self) -> bytes:
        """Return the packet's bytes; shortest when `lost` is in order.

        Raises:
            RtcpError: no number or more than 1024.
        """
        if not 0 < len(self.lost) <= MAX_LOST:
            raise RtcpError("RTCP NACK asks for no packet or too many")
        body = bytearray(_FEEDBACK.pack(self.sender_ssrc, self.media_ssrc))
        first, mask, last = self.lost[0], 0, 0
        for number in self.lost[1:]:
            distance = number - first & 0xFFFF
            if last < distance <= 16:
                mask |= 1 << distance - 1
                last = distance
            else:
                body += _NACK_ENTRY.pack(first, mask)
                first, mask, last = number, 0, 0
        body += _NACK_ENTRY.pack(first, mask)
        return pack_packet(TRANSPORT_FEEDBACK, NACK, bytes(body))

    @classmethod
    def parse(cls, body: bytes) -> Nack:
        """Read the body of such a packet; raises RtcpError."""
        if len(body) <= _FEEDBACK.size:
            raise RtcpError("RTCP NACK is too short")
        sender_ssrc, media_ssrc = _FEEDBACK.unpack_from(body)
        lost = []
        for first, mask in _NACK_ENTRY.iter_unpack(body[_FEEDBACK.size :]):
            lost.append(first)
            if mask:
                behind = _BEHIND[mask & 0xFF] + _FURTHER_BEHIND[mask >> 8]
                lost.extend([first + distance & 0xFFFF for distance in behind])
            if len(lost) > MAX_LOST:
                raise RtcpError("RTCP NACK asks for too many packets")
        return cls(sender_ssrc, media_ssrc, tuple(lost))


@dataclass(frozen=True, slots=True)
class PictureLossIndication:
    """RFC 4585, section 6.3.1: the receiver needs a key frame."""

    sender_ssrc: int
    media_ssrc: int

    def pack(self) -> bytes:
        """Return the packet's bytes."""
        return pack_packet(PAYLOAD_FEEDBACK, PLI, _FEEDBACK.pack(self.sender_ssrc, self.media_ssrc))

    @classmethod
    def parse(cls, body: bytes) -> PictureLossIndication:
        """Read the body of such a packet; raises RtcpError."""
        if len(body) != _FEEDBACK.size:
            raise RtcpError("RTCP PLI length is wrong")
        return cls(*_FEEDBACK.unpack(body))


@dataclass(frozen=True, slots=True)
class FullIntraRequest:
    """RFC 5104, section 4.3.1."""

    sender_ssrc: int
    entries: tuple[tuple[int, int], ...]
    """Source that is to send a key frame, and the number of the request (8 bits); at least one."""

    def pack(self) -> bytes:
        """Return the packet's bytes.

        Raises:
            RtcpError: no entry.
        """
        if not self.entries:
            raise RtcpError("RTCP FIR asks no source")
        # "SSRC of media source" is not used and SHALL be 0 (section 4.3.1.2).
        body = _FEEDBACK.pack(self.sender_ssrc, 0) + b"".join(_FIR_ENTRY.pack(*entry) for entry in self.entries)
        return pack_packet(PAYLOAD_FEEDBACK, FIR, body)

    @classmethod
    def parse(cls, body: bytes) -> FullIntraRequest:
        """Read the body of such a packet; raises RtcpError."""
        if len(body) <= _FEEDBACK.size or len(body) % _FIR_ENTRY.size:
            raise RtcpError("RTCP FIR length is wrong")
        sender_ssrc, _ = _FEEDBACK.unpack_from(body)
        return cls(sender_ssrc, tuple(_FIR_ENTRY.iter_unpack(body[_FEEDBACK.size :])))


@dataclass(frozen=True, slots=True)
class Remb:
    """Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03)."""

    sender_ssrc: int
    bitrate: int
    """In bit/s; goes out with its highest 18 bits."""
    ssrcs: tuple[int, ...]

    def pack(self) -> bytes:
        """Return the packet's bytes.

        Raises:
            RtcpError: a bitrate of more than 64 bits, or more than 255 sources.
        """
        if not 0 <= self.bitrate <= MAX_BITRATE or len(self.ssrcs) > 255:
            raise RtcpError("RTCP REMB cannot carry this bitrate or so many sources")
        exponent = max(0, self.bitrate.bit_length() - 18)
        estimate = len(self.ssrcs) << 24 | exponent << 18 | self.bitrate >> exponent
        # The media source is not used and is 0 (section 2.2).
        body = _REMB_FIXED.pack(self.sender_ssrc, 0, REMB, estimate) + b"".join(map(SSRC.pack, self.ssrcs))
        return pack_packet(PAYLOAD_FEEDBACK, APPLICATION, body)

    @classmethod
    def parse(cls, body: bytes) -> Remb:
        """Read the body of such a packet; raises RtcpError."""
        if len(body) < _REMB_FIXED.size:
            raise RtcpError("RTCP REMB is too short")
        sender_ssrc, _, _, estimate = _REMB_FIXED.unpack_from(body)
        if len(body) != _REMB_FIXED.size + (estimate >> 24) * SSRC.size:
            raise RtcpError("RTCP REMB length does not fit its number of sources")
        bitrate = (estimate & 0x3FFFF) << (estimate >> 18 & 0x3F)
        if bitrate > MAX_BITRATE:
            raise RtcpError("RTCP REMB bitrate has more than 64 bits")
        return cls(sender_ssrc, bitrate, tuple(ssrc for (ssrc,) in SSRC.iter_unpack(body[_REMB_FIXED.size :])))
