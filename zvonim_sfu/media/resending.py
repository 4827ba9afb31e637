"""What a down track sends again: packets of its present span and of the latest former ones (RFC 4585, RFC 4588)."""

from __future__ import annotations

import math
import secrets
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.bandwidth.pacer import Priority
from zvonim_sfu.media.span import NO_PAYLOAD_NUMBERS, PayloadNumbers
from zvonim_sfu.net.sending import UNPACED, shift_fields
from zvonim_sfu.rtp.history import MAX_REPLAY_BYTES
from zvonim_sfu.rtp.packet import FIXED_HEADER_BYTES, ExtensionPlan
from zvonim_sfu.rtp.rendition import padding_only
from zvonim_sfu.rtp.rtx import PADDING, wrap
from zvonim_sfu.rtp.sequence import seq_delta

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.span import Span
    from zvonim_sfu.net.sending import Batch, Sender
    from zvonim_sfu.rtp.budget import RepairBudget
    from zvonim_sfu.rtp.description import Description
    from zvonim_sfu.rtp.packet import RtpPacket, Tail

_pack_header = Struct("!BBHII").pack
# Repairs that are remembered, so that none is sent twice within a round trip: more than one round trip's loss.
MAX_RESENT: Final = 512
# Former spans whose packets can still be sent again: more switches than happen in the two seconds that layers keep.
MAX_SPANS: Final = 8

# A picture that goes on may begin with what came of another layer already, up to so much at once; more of it is better
# asked for anew, as the link may be the reason of the switch. 0.2 s of 1.2 Mbit/s.
MAX_SWITCH_BYTES: Final = 30_000
# No more than this while the link is flooded: most of a burst would be lost in its queue, and be asked for again.
MAX_FLOODED_BYTES: Final = 4_000
# With which number a source begins, and what payloads had before it, until one has begun.
NOT_BEGUN: Final = (0, NO_PAYLOAD_NUMBERS)


class Rewritten(NamedTuple):
    """What a packet goes out as."""

    number: int
    """Extended beyond 16 bits."""
    timestamp: int
    header: bytes
    tail: Tail


def rewrite(packet: RtpPacket, sequence: int, description: Description, span: Span, sender: Sender) -> Rewritten | None:
    """Return what a packet of a span goes out as; None where it does not."""
    placed = span.outlet.place(packet, sequence, description)
    if placed is None:
        return None
    if placed.filler:
        packet = padding_only(packet)
    number = placed.number + span.sequence_offset
    timestamp = span.timestamp(packet, sequence)
    tail = shift_fields(packet.tail(sender.plan), placed.fields, span)
    second_byte = placed.marker << 7 | span.payload_type
    header = _pack_header(tail.first_byte, second_byte, number & 0xFFFF, timestamp, sender.ssrc)
    return Rewritten(number, timestamp, header, tail)


