"""Streams of real browsers, recorded by `python -m tests.support.record_streams`.

A file begins with a line of JSON: encoding, scalability mode, and the number of the dependency descriptor's header
extension, 0 where there is none. Then come RTP packets in the order in which they arrived, two bytes of length before
each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final

from zvonim_sfu.rtp.codecs import describer
from zvonim_sfu.rtp.packet import RtpPacket

if TYPE_CHECKING:
    from collections.abc import Sequence

STREAMS: Final = Path(__file__).parent.parent / "data" / "streams"


@dataclass(frozen=True)
class RecordedStream:
    """One SSRC of a publisher."""

    encoding: str
    mode: str
    descriptor: int
    data: tuple[bytes, ...]
    """Its packets."""

    @property
    def packets(self) -> list[RtpPacket]:
        """The packets, parsed."""
        return [RtpPacket.parse(data) for data in self.data]

    def without_upper_frames(self, chosen: Sequence[bool]) -> list[RtpPacket]:
        """The packets that are left when the encoder leaves out what is above the lowest layer in chosen pictures.

        `chosen` goes on from its beginning when it is at its end; the keyframe that is first stays whole.
        """
        describe = describer(self.encoding)
        choice = dict(zip(dict.fromkeys(packet.timestamp for packet in self.packets), cycle(chosen), strict=False))
        first = self.packets[0]
        choice[first.timestamp] = False
        left: list[RtpPacket] = []
        for packet in self.packets:
            descriptor = packet.extension(self.descriptor) if self.descriptor else None
            if not (describe(packet.payload, descriptor).spatial and choice[packet.timestamp]):
                number = first.sequence_number + len(left) & 0xFFFF
                left.append(RtpPacket.parse(packet.data[:2] + number.to_bytes(2) + packet.data[4:]))
        return left

    @classmethod
    def load(cls, name: str) -> RecordedStream:
        """Read a file of STREAMS, by its name without `.rtp`."""
        data = (STREAMS / f"{name}.rtp").read_bytes()
        line, _, rest = data.partition(b"\n")
        packets = []
        while rest:
            size = int.from_bytes(rest[:2])
            packets.append(rest[2 : 2 + size])
            rest = rest[2 + size :]
        return cls(**json.loads(line), data=tuple(packets))

    def save(self, name: str) -> int:
        """Write the file; returns its size."""
        line = {"encoding": self.encoding, "mode": self.mode, "descriptor": self.descriptor}
        packets = b"".join(len(data).to_bytes(2) + data for data in self.data)
        return (STREAMS / f"{name}.rtp").write_bytes(json.dumps(line).encode() + b"\n" + packets)


def stream_names() -> list[str]:
    """Names of all recorded streams."""
    return sorted(path.stem for path in STREAMS.glob("*.rtp"))
