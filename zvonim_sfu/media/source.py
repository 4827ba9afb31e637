"""What a track shows or carries."""

from __future__ import annotations

from enum import StrEnum


class Source(StrEnum):
    """Where a track comes from, as told on the wire."""

    CAMERA = "camera"
    MICROPHONE = "microphone"
    SCREEN = "screen"
    SCREEN_AUDIO = "screen-audio"

    @property
    def kind(self) -> str:
        """`audio` or `video`, the media name of its m-section."""
        return "audio" if self in (Source.MICROPHONE, Source.SCREEN_AUDIO) else "video"

    @classmethod
    def default(cls, kind: str, *, first: bool) -> Source:
        """The source of a track whose publisher named none: the first of its kind is taken for the person's own."""
        if kind == "audio":
            return cls.MICROPHONE if first else cls.SCREEN_AUDIO
        return cls.CAMERA if first else cls.SCREEN