class Resending:
    """Its owner is the down track."""

    def __init__(self, sender: Sender, batch: Batch) -> None:
        self._sender = sender
        self._batch = batch
        self._rtx_ssrc = 0
        self._transport_wide = 0
        self._types: Mapping[int, int] = {}
        "What the subscriber calls retransmissions of each payload type; others are sent again as they were."
        self._rtx_sequence = secrets.randbits(15)
        self._resent: dict[int, float] = {}
        "When packets were last sent again, by their number; the latest ones."
        self._former: deque[Span] = deque(maxlen=MAX_SPANS)
        self._begun = NOT_BEGUN
        "With which number the latest keyframe began, and what payloads had before it."

    def configure(self, rtx_ssrc: int, types: Mapping[int, int], transport_wide: int) -> None:
        """Take over what was negotiated: the SSRC of retransmissions, 0 where none are taken, and payload types.

        And the number of the header extension with transport-wide numbers, 0 where there are none.
        """
        self._transport_wide = transport_wide
        self._rtx_ssrc = rtx_ssrc
        self._types = types if rtx_ssrc else {}

    def forward(self, packet: RtpPacket, sequence: int, description: Description, span: Span) -> None:
        """Send a packet of a span for the first time."""
        sender = self._sender
        if (rewritten := rewrite(packet, sequence, description, span, sender)) is None:
            return
        number, timestamp, header, tail = rewritten
        if number > sender.last_sequence:
            sender.last_sequence = number
            sender.last_timestamp = timestamp
        self._batch.append(sender.egress, header, tail.data, tail.number_at, sender.priority)
        sender.packets += 1
        sender.octets += tail.octets

    def began(self, number: int, before: PayloadNumbers) -> None:
        """Note that a keyframe, or a sound, begins with this number, and what payloads had before it."""
        self._begun = number, before

    def keep(self, span: Span, last: int) -> None:
        """Remember a span that has ended just now, with this number of its layer."""
        span.last = last
        self._former.append(span)

    @property
    def latest(self) -> Span | None:
        """The span that ended last, of the source that is still carried."""
        return self._former[-1] if self._former else None

    def span_at(self, layer: Layer, sequence: int) -> Span | None:
        """Return the former span to which a packet of a layer belongs that comes late."""
        return next((s for s in self._former if s.layer is layer and s.first <= sequence <= s.last), None)

    def forget(self) -> None:
        """Forget former spans: what is kept of them is of no use any more."""
        self._former.clear()
        self._begun = NOT_BEGUN

    def send(self, number: int, present: Span | None, budget: RepairBudget, now: float, round_trip_s: float) -> bool:
        """Send a packet (by its 16-bit number) again, if it is kept and the subscriber's link allows it.

        The same packet not twice within `round_trip_s`: the shortest one, since who asks again has waited for one by
        its own measure, and in jitter a smoothed one would refuse every other of those requests.

        By RTX (RFC 4588) where that was negotiated, else as the same packet once more: AEAD allows no two packets under
        one nonce (RFC 7714 section 9.1). So it has the transport-wide number that it had, and where that is not known
        any more it is not sent.
        """
        sender = self._sender
        sequence_out = sender.last_sequence + seq_delta(number, sender.last_sequence & 0xFFFF)
        if sequence_out > sender.last_sequence or now - self._resent.get(sequence_out, -math.inf) < round_trip_s:
            return False
        for span in (present, *reversed(self._former)):
            if span is None or (sequence := span.find(sequence_out)) is None:
                continue  # of another source, or kept of a paused one, and never sent
            former = None
            if self._transport_wide and span.payload_type not in self._types:
                history = sender.egress.history
                former = None if history is None else history.sound(sender.ssrc, number)
                if former is None:
                    return False
            packet = span.layer.history.get(sequence, now)
            if packet is None or not budget.take(len(packet.data), sent=sender.egress.bytes_sent, now=now):
                return False
            self._resent[sequence_out] = now
            if len(self._resent) > MAX_RESENT:
                del self._resent[next(iter(self._resent))]
            self._send(packet, sequence, span, former)
            return True
        return False

    def room(self, *, goes_on: bool) -> int:
        """Return with how many bytes a picture may begin at once; `goes_on`: another layer of it was shown before."""
        gate = self._sender.egress.gate
        if not goes_on:
            return MAX_REPLAY_BYTES
        return MAX_FLOODED_BYTES if gate is not None and gate.is_flooded else MAX_SWITCH_BYTES

    def take_back(self, now: float) -> PayloadNumbers | None:
        """Let go of what waits to be sent of the same source, for a keyframe is to come; its numbers are given again.

        That is, since the latest keyframe, and behind a packet that is still kept: of what waits before it nothing is
        known any more, and it is sent. So the receiver misses nothing, and the keyframe does not wait for pictures that
        nobody needs any more. A number that has left stays the highest: SRTP allows none twice (RFC 3711 section 9.1).
        Returns what the packet with that number has in its payload; None if nothing was let go.
        """
        sender = self._sender
        gate = sender.egress.gate
        if gate is None or not self._former or not self._former[-1].layer.history.size:
            return None  # of another source, or of one that has ended: what was in its packets is not known any more
        waiting = gate.waiting(sender.ssrc)
        begun, before = self._begun
        first = end = sender.last_sequence + 1
        while first > begun and (first - 1) & 0xFFFF in waiting:
            first -= 1
        numbers = None
        while first < end and numbers is None:
            numbers = before if first == begun else self._numbers_of(first - 1, now)
            first += numbers is None
        gate.take_back(sender.ssrc, self._rtx_ssrc, first & 0xFFFF)
        sender.last_sequence = first - 1
        return numbers

    def _numbers_of(self, number: int, now: float) -> PayloadNumbers | None:
        """Return what the packet that went out with this number has in its payload; None if that is not known."""
        for span in reversed(self._former):
            sequence = span.find(number)
            if sequence is not None:
                packet = span.layer.history.get(sequence, now)
                return span.numbers_of(packet, sequence) if packet is not None else None
        return None

    def _send(self, packet: RtpPacket, sequence: int, span: Span, former: int | None) -> None:
        """Append a packet; `former` is the transport-wide number that it had, None if it gets another."""
        sender = self._sender
        rewritten = rewrite(packet, sequence, span.layer.description_of(packet, sequence), span, sender)
        if rewritten is None:
            return
        header, tail = rewritten.header, rewritten.tail
        data, number_at = tail.data, tail.number_at
        repair_type = self._types.get(span.payload_type)
        if former is not None:
            data, number_at = data[:number_at] + former.to_bytes(2) + data[number_at + 2 :], -1
        elif repair_type is not None:
            self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            header, data = wrap(
                header, tail, ssrc=self._rtx_ssrc, payload_type=repair_type, sequence_number=self._rtx_sequence
            )
        self._batch.append(sender.egress, header, data, number_at, Priority.REPAIR)

    def pad(self, size: int) -> bool:
        """Send about `size` bytes of padding; False if the subscriber takes no retransmissions of what is sent, if any.

        As retransmissions of nothing, as libwebrtc sends them: they disturb no numbers of the picture.
        """
        sender = self._sender
        repair_type = self._types.get(sender.payload_type)
        if repair_type is None or not sender.packets:
            return False
        tail = PADDING.tail(ExtensionPlan({}, transport_wide=self._transport_wide))
        for _ in range(math.ceil(size / (FIXED_HEADER_BYTES + len(tail.data)))):
            self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            header = _pack_header(
                tail.first_byte, repair_type, self._rtx_sequence, sender.last_timestamp, self._rtx_ssrc
            )
            self._batch.append(sender.egress, header, tail.data, tail.number_at, UNPACED)
        return True
