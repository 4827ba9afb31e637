"""Transport-wide congestion control: when each packet of a transport came, told to its sender.

draft-holmer-rmcat-transport-wide-cc-extensions-01, with the habits of libwebrtc, whose estimator reads it: a packet
that comes after its number was reported as missing is reported again, together with all numbers behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from struct import Struct
from typing import Final

from zvonim_sfu.rtp.rtcp_feedback import TRANSPORT_FEEDBACK
from zvonim_sfu.rtp.rtcp_reports import RtcpError, pack_packet
from zvonim_sfu.rtp.sequence import SequenceExtender
from zvonim_sfu.rtp.transport_chunks import CHUNK, pack_chunks, parse_received

TRANSPORT_CC: Final = 15  # its format

TICKS_PER_S: Final = 4000  # a delta counts 250 us (section 3.1.5)
TICKS_PER_REFERENCE: Final = 256  # reference times count 64 ms

# Packets in one feedback: with three chunks and a large delta for each of them it is still shorter than 1200 bytes.
MAX_REPORTED: Final = 128
# Numbers in one feedback: more would be mistaken for a step back (16 bits).
MAX_SPAN: Final = 0x7FFE
# A late packet is worth a report while the sender still counts: libwebrtc keeps arrivals for as long.
WINDOW_S: Final = 0.5
# Between two feedbacks, for which 100 ms are usual: 400 Mbit/s. Whoever exceeds it loses reports, not packets.
MAX_ARRIVALS: Final = 4096
# Arrivals that are noted before they are looked at: one after the other they cost a third of what each alone does.
_MAX_NOTED: Final = 256

_FIXED: Final = Struct("!IIHHI")


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """The arrivals of a range of transport-wide sequence numbers (section 3.1)."""

    sender_ssrc: int
    media_ssrc: int
    base_sequence: int
    """The first number that is reported, 16 bits."""
    count: int
    """How many numbers are reported, 1..65535."""
    reference_time: int
    """In 64 ms by the receiver's clock, 24 bits."""
    number: int
    """Of this feedback, 8 bits."""
    received: tuple[tuple[int, int], ...]
    """Of each packet that came, in order of numbers: how far its number is behind `base_sequence`, and the time since
    the one before it (the first: since the reference time) in 250 us. The other numbers did not come."""

    def arrivals(self) -> list[tuple[int, int]]:
        """Return number (16 bits) and arrival of each packet, in 250 us by the receiver's clock, modulo 2^32."""
        times = accumulate((delta for _, delta in self.received), initial=self.reference_time * TICKS_PER_REFERENCE)
        next(times)
        return [
            (self.base_sequence + offset & 0xFFFF, time & 0xFFFFFFFF)
            for (offset, _), time in zip(self.received, times, strict=True)
        ]

    def pack(self) -> bytes:
        """Return the packet's bytes.

        Raises:
            RtcpError: no number or more than 65535, offsets out of order or range, or a delta of more than 16 bits.
        """
        if not 0 < self.count <= 0xFFFF:
            raise RtcpError("RTCP transport feedback reports no packet or too many")
        statuses = bytearray(b"0" * self.count)
        deltas = bytearray()
        last = -1
        for offset, delta in self.received:
            if not last < offset < self.count or not -0x8000 <= delta <= 0x7FFF:
                raise RtcpError("RTCP transport feedback cannot carry this order or delta")
            last = offset
            if 0 <= delta <= 0xFF:
                statuses[offset] = 0x31
                deltas.append(delta)
            else:
                statuses[offset] = 0x32
                deltas += delta.to_bytes(2, signed=True)
        time_and_number = (self.reference_time & 0xFFFFFF) << 8 | self.number & 0xFF
        fixed = _FIXED.pack(self.sender_ssrc, self.media_ssrc, self.base_sequence, self.count, time_and_number)
        body = fixed + pack_chunks(statuses) + deltas
        return pack_packet(TRANSPORT_FEEDBACK, TRANSPORT_CC, body + bytes(-len(body) % 4))

    @classmethod
    def parse(cls, body: bytes) -> TransportFeedback:
        """Read the body of such a packet, its padding taken off or not; raises RtcpError."""
        if len(body) < _FIXED.size + CHUNK.size:
            raise RtcpError("RTCP transport feedback is too short")
        sender_ssrc, media_ssrc, base_sequence, count, time_and_number = _FIXED.unpack_from(body)
        if count == 0:
            raise RtcpError("RTCP transport feedback reports no packet")
        received = parse_received(body, _FIXED.size, count)
        time, number = time_and_number >> 8, time_and_number & 0xFF
        return cls(sender_ssrc, media_ssrc, base_sequence, count, time, number, received)


