"""Extended reports (RFC 3611): how a receiver that sends no media measures its round trip.

It tells its time (RRTR), and the sender of the media tells back when that came (DLRR): LSR and DLSR of ordinary reports
the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from zvonim_sfu.rtp.rtcp_reports import SSRC, RtcpError, pack_packet

EXTENDED_REPORT: Final = 207
# Receivers that one packet answers: libwebrtc reads 50 at most.
MAX_ANSWERS: Final = 50

_REFERENCE_TIME: Final = 4  # block types (sections 4.4 and 4.5)
_LAST_REPORTS: Final = 5
_BLOCK: Final = Struct("!BxH")
_NTP: Final = Struct("!Q")
_ANSWER: Final = Struct("!III")


class ReferenceTimeAnswer(NamedTuple):
    """What a sender says of a receiver's last reference time (section 4.5)."""

    ssrc: int
    """Of the receiver."""
    last_reference_time: int
    """Middle 32 bits of the NTP time in that report, 0 = none came."""
    delay: int
    """Since it came, in 1/65536 s."""


@dataclass(frozen=True, slots=True)
class ExtendedReport:
    """RFC 3611, section 2; blocks of other types are not kept."""

    ssrc: int
    """Of who sends it."""
    reference_time: int | None = None
    """64-bit NTP time of the sending of this report (section 4.4), None without one."""
    answers: tuple[ReferenceTimeAnswer, ...] = ()

    def pack(self) -> bytes:
        """Return the packet's bytes.

        Raises:
            RtcpError: more than 50 answers.
        """
        if len(self.answers) > MAX_ANSWERS:
            raise RtcpError("RTCP extended report has too many answers")
        body = SSRC.pack(self.ssrc)
        if self.reference_time is not None:
            body += _BLOCK.pack(_REFERENCE_TIME, _NTP.size // 4) + _NTP.pack(self.reference_time)
        if self.answers:
            body += _BLOCK.pack(_LAST_REPORTS, len(self.answers) * _ANSWER.size // 4)
            body += b"".join(_ANSWER.pack(*answer) for answer in self.answers)
        return pack_packet(EXTENDED_REPORT, 0, body)

    @classmethod
    def parse(cls, _reserved: int, body: bytes) -> ExtendedReport:
        """Read the body of such a packet; raises RtcpError."""
        if len(body) < SSRC.size:
            raise RtcpError("RTCP extended report is too short")
        (ssrc,) = SSRC.unpack_from(body)
        reference_time: int | None = None
        answers: list[ReferenceTimeAnswer] = []
        at = SSRC.size
        while at < len(body):
            if at + _BLOCK.size > len(body):
                raise RtcpError("RTCP extended report ends in the header of a block")
            block_type, words = _BLOCK.unpack_from(body, at)
            start = at + _BLOCK.size
            at = start + 4 * words
            if at > len(body):
                raise RtcpError("RTCP extended report ends in a block")
            if block_type == _REFERENCE_TIME:
                if words != _NTP.size // 4:
                    raise RtcpError("RTCP extended report has a reference time of a wrong length")
                (reference_time,) = _NTP.unpack_from(body, start)
            elif block_type == _LAST_REPORTS:
                if words % 3:
                    raise RtcpError("RTCP extended report has answers of a wrong length")
                answers.extend(ReferenceTimeAnswer(*answer) for answer in _ANSWER.iter_unpack(body[start:at]))
                if len(answers) > MAX_ANSWERS:
                    raise RtcpError("RTCP extended report has too many answers")
        return cls(ssrc, reference_time, tuple(answers))
