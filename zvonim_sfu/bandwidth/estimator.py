"""The bandwidth estimate towards one receiver, from its feedback (draft-ietf-rmcat-gcc-02 and libwebrtc's practice).

How to use it, for each transport that sends media:

1. Each packet that carries a transport-wide number is put into `history`, which hands out the numbers: `on_sent`, or
   compiled code that writes the same arrays. This is the only thing that happens per packet.
2. Each transport feedback goes to `on_feedback`, each REMB to `on_remb`. Either may change `estimate_bps`; the pacer
   and the allocation are told then.
   For a client without transport-wide numbers nothing is put into `history`; the estimate is its REMB then.
3. A timer calls `on_timer` some times a second, and `next_probe` with what would be sent if the link held it. A probe
   that it returns is given to the pacer before anything else is sent; when the pacer has sent it, `on_probe_sent` is
   called before anything else is sent. All that is sent in between is part of it.

Costs, in Python 3.11 on 2 cores of a virtual machine: `on_sent` 0.25 us, `on_feedback` 20 to 50 us for 3 to 40 packets
that it reports, `next_probe` 0.3 us when there is no need. A hundred receivers that report 20 times a second take a
tenth of a core. 50 KiB for each receiver.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from zvonim_sfu.bandwidth.aimd import RateControl
from zvonim_sfu.bandwidth.contention import Contention
from zvonim_sfu.bandwidth.groups import ArrivalGroups
from zvonim_sfu.bandwidth.history import SendHistory
from zvonim_sfu.bandwidth.loss import LossBound
from zvonim_sfu.bandwidth.probing import MIN_GAIN, Probe, ProbeControl
from zvonim_sfu.bandwidth.queueing import LASTING_QUEUE_S, MIN_WAIT_S, Queueing
from zvonim_sfu.bandwidth.reports import ReportReader
from zvonim_sfu.bandwidth.throughput import Throughput
from zvonim_sfu.bandwidth.trendline import Trendline, Usage
from zvonim_sfu.rtp.round_trip import RoundTrip

if TYPE_CHECKING:
    from zvonim_sfu.bandwidth.reports import Report
    from zvonim_sfu.rtp.transport_cc import TransportFeedback

START_BPS: Final = 600_000
MIN_BPS: Final = 50_000
"""A voice, its headers and a little."""
MAX_BPS: Final = 20_000_000

# Packets of which nothing is heard for so long, beyond a round trip: the link is broken, one way or the other.
SILENCE_S: Final = 1.0
SILENCE_BACKOFF: Final = 0.5
# A round trip that is longer than the shortest by so much has a queue in it.
QUEUEING_S: Final = 0.1
# A REMB is repeated every second or so; what is older was another link's.
REMB_VALID_S: Final = 10.0
# Below this share of the estimate, the application does not fill what it may: the estimate is not tested by it.
APPLICATION_LIMITED: Final = 0.65
# A link that carries less than this share of the estimate has become another one: its queue is full before the slope
# of delays, smoothed as it is, tells of it.
COLLAPSED: Final = 0.35
# ... and less than this share of what is sent: else jitter may be the reason that little seems to come through.
COLLAPSED_SENT: Final = 0.75
# Beside a probe the slope tells nothing: less is believed there. Out of a probe's own queue comes what the link holds.
COLLAPSED_PROBED: Final = 0.5
# Less than this share of the estimate does not fill a link, though each frame has to get through.
UNFILLED: Final = 0.7
# A voice and the smallest picture are less: what comes of so little in a tenth of a second is a matter of chance, and a
# queue of it grows slowly. It is one when it has lasted for so long.
THIN_BPS: Final = 120_000
THIN_LASTING_S: Final = 0.3
# Above this share of what is wanted, it is what is sent: nothing is left to be found out.
SERVED: Final = 0.95


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the estimate is made of, for statistics. Rates in bit/s, times in seconds."""

    estimate_bps: float
    delay_bps: float
    """By the growth of queues."""
    loss_bps: float
    """By loss; infinite when it bounds nothing."""
    remb_bps: float
    """What the receiver has asked for by REMB; infinite when it has not."""
    sent_bps: float
    acknowledged_bps: float
    """What came through lately; 0 while unknown, as before it."""
    loss: float
    """Share of packets, 0..1."""
    round_trip_s: float
    usage: Usage
    bound: str
    """Which of them the estimate is: `delay`, `loss`, `remb`, `min` or `max`."""


