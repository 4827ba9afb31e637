"""A thousand things that people do in a room of forty: everybody ends with exactly what the allocation says."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from tests.rooms.support import Call, Client
from tests.support.warp import run_warped
from zvonim_sfu.media.layer import Rung
from zvonim_sfu.rooms.demand import COMES_WITHIN_S, LOWER_AFTER_S
from zvonim_sfu.rooms.events import LayersWanted, SlotQualities, SlotQuality, Slots, WantedLayers
from zvonim_sfu.rooms.limits import Limits
from zvonim_sfu.rooms.quality import Reason
from zvonim_sfu.rooms.view import Tile, View, Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.fake_peer import FakeTrack
    from tests.support.warp import WarpLoop

PEOPLE = 40
EVENTS = 1000
RUNGS = (
    Rung(0, 0, 320, 180, 30.0, 140_000),
    Rung(1, 0, 640, 360, 30.0, 470_000),
    Rung(2, 0, 1280, 720, 30.0, 1_400_000),
)
NAMES = ("q", "h", "f")
TILES = (None, Tile(0, 0), Tile(160, 90), Tile(320, 180), Tile(640, 360), Tile(1280, 720), Tile(2560, 1440))
OFFERS = (
    "microphone camera pairs=9 audio=3",
    "microphone camera pairs=4",
    "microphone pairs=2 audio=4",
    "microphone camera screen pairs=6 audio=2",
    "pairs=16",
)
QUIET_S = LOWER_AFTER_S + COMES_WITHIN_S + 12


@dataclass(eq=False)
class Person:
    """Somebody in the room, and what their client believes: it adds up what it is told."""

    client: Client
    slot_mode: bool
    view: View = field(default_factory=View)
    slots: dict[str, str | None] = field(default_factory=dict)
    qualities: dict[str, SlotQuality] = field(default_factory=dict)
    wanted: dict[str, WantedLayers] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.client.id

    def hear(self) -> None:
        """Read the messages; a client with slots encodes what is wanted of it."""
        for message in self.client.connection.messages:
            match message:
                case Slots():
                    for change in message.changes:
                        self.slots[change.mid] = change.user_id and f"{change.user_id}/{change.track_id}"
                        self.qualities.pop(change.mid, None)
                case SlotQualities():
                    self.qualities |= {entry.mid: entry for entry in message.slots}
                case LayersWanted():
                    for entry in message.tracks:
                        self.wanted[entry.track_id] = entry
                        if entry.track_id in self.client.peer.up:
                            rungs = RUNGS[: entry.spatial + 1]
                            self.client.peer.change_ladder(entry.track_id, *rungs)
        self.client.connection.messages.clear()


class Crowd:
    """The room, and whatever may happen in it."""

    def __init__(self, seed: int, documented: float) -> None:
        self.dice = random.Random(seed)
        self.documented = documented
        "Part of the people whose clients know no slots, and so take everything of everybody."
        self.call = Call(Limits(participants_per_room=PEOPLE))
        self.people: list[Person] = []
        self.happened = 0

    def one(self) -> Person:
        return self.dice.choice(self.people)

    def join(self) -> None:
        if len(self.people) < PEOPLE:
            slot_mode = self.dice.random() >= self.documented
            client = self.call.enter("x", slot_mode=slot_mode, offer=self.dice.choice(OFFERS))
            self.people.append(Person(client, slot_mode))

    def leave(self) -> None:
        if len(self.people) > PEOPLE // 2:
            person = self.one()
            self.people.remove(person)
            person.client.participant.leave()

    async def speak(self) -> None:
        microphone = self.one().client.peer.up.get("microphone")
        for _ in range(self.dice.randrange(2, 12)):
            if microphone is not None:
                microphone.levels.extend([self.dice.randrange(15, 30)] * 5)
            await asyncio.sleep(0.1)

    def look(self) -> None:
        """Resize, hide, ask for tracks, pin."""
        person = self.one()
        slots = [slot.mid for slot in person.client.peer.slots if slot.kind == "video"]
        tiles = {mid: tile for mid in slots if (tile := self.dice.choice(TILES)) is not None}
        wishes = [
            Wish(other.id, self.dice.choice(["camera", "screen", "microphone"]), self.dice.random() < 0.3)
            for other in self.dice.sample(self.people, min(len(self.people), self.dice.choice([0, 0, 1, 4, 9])))
        ]
        view = View(tiles, tuple(wishes))
        if person.client.participant.set_view(view):
            person.view = view

    def offer(self) -> None:
        person = self.one()
        person.client.participant.handle_offer(self.dice.choice(OFFERS), {})
        peer = person.client.peer
        person.wanted = {key: entry for key, entry in person.wanted.items() if key in peer.up}
        mids = {slot.mid for slot in peer.slots}
        person.slots = {mid: key for mid, key in person.slots.items() if mid in mids}
        person.qualities = {mid: entry for mid, entry in person.qualities.items() if mid in mids}

    def come_back(self) -> None:
        person = self.one()
        person.client.drop()
        person.client.reconnect()
        person.client.participant.join(None, slot_mode=person.slot_mode)
        person.view, person.slots, person.qualities = View(), {}, {}

    def estimate(self) -> None:
        bps = self.dice.choice([None, 1e9, 50_000, self.dice.uniform(1e5, 1e6), self.dice.uniform(1e5, 1e7)])
        self.one().client.peer.find_estimate(bps)

    def falter(self) -> None:
        """A publisher's encoder drops its largest layers for reasons of its own, or has them again."""
        person = self.one()
        for track_id, track in person.client.peer.up.items():
            if track.kind == "video":
                top = person.wanted[track_id].spatial if track_id in person.wanted else 2
                person.client.peer.change_ladder(track_id, *RUNGS[: self.dice.randrange(top + 2)])

    def mute(self) -> None:
        self.one().client.participant.set_muted("microphone", muted=self.dice.random() < 0.5)

    async def go_on(self) -> None:
        """Let one more thing happen, and some time pass."""
        doings: list[Callable[[], object]] = [self.join, self.leave, self.speak, self.speak, self.look, self.look]
        doings += [self.offer, self.come_back, self.estimate, self.estimate, self.falter, self.mute]
        done = self.dice.choice(doings)()
        if asyncio.iscoroutine(done):
            await done
        self.happened += 1
        await asyncio.sleep(self.dice.choice([0, 0.01, 0.1, 0.5]))
        for person in self.people:
            person.hear()

    async def rest(self) -> None:
        """Let all that follows happen."""
        for _ in range(round(QUIET_S / 0.25)):
            await asyncio.sleep(0.25)
            for person in self.people:
                person.hear()

    def tracks(self) -> dict[str, FakeTrack]:
        return {track.key: track for person in self.people for track in person.client.peer.up.values()}

    def shown(self, person: Person) -> Iterator[tuple[str, FakeTrack]]:
        """The pictures in somebody's slots."""
        for mid, track in person.client.peer.assigned.items():
            if track is not None and track.kind == "video":
                yield mid, track