class ArrivalLog:
    """When the packets of one transport came, until it is told to their sender.

    The twin of arrivals_compiled.pyx, see net.kernel.
    """

    __slots__ = ("_arrivals", "_extender", "_floor", "_next", "_noted", "_number", "_repeats", "_unreported")

    def __init__(self) -> None:
        self._extender = SequenceExtender()
        # Number and time of what has come since the others were entered.
        self._noted: list[tuple[int, float]] = []
        # How many were entered since the last feedback.
        self._unreported = 0
        # By extended number, in the order of arrival: in 250 us.
        self._arrivals: dict[int, int] = {}
        # Whether what was reported is to be reported again: that is not the last of the arrivals.
        self._repeats = False
        # The first number that the next feedback reports.
        self._next: int | None = None
        # Numbers below it are forgotten.
        self._floor: int | None = None
        self._number = 0

    def __len__(self) -> int:
        """How many packets came since the last feedback."""
        return self._unreported + len(self._noted)

    def received(self, sequence_number: int, now: float) -> None:
        """Note that the packet of this transport-wide number (16 bits) came `now` (seconds, monotonic).

        A duplicate, and what is later than the window for reordering, is left out.
        """
        noted = self._noted
        noted.append((sequence_number, now))
        if len(noted) == _MAX_NOTED:
            self._enter_noted()

    def _enter_noted(self) -> None:
        noted, self._noted = self._noted, []
        self._unreported += len(noted)
        for sequence_number, at in noted:
            self._enter(sequence_number, at)

    def _enter(self, sequence_number: int, at: float) -> None:
        sequence = self._extender.extend(sequence_number)
        arrivals = self._arrivals
        if sequence in arrivals:
            return
        if self._next is None:
            self._next = sequence
        elif sequence < self._next:
            if self._floor is not None and sequence < self._floor:
                return
            self._next = sequence
            self._repeats = True
        arrivals[sequence] = round(at * TICKS_PER_S)
        if len(arrivals) > MAX_ARRIVALS:
            self._forget(list(arrivals)[: MAX_ARRIVALS // 2])

    def feedback(self, now: float, *, sender_ssrc: int, media_ssrc: int) -> list[TransportFeedback]:
        """Return what to send now: one packet as a rule, none when nothing came, more when it does not fit into one.

        Args:
            now: seconds, by the clock of `received`.
            sender_ssrc: the server's own.
            media_ssrc: of any source of the transport.
        """
        self._enter_noted()
        self._unreported = 0
        first = self._next
        if first is None:
            return []
        numbers = self._numbers(first)
        packets = []
        at = 0
        while at < len(numbers):
            # Numbers so far back are as good as reported.
            first = max(first, numbers[at] - MAX_SPAN + 1)
            received, reference_time = self._collect(numbers, at, first)
            at += len(received)
            count = received[-1][0] + 1
            base = first & 0xFFFF
            packets.append(
                TransportFeedback(sender_ssrc, media_ssrc, base, count, reference_time, self._number, received)
            )
            self._number = self._number + 1 & 0xFF
            first += count
        self._next = first
        self._forget_old(now)
        return packets

    def packed(self, now: float, *, sender_ssrc: int, media_ssrc: int) -> list[bytes]:
        """Return the same as the bytes of RTCP packets."""
        return [packet.pack() for packet in self.feedback(now, sender_ssrc=sender_ssrc, media_ssrc=media_ssrc)]

    def _numbers(self, first: int) -> list[int]:
        """Return what has come from `first` on, in order."""
        if self._repeats:
            self._repeats = False
            return sorted(number for number in self._arrivals if number >= first)
        numbers = []
        for number in reversed(self._arrivals):
            if number < first:
                break
            numbers.append(number)
        numbers.sort()
        return numbers

    def _collect(self, numbers: list[int], at: int, first: int) -> tuple[tuple[tuple[int, int], ...], int]:
        """Return as many arrivals, from `numbers[at]` on, as fit into one feedback, and its reference time."""
        arrivals = self._arrivals
        reference_time = arrivals[numbers[at]] // TICKS_PER_REFERENCE
        last = reference_time * TICKS_PER_REFERENCE
        received: list[tuple[int, int]] = []
        for number in numbers[at : at + MAX_REPORTED]:
            time = arrivals[number]
            if number - first >= MAX_SPAN or not -0x8000 <= time - last <= 0x7FFF:
                break
            received.append((number - first, time - last))
            last = time
        return tuple(received), reference_time & 0xFFFFFF

    def _forget_old(self, now: float) -> None:
        """Let go of what was reported and is out of the window in which a late packet is reported."""
        old = []
        since = (now - WINDOW_S) * TICKS_PER_S
        for number, arrival in self._arrivals.items():
            if arrival >= since:
                break
            old.append(number)
        self._forget(old)

    def _forget(self, numbers: list[int]) -> None:
        for number in numbers:
            del self._arrivals[number]
        if numbers:
            self._floor = max(numbers) + 1 if self._floor is None else max(self._floor, max(numbers) + 1)
            if self._next is not None and self._next < self._floor:
                self._next = self._floor