class Estimator:
    """The estimate for one receiver. See the module for how to use it.

    Args:
        start_bps: before the first feedback.
        min_bps: never less.
        max_bps: never more.
        history: where packets are noted; by default one of its own.
    """

    __slots__ = (
        "_before_silence_bps",
        "_contention",
        "_groups",
        "_loss",
        "_probes",
        "_queueing",
        "_rate",
        "_reader",
        "_remb_at",
        "_remb_bps",
        "_reported",
        "_round_trip",
        "_silenced_at",
        "_throughput",
        "_trendline",
        "estimate_bps",
        "history",
        "max_bps",
        "min_bps",
    )

    estimate_bps: float
    """What the link holds, in bit/s of what is counted as size in `history`."""
    history: SendHistory
    """What was sent; to be written for each packet."""

    def __init__(
        self,
        *,
        start_bps: float = START_BPS,
        min_bps: float = MIN_BPS,
        max_bps: float = MAX_BPS,
        history: SendHistory | None = None,
    ) -> None:
        assert 0 < min_bps <= max_bps
        self.history = history or SendHistory()
        self.min_bps = min_bps
        self.max_bps = max_bps
        self._reader = ReportReader(self.history)
        self._groups = ArrivalGroups()
        self._trendline = Trendline()
        self._throughput = Throughput()
        self._queueing = Queueing()
        self._contention = Contention()
        self._round_trip = RoundTrip()
        self._rate = RateControl(start_bps=start_bps, min_bps=min_bps, max_bps=max_bps)
        self._loss = LossBound(min_bps=min_bps)
        self._probes = ProbeControl(max_bps=max_bps)
        self._remb_bps = math.inf
        self._remb_at = -math.inf
        # The lowest number of which nothing has been heard, nor of any behind it.
        self._reported = 0
        self._silenced_at = -math.inf
        # The estimate when feedback began to fail to come; None while it comes.
        self._before_silence_bps: float | None = None
        self.estimate_bps = self._rate.bps

    def on_sent(self, size: int, now: float) -> int:
        """Note a packet of `size` bytes that is sent `now` (s, monotonic), and return its number.

        The header extension carries the low 16 bits.
        """
        return self.history.add(size, now)

    def on_feedback(self, feedback: TransportFeedback, now: float) -> None:
        """Take a transport feedback of the receiver, which may say anything."""
        report = self._reader.read(feedback)
        if not report.numbers:
            self._count_loss(report, now)
            self._update(now)
            return
        if self._before_silence_bps is not None:
            self._resume(self._before_silence_bps, now)
        self._reported = max(self._reported, report.numbers[-1] + 1)
        self._round_trip.measured(now - report.sent_at[-1], now)
        self._throughput.add(report)
        self._queueing.add(report)
        for delta in self._groups.deltas(report):
            self._trendline.add(delta)
        self._count_loss(report, now)
        self._control(report, now, is_disturbed=self._probes.disturbs(report.sent_at[-1]))
        self._take_probe(report, now)
        self._update(now)

    def on_remb(self, bps: float, now: float) -> None:
        """Take a REMB: the receiver wants no more than `bps`. It holds for 10 s unless repeated."""
        self._remb_bps = bps
        self._remb_at = now
        self._update(now)

    def on_timer(self, now: float) -> None:
        """Notice what does not happen: feedback that fails to come for what was sent."""
        history = self.history
        if self._reported < history.next_number:
            waiting = max(self._reported, history.oldest_number)
            patience_s = SILENCE_S + self._round_trip.smoothed_s
            since = max(history.sent_at[waiting & history.mask], self._silenced_at)
            if now - since >= patience_s:
                self._silenced_at = now
                before_bps = self._rate.bps
                self._before_silence_bps = self._before_silence_bps or self.estimate_bps
                self._rate.set(before_bps * SILENCE_BACKOFF, now)
                self._probes.overused(before_bps=before_bps, now=now)
        self._update(now)

    def _resume(self, before_bps: float, now: float) -> None:
        """Begin anew after an outage, no higher than before it: what was lost in it tells nothing of the link."""
        self._before_silence_bps = None
        bps = min(before_bps, START_BPS)
        self._rate.set(max(self._rate.bps, bps), now)
        self._loss.allow(bps)
        self._loss.skip(now + self._round_trip.smoothed_s)

    def next_probe(self, now: float, wanted_bps: float) -> Probe | None:
        """Return a probe to send now, if there is any need.

        Args:
            now: seconds, monotonic.
            wanted_bps: what would be sent if the link held it. Nothing is probed if that is sent already, or if the
                estimate exceeds it by enough for an allocation to go up.
        """
        sent_bps = self._throughput.sent_bps
        if self._trendline.usage is not Usage.NORMAL or sent_bps is None:
            return None
        if wanted_bps <= self.estimate_bps and sent_bps >= SERVED * wanted_bps:
            return None
        return self._probes.next(
            now=now,
            number=self.history.next_number,
            wanted_bps=min(wanted_bps, self._remb_bps),
            estimate_bps=self.estimate_bps,
            is_application_limited=self.is_application_limited,
        )

    def on_probe_sent(self, now: float) -> None:
        """Note that the last probe has been sent."""
        self._probes.sent(self.history.next_number, now)

    @property
    def is_application_limited(self) -> bool:
        """Whether much less is sent than the estimate allows."""
        sent_bps = self._throughput.sent_bps
        return sent_bps is None or sent_bps < APPLICATION_LIMITED * self.estimate_bps

    @property
    def is_queueing(self) -> bool:
        """Whether everything that came last had waited on the way."""
        return self._queueing.wait_s >= LASTING_QUEUE_S

    def snapshot(self) -> Snapshot:
        """Return what the estimate is made of."""
        bounds = {"delay": self._rate.bps, "loss": self._loss.bps, "remb": self._remb_bps, "max": self.max_bps}
        bound = min(bounds, key=lambda name: bounds[name])
        return Snapshot(
            estimate_bps=self.estimate_bps,
            delay_bps=self._rate.bps,
            loss_bps=self._loss.bps,
            remb_bps=self._remb_bps,
            sent_bps=self._throughput.sent_bps or 0.0,
            acknowledged_bps=self._throughput.acknowledged_bps or 0.0,
            loss=self._loss.loss,
            round_trip_s=self._round_trip.smoothed_s,
            usage=self._trendline.usage,
            bound="min" if bounds[bound] < self.min_bps else bound,
        )

    def _control(self, report: Report, now: float, *, is_disturbed: bool) -> None:
        collapsed_to = self._collapsed_to(COLLAPSED_PROBED if is_disturbed else COLLAPSED)
        usage = self._trendline.usage if collapsed_to is None else Usage.OVERUSE
        if usage is Usage.OVERUSE and (self._is_of_one_frame() or self._is_of_a_thin_stream()):
            return
        # While a queue grows the link is full, and what it carries then is what it holds.
        through = self._throughput
        if usage is Usage.OVERUSE:
            acknowledged_bps = collapsed_to or self._queueing.link_bps() or through.latest_bps
            if self.is_application_limited and self._queueing.wait_s < LASTING_QUEUE_S:
                # So little was sent, and for so short a time, that it does not show what the link holds. Should the
                # queue last, it will.
                acknowledged_bps = max(acknowledged_bps or 0.0, self._rate.bps)
        else:
            acknowledged_bps = through.acknowledged_bps
        if acknowledged_bps is None:
            if usage is not Usage.OVERUSE:
                return
            acknowledged_bps = self._rate.bps
        if is_disturbed and usage is Usage.OVERUSE and collapsed_to is None:
            return
        before_bps = self._rate.bps
        if self._contention.update(wait_s=self._queueing.wait_s, estimate_bps=before_bps, now=now):
            self._queueing.forget()
        if self._contention.is_contended:
            self._rate.contend(
                is_lossy=report.missing > report.recovered,
                acknowledged_bps=acknowledged_bps,
                round_trip_s=self._round_trip.smoothed_s,
                now=now,
            )
            self._probes.overused(before_bps=self._rate.bps, now=now)
            return
        is_full = self._rate.update(
            usage,
            acknowledged_bps,
            wait_s=self._queueing.wait_s,
            round_trip_s=self._round_trip.shortest_s + self._queueing.wait_s,
            now=now,
        )
        if is_full:
            self._contention.reduced(acknowledged_bps, now)
            self._probes.overused(before_bps=before_bps, now=now)
        if self._rate.bps < before_bps:
            # What is lost behind a queue that has grown at once is reported when all of it has come.
            full_s = self._round_trip.shortest_s + 2 * self._queueing.wait_s if collapsed_to else 0.0
            self._loss.skip(now + max(self._round_trip.smoothed_s, full_s))

    def _collapsed_to(self, share: float) -> float | None:
        """Return what the link carries, in bit/s, if everything waits, longer and longer, since that is far less now.

        Less than this share of the estimate. None otherwise, and while a queue drains that is known already.
        """
        queueing, sent_bps = self._queueing, self._throughput.sent_bps
        if queueing.wait_s < LASTING_QUEUE_S or not queueing.is_growing or self._rate.is_draining or sent_bps is None:
            return None
        bps = queueing.latest_bps()
        sent_bps = max(sent_bps, self._throughput.usual_bps)
        return bps if bps is not None and bps < min(share * self._rate.bps, COLLAPSED_SENT * sent_bps) else None

    def _is_of_one_frame(self) -> bool:
        """Whether what grows is a queue in which the packets of one frame wait for each other, as they do on any link.

        It is gone in a moment, was too short for a run of packets to fill the link, and little is sent beside it.
        """
        through = self._throughput
        return (
            self._queueing.wait_s < MIN_WAIT_S
            and min(through.usual_bps, through.latest_bps or 0.0) < UNFILLED * self._rate.bps
            and self._queueing.link_bps() is None
        )

    def _is_of_a_thin_stream(self) -> bool:
        """Whether so few packets are sent that some late ones look like a full link, and none has waited for long yet.

        A network or a processor that pauses for a tenth of a second would cost the only picture otherwise.
        """
        return self._throughput.usual_bps < THIN_BPS and self._queueing.lasted_s < THIN_LASTING_S

    def _count_loss(self, report: Report, now: float) -> None:
        before_bps = self.estimate_bps
        is_lowered = self._loss.update(
            received=len(report.numbers),
            missing=report.missing - report.recovered,
            estimate_bps=before_bps,
            sent_bps=self._throughput.sent_bps or before_bps,
            is_queueing=self._round_trip.smoothed_s > self._round_trip.shortest_s + QUEUEING_S,
            now=now,
        )
        if is_lowered:
            self._probes.overused(before_bps=before_bps, now=now)

    def _take_probe(self, report: Report, now: float) -> None:
        result = self._probes.take(report, now)
        if result is None:
            return
        bps, full = result
        is_worth = MIN_GAIN if full and not self.is_application_limited else 1
        if bps > self.estimate_bps * is_worth and self._trendline.usage is not Usage.OVERUSE:
            self._probes.succeeded(full=full, gain=bps / self.estimate_bps, now=now)
            self._rate.set(max(bps, self._rate.bps), now)
            self._loss.allow(bps)
        else:
            self._probes.failed(now)

    def _update(self, now: float) -> None:
        if now - self._remb_at > REMB_VALID_S:
            self._remb_bps = math.inf
        bps = min(self._rate.bps, self._loss.bps, self._remb_bps, self.max_bps)
        if not self.history.next_number and self._remb_bps < math.inf:
            # A client without transport-wide numbers: its word is all there is.
            bps = min(self._remb_bps, self.max_bps)
        self.estimate_bps = max(bps, self.min_bps)
