"""What was sent to one receiver and when, by transport-wide number: a ring that compiled code can write."""

from __future__ import annotations

from array import array
from typing import Final

# Feedback tells of a packet within a round trip and a quarter of a second: seconds at 20 Mbit/s. 40 KiB.
CAPACITY: Final = 4096
# Sounds are sent again as the same packets, which has to happen in less: two seconds of five voices. 4 KiB.
SOUNDS: Final = 512


class SendHistory:
    """Send times and sizes of the last packets, and the number of the next one.

    Numbers count from 0 and never wrap here; the header extension carries their low 16 bits. Whoever sends, for each
    packet in this order: takes `counter[0]` as its number, writes `sent_at` and `sizes` at index `number & mask`,
    and adds one to `counter[0]`. The three are arrays of fixed length, so that their buffers may be taken once and
    written from compiled code; `add` does the same in Python. Nothing else has to be told of a packet, but for one of a
    sound: what `keep_sound` does.

    Args:
        capacity: how many packets are kept, a power of two up to 32768.
    """

    __slots__ = ("counter", "mask", "sent_at", "sizes", "sounds")

    sent_at: array[float]
    """In seconds by the clock of `now`; C's double."""
    sizes: array[int]
    """In bytes, of what the link carries as far as it is known: UDP payload; C's unsigned short."""
    counter: array[int]
    """The number of the next packet, and how many sounds were kept; C's unsigned long long, as the next."""
    sounds: array[int]
    """Of the last sounds: SSRC, sequence number and the low 16 bits of the number, from the highest bit on."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        assert 0 < capacity <= 0x8000
        assert not capacity & capacity - 1
        self.mask = capacity - 1
        self.sent_at = array("d", bytes(8 * capacity))
        self.sizes = array("H", bytes(2 * capacity))
        self.counter = array("Q", [0, 0])
        self.sounds = array("Q", bytes(8 * SOUNDS))

    @property
    def next_number(self) -> int:
        """The number of the next packet, and how many were sent."""
        return self.counter[0]

    @property
    def oldest_number(self) -> int:
        """The lowest number that is still kept; the next one if nothing was sent."""
        return max(0, self.counter[0] - self.mask - 1)

    def add(self, size: int, now: float) -> int:
        """Note a packet of `size` bytes that is sent `now` (s, monotonic), and return its number."""
        number = self.counter[0]
        index = number & self.mask
        self.sent_at[index] = now
        self.sizes[index] = size
        self.counter[0] = number + 1
        return number

    def keep_sound(self, ssrc: int, sequence_number: int, number: int) -> None:
        """Note which number a packet had, so that it can be sent again under it."""
        self.sounds[self.counter[1] % SOUNDS] = ssrc << 32 | sequence_number << 16 | number & 0xFFFF
        self.counter[1] += 1

    def sound(self, ssrc: int, sequence_number: int) -> int | None:
        """Return the number that a packet had (16 bits); None if it is not known any more."""
        wanted = ssrc << 16 | sequence_number
        return next((kept & 0xFFFF for kept in self.sounds if kept >> 16 == wanted), None)
