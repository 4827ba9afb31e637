"""The way to one subscriber: what is known of it, and what is done about it.

Each transport has one. It numbers what is sent (transport-wide, by the kernel), gives the client's feedback to the
estimator, tells its owner what the link holds, holds back what comes too fast (the gate of the transport's egress), and
probes for more where the owner would use it. Per packet all of it is the kernel's and takes some 40 ns, most of them
for the encryption of eight bytes more; a report takes some 80 us, most of them the estimator's.

What is sent above the estimate is the allocation's to reduce: the pacer follows what is really sent and spreads bursts
only, or it would keep all that is too much in a queue for as long as it may.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from zvonim_sfu.bandwidth.estimator import Estimator
from zvonim_sfu.bandwidth.pacer import Pacer, Priority
from zvonim_sfu.bandwidth.trace import Recorder
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.sending import UNPACED, Packet
from zvonim_sfu.rtp.rate import BitrateMeter
from zvonim_sfu.rtp.sequence import seq_delta

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from zvonim_sfu.bandwidth.estimator import Snapshot
    from zvonim_sfu.media.traces import Trace
    from zvonim_sfu.net.sending import Batch, Egress
    from zvonim_sfu.rtp.transport_cc import TransportFeedback

# How often the estimator is asked what has not happened.
CHECK_S: Final = 0.5
# While more is wanted than the link seems to hold, and nothing is sent, it is looked at with a packet of padding that
# often: 11 kbit/s. A picture that was paused for an estimate that is too low would stay so without any report.
LOOK_S: Final = 0.2
# The owner hears of a change of at least this share, and not more often than this.
TELL_CHANGE: Final = 0.03
TELL_INTERVAL_S: Final = 0.1
# ... unless it has fallen to less than this share: what is sent until then is lost, or makes the queue longer.
DEEP_FALL: Final = 0.6
# The estimate is so small a share of what was sent lately: hardly any picture gets through whole.
FLOODED: Final = 0.7
# A client that has agreed to report and says nothing for so long does not do it.
DEAF_S: Final = 2.0
# Reports that are read in a second: browsers send twenty at most, and one that lies costs half a millisecond.
MAX_REPORTS_PER_S: Final = 100
# Over how much time what is sent is measured for the pacer.
MEASURE_S: Final = 0.25
# A timer may come a little before its time.
EARLY_S: Final = 0.0005


class LinkOwner(Protocol):
    """Who decides what is sent by a link."""

    wanted_bps: float
    """What would be sent if the link held it, in bit/s: probes go no higher than needed for it."""

    def on_estimate(self, now: float) -> None:
        """What the link holds has changed by more than 3 %; told ten times a second at most, a deep fall at once."""


@dataclass(frozen=True, slots=True)
class LinkSnapshot:
    """A link as it is now, for statistics."""

    estimator: Snapshot
    wanted_bps: float
    queued_bytes: int
    """What waits in the pacer."""
    probes: int
    padding_bytes: int
    """That probes have sent, in all."""


class Link:
    """Owned by its transport, which gives it a turn of its timer.

    Args:
        egress: by which packets go, and whose gate it is.
        batch: for what it sends itself.
        owner: who is told of the estimate.
        wake: has `on_timer` called at a time (s, monotonic), or before.
        open_trace: begins a record of all that the estimator is told; None for none.
    """

    def __init__(
        self,
        egress: Egress,
        batch: Batch,
        owner: LinkOwner,
        *,
        wake: Callable[[float], None],
        open_trace: Callable[[], Trace | None],
    ) -> None:
        self.pad: Callable[[int], None] = _no_padding
        "Sends so many bytes of padding, or nothing where the client takes none."
        self._egress = egress
        self._batch = batch
        self._owner = owner
        self._wake = wake
        self._open_trace = open_trace
        self._trace: Trace | None = None
        self._estimator: Estimator | None = None
        "None while the client has agreed to no feedback, and sent no REMB."
        self._told: Estimator | Recorder | None = None
        "It, or who stands before it and writes down its calls."
        self._pacer: Pacer[Packet] = Pacer(estimate_bps=math.inf)
        # As the gate of the egress.
        self.bucket: array[float] = self._pacer.bucket
        self.admit = self._pacer.admit
        self._sent = BitrateMeter()
        self._measure_at = -math.inf
        self._is_heard = False
        self._is_deaf = False
        self._deaf_at: float | None = None
        self._check_at = -math.inf
        self._reports = 0
        "In the present second, which ends then:"
        self._reports_until = -math.inf
        self._looked_at = 0
        "The number of the next packet, at the last look."
        self._told_bps: float | None = None
        self._told_at = -math.inf
        self._is_probing = False
        self._probes = 0
        self._padding_bytes = 0

    @property
    def estimate_bps(self) -> float | None:
        """What the link holds, in bit/s; None while nobody tells."""
        return None if self._estimator is None or self._is_deaf else self._estimator.estimate_bps

    def negotiated(self, *, transport_cc: bool) -> None:
        """Take over whether the client reports on transport-wide numbers."""
        if transport_cc:
            self._egress.history = self._require_estimator().history
            self._told_bps = self.estimate_bps  # the owner, who negotiates, looks by itself
        elif self._egress.history is not None:
            self._egress.history = None
            self._end_estimate()

    def _require_estimator(self) -> Estimator:
        if self._estimator is None:
            self._estimator = self._told = Estimator()
            self._trace = self._open_trace()
            if self._trace is not None:
                self._told = Recorder(self._estimator, self._trace.write)
        return self._estimator

    def _end_estimate(self) -> None:
        self._estimator = self._told = None
        self._is_heard = self._is_deaf = False
        self._deaf_at = None
        if self._trace is not None:
            self._trace.close()
            self._trace = None

    def on_feedback(self, feedback: TransportFeedback, now: float) -> None:
        """Take a transport feedback of the client; one that was not agreed on, or one too many, says nothing."""
        if self._told is None or self._egress.history is None:
            return
        if now >= self._reports_until:
            self._reports, self._reports_until = 0, now + 1
        self._reports += 1
        if self._reports <= MAX_REPORTS_PER_S:
            self._hear()
            self._told.on_feedback(feedback, now)
            self._follow(now)

    def on_remb(self, bps: float, now: float) -> None:
        """Take a REMB of the client."""
        self._require_estimator()
        assert self._told is not None
        self._hear()
        self._told.on_remb(bps, now)
        self._follow(now)

    def _hear(self) -> None:
        # Before the first word from the client nothing is paced: its first picture comes at once.
        if not self._is_heard:
            self._is_heard, self._is_deaf = True, False
            self._egress.gate = self

    def _follow(self, now: float) -> None:
        """Have the pacer and the owner follow the estimate, and probe where it is too low."""
        assert self._told is not None
        assert self._estimator is not None
        if now >= self._measure_at:
            self._measure_at = now + MEASURE_S
            self._sent.update(self._egress.bytes_sent, now)
        self._pacer.set_estimate(max(self._estimator.estimate_bps, self._sent.bitrate))
        if not self._is_probing:
            probe = self._told.next_probe(now, self._owner.wanted_bps)
            if probe is not None:
                self._is_probing = True
                self._probes += 1
                self._pacer.begin_probe(probe, now)
                self._wake_to_release()
        self._tell(now)

    def _tell(self, now: float) -> None:
        bps, told_bps = self.estimate_bps, self._told_bps
        is_deep = bps is not None and told_bps is not None and bps < DEEP_FALL * told_bps
        if (now - self._told_at < TELL_INTERVAL_S and not is_deep) or bps == told_bps:
            return
        if bps is None or told_bps is None or abs(bps - told_bps) > TELL_CHANGE * told_bps:
            self._told_bps, self._told_at = bps, now
            self._owner.on_estimate(now)

    def hold(self, packet: Packet, size: int, priority: Priority) -> bool:
        """Take a packet that has to wait; False if too much waits."""
        is_taken = self._pacer.enqueue(packet, size, priority)
        self._wake_to_release()
        return is_taken

    @property
    def is_flooded(self) -> bool:
        """Whether far more was sent lately than the link holds, and everything waits for it."""
        estimator = self._estimator
        if estimator is None or not estimator.is_queueing:
            return False
        return estimator.estimate_bps < FLOODED * self._sent.bitrate

    def waiting(self, ssrc: int) -> set[int]:
        """Return the 16-bit numbers of what waits of a picture."""
        picture = ssrc.to_bytes(4)
        return {_number(packet) for packet in self._pacer.pictures() if packet.header[8:12] == picture}

    def take_back(self, ssrc: int, rtx_ssrc: int, first: int) -> None:
        """Let go of what waits of a picture, from a 16-bit number on, and of its repairs."""
        picture, repairs = ssrc.to_bytes(4), rtx_ssrc.to_bytes(4)

        def is_useless(packet: Packet) -> bool:
            source = packet.header[8:12]
            return source == repairs or (source == picture and seq_delta(_number(packet), first) >= 0)

        self._egress.drops[DropReason.SUPERSEDED] += len(self._pacer.discard(is_useless))

    def _wake_to_release(self) -> None:
        at = self._pacer.next_at()
        if at is not None:
            self._wake(at)

    def on_timer(self, now: float) -> float:
        """Do what is due; returns when something will be next, infinity for never."""
        if self._estimator is not None and now >= self._check_at - EARLY_S:
            self._check(now)
            self._check_at = now + (LOOK_S if self._owner.wanted_bps > self._estimator.estimate_bps else CHECK_S)
        at = self._pacer.next_at()
        if at is not None and now >= at - EARLY_S:
            self._release(now)
            at = self._pacer.next_at()
        check_at = math.inf if self._estimator is None else self._check_at
        return check_at if at is None else min(at, check_at)

    def _check(self, now: float) -> None:
        assert self._told is not None
        assert self._estimator is not None
        if self._is_heard:
            self._told.on_timer(now)
            self._follow(now)
            self._look()
        elif self._deaf_at is None:
            if self._estimator.history.next_number:
                self._deaf_at = now + DEAF_S
        elif now >= self._deaf_at:
            self._is_deaf = True
            self._tell(now)

    def _look(self) -> None:
        """Send a packet to be reported on, where more is wanted and nothing else is sent."""
        assert self._estimator is not None
        number = self._estimator.history.next_number
        if self._owner.wanted_bps > self._estimator.estimate_bps and number == self._looked_at:
            self.pad(1)
            self._batch.flush()
        self._looked_at = self._estimator.history.next_number

    def _release(self, now: float) -> None:
        items, padding = self._pacer.release(now)
        for packet in items:
            self._batch.append(self._egress, *packet, UNPACED)
        if padding:
            self._padding_bytes += padding
            self.pad(padding)
        self._batch.flush()
        if self._is_probing and not self._pacer.is_probing:
            self._is_probing = False
            if self._told is not None:
                self._told.on_probe_sent(now)

    def snapshot(self) -> LinkSnapshot | None:
        """Return what is known; None while nobody tells."""
        if self._estimator is None or not self._is_heard:
            return None
        return LinkSnapshot(
            self._estimator.snapshot(),
            self._owner.wanted_bps,
            self._pacer.queued_bytes,
            self._probes,
            self._padding_bytes,
        )

    def close(self) -> None:
        """Send nothing more of what waits, and end the trace."""
        self._egress.gate = self._egress.history = None
        self._end_estimate()
        self._pacer = Pacer(estimate_bps=math.inf)
        self.pad = _no_padding


def _no_padding(_size: int) -> None:
    pass


def _number(packet: Packet) -> int:
    return int.from_bytes(packet.header[2:4])
