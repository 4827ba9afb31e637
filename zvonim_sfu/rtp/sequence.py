"""Arithmetic on numbers that wrap around: sequence numbers (16 bits) and RTP timestamps (32 bits)."""

from __future__ import annotations


def seq_delta(a: int, b: int) -> int:
    """Return how far sequence number `a` is ahead of `b`, -32768..32767."""
    return ((a - b + 0x8000) & 0xFFFF) - 0x8000


def ts_delta(a: int, b: int) -> int:
    """Return how far RTP timestamp `a` is ahead of `b`, -2^31..2^31 - 1."""
    return ((a - b + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class SequenceExtender:
    """Gives sequence numbers the high bits that the wire leaves out.

    Each number is read as the one nearest to the highest so far, so late packets keep their place. The first one
    stays as it is; what is older than it may come out negative.
    """

    __slots__ = ("highest",)

    highest: int | None
    """The highest extended number so far, None before the first."""

    def __init__(self) -> None:
        self.highest = None

    def extend(self, sequence_number: int) -> int:
        """Return the extended number, which is `sequence_number` modulo 2^16."""
        highest = self.highest
        if highest is None:
            self.highest = sequence_number
            return sequence_number
        extended = highest + ((sequence_number - highest + 0x8000) & 0xFFFF) - 0x8000
        if extended > highest:
            self.highest = extended
        return extended
