"""How far a server can be loaded: more and more participants until packets are lost or late."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from benchmarks.client.dtls import HandshakeError
from benchmarks.client.traffic import MICROPHONE, camera
from benchmarks.results import Knee
from benchmarks.rounds import build_alive
from benchmarks.servers import ServerError
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.client.generator import Generator
    from benchmarks.results import Round
    from benchmarks.servers import Server

MIN_DELIVERED: Final = 0.999
MAX_P99_MS: Final = 50.0
STEP_S: Final = 2.5
TRIES: Final = 2
"""A step that fails is repeated: on a machine that does other things too one failure tells nothing."""
MAX_GENERATOR_CORES: Final = 0.9
"""Beyond it the generator is what is measured, and the search ends."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """A shape, and the numbers of participants with which it is tried."""

    shape: Shape
    steps: tuple[int, ...]
    grow_publishers: bool = False
    """Whether who is added publishes, too."""

    def at(self, participants: int) -> Shape:
        """The shape with so many."""
        if self.grow_publishers:
            return replace(self.shape, publishers=participants, listeners=0)
        return replace(self.shape, listeners=participants - self.shape.publishers)


LADDERS: Final = (
    Ladder(
        Shape("fan-out", "one camera of 250 packets/s and audio to all", 1, 0, (camera(250, 3), MICROPHONE)),
        (30, 60, 90, 120, 180, 240, 320, 400, 500),
    ),
    Ladder(
        Shape("meeting", "everybody sends 100 packets/s and audio to all", 0, 0, (camera(100, 3), MICROPHONE)),
        (6, 8, 12, 16, 18, 20, 22, 24, 28, 32, 36, 40),
        grow_publishers=True,
    ),
    Ladder(
        Shape("audio", "three speakers to all", 3, 0, (MICROPHONE,)),
        (60, 120, 180, 240, 320, 400, 500, 640),
    ),
)


def is_good(round_: Round) -> bool:
    """Whether a call would be fine."""
    return round_.delivered >= MIN_DELIVERED and round_.delay_ms.p99 <= MAX_P99_MS


async def find_knee(server: Server, generator: Generator, ladder: Ladder, tell: Callable[[str], None]) -> Knee:
    """Climb until a step fails twice. `tell` gets a line about each step. Raises ServerError."""
    steps: dict[int, Round] = {}
    good, is_limit = 0, False
    for participants in ladder.steps:
        shape = ladder.at(participants)
        try:
            stage = await build_alive(server, generator, shape, tell, name=f"{participants}-")
        except (ServerError, HandshakeError, TimeoutError) as error:
            tell(f"{shape.name} of {participants}: not everybody could join ({error})")
            is_limit = True
            break
        try:
            for _ in range(TRIES):
                steps[participants] = step = await stage.measure(STEP_S)
                if is_good(step):
                    break
        finally:
            await stage.close()
        tell(
            f"{shape.name} of {participants}: {step.forwarded / STEP_S:,.0f} packets/s, {step.delivered:.2%} arrived, "
            f"p99 {step.delay_ms.p99:.1f} ms, {step.cpu_us:.1f} us a packet, {step.server_cores:.0%} of a core "
            f"(generator {step.generator_cores:.0%})"
        )
        if is_good(step):
            good = participants
        if step.generator_cores > MAX_GENERATOR_CORES:
            break
        if not is_good(step):
            is_limit = True
            break
    return Knee(
        shape=ladder.shape.name,
        title=ladder.shape.title,
        steps=steps,
        participants=good,
        is_limit=is_limit,
        forwarded_per_s=round(steps[good].forwarded / STEP_S) if good else 0,
        packets_per_core_s=round(1e6 / steps[good].cpu_us) if good else 0,
    )


def limits(knees: list[Knee], joins_per_s: float) -> list[str]:
    """Return the settings of zvonim-sfu that keep this machine below its knees, with what they follow from.

    A room may be as large as the meeting in which everybody is seen by all, since the server cannot know who will
    publish; joins may take half of a core.
    """
    meeting = next(knee for knee in knees if knee.shape == "meeting")
    joins = max(1, int(joins_per_s / 2))
    return [
        f"--limit-participants-per-room={max(2, meeting.participants)}",
        f"--limit-joins-per-second={joins}",
        f"--limit-join-burst={joins}",
        f"--limit-handshakes-per-second={joins}",
        f"--limit-handshake-burst={4 * joins}",
    ]
