"""What is counted of a layer's packets, by the layer's own words: it stands where the packet kernel counts too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zvonim_sfu.rtp.intake import Intake
    from zvonim_sfu.rtp.packet import RtpPacket


class Counted:
    """Reads an intake for all who have a layer; what is done with each packet goes to the intake itself."""

    __slots__ = ()

    intake: Intake

    @property
    def is_video(self) -> bool:
        """Whether it is of pictures."""
        return self.intake.is_video

    @property
    def payload_type(self) -> int:
        """Of its last packet; -1 when the up track has to look at the next one."""
        return self.intake.payload_type

    @payload_type.setter
    def payload_type(self, payload_type: int) -> None:
        self.intake.payload_type = payload_type

    @property
    def last_at(self) -> float:
        """When its last packet came."""
        return self.intake.last_at

    @last_at.setter
    def last_at(self, now: float) -> None:
        self.intake.last_at = now

    @property
    def highest(self) -> int:
        """The highest number that has come; -1 before the first."""
        return self.intake.highest

    @property
    def last(self) -> RtpPacket | None:
        """The packet with it."""
        return self.intake.last

    @property
    def packets(self) -> int:
        """How many were forwarded or kept: each once, repairs included."""
        return self.intake.packets

    @property
    def octets(self) -> int:
        """Of their payload."""
        return self.intake.octets

    @property
    def frames(self) -> int:
        """How many of them have the marker, which ends a picture."""
        return self.intake.frames
