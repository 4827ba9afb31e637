"""The shapes of a call that are measured: who publishes what to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.client.traffic import MICROPHONE, camera
from benchmarks.servers import Wishes

if TYPE_CHECKING:
    from benchmarks.client.traffic import Pattern


@dataclass(frozen=True, slots=True)
class Shape:
    """Rooms that are all alike. Everybody receives whatever the others in the room publish."""

    name: str
    title: str
    publishers: int
    """In each room; they see and hear each other."""
    listeners: int
    """In each room: those who publish nothing."""
    patterns: tuple[Pattern, ...]
    """What each publisher sends."""
    rooms: int = 1

    @property
    def participants(self) -> int:
        """In all rooms."""
        return self.rooms * (self.publishers + self.listeners)

    @property
    def receivers_of_each(self) -> int:
        """How many others get what one publishes."""
        return self.publishers - 1 + self.listeners

    @property
    def forwarded_per_s(self) -> float:
        """Packets that leave the server, keyframes' extra ones aside."""
        sent = sum(pattern.packets_per_s for pattern in self.patterns)
        return self.rooms * self.publishers * sent * self.receivers_of_each

    def wishes(self, *, publishes: bool, room_for: int = 0) -> Wishes:
        """How a publisher or a listener takes part; `room_for`: with slots for so many publishers, if they are more."""
        others = max(self.publishers, room_for) - publishes
        has_video = any(pattern.kind == "video" for pattern in self.patterns)
        return Wishes(
            publishes=self.patterns if publishes else (),
            pairs=others if has_video else 0,
            audio=0 if has_video else others,
        )


FAN_OUT: Final = Shape("fan-out-600", "1 to 30, 600 packets/s in bursts of 6", 1, 30, (camera(600, 6),))
FAN_OUT_CALM: Final = Shape(
    "fan-out-250", "1 to 30, 250 packets/s in bursts of 3, and audio", 1, 30, (camera(250, 3), MICROPHONE)
)
MEETING: Final = Shape("meeting-8", "meeting of 8, 100 packets/s each, and audio", 8, 0, (camera(100, 3), MICROPHONE))
AUDIO: Final = Shape("audio-60", "audio only, 3 speakers to 60 listeners", 3, 60, (MICROPHONE,))
ROOMS: Final = Shape(
    "rooms-10x3", "10 rooms of 3, 100 packets/s each, and audio", 3, 0, (camera(100, 3), MICROPHONE), rooms=10
)
STANDARD: Final = (FAN_OUT, FAN_OUT_CALM, MEETING, AUDIO, ROOMS)