def check_slots(crowd: Crowd) -> None:
    tracks = crowd.tracks()
    for person in crowd.people:
        peer = person.client.peer
        if not person.slot_mode:
            assert {track.key for track in peer.tracks} == {
                key for key, track in tracks.items() if track.participant_id != person.id
            }
            continue
        held = {mid: track.key for mid, track in peer.assigned.items() if track is not None}
        # What the client believes, what is sent, and what there is, are the same.
        assert {mid: key for mid, key in person.slots.items() if key} == held
        assert all(tracks[key] is peer.assigned[mid] for mid, key in held.items())
        assert len(set(held.values())) == len(held)
        for kind in ("audio", "video"):
            slots = [slot.mid for slot in peer.slots if slot.kind == kind]
            others = {key for key, t in tracks.items() if t.kind == kind and t.participant_id != person.id}
            waiting = others - set(held.values())
            assert not waiting or all(mid in held for mid in slots)
            # Now that everybody has been silent for a while, what is pinned goes first, then what is asked for.
            asked = {wish.key for wish in person.view.wishes} & others
            pinned = {wish.key for wish in person.view.wishes if wish.pinned} & others
            holders = {held[mid] for mid in slots if mid in held}
            assert waiting.isdisjoint(asked) or holders <= asked
            assert waiting.isdisjoint(pinned) or holders <= pinned


