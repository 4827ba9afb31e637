from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zvonim_sfu.rtp.nack import (
    COPY_AFTER_S,
    MAX_AGE_S,
    MAX_MISSING,
    MAX_OVERTAKEN,
    MAX_TOLERANCE_S,
    MAX_TRIES,
    MIN_RETRY_S,
    MIN_TOLERANCE_S,
    NackRegister,
)

ROUND_TRIP_S = 0.1
SOON = MIN_TOLERANCE_S * 1.01


def register_of(*numbers: int, now: float = 0.0) -> NackRegister:
    register = NackRegister()
    for number in numbers:
        assert register.received(number, now)
    return register


def run(register: NackRegister, now: float, until: float, round_trip_s: float = ROUND_TRIP_S) -> list[float]:
    """When something was asked for."""
    asked_at = []
    while register.next_at is not None and register.next_at <= until:
        now = max(now, register.next_at)
        if register.requests(now, round_trip_s):
            asked_at.append(now)
    return asked_at


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([10, 11, 12], []),
        ([10, 12], [11]),
        ([10, 14, 12], [11, 13]),
        ([65535, 65538, -3], [65536, 65537]),  # numbers do not wrap around here
        ([10, 13, 11, 12], []),
        ([-2, 1], [-1, 0]),
        ([10, 7], [8, 9]),  # the first packet had overtaken others
    ],
)
def test_what_did_not_come_is_asked_for(numbers: list[int], expected: list[int]) -> None:
    register = NackRegister()
    for number in numbers:
        register.received(number, 0.0)
    assert register.requests(SOON, ROUND_TRIP_S) == expected
    assert register.missing == len(expected)


@pytest.mark.parametrize(
    ("numbers", "new"),
    [
        ([5, 5], False),
        ([5, 6, 5], False),
        ([5, 7, 6], True),
        ([5, 7, 6, 6], False),
        ([20, 20 - MAX_OVERTAKEN], True),
        ([20, 19 - MAX_OVERTAKEN], False),
        ([20, 18, 19], True),
        ([20, 18, 18], False),
    ],
)
def test_the_last_of_these_is_new_or_to_be_dropped(numbers: list[int], new: bool) -> None:
    register = register_of(*numbers[:-1])
    assert register.received(numbers[-1], 0.0) is new


def test_nothing_is_asked_for_before_the_tolerance_for_reordering() -> None:
    register = register_of(1, 3)
    assert register.next_at == pytest.approx(MIN_TOLERANCE_S)
    assert register.requests(MIN_TOLERANCE_S * 0.9, ROUND_TRIP_S) == []
    assert register.received(2, MIN_TOLERANCE_S * 0.95)
    assert register.next_at is None
    assert register.requests(SOON, ROUND_TRIP_S) == []


def test_a_number_is_asked_for_again_after_a_round_trip_and_later_each_time() -> None:
    register = register_of(1, 3)
    asked_at = run(register, 0.0, 2.0)
    gaps = [later - earlier for earlier, later in pairwise(asked_at[::2])]
    assert asked_at[0] == pytest.approx(MIN_TOLERANCE_S)
    assert all(gap > ROUND_TRIP_S for gap in gaps)
    assert gaps == sorted(gaps)
    assert len(gaps) == 5
    assert asked_at[-1] < MAX_AGE_S


def test_a_request_is_made_twice_in_case_it_is_lost_itself() -> None:
    register = register_of(1, 3)
    asked_at = run(register, 0.0, ROUND_TRIP_S)
    assert asked_at == pytest.approx([MIN_TOLERANCE_S, MIN_TOLERANCE_S + COPY_AFTER_S])
    assert register.received(2, ROUND_TRIP_S + MIN_TOLERANCE_S)
    assert run(register, ROUND_TRIP_S, 1.0) == []


def test_a_short_round_trip_does_not_make_a_flood() -> None:
    register = register_of(1, 3)
    asked_at = run(register, 0.0, 2.0, round_trip_s=0.0)
    assert len(asked_at) <= MAX_TRIES
    assert asked_at[2] - asked_at[0] >= MIN_RETRY_S


def test_what_is_asked_for_in_vain_is_given_up_and_needs_one_keyframe() -> None:
    register = register_of(1, 4)
    run(register, 0.0, MAX_AGE_S * 1.5)
    assert register.given_up == 2
    assert register.needs_keyframe
    assert register.next_at is None
    assert register.missing == 0
    assert not register.received(2, MAX_AGE_S * 1.5)  # too old to tell
    register.keyframe(5)
    assert not register.needs_keyframe
    assert register.given_up == 2


def test_a_keyframe_from_before_the_loss_does_not_repair_the_picture() -> None:
    register = register_of(1, 10)
    run(register, 0.0, MAX_AGE_S * 1.5)
    register.keyframe(5)
    assert register.needs_keyframe


def test_what_is_missing_before_a_keyframe_is_not_asked_for_but_welcome() -> None:
    register = register_of(1, 3, 5)
    register.received(6, 0.0)
    register.received(9, 0.0)
    register.keyframe(6)
    assert register.requests(SOON, ROUND_TRIP_S) == [7, 8]
    assert register.received(2, 0.05)
    assert not register.received(2, 0.05)
    run(register, 0.05, 2.0)
    assert register.given_up == 2
    assert register.missing == 0


