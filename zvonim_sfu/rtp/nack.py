"""What is missing of one layer: when to ask the publisher for it, and when to give it up."""

from __future__ import annotations

from typing import Final

from zvonim_sfu.rtp.intake import NO_NUMBER, Intake

# Networks that reorder do so by some milliseconds. Asking too early costs a packet twice, too late costs delay; the
# tolerance grows with the reordering that is seen, and shrinks again by 1/32 with each loss.
MIN_TOLERANCE_S: Final = 0.01
MAX_TOLERANCE_S: Final = 0.05
# A repair takes a round trip, plus the publisher's pacing.
RETRY_MARGIN_S: Final = 0.01
MIN_RETRY_S: Final = 0.03
# Where a queue has grown, the measured round trip is too short, and asking again and again would feed that queue.
RETRY_BACKOFF: Final = 1.25
# Where repairs are needed a NACK is as easily lost, and then costs a whole round trip: each is sent twice. Publishers
# answer once, as they send nothing again within a round trip; on a short path the repair is there before the copy is
# due. Apart by more than most bursts of loss, and than a publisher's round trip may be longer than ours.
COPY_AFTER_S: Final = 0.02
# Ten round trips, two NACKs each.
MAX_TRIES: Final = 20
# A picture that stood still for so long is better repaired by a keyframe.
MAX_AGE_S: Final = 1.0
# About a second of a camera at 4 Mbit/s: who lost as much needs a keyframe.
MAX_MISSING: Final = 512
# Packets that the very first one has overtaken; the keyframe that a publisher starts with may begin with them.
MAX_OVERTAKEN: Final = 16


class _Missing:
    """One number that has not come."""

    __slots__ = ("asked_at", "at", "since", "tries")

    def __init__(self, since: float, at: float) -> None:
        self.since = since
        self.at = at
        """When to ask for it, or to give it up."""
        self.asked_at = since
        self.tries = 0


