"""Reading bit fields, of any bytes: parameter sets, sequence headers, and the dependency descriptor."""

from __future__ import annotations

# An honest exponential-Golomb number of a parameter set has 31 zeros at most (ITU-T H.264, section 9.1).
_MAX_GOLOMB_ZEROS = 32


class BitsError(ValueError):
    """There are fewer bits than what is said to be there, or a number that nothing honest writes."""


class BitReader:
    """Reads from the first bit of the first byte on. All that is read is unsigned."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def read(self, bits: int) -> int:
        """Return the next `bits` as a number.

        Raises:
            BitsError: there are fewer.
        """
        left = self._left - bits
        if left < 0:
            raise BitsError("The bits have come to their end")
        self._left = left
        return self._value >> left & (1 << bits) - 1

    def read_below(self, count: int) -> int:
        """Return a number below `count`, 1 or more, written in as few bits as such a number takes (AV1's ns(n))."""
        bits = count.bit_length()
        short = (1 << bits) - count
        value = self.read(bits - 1)
        return value if value < short else (value << 1) - short + self.read(1)

    def read_golomb(self) -> int:
        """Return an exponential-Golomb number, ue(v) of ITU-T H.264, section 9.1."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > _MAX_GOLOMB_ZEROS:
                raise BitsError("An exponential-Golomb number is too long")
        return (1 << zeros) - 1 + self.read(zeros)

    def read_signed_golomb(self) -> int:
        """Return an exponential-Golomb number with a sign, se(v) of ITU-T H.264, section 9.1.1."""
        value = self.read_golomb()
        return (value + 1) // 2 if value & 1 else -(value // 2)
