"""Streams of real browsers, recorded by `python -m tests.support.record_streams`.

A file begins with a line of JSON: encoding, scalability mode, and the number of the dependency descriptor's header
extension, 0 where there is none. Then come RTP packets in the order in which they arrived, two bytes of length before
each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zvonim_sfu.rtp.packet import RtpPacket

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