def check_qualities(crowd: Crowd) -> None:
    for person in crowd.people:
        peer = person.client.peer
        peer.statistics = lambda: None  # type: ignore[attr-defined]
        entries = {entry.mid: entry for entry in person.client.participant.statistics().slots}
        if not person.slot_mode:
            continue
        shown = dict(crowd.shown(person))
        assert entries.keys() == shown.keys()
        assert person.qualities.keys() == entries.keys()
        spent = 0
        for mid, track in shown.items():
            tile, selection, entry = person.view.tiles.get(mid), peer.selected[mid], entries[mid]
            told = person.qualities[mid]
            assert (told.reason, told.spatial, told.paused) == (entry.reason, entry.spatial, entry.paused)
            coming = max((rung.spatial for rung in track.rungs), default=None)
            if tile is not None and tile.is_hidden:
                assert (selection, entry.reason) == (None, Reason.HIDDEN)
            elif selection is None:
                assert entry.reason is Reason.LINK
                assert peer.estimate_bps is not None
            elif coming is not None:
                spent += RUNGS[min(selection.spatial, coming)].bitrate
                if tile is not None and selection.spatial > 0:
                    smaller = RUNGS[selection.spatial - 1]
                    assert smaller.width * smaller.height * 1.21 < tile.width * tile.height
                if peer.estimate_bps is None or peer.estimate_bps > 1e8:
                    # What fills the tile; else all that there is, and what may still come.
                    fills = [
                        r.spatial for r in track.rungs if tile and r.width * r.height * 1.21 > tile.width * tile.height
                    ]
                    assert selection.spatial == fills[0] if fills else selection.spatial >= coming
        assert peer.estimate_bps is None or spent <= peer.estimate_bps


def check_demand(crowd: Crowd) -> None:
    """What publishers have been told is what somebody takes, found by asking everybody."""
    levels: defaultdict[str, int] = defaultdict(lambda: -1)
    for person in crowd.people:
        if person.slot_mode:
            for mid, track in crowd.shown(person):
                selection, tile = person.client.peer.selected[mid], person.view.tiles.get(mid)
                if selection is not None:
                    top = max((rung.spatial for rung in track.rungs), default=None)
                    is_short = top is None or (
                        selection.spatial == top
                        and person.qualities[mid].reason is not Reason.LINK
                        and (tile is None or RUNGS[top].width * RUNGS[top].height * 1.21 < tile.width * tile.height)
                    )
                    levels[track.key] = max(levels[track.key], 2 if is_short else min(2, selection.spatial))
        else:
            levels |= {track.key: 2 for track in person.client.peer.tracks if track.kind == "video"}
    for person in crowd.people:
        for track in person.client.peer.up.values():
            if person.slot_mode and track.kind == "video":
                told = person.wanted.get(track.id, WantedLayers(track.id, NAMES, 2))
                assert told == WantedLayers(track.id, NAMES[: levels[track.key] + 1], levels[track.key])


def check_nothing_is_left(crowd: Crowd) -> None:
    room = crowd.call.room
    assert room is not None
    tracks = crowd.tracks()
    assert room.demands.keys() == {key for key, track in tracks.items() if track.kind == "video"}


@pytest.mark.parametrize(("seed", "documented"), [(1, 0.0), (2, 0.1)])
def test_after_a_thousand_random_events_everybody_has_what_the_allocation_says(seed: int, documented: float) -> None:
    async def scenario() -> None:
        crowd = Crowd(seed, documented)
        for _ in range(PEOPLE):
            crowd.join()
        while crowd.happened < EVENTS:
            for _ in range(EVENTS // 5):
                await crowd.go_on()
            await crowd.rest()
            check_slots(crowd)
            check_qualities(crowd)
            check_demand(crowd)
            check_nothing_is_left(crowd)
        await crowd.call.registry.close()
        loop = cast("WarpLoop", asyncio.get_running_loop())
        assert [timer for timer in loop.timers() if not timer.cancelled()] == []

    run_warped(scenario())
