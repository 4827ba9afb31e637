"""How much of a receiver's link repairs may take."""

from __future__ import annotations

import math
from typing import Final

# A receiver that loses a fifth of everything is still repaired in full; one that asks for more has a link that is too
# thin, and repairs would make it thinner.
SHARE: Final = 0.25
# For a receiver of audio alone, or of a picture that has just begun.
FLOOR_BYTES_PER_S: Final = 8_000
# What "lately" means: a burst of losses may use up what two seconds have earned.
MEMORY_S: Final = 2.0
# What is taken for looking for a packet that is asked for, be it kept or not: a few us, as sending so many bytes does.
# Who asks for the same packets over and over, as clients of a server do that is late, would keep it late.
LOOK_BYTES: Final = 50
# The packets of one NACK are of one moment; a rate over less time would be a rate of nothing.
STEP_S: Final = 0.001


class RepairBudget:
    """Grants repairs for a share of what one receiver was sent lately.

    What is not used is forgotten with a time constant of `MEMORY_S`, so that a quiet minute cannot save up for a flood:
    at a constant rate there is never more to spend than what two seconds earn.
    """

    __slots__ = ("_at", "_bytes", "_sent")

    def __init__(self, *, sent: int, now: float) -> None:
        self._bytes = FLOOR_BYTES_PER_S * MEMORY_S
        self._sent = sent
        self._at = now

    def take(self, size: int, *, sent: int, now: float) -> bool:
        """Ask for a repair of `size` bytes, or for looking for one.

        Args:
            size: of the packet, or `LOOK_BYTES`.
            sent: all bytes that this receiver was sent so far, by a counter that is kept anyway: nothing is to be told
                for each packet.
            now: seconds, monotonic.

        Returns:
            False if it is not to be sent; nothing was taken then.
        """
        elapsed_s = now - self._at
        if elapsed_s >= STEP_S:
            # Earned evenly since the last time, and forgotten meanwhile: tends to what `MEMORY_S` at this rate makes.
            earned_per_s = FLOOR_BYTES_PER_S + SHARE * (sent - self._sent) / elapsed_s
            settled = earned_per_s * MEMORY_S
            self._bytes = settled + (self._bytes - settled) * math.exp(-elapsed_s / MEMORY_S)
            self._sent = sent
            self._at = now
        if size > self._bytes:
            return False
        self._bytes -= size
        return True
