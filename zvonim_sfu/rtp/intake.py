"""What is counted of each packet of one layer, in one place: the packet kernel counts here too.

A packet that comes in its turn, of a layer about which nothing is unusual, needs no decision. The compiled kernel does
with it what `media.layer` would do, on these values, and nobody else hears of it (net.receiving); every other packet
goes the long way. So each value has one owner, which says what it means: `rtp.reception`, `rtp.nack`, `rtp.history`,
`rtp.dependency_descriptor`, `rtp.layer_rates`, `media.layer` and `media.outlets`. This is the twin of
intake_compiled.pyx.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections import deque

    from zvonim_sfu.rtp.dependency_descriptor import Structures
    from zvonim_sfu.rtp.description import Description
    from zvonim_sfu.rtp.packet import RtpPacket

Cell = tuple[int, "RtpPacket", float, "Description | Structures | None"]
"""Number, packet, when it came (s, monotonic), and its description. The kernel makes none: it keeps what the packet's
descriptor refers to, None for nothing, by which the packet can be described later."""

NO_NUMBER: Final = -(1 << 62)
"""In the place of a number of a packet: none has come yet."""
UNKNOWN_LAYER: Final = 0xFF
"""In the place of a temporal layer: above all that there are."""


class Payloads(IntEnum):
    """What the kernel takes the payloads of a layer for."""

    UNKNOWN = 0
    """What it does not read: another codec, or pictures with spatial layers."""
    SOUND = 1
    VP8 = 2
    H264 = 3

    @classmethod
    def of(cls, encoding: str) -> Payloads:
        """Return what those of pictures in this encoding are."""
        return {"VP8": cls.VP8, "H264": cls.H264}.get(encoding, cls.UNKNOWN)


class Intake:
    """Values of one layer, all public; as they are before its first packet."""

    __slots__ = (
        "cells",
        "clock_rate",
        "counted",
        "descriptor",
        "expected",
        "fan_out",
        "frames",
        "has_transit",
        "highest",
        "is_video",
        "jitter",
        "keeps_register",
        "kept",
        "kept_bytes",
        "last",
        "last_at",
        "layer_frames",
        "layer_octets",
        "level_extension",
        "levels",
        "needs_keyframe",
        "octets",
        "packets",
        "payload_type",
        "payloads",
        "received",
        "shift",
        "structures",
        "template_layers",
        "temporal",
        "transit",
        "wants_keyframe",
    )

    def __init__(self) -> None:
        # Of rtp.reception, which says what the numbers mean.
        self.clock_rate = 1
        self.counted = NO_NUMBER
        """The highest number that was counted, as its source has it."""
        self.shift = 0
        """What makes of it a number that goes on when the source starts anew."""
        self.received = 0
        self.has_transit = False
        self.transit = 0
        self.jitter = 0.0
        # Of rtp.nack.
        self.keeps_register = False
        self.expected = NO_NUMBER
        """What comes next, if nothing is lost."""
        self.needs_keyframe = False
        # Of rtp.history.
        self.cells: list[Cell | None] = []
        self.kept = NO_NUMBER
        """The highest number in the history."""
        self.kept_bytes = 0
        # Of media.layer.
        self.is_video = False
        self.payloads = Payloads.UNKNOWN
        self.temporal = 0
        """The highest temporal layer that has come."""
        self.descriptor = 0
        """Number of the header extension with the dependency descriptor; 0 for none."""
        self.payload_type = -1
        self.wants_keyframe = False
        self.packets = 0
        self.octets = 0
        self.frames = 0
        self.last_at = -math.inf
        self.highest = -1
        self.last: RtpPacket | None = None
        self.levels: deque[int] | None = None
        self.level_extension = 0
        # Of rtp.dependency_descriptor.
        self.structures: Structures | None = None
        """What descriptors refer to now; None before a structure came."""
        self.template_layers = b""
        """The temporal layer of each template by its number, UNKNOWN_LAYER for what has to be looked at."""
        # Of rtp.layer_rates.
        self.layer_octets: list[int] = []
        """Of each layer, temporal ones of the lowest spatial layer first; nothing is counted where there is but one."""
        self.layer_frames: list[int] = []
        # Of media.outlets.
        self.fan_out: object = None
        """The kernel's, to who gets every packet as it comes; None while somebody has to be asked."""

    def drop(self, first: int, size: int, before: float) -> int:
        """Let go of the packets with the lowest numbers, from `first` on; returns the lowest that may be kept now.

        Args:
            first: no packet with a lower number is kept.
            size: bytes of all packets that are to be left at most.
            before: of those that came before this time (s, monotonic) none is to be left.
        """
        cells = self.cells
        for number in range(max(first, self.kept - len(cells) + 1), self.kept + 1):
            cell = cells[number % len(cells)]
            if cell is not None:
                if self.kept_bytes <= size and cell[2] >= before:
                    return number
                self.kept_bytes -= len(cell[1].data)
                cells[number % len(cells)] = None
        return self.kept + 1
