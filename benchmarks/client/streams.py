"""What one receiver knows of one SSRC: how many different packets came, and which are missing."""

from __future__ import annotations

from typing import Final

from zvonim_sfu.rtp.rtcp import ReportBlock

# What libwebrtc asks for: a packet 10 times at most, and no more than 1000 before it wants a keyframe.
MAX_ASKED: Final = 10
MAX_MISSING: Final = 1000
# And again after a round trip, which is this where it has not been measured.
ASKED_AGAIN_S: Final = 0.1


class Stream:
    """Counts by sequence number. A repaired packet is as good as one that came by itself, a duplicate is nothing."""

    __slots__ = (
        "_asked",
        "_base",
        "_reported_expected",
        "_reported_received",
        "highest",
        "received",
        "repaired",
        "ssrc",
    )

    def __init__(self, ssrc: int, first: int) -> None:
        self.ssrc = ssrc
        self.highest = first - 1
        """Extended sequence number."""
        self.received = 0
        """Different packets."""
        self.repaired = 0
        """Those among them that came after others had shown that they were missing."""
        self._base = first
        self._asked: dict[int, tuple[int, float]] = {}
        "Missing packets by extended number: how often they were asked for, and from when on they may be again."
        self._reported_expected = self._reported_received = 0

    @property
    def expected(self) -> int:
        """How many packets there have been, by their numbers."""
        return self.highest - self._base + 1

    def take(self, numbers: list[int]) -> None:
        """Note packets in the order of arrival, by their sequence numbers (16 bits)."""
        count = len(numbers)
        highest = self.highest
        if (numbers[-1] - highest) & 0xFFFF == count and (numbers[0] - highest) & 0xFFFF == 1:
            # As many as the numbers have advanced, with the next one in front: all is well as a rule. A permutation of
            # these would be taken for order, which changes no count.
            self.highest = highest + count
            self.received += count
            return
        for number in numbers:
            self._take_one(number)

    def _take_one(self, number: int) -> None:
        distance = (number - self.highest + 0x8000 & 0xFFFF) - 0x8000
        if distance > 0:
            for missing in range(self.highest + 1, self.highest + distance):
                self._asked[missing] = 0, 0.0
            if len(self._asked) > MAX_MISSING:
                self._asked.clear()
            self.highest += distance
            self.received += 1
        elif self._asked.pop(self.highest + distance, None) is not None:
            self.received += 1
            self.repaired += 1

    def ask(self, now: float) -> list[int]:
        """Return the sequence numbers to ask for now (s, monotonic; 16 bits); each counts as asked for once more."""
        if not self._asked:
            return []
        due = [(number, times) for number, (times, at) in self._asked.items() if at <= now]
        for number, times in due:
            if times < MAX_ASKED:
                self._asked[number] = times + 1, now + ASKED_AGAIN_S
            else:
                del self._asked[number]
        return [number & 0xFFFF for number, times in due if times < MAX_ASKED]

    def report(self, lsr: int, dlsr: int) -> ReportBlock:
        """Return the block of the next receiver report; jitter is not measured and told as 0."""
        expected = self.expected
        lost = max(0, (expected - self._reported_expected) - (self.received - self._reported_received))
        fraction = lost * 256 // max(1, expected - self._reported_expected)
        self._reported_expected, self._reported_received = expected, self.received
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=min(fraction, 255),
            packets_lost=expected - self.received,
            highest_sequence=self.highest & 0xFFFFFFFF,
            jitter=0,
            lsr=lsr,
            dlsr=dlsr,
        )
