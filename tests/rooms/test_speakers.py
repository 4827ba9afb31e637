"""Who speaks, told from levels alone: people are lists of what their microphones say, tick by tick."""

from __future__ import annotations

import random
from itertools import chain, pairwise, repeat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zvonim_sfu.rooms.speakers import AUDIBLE_S, HOLD_S, SPEAKING_S, TICK_S, Speakers

if TYPE_CHECKING:
    from collections.abc import Iterator

    Tick = list[int]

PACKETS = 5
SILENCE: Tick = [127] * PACKETS
VOICE: Tick = [28, 26, 30, 27, 29]


def ticks(seconds: float, tick: Tick = SILENCE) -> Iterator[Tick]:
    return repeat(tick, round(seconds / TICK_S))


def speech(seconds: float, seed: int = 1) -> Iterator[Tick]:
    """Words of 0.2 to 0.6 s, the loudness of each packet its own, and pauses of 0.1 to 0.3 s between them."""
    dice = random.Random(seed)
    said: list[Tick] = []
    while len(said) < round(seconds / TICK_S):
        said += [[dice.randint(20, 36) for _ in range(PACKETS)] for _ in range(dice.randint(2, 6))]
        said += [[dice.randint(60, 80) for _ in range(PACKETS)] for _ in range(dice.randint(1, 3))]
    return iter(said[: round(seconds / TICK_S)])


class Room:
    """Plays what people say, and notes when the dominant speaker changed."""

    def __init__(self) -> None:
        self.speakers = Speakers()
        self.now = 100.0
        self.changes: list[tuple[float, str | None]] = []
        "Seconds from the start, and who it is from then on."
        self._start = self.now

    def play(self, **people: Iterator[Tick]) -> Room:
        """Until all have ended; who ends before the others is silent from then on."""
        streams = {who: chain(said, repeat(None)) for who, said in people.items()}
        while any((heard := {who: next(stream) for who, stream in streams.items()}).values()):
            self.tick(**{who: levels or SILENCE for who, levels in heard.items()})
        return self

    def tick(self, **levels: Tick) -> None:
        self.now += TICK_S
        before = self.speakers.dominant
        self.speakers.update(levels, self.now)
        if self.speakers.dominant != before:
            self.changes.append((round(self.now - self._start, 3), self.speakers.dominant))

    @property
    def seen(self) -> list[str | None]:
        return [who for _, who in self.changes]


def test_in_silence_there_is_no_dominant_speaker() -> None:
    room = Room().play(ann=ticks(5), bob=ticks(5, [70] * PACKETS))
    assert room.changes == []
    assert room.speakers.order == ("ann", "bob")
    assert room.speakers.loudest(5) == []


def test_the_first_to_speak_is_the_dominant_speaker_within_two_ticks() -> None:
    room = Room().play(ann=ticks(3), bob=chain(ticks(1), ticks(2, VOICE)))
    ((at, who),) = room.changes
    assert who == "bob"
    assert at <= 1 + 2 * TICK_S


def test_who_begins_within_a_tick_is_noticed_with_the_next() -> None:
    room = Room().play(ann=iter([[127, 127, 127, 30, 30], VOICE]), bob=ticks(0.2))
    assert room.changes == [(0.2, "ann")]


@pytest.mark.parametrize("seed", range(8))
def test_people_who_alternate_take_the_floor_from_each_other(seed: int) -> None:
    room = Room()
    for turn in range(3):
        room.play(ann=speech(4, seed + turn), bob=ticks(4))
        room.play(ann=ticks(4), bob=speech(4, seed + turn + 20))
    assert room.seen == ["ann", "bob"] * 3
    # Each within a second of the other's first word.
    for turn, (at, _) in enumerate(room.changes[1:], 1):
        assert 0.3 <= at - 4 * turn <= 1.0


@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_nobody_takes_the_floor_by_a_cough(seconds: float, seed: int) -> None:
    cough = chain(ticks(5.2), ticks(seconds, [5] * PACKETS), ticks(4))
    assert Room().play(ann=speech(10, seed), bob=cough).seen == ["ann"]


def test_nor_by_a_cough_while_nobody_speaks() -> None:
    said = chain(speech(4), ticks(6))
    cough = chain(ticks(6), ticks(0.3, [5] * PACKETS), ticks(3))
    assert Room().play(ann=said, bob=cough).seen == ["ann"]


def test_a_single_loud_packet_is_no_speech() -> None:
    room = Room().play(ann=iter([[127, 127, 0, 127, 127], [0], SILENCE, [0]]), bob=ticks(0.4))
    assert room.changes == []
    assert room.speakers.spoke_within(10) == set()


@pytest.mark.parametrize("seed", range(5))
def test_when_both_talk_the_floor_stays_with_who_has_it(seed: int) -> None:
    room = Room().play(ann=speech(10, seed), bob=chain(ticks(3), speech(3, seed + 9), ticks(4)))
    # It passes only where the other is ahead in all three times, and not to and fro.
    assert room.seen in (["ann"], ["ann", "bob", "ann"], ["ann", "bob", "ann", "bob", "ann"])
    assert all(b - a >= 0.99 for (a, _), (b, _) in pairwise(room.changes))
    steady = Room().play(ann=ticks(8, VOICE), bob=chain(ticks(2), ticks(6, [15] * PACKETS)))
    assert steady.seen == ["ann"]


