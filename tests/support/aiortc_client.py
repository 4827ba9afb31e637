"""An aiortc client that publishes a colour and a tone, and tells what it receives from whom."""

from __future__ import annotations

import asyncio
import fractions
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aioice.ice
import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidStateError
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import SessionDescription

from tests.support.ask_again import Asker

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT, FRAMES_PER_SECOND = 160, 96, 10
SAMPLE_RATE, SAMPLES = 48000, 960
Colour = tuple[int, int, int]

# aioice leaves loopback out and would bind and send on this host's other addresses.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"] if use_ipv4 else []


class ColourTrack(MediaStreamTrack):
    """A camera that sees one colour."""

    kind = "video"

    def __init__(self, colour: Colour, index: int = 0) -> None:
        super().__init__()
        self._picture = np.full((HEIGHT, WIDTH, 3), colour, dtype=np.uint8)
        self.index = index

    async def recv(self) -> av.VideoFrame:
        await asyncio.sleep(1 / FRAMES_PER_SECOND)
        frame = av.VideoFrame.from_ndarray(self._picture, format="rgb24")
        frame.pts, frame.time_base = self.index * (90000 // FRAMES_PER_SECOND), fractions.Fraction(1, 90000)
        self.index += 1
        return frame


class ToneTrack(MediaStreamTrack):
    """A microphone that hears one tone."""

    kind = "audio"

    def __init__(self, hertz: float) -> None:
        super().__init__()
        self._hertz = hertz
        self._index = 0

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(SAMPLES / SAMPLE_RATE)
        times = (np.arange(SAMPLES) + self._index) / SAMPLE_RATE
        samples = (np.sin(2 * np.pi * self._hertz * times) * 12000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, self._index
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        self._index += SAMPLES
        return frame


@dataclass
class Received:
    """What was decoded in one m-section."""

    frames: int = 0
    colour: Colour = (0, 0, 0)
    hertz: float = 0.0
    _samples: list[np.ndarray[Any, Any]] = field(default_factory=list)

    def add_picture(self, frame: av.VideoFrame) -> None:
        """Note the colour in the middle of a picture."""
        self.frames += 1
        red, green, blue = frame.to_ndarray(format="rgb24")[HEIGHT // 2, WIDTH // 2]
        self.colour = (int(red), int(green), int(blue))

    def add_sound(self, frame: av.AudioFrame) -> None:
        """Note the loudest frequency of the last half second."""
        self.frames += 1
        samples = frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)]
        self._samples = [*self._samples[-24:], samples]
        if len(self._samples) == 25:
            spectrum = np.abs(np.fft.rfft(np.concatenate(self._samples)))
            self.hertz = float(spectrum.argmax() * frame.sample_rate / sum(map(len, self._samples)))


class PeerConnection(RTCPeerConnection):
    """As aiortc's, but it may be closed while it connects.

    aiortc's task goes on then: it starts senders and receivers that have just been stopped, or fails where nobody sees
    it, and what remembers that failure keeps the whole connection in memory.
    """

    async def _RTCPeerConnection__connect(self) -> None:  # noqa: N802 - the name is aiortc's
        try:
            await super()._RTCPeerConnection__connect()  # type: ignore[misc]
        except InvalidStateError:
            if self.signalingState != "closed":
                raise
        if self.signalingState == "closed":
            for transceiver in self.getTransceivers():
                await transceiver.stop()


class AiortcClient:
    """A peer connection with a colour and a tone, and a consumer for every m-section that it receives in."""

    def __init__(self, colour: Colour | None = None, hertz: float = 0.0) -> None:
        # Without a list of servers aiortc asks a public one for its address.
        self.pc = PeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.received: dict[str, Received] = {}
        "By mid."
        self._consumers: set[asyncio.Task[None]] = set()
        self._askers: list[Asker] = []
        self._camera: ColourTrack | None = None
        if colour is not None:
            self._camera = ColourTrack(colour)
            self.pc.addTrack(ToneTrack(hertz))
            self.pc.addTrack(self._camera)

    @property
    def publishes(self) -> bool:
        """Whether there is anything to send."""
        return self._camera is not None

    def show(self, colour: Colour | None) -> None:
        """Let the camera see another colour, or nothing: no negotiation is needed."""
        sender = next(t.sender for t in self.pc.getTransceivers() if t.kind == "video" and t.sender is not None)
        if colour is None:
            sender.replaceTrack(None)
            return
        # Time goes on: libvpx takes nothing from before its first picture, and REMB may have made it begin anew. The
        # former camera may be about to deliver one more.
        self._camera = ColourTrack(colour, self._camera.index + 1 if self._camera is not None else 0)
        sender.replaceTrack(self._camera)

    def prefer_h264(self) -> None:
        """Send H264 where the other side has it; before the first offer."""
        codecs = RTCRtpSender.getCapabilities("video").codecs
        camera = next(t for t in self.pc.getTransceivers() if t.kind == "video")
        camera.setCodecPreferences(sorted(codecs, key=lambda codec: codec.mimeType != "video/H264"))

    def add_slots(self, pairs: int) -> None:
        """Declare pairs of m-sections for whatever the server puts there; before the first offer."""
        for _ in range(pairs):
            for kind in ("audio", "video"):
                self.pc.addTransceiver(kind, direction="recvonly")

    async def offer(self) -> str:
        """Make an offer of what is published."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def accept_answer(self, sdp: str) -> None:
        """Take the answer to `offer`."""
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        self._consume()

    async def answer(self, sdp: str) -> str:
        """Answer an offer."""
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        self._consume()
        return self.pc.localDescription.sdp

    def _consume(self) -> None:
        for transceiver in self.pc.getTransceivers():
            track, mid = transceiver.receiver.track, transceiver.mid
            receives = transceiver.currentDirection in ("recvonly", "sendrecv")
            if receives and mid and mid not in self.received:
                received = self.received[mid] = Received()
                self._consumers.add(asyncio.create_task(self._read(track, received)))
                if track.kind == "video":
                    self._askers.append(Asker(transceiver.receiver))

    @staticmethod
    async def _read(track: MediaStreamTrack, received: Received) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if isinstance(frame, av.VideoFrame):
                received.add_picture(frame)
            elif isinstance(frame, av.AudioFrame):
                received.add_sound(frame)

    def names(self) -> dict[str, tuple[str, str]]:
        """Stream and track of each m-section that the server sends in, as its last description says."""
        remote = self.pc.remoteDescription
        if remote is None:
            return {}
        return {
            media.rtp.muxId: (stream, track)
            for media in SessionDescription.parse(remote.sdp).media
            if media.msid and media.direction in ("sendonly", "sendrecv")
            for stream, _, track in [media.msid.partition(" ")]
        }

    def heard_from(self, user_id: str, track_id: str) -> Received | None:
        """What was decoded of a member's track; None if the server sends it in no m-section now."""
        mid = next((mid for mid, name in self.names().items() if name == (user_id, track_id)), None)
        return self.received.get(mid) if mid is not None else None

    async def close(self) -> None:
        """End the peer connection and all consumers."""
        await self.pc.close()
        for asker in self._askers:  # not before: what still comes may make them ask
            await asker.close()
        for task in self._consumers:
            task.cancel()
        await asyncio.gather(*self._consumers, return_exceptions=True)


def is_colour(seen: Colour, shown: Sequence[int]) -> bool:
    """Whether a decoded colour is the published one, codec losses aside."""
    return all(abs(a - b) < 40 for a, b in zip(seen, shown, strict=True))
