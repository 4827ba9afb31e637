"""What a publisher sends: RTP as a browser's camera or microphone makes it, filled with zeros.

The end of each payload tells which source it is of, where in the stream, and when it left: who decrypts it knows its
delay, and what is missing.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.rtp.rtcp import SenderReport
from zvonim_sfu.rtp.timing import ntp_from_unix

if TYPE_CHECKING:
    from collections.abc import Callable

_STAMP: Final = Struct("!IIBBQ")


class Stamp(NamedTuple):
    """The end of each payload."""

    label: int
    """Of the source, see Source.label."""
    frame: int
    """Frames before this one."""
    place: int
    """Of the packet in its frame."""
    packets: int
    """Of the frame; the highest bit says that it is a keyframe."""
    sent_ns: int
    """By time.time_ns."""

    @property
    def is_keyframe(self) -> bool:
        """Whether a decoder can begin with this frame."""
        return bool(self.packets & _KEYFRAME_BIT)

    @property
    def is_last(self) -> bool:
        """Whether its frame ends with this packet."""
        return self.place + 1 == self.packets & ~_KEYFRAME_BIT

    @classmethod
    def read(cls, packet: bytes) -> Stamp:
        """Read that of a plain RTP packet. Raises struct.error if there is no room for one."""
        return cls(*_STAMP.unpack_from(packet, len(packet) - _STAMP.size))


KEYFRAME_BURSTS: Final = 3
"""A keyframe has as many packets as so many other frames."""
KEYFRAME_INTERVAL_S: Final = 3.0
MIN_KEYFRAME_GAP_S: Final = 0.3
"""Between keyframes that were asked for, as libwebrtc's encoders have it."""
MAX_BACKLOG: Final = 4
"""Frames that a generator which fell behind sends at once; the others are left out, and were never sent."""

