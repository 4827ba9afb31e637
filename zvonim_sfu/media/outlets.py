"""Who gets a layer, and how much of it: from one packet to all down tracks that carry its layer.

Receivers of the same are one `Outlet`, whose fan-out a packet passes in one call, whatever their number. A layer of
which nobody gets a part has one outlet, the whole; for others there are renditions (rtp.rendition), which number anew
what is left when layers within the SSRC are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from zvonim_sfu.rtp.description import EVERYTHING, Restriction
from zvonim_sfu.rtp.packet import NO_FIELDS
from zvonim_sfu.rtp.rendition import Placed, Position, Rendition, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.net.sending import FanOut, Sender
    from zvonim_sfu.rtp.description import Description
    from zvonim_sfu.rtp.intake import Intake
    from zvonim_sfu.rtp.packet import Fields, RtpPacket


@dataclass(slots=True, eq=False)
class Outlet:
    """What some receivers of a layer get."""

    restriction: Restriction
    fan_out: FanOut
    "The senders of those that are steady with it."
    rendition: Rendition | None = None
    "None for the whole layer."
    last: RtpPacket | None = None
    "In a rendition: the packet with the highest number."
    fields: Fields = NO_FIELDS
    "Its fields there."
    is_used: bool = True
    "Whether a receiver has had it since the last look."

    def place(self, packet: RtpPacket, sequence: int, description: Description) -> Placed | None:
        """Return how a packet of the layer goes out here; None where it is left out."""
        if self.rendition is None:
            return Placed(sequence, packet.marker, description.fields, False)
        return self.rendition.add(packet, sequence, description)

    def position(self, sequence: int) -> Position:
        """Return where it stands at the layer's newest packet, the first one of a picture, which has this number."""
        return Position(sequence, 0) if self.rendition is None else self.rendition.position()

    def sequence_of(self, number: int) -> int | None:
        """Return which packet of the layer has this number here; None if that is not known any more."""
        return number if self.rendition is None else self.rendition.sequence_of(number)


class LayerReceiver(Protocol):
    """What a layer knows of a down track."""

    def forward(self, packet: RtpPacket, layer: Layer, sequence: int, description: Description, now: float) -> None:
        """Send a packet on; `sequence` is its number extended beyond 16 bits."""

    def steady_sender(self, layer: Layer) -> Sender | None:
        """Return by what packets of this layer can go without `forward`; None while they cannot."""

    def outlet_in(self, layer: Layer) -> Outlet | None:
        """Return what it gets of this layer; None for nothing, or not yet."""

    def wanted_of(self, layer: Layer) -> Restriction | None:
        """Return how much it is to get of this layer, be it only until another one comes; None for nothing."""

    def move(self, layer: Layer, outlet: Outlet, sequence: int, now: float) -> None:
        """Get this from now on, with the layer's newest packet as the first one."""


