"""Counters of a whole node. They never go back: what tracks and transports counted is taken over when they end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from zvonim_sfu.rtp.rate import BitrateMeter

if TYPE_CHECKING:
    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.net.drops import DropReason
    from zvonim_sfu.net.receiving import Ingress
    from zvonim_sfu.net.sending import Egress, Sender
    from zvonim_sfu.rtp.rtcp import ReportBlock


class Failure(StrEnum):
    """Why a transport did not come up; the values are the labels in statistics."""

    UNREACHED = "unreached"
    """No authentic check arrived."""
    TIMEOUT = "timeout"
    """The DTLS handshake did not end."""
    REFUSED = "refused"
    """The DTLS handshake failed: another certificate than announced, or no SRTP profile in common."""


@dataclass(slots=True)
class ReceivedCounters:
    """What came of some up tracks, their layers added up."""

    packets: int = 0
    octets: int = 0
    lost: int = 0
    requested: int = 0
    repaired: int = 0
    duplicates: int = 0
    keyframe_requests: int = 0

    def add_layer(self, layer: Layer) -> None:
        """Add what one layer has counted so far."""
        self.packets += layer.packets
        self.octets += layer.octets
        self.lost += layer.statistics.lost
        self.requested += layer.requested
        self.repaired += layer.repaired
        self.duplicates += layer.duplicates
        self.keyframe_requests += layer.keyframe_requests

    def add(self, other: ReceivedCounters) -> None:
        """Add those of another."""
        self.packets += other.packets
        self.octets += other.octets
        self.lost += other.lost
        self.requested += other.requested
        self.repaired += other.repaired
        self.duplicates += other.duplicates
        self.keyframe_requests += other.keyframe_requests


@dataclass(slots=True)
class DownTrackCounters:
    """Counters of one down track."""

    sender: Sender
    nacked: int = 0
    "Packets that the subscriber asked for again."
    repaired: int = 0
    "Those that were sent again."
    rate: BitrateMeter = field(default_factory=BitrateMeter)
    "Of these octets, updated each second."
    report: ReportBlock | None = None
    "What the subscriber last reported: loss, jitter (RFC 3550 section 6.4.1)."

    @property
    def packets(self) -> int:
        """How many were sent, retransmissions left out."""
        return self.sender.packets

    @property
    def octets(self) -> int:
        """Of their payload."""
        return self.sender.octets


@dataclass(slots=True)
class Totals:
    """Counters of all transports and tracks that a node had."""

    packets_received: int = 0
    bytes_received: int = 0
    packets_sent: int = 0
    bytes_sent: int = 0
    up: ReceivedCounters = field(default_factory=ReceivedCounters)
    down_packets: int = 0
    nacked: int = 0
    repaired: int = 0
    connected: int = 0
    "Transports that came up."
    failures: Counter[Failure] = field(default_factory=Counter)
    "Transports that did not, by reason."
    drops: Counter[DropReason] = field(default_factory=Counter)

    def add_path(self, ingress: Ingress, egress: Egress) -> None:
        """Add what a transport received and sent."""
        self.packets_received += ingress.packets_received
        self.bytes_received += ingress.bytes_received
        self.packets_sent += egress.packets_sent
        self.bytes_sent += egress.bytes_sent
        self.drops.update(egress.drops)

    def add_down_track(self, counters: DownTrackCounters) -> None:
        """Add what a down track has counted."""
        self.down_packets += counters.packets
        self.nacked += counters.nacked
        self.repaired += counters.repaired

    def add(self, other: Totals) -> None:
        """Add those of another."""
        self.packets_received += other.packets_received
        self.bytes_received += other.bytes_received
        self.packets_sent += other.packets_sent
        self.bytes_sent += other.bytes_sent
        self.up.add(other.up)
        self.down_packets += other.down_packets
        self.nacked += other.nacked
        self.repaired += other.repaired
        self.connected += other.connected
        self.failures.update(other.failures)
        self.drops.update(other.drops)
