"""How good the pictures are that one participant receives: decided when something changes, and told to its client."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from zvonim_sfu.media.source import Source
from zvonim_sfu.rooms.allocation import NOBODY
from zvonim_sfu.rooms.demand import ALL_WANTED, EARLY_S, NONE_WANTED
from zvonim_sfu.rooms.events import QualityDetail, SlotQualities, SlotQuality
from zvonim_sfu.rooms.quality import NOTHING, Picture, Reason, distribute, exchange
from zvonim_sfu.rooms.view import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from zvonim_sfu.media.layer import Selection
    from zvonim_sfu.media.peer import Peer
    from zvonim_sfu.media.up_track import UpTrack
    from zvonim_sfu.rooms.allocation import Claims
    from zvonim_sfu.rooms.demand import TrackDemand
    from zvonim_sfu.rooms.quality import Choice
    from zvonim_sfu.rooms.room import Room
    from zvonim_sfu.rooms.view import View

# What changes within this time is one decision.
COALESCE_S: Final = 0.1
# Not so a link that holds less than this share of what is sent: what goes on until then is lost.
DEEP_FALL: Final = 0.6
# An estimate that rises, or falls to what is still enough, has less haste.
NO_HASTE_S: Final = 0.5
# Rates and patience change by themselves; a link that holds so many times what is wanted is looked at less often.
REPEAT_S: Final = 1.0
WIDE: Final = 2.0
REPEAT_WIDE_S: Final = 3.0
# How often it is looked whether what is waited for has come.
WATCH_S: Final = 0.25
# Twice a second is as often as a client is told.
TELL_INTERVAL_S: Final = 0.5
# Who waits for less is not told.
WAITING_S: Final = 0.15
# Figures are told again when they have changed by this part.
NEWS: Final = 0.2
# For sounds, bit/s: what their packets add to a payload that is no silence, and what is left for who begins to speak.
SOUND_OVERHEAD_BPS: Final = 16_000
SILENCE_BPS: Final = 8_000
LEAST_RESERVE_BPS: Final = 40_000


class Qualities:
    """Owner of one timer, which runs while there is something to look after. Owned by a Viewer, which closes it.

    Args:
        peer: sends what is decided.
        room: knows what there is, and is taken, of each video track, and has turns for decisions.
        tell: gives the client a message; None for a documented client, which knows none of these, has no tiles, and
            for which its owner calls `take`.
    """

    def __init__(
        self,
        peer: Peer,
        room: Room,
        tell: Callable[[SlotQualities], None] | None,
    ) -> None:
        self.view: View = EVERYTHING
        "What is on the client's screen; who sets it calls `decide` or `schedule`, as with `claims`."
        self.claims: Claims = NOBODY
        self.tracks: Mapping[str, UpTrack] = {}
        "What m-sections carry, by mid; see `carry`."
        self._peer = peer
        self._room = room
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._allotment = NOTHING
        self._selected: dict[str, Selection | None] = {}
        self._taken: dict[str, tuple[TrackDemand, int]] = {}
        "What is taken of each track, by its key."
        self._told: dict[str, tuple[str, SlotQuality]] = {}
        "By mid, with the key of the track that it was about."
        self._told_at = self._decided_at = -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._is_undecided = False
        "Whether what the timer waits for is a decision, and not only to tell."

    @property
    def is_limited(self) -> bool:
        """Whether a better link would make anything better."""
        return self._allotment.is_limited

    def on_estimate(self) -> None:
        """What the link holds has changed: down at once, up soon."""
        estimate, spent = self._peer.estimate_bps, self._allotment.spent_bps
        if estimate is not None and estimate < DEEP_FALL * spent:
            self._wake(self._loop.time())
        elif estimate is None or estimate < spent:
            self.schedule()
        elif self.is_limited:
            self._wake(self._decided_at + NO_HASTE_S)
        elif estimate <= WIDE * self._allotment.wanted_bps:
            self._wake(self._decided_at + REPEAT_S)

    def schedule(self) -> None:
        """Decide anew soon: all that changes within a tenth of a second is one decision."""
        self._wake(max(self._loop.time(), self._decided_at + COALESCE_S))

    def forget_told(self, mids: Iterable[str]) -> None:
        """Have these told again: the client has been told what they carry, and knows nothing else of them."""
        for mid in mids:
            self._told.pop(mid, None)

    def close(self) -> None:
        """Take nothing any more."""
        self._cancel_timer()
        self._room.turns.discard(self._run)
        for demand, level in self._taken.values():
            demand.move(level, None)
        self._taken = {}

    def decide(self) -> None:
        """Find out what each slot gets now, and have it sent; `report` tells of it."""
        self._cancel_timer()
        now = self._decided_at = self._loop.time()
        if self._tell is None:
            self.tracks = {
                mid: down.up_track for mid, down in self._peer.down_tracks.items() if down.up_track is not None
            }
        self._allotment = distribute(
            self._pictures(self.tracks, now),
            self._peer.estimate_bps,
            self._allotment,
            now,
            reserved_bps=_reserve(self.tracks.values(), now),
        )
        self._select()

    def carry(self, tracks: Mapping[str, UpTrack], *, gone: Iterable[str], came: Mapping[str, UpTrack]) -> bool:
        """See to it that slots that carry these (by mid) from now on get what they are to; returns whether to `report`.

        Where everybody has all that is wanted, who comes and has sent nothing yet, and who goes, is no reason to decide
        anew; what comes of it is told a little later (`report_later`), with what is known then.

        Args:
            tracks: what all slots carry from now on.
            gone: the slots that carried something else before.
            came: those that did not carry this before.
        """
        self.tracks = tracks
        now = self._loop.time()
        pictures = self._pictures(came, now) if came else []
        if self.is_limited or any(picture.ladder for picture in pictures):
            self.decide()
            return True
        before = self._allotment
        self._allotment = exchange(before, gone, pictures, is_measured=self._peer.estimate_bps is not None)
        self._exchange(before.choices, gone, pictures)
        return False

    def _exchange(self, before: Mapping[str, Choice], gone: Iterable[str], came: Sequence[Picture]) -> None:
        """Have sent what came, and its publishers and those of what is gone know of it; the rest stays as it is."""
        choices = self._allotment.choices
        self._peer.wanted_bps = self._allotment.wanted_bps
        for picture in came:
            self._take_one(picture.key, _level(choices[picture.mid]))
        kept = {picture.key for picture in came}
        for mid in gone:
            if mid in before and before[mid].key not in kept:
                self._take_none(before[mid].key)
            if mid not in choices:
                self._selected.pop(mid, None)
        selected = {picture.mid: choices[picture.mid].selection for picture in came}
        if selected:
            self._selected |= selected
            self._peer.select(selected)

    def _select(self) -> None:
        """Have sent what is decided, and its publishers know of it."""
        choices = self._allotment.choices
        self._peer.wanted_bps = self._allotment.wanted_bps
        selected = {mid: choice.selection for mid, choice in choices.items()}
        changed = {mid: to for mid, to in selected.items() if mid not in self._selected or self._selected[mid] != to}
        self._selected = selected
        if changed:
            self._peer.select(changed)
        if self._tell is not None:
            self.take({choice.key: _level(choice) for choice in choices.values()})

    def report(self) -> None:
        """Tell the client what it does not know yet, and see to it that all this goes on."""
        now = self._loop.time()
        entries = {entry.mid: entry for entry in self.entries()}
        next_at = math.inf
        if (estimate := self._peer.estimate_bps) is not None:
            is_wide = not self.is_limited and estimate > WIDE * self._allotment.wanted_bps
            next_at = self._decided_at + (REPEAT_WIDE_S if is_wide else REPEAT_S)
        if any(down.waiting_since is not None for down in self._peer.down_tracks.values()):
            next_at = min(next_at, now + WATCH_S)
        keys = {mid: choice.key for mid, choice in self._allotment.choices.items()}
        told = {mid: entry for mid, (key, entry) in self._told.items() if keys.get(mid) == key}
        news = tuple(entry for mid, entry in entries.items() if mid not in told or _is_news(told[mid], entry))
        if news and self._tell is not None:
            if now < self._told_at + TELL_INTERVAL_S - EARLY_S:
                next_at = min(next_at, self._told_at + TELL_INTERVAL_S)
            else:
                self._told_at = now
                told |= {entry.mid: entry for entry in news}
                self._tell(SlotQualities(news))
        self._told = {mid: (keys[mid], entry) for mid, entry in told.items()}
        if next_at < math.inf:
            self._wake(next_at)

    def report_later(self, mids: Iterable[str]) -> None:
        """The same in a while, if any of these carries a picture."""
        if any(mid in self._allotment.choices for mid in mids):
            self._wake(self._loop.time() + TELL_INTERVAL_S, decides=False)

    def take(self, levels: Mapping[str, int]) -> None:
        """Tell video tracks (by key) which level of them is taken from now on, and all others that nothing is."""
        for key in [key for key in self._taken if key not in levels]:
            self._take_none(key)
        for key, level in levels.items():
            self._take_one(key, level)

    def _take_one(self, key: str, level: int) -> None:
        demand = self._room.demands.get(key)
        former, former_level = self._taken.get(key, (None, None))
        if former is demand and former_level == level:
            return
        if former is not None and former is not demand:
            self._take_none(key)
            former_level = None
        if demand is not None:
            demand.move(former_level, level)
            self._taken[key] = demand, level

    def _take_none(self, key: str) -> None:
        if key in self._taken:
            demand, level = self._taken.pop(key)
            demand.move(level, None)

    def entries(self) -> Iterable[SlotQuality]:
        """Return how good each picture is now, and why."""
        now = self._loop.time()
        carrying = self._peer.down_tracks
        for mid, choice in self._allotment.choices.items():
            found = self._taken.get(choice.key)
            if found is not None:
                down = carrying.get(mid)
                current = None if down is None else down.current
                waiting_since = None if down is None else down.waiting_since
                waiting_s = 0.0 if waiting_since is None else now - waiting_since
                yield self._entry(mid, choice, found[0], current, waiting_s)

    def _entry(
        self, mid: str, choice: Choice, demand: TrackDemand, current: tuple[int, int] | None, waiting_s: float
    ) -> SlotQuality:
        reason, detail, rung = choice.reason, QualityDetail(), choice.rung
        if rung is None:
            current = None
        elif waiting_s >= WAITING_S:
            reason, detail = Reason.KEYFRAME, QualityDetail(waiting_ms=round(waiting_s * 1000))
        elif not demand.is_live(rung.spatial):
            reason = Reason.PUBLISHER
        if reason is Reason.TILE:
            tile = self.view.tiles[mid]
            detail = QualityDetail(width=tile.width, height=tile.height)
        elif reason is Reason.LINK:
            detail = QualityDetail(available_bps=choice.available_bps, needed_bps=choice.needed_bps)
        if current is not None:
            rung = next((other for other in demand.ladder(self._decided_at) if other[:2] == current), rung)
        if rung is None:
            return SlotQuality(mid, True, -1, -1, 0, 0, 0, reason, detail)
        spatial, temporal, width, height, _, bitrate = rung
        return SlotQuality(mid, False, spatial, temporal, width, height, bitrate, reason, detail)

    def _pictures(self, tracks: Mapping[str, UpTrack], now: float) -> list[Picture]:
        """Return which of these are pictures, the most important first."""
        wishes, claims = self.view.wishes, self.claims
        asked = {wish.key: place for place, wish in reversed(list(enumerate(wishes)))}
        pinned = {wish.key for wish in wishes if wish.pinned}
        ordered = []
        for place, (mid, track) in enumerate(tracks.items()):
            demand = self._room.demands.get(track.key)
            if demand is not None:
                tile = self.view.tiles.get(mid)
                is_screen = track.source is Source.SCREEN
                is_focus = track.key in pinned or track.participant_id == claims.dominant
                ladder = demand.ladder(now)
                rank = (
                    not (is_screen or is_focus),
                    track.key not in pinned,
                    not is_screen,
                    asked.get(track.key, math.inf),
                    claims.ranks.get(track.participant_id, math.inf),
                    place,
                )
                ordered.append((rank, Picture(mid, track.key, ladder, tile, is_screen=is_screen, is_focus=is_focus)))
        return [picture for _, picture in sorted(ordered, key=lambda pair: pair[0])]

    def _wake(self, at: float, *, decides: bool = True) -> None:
        """See to it that all is told at this time or before; `decides`: after it has been decided anew."""
        self._is_undecided |= decides
        if self._timer is None or at < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._room.turns.add(self._run)

    def _run(self) -> None:
        if self._is_undecided:
            self.decide()
        self.report()

    def _cancel_timer(self) -> None:
        self._is_undecided = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _level(choice: Choice) -> int:
    """Return the layers that a choice needs its publisher to send."""
    if choice.selection is None and not choice.wants_more:
        return NONE_WANTED
    return ALL_WANTED if choice.wants_more or choice.selection is None else choice.selection.spatial


def _reserve(tracks: Iterable[UpTrack], now: float) -> float:
    """Return what sounds take, in bit/s."""
    taken = 0
    for track in tracks:
        if track.kind == "audio" and not track.is_paused:
            rate = sum(rung.bitrate for rung in track.ladder(now))
            taken += rate + SOUND_OVERHEAD_BPS if rate > SILENCE_BPS else rate
    return max(taken, LEAST_RESERVE_BPS)


def _is_news(told: SlotQuality, entry: SlotQuality) -> bool:
    """Whether a client is to hear of it: what is shown, why, or a figure that is another by a fifth."""
    return (
        (told.paused, told.spatial, told.temporal, told.width, told.height, told.reason)
        != (entry.paused, entry.spatial, entry.temporal, entry.width, entry.height, entry.reason)
        or (told.detail.width, told.detail.height) != (entry.detail.width, entry.detail.height)
        or any(
            abs(after - before) > NEWS * before
            for before, after in (
                (told.bitrate, entry.bitrate),
                (told.detail.available_bps or 0, entry.detail.available_bps or 0),
                (told.detail.needed_bps or 0, entry.detail.needed_bps or 0),
            )
        )
    )
