"""`python -m benchmarks.decisions`: what deciding costs in large rooms, without media.

The real rooms code with simulated participants (tests.support.fake_peer), each with a microphone and a camera of three
layers, 9 pairs of slots and 3 for sound alone, a large tile and eight small ones, and a link that does not hold all.
Time in the room is simulated; what is measured is the CPU time that its events take.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import resource
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from unittest import mock

import structlog

from tests.rooms.support import Call, Client, settle
from tests.support.fake_peer import FakePeer
from tests.support.warp import run_warped
from zvonim_sfu.rooms.limits import Limits
from zvonim_sfu.rooms.qualities import Qualities
from zvonim_sfu.rooms.view import Tile, View, Wish

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIZES: Final = (10, 50, 100, 200, 1000)
PAIRS: Final = 9
OFFER: Final = f"microphone camera pairs={PAIRS} audio=3"
TILES: Final = {f"v{k}": Tile(1280, 720) if k == 0 else Tile(320, 180) for k in range(PAIRS)}
LINK_BPS: Final = 2_000_000.0
# Events of each kind that are measured; the least of them is told, as the machine has other things to do too.
REPETITIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Costs:
    """What things take in a room of a size: CPU time in us, of an event for all that follows from it."""

    participants: int
    join: float
    leave: float
    mute: float
    resize: float
    page: float
    speak: float
    """A second in which somebody begins to speak whom few see, less a second in which nobody does."""
    tick: float
    """A second in which nothing happens."""
    estimates: float
    """A second in which everybody's estimate changes ten times, less one in which nothing happens, per participant."""
    decisions: int
    """In that second, of one participant."""
    kilobytes: float
    """Of memory, per participant."""


class _Clock:
    """Adds up CPU time."""

    def __init__(self) -> None:
        self.us: list[float] = []

    @contextmanager
    def measured(self) -> Iterator[None]:
        began = time.thread_time_ns()
        yield
        self.us.append((time.thread_time_ns() - began) / 1000)

    @property
    def least(self) -> float:
        return round(min(self.us), 1)


def measure(participants: int) -> Costs:
    """Measure a room of this size."""
    with mock.patch("zvonim_sfu.rooms.participant.Peer", FakePeer):
        return run_warped(_measure(participants))


async def _measure(participants: int) -> Costs:
    chance = random.Random(1)  # noqa: S311 - the same people each time, and no secrets
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call = Call(Limits(participants_per_room=participants + 1))
    people: list[Client] = []
    for number in range(participants):
        people.append(_enter(call, str(number)))
        if number % 20 == 0:
            await _pass(0.1, people)
    await _pass(5.0, people)
    kilobytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / participants
    join, leave, mute, resize, page, speak, tick, estimates = (_Clock() for _ in range(8))
    decisions = 0
    for repetition in range(REPETITIONS):
        with join.measured():
            newcomer = _enter(call, "newcomer")
            await settle()
        with leave.measured():
            newcomer.participant.leave()
            await settle()
        one, other = chance.sample(people, 2)
        with mute.measured():
            one.participant.set_muted("microphone", muted=repetition % 2 == 0)
            await settle()
        await asyncio.sleep(1)
        with resize.measured():
            one.participant.set_view(View(TILES | {"v1": Tile(640, 360 + repetition)}))
            await settle()
        with page.measured():
            wishes = tuple(Wish(person.id, "camera", pinned=False) for person in chance.sample(people, PAIRS))
            other.participant.set_view(View(TILES, wishes))
            await settle()
        await _pass(1.0, people)
        with tick.measured():
            await _pass(1.0, people)
        with speak.measured():
            await _pass(1.0, people, speaker=people[-1 - repetition])
        await _pass(1.0, people)
        with mock.patch.object(Qualities, "decide", autospec=True, side_effect=Qualities.decide) as decide:
            with estimates.measured():
                for _ in range(10):
                    for person in people:
                        person.peer.find_estimate(LINK_BPS * chance.uniform(0.85, 1.15))
                    await asyncio.sleep(0.1)
            decisions = decide.call_count
        for person in people:
            _forget(person)
    return Costs(
        participants,
        join=join.least,
        leave=leave.least,
        mute=mute.least,
        resize=resize.least,
        page=page.least,
        speak=round(max(0.0, speak.least - tick.least), 1),
        tick=tick.least,
        estimates=round((estimates.least - tick.least) / participants, 1),
        decisions=round(decisions / participants),
        kilobytes=round(kilobytes, 1),
    )


def _enter(call: Call, name: str) -> Client:
    client = call.enter(name, slot_mode=True, offer=OFFER)
    client.participant.set_view(View(TILES))
    client.peer.find_estimate(LINK_BPS)
    return client


async def _pass(seconds: float, people: Sequence[Client], speaker: Client | None = None) -> None:
    """Let time pass; somebody speaks, or nobody."""
    for _ in range(round(seconds / 0.1)):
        if speaker is not None:
            speaker.peer.up["microphone"].levels.extend([20] * 5)
        await asyncio.sleep(0.1)
    for person in people:
        _forget(person)


def _forget(person: Client) -> None:
    person.connection.messages.clear()


def main() -> None:
    """Print a table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES)
    names = ("join", "leave", "mute", "resize", "page", "speak", "tick", "estimates", "decisions", "kilobytes")
    print("participants", *names, sep="\t")
    for size in parser.parse_args().sizes:
        costs = measure(size)
        print(size, *(getattr(costs, name) for name in names), sep="\t", flush=True)


if __name__ == "__main__":
    main()