class NackRegister:
    """Knows by the numbers of what came what did not come.

    The caller passes each number to `received`, calls `requests` when `next_at` is reached and sends a NACK
    (RFC 4585, section 6.2.1) for what it returns. Numbers are extended: they do not wrap around.

    Args:
        intake: where it notes what comes next; None: on its own.
    """

    __slots__ = (
        "_first",
        "_intake",
        "_keyframe",
        "_last_given_up",
        "_missing",
        "_round_trip_s",
        "given_up",
        "next_at",
        "tolerance_s",
    )

    next_at: float | None
    """When `requests` has something to do; None: not before another packet is missed."""
    given_up: int
    """How many packets were missed for good, those before a keyframe left out."""
    tolerance_s: float
    """How long a packet may be late before it is asked for."""

    def __init__(self, intake: Intake | None = None) -> None:
        self._intake = intake or Intake()
        self._intake.keeps_register = True
        self.next_at = None
        self.given_up = 0
        self.tolerance_s = MIN_TOLERANCE_S
        self._first = 0
        self._missing: dict[int, _Missing] = {}
        self._keyframe: int | None = None
        self._last_given_up = 0
        self._round_trip_s = 0.0

    @property
    def needs_keyframe(self) -> bool:
        """Whether something was given up since the last keyframe: the picture cannot be repaired in another way."""
        return self._intake.needs_keyframe

    @property
    def missing(self) -> int:
        """How many packets may still come."""
        return len(self._missing)

    def received(self, sequence: int, now: float) -> bool:
        """Note that a packet came, first-hand or as a repair.

        Returns:
            False for a packet that is to be dropped: it came before, or is too old to tell.
        """
        if sequence == self._intake.expected:
            self._intake.expected = sequence + 1
            return True
        return self._received_out_of_order(sequence, now)

    def _received_out_of_order(self, sequence: int, now: float) -> bool:
        expected = self._intake.expected
        if expected == NO_NUMBER:
            self._first = sequence
            self._intake.expected = sequence + 1
            return True
        if sequence > expected:
            self._miss(expected, sequence, now)
            self._intake.expected = sequence + 1
            return True
        entry = self._missing.pop(sequence, None)
        if entry is not None:
            self._observe(entry, now)
            if not self._missing:
                self.next_at = None
            return True
        if 0 < self._first - sequence <= MAX_OVERTAKEN:
            self._miss(sequence + 1, self._first, now)
            self._first = sequence
            return True
        return False

    def requests(self, now: float, round_trip_s: float) -> list[int]:
        """Return the numbers to ask for now, in order; give up what was asked for in vain.

        Args:
            now: seconds, by the clock of `received`.
            round_trip_s: to the publisher, a guess where it is not known yet.
        """
        if self.next_at is None or now < self.next_at:
            return []
        self._round_trip_s = round_trip_s
        wait_s = max(MIN_RETRY_S, round_trip_s + RETRY_MARGIN_S)
        due: list[int] = []
        gone: list[int] = []
        next_at: float | None = None
        for sequence, entry in self._missing.items():
            expires_at = entry.since + MAX_AGE_S
            if self._is_before_keyframe(sequence):
                if now >= expires_at:
                    gone.append(sequence)
                continue
            if now >= entry.at:
                if entry.tries == MAX_TRIES or now >= expires_at:
                    gone.append(sequence)
                    self._give_up(sequence, 1)
                    continue
                if entry.tries == 0:
                    self.tolerance_s -= (self.tolerance_s - MIN_TOLERANCE_S) / 32
                if entry.tries % 2 == 0:
                    entry.asked_at = now
                    at = now + COPY_AFTER_S
                else:
                    at = max(now + COPY_AFTER_S, entry.asked_at + wait_s * RETRY_BACKOFF ** (entry.tries // 2))
                entry.at = min(at, expires_at)
                entry.tries += 1
                due.append(sequence)
            if next_at is None or entry.at < next_at:
                next_at = entry.at
        for sequence in gone:
            del self._missing[sequence]
        self.next_at = next_at
        return sorted(due)

    def keyframe(self, sequence: int) -> None:
        """Note that a keyframe begins with this number: what was missed before it is not needed any more.

        It is not asked for, but still welcome when it comes. A gap right before the keyframe is an exception: it may
        hold the parameter sets of an H264 keyframe, whose first packet is then not known to be one.
        """
        if self._last_given_up < sequence:
            self._intake.needs_keyframe = False
        while sequence - 1 in self._missing:
            sequence -= 1
        if self._keyframe is None or sequence > self._keyframe:
            self._keyframe = sequence

    def _is_before_keyframe(self, sequence: int) -> bool:
        return self._keyframe is not None and sequence < self._keyframe

    def _miss(self, start: int, end: int, now: float) -> None:
        """Enter the numbers from `start` to before `end`."""
        if len(self._missing) + end - start > MAX_MISSING:
            wanted = {key: entry for key, entry in self._missing.items() if not self._is_before_keyframe(key)}
            if len(wanted) + end - start > MAX_MISSING:
                # All of them: what could still be repaired could not be decoded without the rest.
                self._give_up(end - 1, len(wanted) + end - start)
                self._missing.clear()
                self.next_at = None
                return
            self._missing = wanted
        at = now + self.tolerance_s
        for sequence in range(start, end):
            self._missing[sequence] = _Missing(now, at)
        if start < end and (self.next_at is None or at < self.next_at):
            self.next_at = at

    def _give_up(self, last: int, count: int) -> None:
        self.given_up += count
        self._last_given_up = last
        self._intake.needs_keyframe = True

    def _observe(self, entry: _Missing, now: float) -> None:
        """Learn from a packet that was late: one that nobody asked for, or that came too soon to be the answer."""
        if entry.tries == 0 or (entry.tries <= 2 and now - entry.asked_at < self._round_trip_s / 2):
            lateness_s = now - entry.since
            self.tolerance_s = min(MAX_TOLERANCE_S, max(self.tolerance_s, 1.25 * lateness_s))