def test_a_gap_right_before_a_keyframe_may_be_its_beginning() -> None:
    register = register_of(1, 3, 6)
    register.keyframe(6)
    assert register.requests(SOON, ROUND_TRIP_S) == [4, 5]


def test_a_keyframe_that_comes_late_does_not_undo_a_newer_one() -> None:
    register = register_of(1, 3, 4, 10)
    register.keyframe(10)
    register.keyframe(3)
    assert register.requests(SOON, ROUND_TRIP_S) == [5, 6, 7, 8, 9]


def test_a_loss_beyond_repair_is_given_up_at_once() -> None:
    register = register_of(1, 3)
    assert register.received(5 + MAX_MISSING, 0.0)
    assert register.needs_keyframe
    assert register.given_up == 1 + 1 + MAX_MISSING
    assert register.missing == 0
    assert register.next_at is None
    assert register.received(6 + MAX_MISSING, 0.0)


def test_a_long_gap_is_kept_when_a_keyframe_has_made_room() -> None:
    register = register_of(0, 300, 301)
    register.keyframe(301)
    assert register.received(600, 0.0)
    assert not register.needs_keyframe
    assert register.requests(SOON, ROUND_TRIP_S) == list(range(302, 600))


def test_the_tolerance_follows_the_reordering_of_the_network() -> None:
    register = register_of(1, 3)
    register.received(2, 0.008)
    assert register.tolerance_s == pytest.approx(MIN_TOLERANCE_S)
    register.received(5, 1.0)
    register.requests(1.0 + SOON, ROUND_TRIP_S)
    register.received(4, 1.02)  # too soon for an answer
    assert register.tolerance_s == pytest.approx(0.025)
    register.received(7, 2.0)
    assert register.next_at == pytest.approx(2.025)
    register.requests(2.03, ROUND_TRIP_S)
    register.received(6, 2.15)  # an answer tells nothing
    assert MIN_TOLERANCE_S < register.tolerance_s < 0.025
    register.received(9, 3.0)
    register.received(8, 3.9)
    assert register.tolerance_s == MAX_TOLERANCE_S


class NackMachine(RuleBasedStateMachine):
    """A publisher's packets are lost, delayed and doubled; keyframes come; somebody asks at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.register = NackRegister()
        self.now = 100.0
        self.next = 1000
        self.lost: list[int] = []
        self.seen: set[int] = set()
        self.asked: dict[int, list[tuple[float, float]]] = {}
        self.keyframe = 0

    def arrive(self, number: int) -> bool:
        new = self.register.received(number, self.now)
        if new:
            assert number not in self.seen, "a duplicate went through"
            self.seen.add(number)
        return new

    @rule(count=st.integers(1, 5))
    def packets(self, count: int) -> None:
        for _ in range(count):
            assert self.arrive(self.next), "a new packet was dropped"
            self.next += 1

    @rule(count=st.integers(1, 20) | st.integers(MAX_MISSING - 10, MAX_MISSING + 10))
    @precondition(lambda self: self.seen)
    def lose(self, count: int) -> None:
        self.lost += range(self.next, self.next + count)
        self.next += count

    @rule()
    @precondition(lambda self: self.seen)
    def key(self) -> None:
        assert self.arrive(self.next)
        self.register.keyframe(self.next)
        assert not self.register.needs_keyframe
        self.keyframe = self.next
        self.next += 1

    @rule(data=st.data())
    @precondition(lambda self: self.lost)
    def late(self, data: st.DataObject) -> None:
        number = self.lost.pop(data.draw(st.integers(0, len(self.lost) - 1)))
        self.arrive(number)

    @rule(data=st.data())
    @precondition(lambda self: self.seen)
    def double(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.seen)[-20:]))
        assert not self.register.received(number, self.now)

    @rule(seconds=st.sampled_from([0.001, 0.011, 0.05, 0.3, 2.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(round_trip_s=st.sampled_from([0.0, 0.02, 0.5]))
    def ask(self, round_trip_s: float) -> None:
        numbers = self.register.requests(self.now, round_trip_s)
        assert numbers == sorted(set(numbers))
        for number in numbers:
            assert number not in self.seen, "asked for what has come"
            assert number < self.next
            before = self.asked.setdefault(number, [])
            assert len(before) < MAX_TRIES
            if before:
                # A copy follows each request; the round trip is the one that was known when it was sent.
                asked_at = before[-1][0] if len(before) % 2 else before[-2][0]
                enough_s = COPY_AFTER_S if len(before) % 2 else before[-1][1]
                assert self.now - asked_at >= enough_s * 0.999, "asked again before the answer could come"
            before.append((self.now, max(MIN_RETRY_S, round_trip_s)))
        assert self.register.next_at is None or self.register.next_at > self.now

    @invariant()
    def bounded(self) -> None:
        assert self.register.missing <= MAX_MISSING
        assert MIN_TOLERANCE_S <= self.register.tolerance_s <= MAX_TOLERANCE_S
        assert self.register.next_at is None or self.register.missing

    def teardown(self) -> None:
        for _ in range(MAX_TRIES + 2):
            self.now += MAX_AGE_S
            self.register.requests(self.now, 0.1)
        assert self.register.next_at is None, "a timer outlives what it is for"


TestNackMachine = NackMachine.TestCase
TestNackMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
