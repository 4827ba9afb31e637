"""Transport feedback read against what was sent: when each packet left and came, and which did not come."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.rtp.sequence import seq_delta
from zvonim_sfu.rtp.transport_cc import TICKS_PER_REFERENCE, TICKS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zvonim_sfu.bandwidth.history import SendHistory
    from zvonim_sfu.rtp.transport_cc import TransportFeedback

# What is known of a packet that was sent.
_OUTSTANDING: Final = 0
_MISSING: Final = 1
_RECEIVED: Final = 2

_ALL_RECEIVED: Final = bytes([_RECEIVED]) * 0x8000
_REFERENCE_WRAP: Final = 1 << 24


class Report(NamedTuple):
    """What one feedback tells that was not known before. The first four go together, in order of numbers."""

    numbers: Sequence[int]
    """Of packets that came."""
    sent_at: array[float]
    """In seconds by the server's clock; C's double."""
    arrived_at: array[float]
    """In seconds by the receiver's clock, which has its own zero, not always in order; C's double."""
    sizes: array[int]
    """In bytes; C's unsigned short."""
    missing: int
    """How many packets did not come, as far as it was not told before."""
    missing_bytes: int
    """Their sizes in sum."""
    recovered: int
    """How many of `numbers` had been told to be missing."""


class ReportReader:
    """Turns the feedback of one receiver into reports.

    Feedback is a stranger's word: numbers that were never sent, or are no longer kept, are passed over, and no packet
    is believed to have come twice. What one feedback costs is bounded by its length in bytes and the history's
    capacity.
    """

    __slots__ = ("_fates", "_fresh", "_history", "_reference_time")

    def __init__(self, history: SendHistory) -> None:
        self._history = history
        self._fates = bytearray(history.mask + 1)
        # The fates of lower numbers are known or outstanding; at and above it they are still those of older packets.
        self._fresh = 0
        # Of the newest feedback, with the bits that the wire leaves out.
        self._reference_time: int | None = None

    def read(self, feedback: TransportFeedback) -> Report:
        """Return what is new in a feedback."""
        history = self._history
        self._refresh(history)
        mask, times, sizes = history.mask, history.sent_at, history.sizes
        end, oldest = history.next_number, history.oldest_number
        fates = self._fates
        first = end + seq_delta(feedback.base_sequence, end & 0xFFFF)
        ticks, ticks_per_s = self._extend(feedback.reference_time) * TICKS_PER_REFERENCE, TICKS_PER_S

        arrived_at = arrivals = array("d", bytes(8 * len(feedback.received)))  # compiled, the second is C's
        start, stop = first & mask, (first & mask) + feedback.count
        if (
            len(feedback.received) == feedback.count
            and oldest <= first
            and first + feedback.count <= end
            and stop <= mask
            and fates.count(_OUTSTANDING, start, stop) == feedback.count
        ):
            # Nearly always all of them came, and nothing is known of them yet.
            fates[start:stop] = _ALL_RECEIVED[: feedback.count]
            for at, (_, delta) in enumerate(feedback.received):
                ticks += delta
                arrivals[at] = ticks / ticks_per_s
            return Report(
                range(first, first + feedback.count), times[start:stop], arrived_at, sizes[start:stop], 0, 0, 0
            )
        came: list[int] = []
        recovered = 0
        for offset, delta in feedback.received:
            ticks += delta
            number = first + offset
            if not oldest <= number < end:
                continue
            index = number & mask
            fate = fates[index]
            if fate == _RECEIVED:
                continue
            recovered += fate
            fates[index] = _RECEIVED
            arrivals[len(came)] = ticks / ticks_per_s
            came.append(number)

        missing = missing_bytes = 0
        if len(feedback.received) < feedback.count:
            for number in range(max(first, oldest), min(first + feedback.count, end)):
                index = number & mask
                if fates[index] == _OUTSTANDING:
                    fates[index] = _MISSING
                    missing += 1
                    missing_bytes += sizes[index]
        sent_at = array("d", [times[number & mask] for number in came])
        received_sizes = array("H", [sizes[number & mask] for number in came])
        return Report(came, sent_at, arrived_at[: len(came)], received_sizes, missing, missing_bytes, recovered)

    def _refresh(self, history: SendHistory) -> None:
        """Forget the fates of packets whose place in the ring was taken since the last time."""
        fresh, end = max(self._fresh, history.oldest_number), history.next_number
        start, stop = fresh & history.mask, end & history.mask
        if end - fresh > history.mask:
            self._fates = bytearray(history.mask + 1)
        elif start <= stop:
            self._fates[start:stop] = bytes(stop - start)
        else:
            self._fates[start:] = bytes(history.mask + 1 - start)
            self._fates[:stop] = bytes(stop)
        self._fresh = end

    def _extend(self, reference_time: int) -> int:
        """Return a 24-bit reference time as the one nearest to the last: feedback may overtake, the clock may wrap."""
        last = self._reference_time
        if last is None:
            # Far enough from zero for steps back to stay positive.
            last = reference_time + _REFERENCE_WRAP
        half = _REFERENCE_WRAP // 2
        extended = last + (reference_time - last + half) % _REFERENCE_WRAP - half
        self._reference_time = extended
        return extended
