"""Listens to a room: whose microphones are forwarded, who is to have a slot, and what clients are told of speakers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from zvonim_sfu.media.source import Source
from zvonim_sfu.rooms.allocation import NOBODY, Claims
from zvonim_sfu.rooms.events import AudioLevel, AudioLevels, DominantSpeaker
from zvonim_sfu.rooms.speakers import HOLD_S, TICK_S, Speakers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.rooms.room import Room

# Levels are told with every second tick: five times a second is as often as a meter needs.
_TICKS_PER_METER: Final = 2
# Who talks across so many others is not told apart any more.
MAX_METERS: Final = 8


class Conversation:
    """Owner of one timer, which runs while there are microphones. Owned by its room, which closes it."""

    def __init__(self, room: Room) -> None:
        self.claims = NOBODY
        """Who is to have slots before others."""
        self._room = room
        self._speakers = Speakers()
        self._microphones: dict[str, UpTrack] = {}
        self._told = DominantSpeaker(None)
        self._levels = AudioLevels(())
        self._tracks: Sequence[UpTrack] = ()
        self._basis: tuple[object, ...] = ()
        "What the claims were made of."
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def dominant(self) -> DominantSpeaker:
        """What clients are told of the dominant speaker."""
        return self._told

    @property
    def levels(self) -> AudioLevels:
        """Who is audible, and how loud."""
        return self._levels

    def follow(self, tracks: Sequence[UpTrack]) -> None:
        """Listen to these tracks from now on: all of the room, in the order in which their publishers came."""
        self._tracks = tracks
        self._microphones = {track.key: track for track in tracks if track.source is Source.MICROPHONE}
        loop = asyncio.get_running_loop()
        self._choose(loop.time())
        if self._timer is None and (self._microphones or self._told.user_id is not None):
            self._timer = loop.call_later(TICK_S, self._tick)

    def close(self) -> None:
        """Listen no more, until `follow` is called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tracks, self._basis, self._microphones = (), (), {}
        self._told, self._levels, self.claims = DominantSpeaker(None), AudioLevels(()), NOBODY

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        due = now if self._timer is None else self._timer.when() + TICK_S
        self._timer = loop.call_at(max(due, now), self._tick) if self._microphones else None
        levels = {}
        for key, track in self._microphones.items():
            if track.tells_levels:
                levels[key] = tuple(track.levels)
                track.levels.clear()
        self._speakers.update(levels, now)
        self._choose(now)
        self._claim()
        self._tell()

    def _choose(self, now: float) -> None:
        """Let the microphones through that spoke last.

        All of them where nobody would hear more than that number of others, and those that tell no levels.
        """
        number = self._room.limits.microphones_heard
        new = [key for key, track in self._microphones.items() if track.tells_levels]
        judged = [key for key in dict.fromkeys((*self._speakers.order, *new)) if key in self._microphones]
        heard = set(judged if number == 0 or len(judged) <= number + 1 else judged[:number])
        for key, track in self._microphones.items():
            is_heard = key in heard or not track.tells_levels
            if is_heard and track.is_paused:
                track.resume(now)
            elif not is_heard and not track.is_paused:
                track.pause()

    def _claim(self) -> None:
        """Find out who needs a slot; have slots assigned again when somebody new does."""
        recent = self._speakers.spoke_within(HOLD_S)
        basis = (self._speakers.order, recent, self._tracks)
        if basis == self._basis:
            return
        self._basis = basis
        people = {self._microphones[key].participant_id for key in recent}
        order = [self._microphones[key].participant_id for key in self._speakers.order]
        claims = Claims(
            ranks={person: rank for rank, person in enumerate(dict.fromkeys(order))},
            tracks=frozenset(
                track.key
                for track in self._tracks
                if (track.key in recent and not track.is_paused)
                or (track.source is Source.CAMERA and track.participant_id in people)
            ),
            dominant=self._participant(self._speakers.dominant),
        )
        before, self.claims = self.claims, claims
        new = claims.tracks - before.tracks
        if claims.dominant != before.dominant:
            new |= {track.key for track in self._tracks if track.participant_id == claims.dominant} & claims.tracks
        self._room.follow_speakers(new, lapsed=bool(before.tracks - claims.tracks))

    def _tell(self) -> None:
        dominant = DominantSpeaker(self._participant(self._speakers.dominant))
        if dominant != self._told:
            self._told = dominant
            self._room.tell_slot_clients(dominant)
        self._ticks += 1
        if self._ticks % _TICKS_PER_METER:
            return
        levels: dict[str, int] = {}
        for key, level in self._speakers.loudest(MAX_METERS):
            levels.setdefault(self._microphones[key].participant_id, level)
        measured = AudioLevels(tuple(AudioLevel(person, level) for person, level in levels.items()))
        if measured.levels or self._levels.levels:
            # Silence is told once, and so has to arrive.
            self._room.tell_slot_clients(measured, is_sample=bool(measured.levels))
        self._levels = measured

    def _participant(self, key: str | None) -> str | None:
        return None if key is None else self._microphones[key].participant_id