_HEADER: Final = Struct("!BBHII")
_EXTENSION_HEADER: Final = Struct("!HH")
_ONE_BYTE_PROFILE: Final = 0xBEDE  # RFC 8285, section 4.2
_MARKER: Final = 0x80
_KEYFRAME_BIT: Final = 0x80
_VOICE: Final = 0x80  # beside the level: the client takes it for speech (RFC 6464)
# VP8 (RFC 7741): X and S, or X alone; then I, then a picture id of 15 bits.
_DESCRIPTOR: Final = Struct("!BBH")
_BEGIN, _CONTINUE, _HAS_PICTURE_ID, _LONG_ID = 0x90, 0x80, 0x80, 0x8000
# With temporal layers: I, L and T, then TL0PICIDX, and TID with Y (RFC 7741, section 4.2), picture after picture from a
# keyframe on, as Chromium has it for three layers.
_LAYERED_DESCRIPTOR: Final = Struct("!BBHBB")
_HAS_LAYERS: Final = 0xE0
_LAYERS: Final = (0x20, 0xA0, 0x60, 0x80)
_KEYFRAME_TAG: Final = Struct("<6sHH")
_KEYFRAME_BEGIN: Final = bytes.fromhex("10 02 00 9d 01 2a")
_INTERFRAME_TAG: Final = bytes.fromhex("11 02 00")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a source sends, on average and at once."""

    kind: str
    """`audio` or `video`."""
    packets_per_s: float
    burst: int
    """Packets of one frame, which leave together."""
    payload_bytes: int
    width: int = 640
    height: int = 360
    """Of pictures, as keyframes tell."""
    loudness: int = -30
    """Of sounds, in dBov: -127 is silence (RFC 6464)."""
    rid: str = ""
    """Names it among the encodings of a Simulcast."""
    has_temporal_layers: bool = False
    """Whether pictures are of three temporal layers."""

    @property
    def interval_s(self) -> float:
        """From one frame to the next."""
        return self.burst / self.packets_per_s

    @property
    def clock_rate(self) -> int:
        """Of the RTP timestamps, in Hz."""
        return 48_000 if self.kind == "audio" else 90_000


MICROPHONE: Final = Pattern("audio", 50, 1, 80)
"""Opus at 32 kbit/s in frames of 20 ms."""


@dataclass(frozen=True, slots=True)
class Simulcast:
    """One camera that is sent in several encodings at once."""

    encodings: tuple[Pattern, ...]
    kind: str = "video"


def camera(packets_per_s: float, burst: int) -> Pattern:
    """A camera with packets of 1100 bytes of payload."""
    return Pattern("video", packets_per_s, burst, 1100)


@dataclass(frozen=True, slots=True)
class Sending:
    """What was negotiated for one track on its way up."""

    mid: str
    ssrc: int
    payload_type: int
    mid_extension: int = 0
    """Number of a header extension; 0: not negotiated."""
    arrival_extension: int = 0
    level_extension: int = 0
    rid_extension: int = 0


@dataclass(slots=True)
class Source:
    """One track that is published. `advance` sends what is due."""

    sending: Sending
    pattern: Pattern
    send: Callable[[bytes], None]
    """Protects and sends a plain RTP packet."""
    next_arrival_number: Callable[[], int]
    """Gives transport-wide sequence numbers, which all sources of a transport share."""
    packets: int = 0
    octets: int = 0
    label: int = 0
    """Tells sources apart in Stamp."""
    loudness: int = field(init=False)
    """As Pattern's, and may change."""
    is_paused: bool = True
    is_wanted: bool = True
    """Whether the server has use for it; set by what it says of that."""
    _due: float = 0.0
    _frames: int = 0
    _place: int = 0
    _lowest: int = 0
    _sequence: int = field(default_factory=lambda: int.from_bytes(os.urandom(2)) >> 2)
    _offset: int = field(default_factory=lambda: int.from_bytes(os.urandom(4)))
    _keyframe_at: float = 0.0
    _last_keyframe: float = 0.0

    def __post_init__(self) -> None:
        self.loudness = self.pattern.loudness

    def resume(self, now: float, phase: float) -> None:
        """Begin to send; `phase` (0 to 1) says where in its frame interval. Sources are not to send in step."""
        self.is_paused = False
        self._due = now + phase * self.pattern.interval_s

    def pause(self) -> None:
        """Send nothing until `resume`; the clock of the RTP timestamps goes on."""
        self.is_paused = True

    def ask_for_keyframe(self) -> None:
        """Let the next frame be a keyframe, unless one was just sent."""
        self._keyframe_at = min(self._keyframe_at, self._last_keyframe + MIN_KEYFRAME_GAP_S)

    def advance(self, now: float) -> None:
        """Send the frames that are due at `now` (seconds of time.monotonic)."""
        interval = self.pattern.interval_s
        if self.is_paused or not self.is_wanted or now < self._due:
            return
        self._due = max(self._due, now - MAX_BACKLOG * interval)
        while self._due <= now:
            self._send_frame(self._due)
            self._due += interval

    def sender_report(self, now: float) -> SenderReport:
        """Return the report for `now`."""
        return SenderReport(
            self.sending.ssrc, ntp_from_unix(time.time()), self._timestamp(now), self.packets, self.octets
        )

    def _timestamp(self, now: float) -> int:
        return self._offset + int(now * self.pattern.clock_rate) & 0xFFFFFFFF

    def _send_frame(self, at: float) -> None:
        is_video = self.pattern.kind == "video"
        is_keyframe = is_video and at >= self._keyframe_at
        count = self.pattern.burst
        if is_keyframe:
            self._last_keyframe, self._keyframe_at = at, at + KEYFRAME_INTERVAL_S
            count *= KEYFRAME_BURSTS
        self._place = 0 if is_keyframe else (self._place + 1) % len(_LAYERS)
        self._lowest += self._place == 0
        timestamp = self._timestamp(at)
        for index in range(count):
            last = index == count - 1
            content = self._descriptor(index, is_keyframe=is_keyframe) if is_video else b""
            marker = _MARKER if last and is_video else 0
            filling = bytes(self.pattern.payload_bytes - len(content) - _STAMP.size)
            header = _HEADER.pack(
                0x90, self.sending.payload_type | marker, self._sequence & 0xFFFF, timestamp, self.sending.ssrc
            )
            stamp = _STAMP.pack(
                self.label, self._frames, index, count | (_KEYFRAME_BIT if is_keyframe else 0), time.time_ns()
            )
            self.send(header + self._extensions() + content + filling + stamp)
            self._sequence += 1
        self._frames += 1
        self.packets += count
        self.octets += count * self.pattern.payload_bytes

    def _descriptor(self, index: int, *, is_keyframe: bool) -> bytes:
        first = _BEGIN if index == 0 else _CONTINUE
        picture_id = _LONG_ID | self._frames & 0x7FFF
        if self.pattern.has_temporal_layers:
            layer = _LAYERS[self._place]
            descriptor = _LAYERED_DESCRIPTOR.pack(first, _HAS_LAYERS, picture_id, self._lowest & 0xFF, layer)
        else:
            descriptor = _DESCRIPTOR.pack(first, _HAS_PICTURE_ID, picture_id)
        if index:
            return descriptor
        if not is_keyframe:
            return descriptor + _INTERFRAME_TAG
        return descriptor + _KEYFRAME_TAG.pack(_KEYFRAME_BEGIN, self.pattern.width, self.pattern.height)

    def _extensions(self) -> bytes:
        sending = self.sending
        body = b""
        if sending.level_extension:
            body += bytes((sending.level_extension << 4, _VOICE | -self.loudness))
        if sending.arrival_extension:
            body += bytes((sending.arrival_extension << 4 | 1,)) + (self.next_arrival_number() & 0xFFFF).to_bytes(2)
        for number, name in ((sending.mid_extension, sending.mid), (sending.rid_extension, self.pattern.rid)):
            if number and name:
                body += bytes((number << 4 | len(name) - 1,)) + name.encode()
        body += bytes(-len(body) % 4)
        return _EXTENSION_HEADER.pack(_ONE_BYTE_PROFILE, len(body) // 4) + body
