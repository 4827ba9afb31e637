"""A large call as people have it: everybody publishes three encodings, and sees nine others and hears three.

Beside it, with as many people and about as many packets, what has no selection: plain fan-out, where nearly everybody
gets what few send, and plain meetings, where each packet goes to as many others as in the large call. What selection
costs is the difference to these; what it costs to take in the packets of everybody is the difference between both.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from benchmarks.client.dtls import HandshakeError
from benchmarks.client.traffic import MICROPHONE, Pattern, Simulcast, camera
from benchmarks.results import LargeCall, LargeCallStep, Round
from benchmarks.rounds import JOINS_AT_ONCE, Stage, build_alive
from benchmarks.servers import ServerError, Wishes
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.client.generator import Generator
    from benchmarks.servers.zvonim import Zvonim, ZvonimMember

SIMULCAST: Final = Simulcast(
    (
        Pattern("video", 30, 1, 500, 320, 180, rid="q", has_temporal_layers=True),
        Pattern("video", 60, 2, 900, 640, 360, rid="h", has_temporal_layers=True),
        Pattern("video", 150, 5, 1100, 1280, 720, rid="f", has_temporal_layers=True),
    )
)
"""30 pictures a second, in three temporal layers, at 0.12, 0.43 and 1.3 Mbit/s: what Chromium makes of a camera of
1280x720."""
SILENCE: Final = replace(MICROPHONE, loudness=-127)
VOICES: Final = 3
"""So many speak, the others' microphones are open and silent."""
TILES: Final = ((1280, 720), *((640, 360),) * 2, *((320, 180),) * 6)
"""What everybody has on the screen."""
CHOSEN: Final = 3
"""So many of the pictures are each one's own choice: not all look at the same nine."""
SETTLE_S: Final = 14.0
"""Until everybody has its pictures, and encodings that nobody takes have ended."""
ROUND_S: Final = 5.0
ROUNDS: Final = 3
SIZES: Final = (20, 40, 60, 80, 100, 140, 200)
REFERENCE_SIZE: Final = 100
MAX_CORES: Final = 0.95
GENERATOR_FULL: Final = 0.85
"""Of a core: what is late or missing then may be the generator's doing."""

_PLAIN: Final = Shape("plain", "three cameras and microphones to all", 3, 0, (camera(100, 3), MICROPHONE))
_MEETINGS: Final = Shape("meetings", "meetings of nine", 9, 0, (camera(60, 2), SILENCE), rooms=11)
"""A picture to eight others, as in the large call; three of the microphones are forwarded there as well."""


@dataclass(slots=True)
class _Call(Stage):
    """Not everything is forwarded; what ought to arrive is told by the numbers of what does."""

    def expected(self) -> int:
        """Count the numbers that were used, in the streams that have come."""
        peers = [peer for member in self.members for peer in member.peers]
        return sum(stream.expected for peer in peers for stream in peer.streams.values())


async def build(server: Zvonim, generator: Generator, people: int, *, stop_encodings: bool = True) -> Stage:
    """Let so many join and choose what they see.

    `stop_encodings`: whether what nobody takes is encoded no more when the server says so. Raises ServerError.
    """
    gate = asyncio.Semaphore(JOINS_AT_ONCE)

    async def join(number: int) -> ZvonimMember:
        voice = MICROPHONE if number < VOICES else SILENCE
        wishes = Wishes((SIMULCAST, voice), pairs=len(TILES), audio=VOICES)
        async with gate:
            member = await server.join(generator, f"large-{people}", wishes)
        member.stops_encodings = stop_encodings
        return member

    shape = Shape(f"large-{people}", f"everybody of {people} sees nine and hears three", people, 0, ())
    stage = _Call(server, generator, shape)
    first = await join(0)  # who makes the room
    members = [first, *await asyncio.gather(*map(join, range(1, people)))]
    stage.members += members
    everybody = [member.user_id for member in members]
    for number, member in enumerate(members):
        others = itertools.islice(itertools.cycle(everybody), number + 1, number + people)
        await member.show(TILES, list(itertools.islice(others, CHOSEN)))
    return stage


async def large_call(
    server: Zvonim, generator: Generator, tell: Callable[[str], None], sizes: tuple[int, ...] = SIZES
) -> LargeCall:
    """Measure calls of growing size until one core is full, and what has no selection beside the reference size.

    It ends before that where the generator, which has the other core, carries no more.

    Raises ServerError.
    """

    async def measure(stage: Stage) -> list[Round]:
        try:
            return [await stage.measure(ROUND_S) for _ in range(ROUNDS)]
        finally:
            await stage.close()

    steps: list[LargeCallStep] = []
    plain: list[Round] = []
    meetings: list[Round] = []
    not_carried = None
    for people in sizes:
        try:
            stage = await build(server, generator, people)
        except (ServerError, HandshakeError, TimeoutError) as error:
            tell(f"{people}: not everybody could join ({error})")
            break
        try:
            stage.resume()
            await asyncio.sleep(SETTLE_S)
            encodings = sum(source.is_wanted and bool(source.pattern.rid) for source in stage.sources)
            rounds = [await stage.measure(ROUND_S) for _ in range(ROUNDS if people == REFERENCE_SIZE else 1)]
        finally:
            await stage.close()
        step, last = LargeCallStep(participants=people, encodings=encodings, rounds=rounds), rounds[-1]
        if not step.is_good and last.generator_cores > GENERATOR_FULL:
            tell(f"{people}: more than the generator carries, {last.generator_cores:.0%} of a core")
            not_carried = people
            break
        steps.append(step)
        tell(
            f"{people}: {last.forwarded / last.seconds:,.0f} packets/s, {last.delivered:.3%} arrived, "
            f"p99 {last.delay_ms.p99:.1f} ms, {last.cpu_us:.1f} us a packet, {last.server_cores:.0%} of a core "
            f"(generator {last.generator_cores:.0%}), {encodings} encodings wanted"
        )
        if people == REFERENCE_SIZE:
            shape = replace(_PLAIN, listeners=people - _PLAIN.publishers)
            plain = await measure(await build_alive(server, generator, shape, tell))
            tell(f"plain fan-out to as many: {plain[-1].cpu_us:.1f} us a packet")
            meetings = await measure(await build_alive(server, generator, _MEETINGS, tell, kind=_Call))
            tell(f"plain meetings of as many in all: {meetings[-1].cpu_us:.1f} us a packet")
        if not step.is_good or last.server_cores > MAX_CORES:
            break
    return LargeCall(steps=steps, plain=plain, meetings=meetings, not_carried=not_carried)