class Outlets:
    """The receivers of one layer. Its owner is the layer, which passes each packet on here.

    Where nothing is to be asked of anybody, the layer's intake knows the fan-out, and the kernel passes packets on.
    """

    def __init__(self, intake: Intake, new_fan_out: Callable[[], FanOut]) -> None:
        self.intake = intake
        self.whole = Outlet(EVERYTHING, new_fan_out())
        self.receivers: tuple[LayerReceiver, ...] = ()
        "Those who get the layer, and those who wait for a keyframe of it."
        self.is_paused = False
        "Whether nobody is passed anything."
        self._new_fan_out = new_fan_out
        self._renditions: dict[Restriction, Outlet] = {}
        self._unsteady: tuple[LayerReceiver, ...] = ()
        "Those of the receivers that have to be asked to forward by themselves."
        self._movers: tuple[LayerReceiver, ...] = ()
        "Those that get something else of the layer than they are to get."
        self._unsorted = True
        "Whether it has to be found out anew which these are."

    def join(self, receiver: LayerReceiver) -> None:
        """Pass packets to this receiver from now on."""
        if receiver not in self.receivers:
            self.receivers = (*self.receivers, receiver)
            self.sort()

    def leave(self, receiver: LayerReceiver) -> None:
        """Pass it no more."""
        if receiver in self.receivers:
            self.receivers = tuple(other for other in self.receivers if other is not receiver)
            # Now, so that nothing more goes to it, and nothing of it stays here.
            self._empty()

    def sort(self) -> None:
        """Find out again, with the next packet, how each receiver is to be sent to: something about one has changed."""
        self._unsorted = True
        self.intake.fan_out = None

    def pause(self) -> None:
        """Pass packets to nobody until `resume`."""
        self.is_paused = True
        self._empty()

    def resume(self) -> None:
        """Pass them on again."""
        self.is_paused = False
        self.sort()

    def close(self) -> None:
        """Pass nothing on any more."""
        self.receivers = ()
        self._renditions = {}
        self._empty()

    def _empty(self) -> None:
        self._unsteady = self._movers = ()
        self.sort()
        for outlet in (self.whole, *self._renditions.values()):
            outlet.fan_out.replace(())

    def forget_renditions(self) -> None:
        """Begin anew with another codec."""
        self._renditions = {}
        self.sort()

    def has(self, outlet: Outlet) -> bool:
        """Whether packets are passed on to this one."""
        return outlet is self.whole or self._renditions.get(outlet.restriction) is outlet

    def drop_unused(self, layer: Layer) -> None:
        """Let go of renditions that nobody has had since the last time."""
        if not self._renditions:
            return
        taken = {receiver.outlet_in(layer) for receiver in self.receivers}
        self._renditions = {
            restriction: outlet for restriction, outlet in self._renditions.items() if outlet.is_used or outlet in taken
        }
        if not self._renditions:
            self.sort()
        for outlet in self._renditions.values():
            outlet.is_used = outlet in taken

    def outlet(self, layer: Layer, restriction: Restriction) -> Outlet:
        """Return what gives so much of the layer."""
        if restriction == EVERYTHING:
            return self.whole
        outlet = self._renditions.get(restriction)
        if outlet is None:
            rendition = Rendition(restriction, renumbers_pictures=layer.renumbers_pictures)
            outlet = Outlet(restriction, self._new_fan_out(), rendition)
            for sequence, packet in layer.history.packets():
                placed = rendition.add(packet, sequence, layer.description_of(packet, sequence))
                if placed is not None:
                    outlet.last, outlet.fields = packet, placed.fields
            self._renditions[restriction] = outlet
            self.intake.fan_out = None
        outlet.is_used = True
        return outlet

    def pass_on(self, layer: Layer, packet: RtpPacket, sequence: int, description: Description, now: float) -> None:
        """Send a packet of the layer on to all."""
        if self._unsorted:
            self._sort(layer)
        if self.is_paused:
            return
        if self._renditions or self._movers:
            self._pass_on_parts(layer, packet, sequence, description, now)
        else:
            fan_out = self.whole.fan_out
            receivers = self.receivers
            if sequence >= fan_out.floor:
                fan_out.forward(packet, sequence, packet.marker, description.fields)
                receivers = self._unsteady
            for receiver in receivers:
                receiver.forward(packet, layer, sequence, description, now)
        for receiver in self._unsteady:
            if receiver.steady_sender(layer) is not None:
                self.sort()

    def _pass_on_parts(
        self, layer: Layer, packet: RtpPacket, sequence: int, description: Description, now: float
    ) -> None:
        before = layer.last
        is_newest = sequence > layer.highest
        moves = []
        if is_newest and self._movers:
            follows = before is not None and sequence == layer.highest + 1 and packet.timestamp != before.timestamp
            begins_picture = description.begins_frame and follows
            for receiver in self._movers:
                outlet, wanted = receiver.outlet_in(layer), receiver.wanted_of(layer)
                if outlet is not None and wanted is not None:
                    moved = _next(outlet.restriction, wanted, layer.top, description, begins_picture=begins_picture)
                    if moved != outlet.restriction:
                        moves.append((receiver, self.outlet(layer, moved)))
        placed = []
        for outlet in self._renditions.values():
            place = outlet.place(packet, sequence, description)
            if place is not None and is_newest:
                placed.append((outlet, place))
        for receiver, outlet in moves:
            receiver.move(layer, outlet, sequence, now)
        if moves:
            self._sort(layer)
        if not is_newest:
            # Each receiver knows what it got when this was due.
            for receiver in self.receivers:
                receiver.forward(packet, layer, sequence, description, now)
            return
        self.whole.fan_out.forward(packet, sequence, packet.marker, description.fields)
        for outlet, (number, marker, fields, _) in placed:
            outlet.fan_out.forward(packet, number, marker, fields)
            outlet.last, outlet.fields = packet, fields
        for receiver in self._unsteady:
            receiver.forward(packet, layer, sequence, description, now)

    def _sort(self, layer: Layer) -> None:
        senders: dict[Outlet, list[Sender]] = {}
        unsteady = []
        movers = []
        for receiver in () if self.is_paused else self.receivers:
            sender, outlet = receiver.steady_sender(layer), receiver.outlet_in(layer)
            if outlet is not None:
                wanted = receiver.wanted_of(layer)
                if wanted is not None and wanted != outlet.restriction:
                    movers.append(receiver)
            if sender is None or outlet is None:
                unsteady.append(receiver)
            else:
                senders.setdefault(outlet, []).append(sender)
        for outlet in (self.whole, *self._renditions.values()):
            outlet.fan_out.replace(senders.get(outlet, ()))
        self._unsteady, self._movers = tuple(unsteady), tuple(movers)
        self._unsorted = False
        self.intake.fan_out = None if self._renditions or movers or unsteady else self.whole.fan_out


def _next(
    current: Restriction, wanted: Restriction, top: Restriction, description: Description, *, begins_picture: bool
) -> Restriction:
    """Return what a receiver gets from a packet on; `top` is all that there is, which is as good as everything."""
    if description.keyframe:
        return wanted
    had, target = _lower(current, top), _lower(wanted, top)
    if had == target:
        return wanted
    moved = step(had, target, description, begins_picture=begins_picture)
    if moved is None or moved == had:
        return current
    return wanted if moved == target else moved


def _lower(one: Restriction, other: Restriction) -> Restriction:
    return Restriction(min(one.spatial, other.spatial), min(one.temporal, other.temporal))
