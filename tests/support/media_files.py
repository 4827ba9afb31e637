"""Cameras and microphones for the tests: one colour with a moving mark, and one steady tone, per participant."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

WIDTH: Final = 320
HEIGHT: Final = 180
"""Four or five encoders and a dozen decoders of this size are what two cores hold."""
FRAMES_PER_SECOND: Final = 12
SAMPLE_RATE_HZ: Final = 48_000
GRAIN: Final = 10.0
"""Standard deviation, of 219 steps between black and white."""
TONE_AMPLITUDE: Final = 8_000
"""Of 32,767: well above any threshold, and four of them together do not clip."""
MARK_PIXELS: Final = 24


@dataclass(frozen=True, slots=True)
class Appearance:
    """What one participant looks and sounds like, so that nobody can be taken for another."""

    name: str
    colour: tuple[int, int, int]
    tone_hz: int

    def __repr__(self) -> str:
        return self.name


# Far apart after chroma subsampling and low-rate encoding; no tone is a harmonic of another.
ANN: Final = Appearance("Ann", (200, 40, 40), 430)
BOB: Final = Appearance("Bob", (40, 160, 60), 730)
CID: Final = Appearance("Cid", (50, 70, 210), 1130)
DEE: Final = Appearance("Dee", (210, 190, 40), 1730)
PEOPLE: Final = (ANN, BOB, CID, DEE)


def write_camera(path: Path, colour: tuple[int, int, int], fps: int = FRAMES_PER_SECOND) -> None:
    """Write one second of Y4M, which Chromium plays in a loop at its frame rate.

    The upper half is plain; through the lower half a white square moves, so that a frozen picture is seen as such.
    """
    luma, blue, red = _bt601(colour)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        chroma = bytes([blue]) * (WIDTH * HEIGHT // 4) + bytes([red]) * (WIDTH * HEIGHT // 4)
        for number in range(fps):
            plane = np.full((HEIGHT, WIDTH), luma, np.uint8)
            left = (WIDTH - MARK_PIXELS) * number // fps
            plane[HEIGHT * 3 // 4 : HEIGHT * 3 // 4 + MARK_PIXELS, left : left + MARK_PIXELS] = 255
            file.write(b"FRAME\n" + plane.tobytes() + chroma)


def write_noisy_camera(path: Path, width: int, height: int, fps: int) -> None:
    """Write Y4M of squares, a quarter of which change with each frame: nothing that an encoder could predict.

    At 640x360 and 15 frames/s this takes all of a camera's usual bitrate, and is still a picture at a third of it.
    """
    random = np.random.default_rng(1)
    squares = random.integers(16, 235, (height // 8, width // 8), np.uint8)
    chroma = bytes([128]) * (width * height // 2)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for _ in range(fps):
            changed = random.random(squares.shape) < 0.25
            squares = np.where(changed, random.integers(16, 235, squares.shape, np.uint8), squares)
            file.write(b"FRAME\n" + np.kron(squares, np.ones((8, 8), np.uint8)).tobytes() + chroma)


def write_grainy_camera(path: Path, width: int, height: int, fps: int) -> None:
    """Write Y4M of grain over a slope: it takes whatever bitrate there is, in any size, and is a picture at any.

    Smaller sizes have less of the grain, so an encoder needs to leave out no frames of them.
    """
    random = np.random.default_rng(1)
    slope = np.linspace(60, 190, width)[None, :] + np.linspace(-20, 20, height)[:, None]
    chroma = bytes([128]) * (width * height // 2)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for _ in range(fps):
            grain = random.normal(0, GRAIN, (height, width))
            file.write(b"FRAME\n" + (slope + grain).clip(16, 235).astype(np.uint8).tobytes() + chroma)


def write_microphone(path: Path, tone_hz: int) -> None:
    """Write one second of a sine as WAV; a whole number of periods, so the loop has no seam."""
    seconds = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    samples = (TONE_AMPLITUDE * np.sin(2 * np.pi * tone_hz * seconds)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(samples.tobytes())


def write_devices(folder: Path, who: Appearance, fps: int = FRAMES_PER_SECOND) -> tuple[Path, Path]:
    """Write both files of one participant and return their paths: camera, microphone."""
    camera, microphone = folder / f"{who.name}.y4m", folder / f"{who.name}.wav"
    write_camera(camera, who.colour, fps)
    write_microphone(microphone, who.tone_hz)
    return camera, microphone


def _bt601(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Y, Cb, Cr in video range (ITU-R BT.601), which is what browsers take an untagged file for."""
    red, green, blue = (part / 255 for part in colour)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return (
        round(16 + 219 * luma),
        round(128 + 224 * 0.5 * (blue - luma) / (1 - 0.114)),
        round(128 + 224 * 0.5 * (red - luma) / (1 - 0.299)),
    )
