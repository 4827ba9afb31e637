"""Who speaks: from the audio levels of microphones, tick by tick, to the dominant speaker and an order of all.

After I. Volfin and I. Cohen, "Dominant speaker identification for multipoint videoconferencing" (Computer Speech and
Language 27, 2013): speech activity is looked at over an immediate, a medium and a long time, and whoever is to
become dominant has to be more active than who is in all three. The paper counts the active sub-bands of each
frame; a server that decodes nothing has one level of each packet, whose distance from the noise stands for them.

Pure: levels and the time go in, and nothing here knows a clock.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TICK_S: Final = 0.1
"""The medium time, and how often `Speakers.update` is to be called."""

# The paper's sizes: parts of the immediate time (here steps of loudness), of the medium and of the long one.
_IMMEDIATE_PARTS: Final = 13
_MEDIUM_PARTS: Final = 5
_LONG_PARTS: Final = 10
# In an active packet, more of the immediate parts are active than this: it is 16 dB above the noise.
_ACTIVE_PACKET: Final = 7
# In an active tick, more of the medium parts than this. Not all five: a lost or late packet is no silence.
_ACTIVE_TICK: Final = 3
# Of each time: the likelihood of an active part in speech, and the rate of the exponential law of noise.
_LIKELIHOOD: Final = 0.5
_IMMEDIATE_RATE: Final = 0.78
_MEDIUM_RATE: Final = 24.0
_LONG_RATE: Final = 47.0
_LEAST_SCORE: Final = 1e-10
# By how much, as the logarithm of their scores' ratio, a challenger has to be ahead of the dominant speaker.
_AHEAD_IMMEDIATE: Final = 3.0
_AHEAD_MEDIUM: Final = 2.0
_AHEAD_LONG: Final = 0.0
# Who takes over from somebody has spoken for 0.4 s of the last second: a cough is shorter.
_LEAST_TICKS: Final = 4

SILENCE: Final = 127
"""The lowest level of RFC 6464, in -dBov."""
_STEP_DB: Final = 2
# A noise floor is not taken to be lower than -60 dBov, so that no whisper in a silent room counts: -44 dBov does.
_LOWEST_FLOOR_DB: Final = -60.0
# The floor falls at once, and rises so slowly that speech, which has pauses, stays above it.
_FLOOR_RISE_DB_PER_S: Final = 1.0

SPEAKING_S: Final = 1.0
"""Who was active so lately is taken to be speaking still."""
HOLD_S: Final = 8.0
"""Who has spoken stays in sight for so long, unless the dominant speaker needs the place."""
AUDIBLE_S: Final = 0.5
"""Who was active so lately has a level on the meters: a pause between two words is not the end."""


class Speakers:
    """The microphones of one room."""

    def __init__(self) -> None:
        self.dominant: str | None = None
        """The microphone of the dominant speaker; it stays so in silence. None before anybody has spoken."""
        self.order: tuple[str, ...] = ()
        """All microphones: the dominant one, those who are speaking, then those who spoke last; at the end those who
        never did, as they came. Among those who speak at the same time nothing changes."""
        self._voices: dict[str, _Voice] = {}
        self._now = self._changed_at = -math.inf

    def update(self, levels: Mapping[str, Sequence[int]], now: float) -> None:
        """Take what came in the last tick.

        Args:
            levels: by microphone, all that there are, the levels of its packets (-dBov, 0 to 127), none for silence.
            now: seconds, monotonic.
        """
        self._now = now
        if self._voices.keys() != levels.keys():
            self._voices = {key: self._voices.get(key) or _Voice() for key in levels}
        for key, voice in self._voices.items():
            voice.hear(levels[key], now)
        if self.dominant not in self._voices:
            self.dominant = None
        # Where two speak at once each has pauses in which the other is ahead: a turn lasts for one long time at least.
        if self.dominant is None or now - self._changed_at > (_LONG_PARTS - 0.5) * TICK_S:
            before, self.dominant = self.dominant, self._find_dominant()
            if self.dominant != before:
                self._changed_at = now
        known = dict.fromkeys(key for key in self.order if key in self._voices)
        self.order = tuple(sorted(known | dict.fromkeys(self._voices), key=self._rank))

    def spoke_within(self, seconds: float) -> set[str]:
        """The microphones that were active so lately."""
        return {key for key, voice in self._voices.items() if self._now - voice.spoke_at < seconds}

    def loudest(self, number: int) -> list[tuple[str, int]]:
        """At most so many microphones that are audible, with their levels (dBov, -127 to 0), the loudest first."""
        audible = [(key, self._voices[key].level) for key in self.spoke_within(AUDIBLE_S)]
        return sorted(audible, key=lambda pair: (-pair[1], pair[0]))[:number]

    def _find_dominant(self) -> str | None:
        """The most active of those who are ahead of the dominant speaker in all three times; else that one."""
        dominant = None if self.dominant is None else self._voices[self.dominant]
        best = self.dominant
        best_lead = -math.inf
        for key, voice in self._voices.items():
            lead = voice.lead(dominant)
            if key != self.dominant and lead is not None and lead > best_lead:
                best, best_lead = key, lead
        return best

    def _rank(self, key: str) -> float:
        """Sorts the order; what is equal keeps its place."""
        if key == self.dominant:
            return -math.inf
        silent_s = self._now - self._voices[key].spoke_at
        return 0.0 if silent_s < SPEAKING_S else silent_s


class _Voice:
    """One microphone."""

    __slots__ = ("_floor", "_former_level", "_immediate", "_level", "_medium", "_ticks", "spoke_at")

    def __init__(self) -> None:
        self.spoke_at = -math.inf
        "The last active tick (s)."
        self._immediate = 0
        "Active parts of the last packet."
        self._medium = 0
        "Active parts of the last tick."
        self._ticks = 0
        "The long time: a bit for each tick, set if it was active, the newest one lowest."
        self._floor = _LOWEST_FLOOR_DB
        self._level = self._former_level = -SILENCE
        "The loudest packets of the last two ticks (dBov)."

    @property
    def level(self) -> int:
        """The loudest packet of the last two ticks (dBov)."""
        return max(self._level, self._former_level)

    def hear(self, levels: Sequence[int], now: float) -> None:
        """Take the levels of one tick's packets."""
        heard = levels or (SILENCE,)
        self._former_level, self._level = self._level, -min(heard)
        rising = self._floor + _FLOOR_RISE_DB_PER_S * TICK_S
        self._floor = max(_LOWEST_FLOOR_DB, min(rising, -max(heard)))
        self._immediate = min(max(0, int(-heard[-1] - self._floor) // _STEP_DB), _IMMEDIATE_PARTS)
        active = 0
        if int(self._level - self._floor) // _STEP_DB > _ACTIVE_PACKET:  # so nearly nobody is at a time
            active = sum(int(-level - self._floor) // _STEP_DB > _ACTIVE_PACKET for level in heard)
        # One packet alone is no speech, however loud; with longer ones than usual there are two in most ticks.
        self._medium = _MEDIUM_PARTS * active // max(2, len(heard))
        is_active = self._medium > _ACTIVE_TICK
        self._ticks = (self._ticks << 1 | is_active) & (1 << _LONG_PARTS) - 1
        if is_active:
            self.spoke_at = now

    def lead(self, dominant: _Voice | None) -> float | None:
        """How far it is ahead of the dominant speaker in the medium time; None if it is not in all three."""
        if dominant is None:
            return _MEDIUM_SCORES[self._medium] if self._ticks & 1 else None
        immediate = _IMMEDIATE_SCORES[self._immediate] - _IMMEDIATE_SCORES[dominant._immediate]
        medium = _MEDIUM_SCORES[self._medium] - _MEDIUM_SCORES[dominant._medium]
        long = _LONG_SCORES[self._ticks.bit_count()] - _LONG_SCORES[dominant._ticks.bit_count()]
        is_ahead = immediate > _AHEAD_IMMEDIATE and medium > _AHEAD_MEDIUM and long > _AHEAD_LONG
        return medium if is_ahead and self._ticks.bit_count() >= _LEAST_TICKS else None


def _scores(parts: int, rate: float) -> tuple[float, ...]:
    """The logarithm of the speech activity score (the paper's equation 8) for 0 to `parts` active parts.

    The score is itself the logarithm of a likelihood ratio: of a binomial law, which says how many parts are active in
    speech, to an exponential one, which says so of noise.
    """
    scores = (
        math.log(math.comb(parts, active))
        + active * math.log(_LIKELIHOOD)
        + (parts - active) * math.log(1 - _LIKELIHOOD)
        - math.log(rate)
        + rate * active
        for active in range(parts + 1)
    )
    return tuple(math.log(max(score, _LEAST_SCORE)) for score in scores)


_IMMEDIATE_SCORES: Final = _scores(_IMMEDIATE_PARTS, _IMMEDIATE_RATE)
_MEDIUM_SCORES: Final = _scores(_MEDIUM_PARTS, _MEDIUM_RATE)
_LONG_SCORES: Final = _scores(_LONG_PARTS, _LONG_RATE)
