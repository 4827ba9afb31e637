"""One encoding of an up track: what is known of its SSRC, and its latest packets."""

from __future__ import annotations

from dataclasses import dataclass, field

from zvonim_sfu.rtp.history import PacketHistory
from zvonim_sfu.rtp.nack import NackRegister
from zvonim_sfu.rtp.rate import BitrateMeter
from zvonim_sfu.rtp.reception import ReceptionStatistics
from zvonim_sfu.rtp.timing import SenderClock


@dataclass(slots=True, eq=False)
class Layer:
    """State that lives as long as the SSRC; media.up_track does what there is to do with it."""

    ssrc: int
    statistics: ReceptionStatistics
    clock: SenderClock
    register: NackRegister | None
    "What is missing; None where the publisher answers no NACK."
    history: PacketHistory = field(default_factory=PacketHistory)
    payload_type: int = -1
    "Of its last packet; -1 when it has to be looked up again."
    packets: int = 0
    "That were forwarded or kept: each once, repairs included."
    octets: int = 0
    "Of their payload."
    rate: BitrateMeter = field(default_factory=BitrateMeter)
    "Of these octets, updated each second."
    requested: int = 0
    "Packets that the publisher was asked for again, each time that it was."
    repaired: int = 0
    "Packets that came as retransmissions."
    duplicates: int = 0
    "Packets that were dropped because they had come before, or came too late to be told from such."

    @classmethod
    def of(cls, ssrc: int, clock_rate: int, *, repairable: bool) -> Layer:
        """A layer that begins."""
        register = NackRegister() if repairable else None
        return cls(ssrc, ReceptionStatistics(clock_rate), SenderClock(clock_rate), register)