def test_the_floor_stays_with_the_last_speaker_in_silence_and_ends_with_the_microphone() -> None:
    room = Room().play(ann=chain(speech(3), ticks(20)), bob=ticks(23))
    assert room.speakers.dominant == "ann"
    room.play(bob=ticks(0.2))
    assert room.speakers.dominant is None
    assert room.speakers.order == ("bob",)


def test_steady_noise_is_taken_for_speech_no_longer_than_a_while() -> None:
    room = Room().play(ann=ticks(40, [35] * PACKETS), bob=ticks(40))
    assert room.speakers.spoke_within(5) == set()
    # Who speaks up above it is heard.
    room.play(ann=ticks(0.5, [12] * PACKETS), bob=ticks(0.5))
    assert room.speakers.spoke_within(5) == {"ann"}


def test_a_quiet_microphone_is_no_worse_than_a_loud_one() -> None:
    room = Room().play(ann=speech(4), bob=ticks(4))
    room.play(ann=ticks(4), bob=ticks(4, [43] * PACKETS))
    assert room.seen == ["ann", "bob"]


def test_packets_of_60_ms_are_as_good() -> None:
    long_packets = [[28], [27, 30], [26, 28]]
    room = Room().play(ann=chain(*repeat(long_packets, 7)), bob=ticks(2))
    assert room.seen == ["ann"]
    assert room.changes[0][0] <= 0.2


def test_the_order_is_that_of_who_spoke_last_and_does_not_change_among_those_who_speak() -> None:
    room = Room().play(ann=speech(2), bob=ticks(2), cem=ticks(2), dan=ticks(2))
    room.play(ann=ticks(3), bob=speech(3), cem=ticks(3), dan=ticks(3))
    assert room.speakers.order == ("bob", "ann", "cem", "dan")
    room.play(ann=ticks(3), bob=ticks(3, VOICE), cem=ticks(3), dan=chain(ticks(0.5), ticks(2.5, VOICE)))
    assert room.speakers.order == ("bob", "dan", "ann", "cem")
    for _ in range(20):
        room.tick(ann=SILENCE, bob=VOICE, cem=VOICE, dan=VOICE)
        assert room.speakers.order == ("bob", "dan", "cem", "ann")


def test_levels_are_the_loudest_of_late_and_only_of_who_speaks() -> None:
    room = Room().play(ann=ticks(1, [50, 28, 30, 30, 30]), bob=ticks(1, [20] * PACKETS), cem=ticks(1, [70] * PACKETS))
    assert room.speakers.loudest(5) == [("bob", -20), ("ann", -28)]
    assert room.speakers.loudest(1) == [("bob", -20)]
    room.play(ann=ticks(AUDIBLE_S + TICK_S))
    assert room.speakers.loudest(5) == []


def test_the_times_for_which_somebody_counts_are_in_their_order() -> None:
    assert TICK_S < AUDIBLE_S < SPEAKING_S < HOLD_S


# Properties

loudness = st.lists(st.integers(0, 127), max_size=12)
calls = st.lists(st.dictionaries(st.sampled_from(["ann", "bob", "cem", "dan"]), loudness, max_size=4), max_size=40)


@settings(max_examples=150, derandomize=True)
@given(calls)
def test_whatever_is_said_the_outcome_is_sound(call: list[dict[str, Tick]]) -> None:
    speakers = Speakers()
    spoke: set[str] = set()
    for number, levels in enumerate(call):
        before = speakers.dominant
        now = number * TICK_S
        speakers.update(levels, now)
        assert sorted(speakers.order) == sorted(levels)
        spoke = (spoke & levels.keys()) | speakers.spoke_within(TICK_S / 2)
        # The floor is only taken by who speaks at that moment, and only lost with the microphone or to somebody.
        if speakers.dominant != before:
            assert speakers.dominant is None or speakers.dominant in speakers.spoke_within(SPEAKING_S)
            assert before is None or speakers.dominant is not None or before not in levels
        assert speakers.dominant is None or speakers.order[0] == speakers.dominant
        assert all(key in spoke and -127 <= level <= 0 for key, level in speakers.loudest(10))
        # Who was active is before who was not, the dominant one aside.
        active = [key in speakers.spoke_within(SPEAKING_S) for key in speakers.order if key != speakers.dominant]
        assert active == sorted(active, reverse=True)


@settings(max_examples=60, derandomize=True)
@given(st.integers(0, 10_000), st.lists(st.integers(5, 90), unique=True, max_size=6))
def test_bursts_of_one_packet_never_move_the_floor(seed: int, bursts: list[int]) -> None:
    said = list(speech(9, seed))
    room = Room()
    for number, tick in enumerate(said):
        room.tick(ann=tick, bob=[127, 127, 0, 127, 127] if number in bursts else SILENCE)
    assert room.seen == ["ann"]
