"""What subscribers take of the pictures that a participant publishes, so that its client encodes no more than that.

A layer that is not encoded cannot be measured, so what is known of it is kept for as long as its publisher has been
told to leave it out: subscribers can want it again.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from zvonim_sfu.media.layer import HIGHEST, Rung
from zvonim_sfu.rooms.events import LayersWanted, WantedLayers

if TYPE_CHECKING:
    from collections.abc import Callable

    from zvonim_sfu.media.up_track import UpTrack

# Levels: the highest spatial layer that is wanted, or one of these.
NONE_WANTED: Final = -1
ALL_WANTED: Final = HIGHEST.spatial

# A layer that nobody has taken for so long is no longer wanted.
LOWER_AFTER_S: Final = 3.0
# A timer may come a little before its time.
EARLY_S: Final = 0.001
# What was asked for again and has not come by then is taken for something that the publisher cannot send.
COMES_WITHIN_S: Final = 5.0
# How often rates are looked at; they are measured once a second.
READ_INTERVAL_S: Final = 1.0
# Smoothing of rates, how much of a change is taken in a second: a picture that moves needs more at once, and one that
# rests may move again.
_RISE: Final = 0.5
_FALL: Final = 0.2
# What packets are larger than their payload, in part.
_OVERHEAD: Final = 1.06
# Of a layer whose rate was not measured yet: bits per pixel, and what else that takes.
_ASSUMED_BITS: Final = 0.08
_ASSUMED_AREA: Final = 320 * 180
_ASSUMED_FRAME_RATE: Final = 30.0
# The lowest layer is tried before it is left out: it is measured within a second.
_ASSUMED_LOWEST_BPS: Final = 100_000
# The most spatial layers that there are, less one.
_TOP_SPATIAL: Final = 2


class TrackDemand:
    """What is taken of one video track, and what there is to take."""

    def __init__(self, track: UpTrack, on_change: Callable[[TrackDemand, int], None]) -> None:
        self.track = track
        self.wanted = NONE_WANTED
        "The highest level that anybody takes now."
        self.told = ALL_WANTED
        "The level that the publisher knows of: everything, until it is told something else."
        self.asked_at = -math.inf
        "When `told` last rose."
        self.left_at: dict[int, float] = {}
        "When levels that are above `wanted` were last wanted."
        self._on_change = on_change
        self._takers: dict[int, int] = {}
        "How many subscribers take each level."
        self._known: dict[tuple[int, int], Rung] = {}
        self._assumed: set[tuple[int, int]] = set()
        "Those of which no rate was measured yet."
        self._live: frozenset[int] = frozenset()
        self._ladder: tuple[Rung, ...] = ()
        self._read_at = -math.inf
        self._smoothed_at = -math.inf

    def move(self, before: int | None, after: int | None) -> None:
        """A subscriber takes another level than before; None: it does not get this track."""
        if before == after:
            return
        for level, change in ((before, -1), (after, 1)):
            if level is not None:
                self._takers[level] = self._takers.get(level, 0) + change
                if not self._takers[level]:
                    del self._takers[level]
        wanted = max(self._takers, default=NONE_WANTED)
        if wanted != self.wanted:
            former, self.wanted = self.wanted, wanted
            self._on_change(self, former)

    def settle(self, now: float) -> float:
        """Forget what was left long enough ago; returns when there may be more to forget, infinity for never."""
        self.left_at = {
            level: at
            for level, at in self.left_at.items()
            if level > self.wanted and now < at + LOWER_AFTER_S - EARLY_S
        }
        return min(self.left_at.values(), default=math.inf) + LOWER_AFTER_S

    def on_ladder_changed(self) -> None:
        """Have it read again with the next look: a layer came, stopped, or has another size."""
        self._read_at = -math.inf

    def ladder(self, now: float) -> tuple[Rung, ...]:
        """Return what there is, with smoothed rates, and what there would be if somebody wanted it."""
        if now - self._read_at >= READ_INTERVAL_S:
            self._read_at = now
            self._read(now)
        return self._ladder

    def is_live(self, spatial: int) -> bool:
        """Whether this layer came when the ladder was last read."""
        return spatial in self._live

    def layers(self) -> WantedLayers:
        """Return what the publisher is to know."""
        names = self.track.names
        places = {name: place for place, name in enumerate(names)}
        places |= {layer.rid: layer.spatial for layer in self.track.ordered if layer.rid in places}
        rids = tuple(name for name in names if places[name] <= self.told)
        return WantedLayers(self.track.id, rids, min(self.told, len(names) - 1 if names else _TOP_SPATIAL))

    def _read(self, now: float) -> None:
        live = self.track.ladder(now)
        self._live = frozenset(rung.spatial for rung in live)
        known = {}
        # Who has a wide link looks less often, and a layer that comes or goes has it read in between.
        elapsed_s, self._smoothed_at = now - self._smoothed_at, now
        for rung in live:
            place = rung.spatial, rung.temporal
            before = None if place in self._assumed and rung.bitrate else self._known.get(place)
            known[place] = _smooth(rung, before, elapsed_s)
            (self._assumed.discard if rung.bitrate else self._assumed.add)(place)
        has_just_asked = now - self.asked_at < COMES_WITHIN_S
        known |= {
            place: rung
            for place, rung in self._known.items()
            if rung.spatial not in self._live and (rung.spatial > self.told or has_just_asked)
        }
        self._known = known
        self._assumed &= known.keys()
        self._ladder = tuple(known[place] for place in sorted(known))


class Demand:
    """Of one participant's tracks. Its participant owns it, makes another for another peer, and closes it.

    Args:
        send: gives a message to the publisher.
        is_told: whether its client knows that message; else it encodes everything, and is expected to.
    """

    def __init__(self, send: Callable[[LayersWanted], None], *, is_told: bool) -> None:
        self._send = send
        self._is_told = is_told
        self._tracks: dict[str, TrackDemand] = {}
        self._untold: set[str] = set()
        "Of which tracks the client is to hear."
        self._send_handle: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def add(self, track: UpTrack) -> TrackDemand:
        """A track has come."""
        self._tracks[track.id] = demand = TrackDemand(track, self._on_change)
        self._on_change(demand, ALL_WANTED)
        return demand

    def remove(self, track: UpTrack) -> None:
        """A track has gone."""
        self._tracks.pop(track.id, None)

    def close(self) -> None:
        """Tell nothing any more."""
        self._tracks.clear()
        for handle in (self._timer, self._send_handle):
            if handle is not None:
                handle.cancel()
        self._timer = self._send_handle = None

    def tell_again(self) -> None:
        """Have the client told what it may not know: it has come back."""
        for track_id, demand in self._tracks.items():
            if demand.told != ALL_WANTED:
                self._tell(track_id)

    def _on_change(self, demand: TrackDemand, former: int) -> None:
        if not self._is_told or self._tracks.get(demand.track.id) is not demand:
            return  # or its track has ended, and who received it hears of that later
        now = self._loop.time()
        if demand.wanted > demand.told:
            demand.told, demand.asked_at = demand.wanted, now
            self._tell(demand.track.id)
        elif demand.wanted < former:
            demand.left_at[former] = now
            if self._timer is None:
                self._timer = self._loop.call_at(now + LOWER_AFTER_S, self._lower)

    def _lower(self) -> None:
        """Tell of what nobody has taken for a while."""
        now = self._loop.time()
        next_at = math.inf
        for track_id, demand in self._tracks.items():
            next_at = min(next_at, demand.settle(now))
            level = max((demand.wanted, *demand.left_at))
            if level < demand.told:
                demand.told = level
                self._tell(track_id)
        self._timer = self._loop.call_at(next_at, self._lower) if next_at < math.inf else None

    def _tell(self, track_id: str) -> None:
        self._untold.add(track_id)
        if self._send_handle is None:
            self._send_handle = self._loop.call_soon(self._send_untold)

    def _send_untold(self) -> None:
        self._send_handle = None
        tracks = tuple(demand.layers() for track_id, demand in self._tracks.items() if track_id in self._untold)
        self._untold.clear()
        if tracks:
            self._send(LayersWanted(tracks))


def _smooth(rung: Rung, before: Rung | None, elapsed_s: float) -> Rung:
    """Return a rung with the rate of its packets, smoothed over the time since before, or assumed if not measured."""
    rate = rung.bitrate * _OVERHEAD
    if rate == 0:
        if before is not None:
            rate = before.bitrate
        else:
            area = rung.width * rung.height or _ASSUMED_AREA * 4**rung.spatial
            rate = _ASSUMED_BITS * area * (rung.frame_rate or _ASSUMED_FRAME_RATE)
            if rung.spatial == 0:
                rate = min(rate, _ASSUMED_LOWEST_BPS)
    elif before is not None:
        kept = (1 - (_RISE if rate > before.bitrate else _FALL)) ** elapsed_s
        rate += kept * (before.bitrate - rate)
    return Rung(*rung[:-1], bitrate=int(rate))
