"""A record of all that an estimator was told, so that a bug report becomes a file: JSON lines, no media, no addresses.

The first line holds the bounds; each other line is one call, in order, with the estimate after it:

    {"version": 1, "start_bps": 600000, "min_bps": 50000, "max_bps": 20000000, "capacity": 4096}
    {"now": 12.5, "sent": [0, [12.3, 12.31], [1100, 900]], "feedback": [0, 2, 77, 0, [[0, 3], [1, 40]]], "bps": 6e5}
    {"now": 12.6, "timer": true, "bps": 6e5}
    {"now": 12.6, "wanted_bps": 2500000, "probe": [1800000.0, 11250], "bps": 6e5}
    {"now": 12.7, "probe_sent": true, "bps": 6e5}
    {"now": 12.8, "remb_bps": 900000, "bps": 6e5}

`sent` is what was sent since the line before: the first number, times (s) and sizes (bytes). `feedback` is its base
sequence, count, reference time and number, and the offsets and deltas of what came, as on the wire. Times and rates are
written so that they read back as the same floating-point numbers; hence a replay is bit-identical.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from zvonim_sfu.bandwidth.estimator import Estimator
from zvonim_sfu.bandwidth.history import SendHistory
from zvonim_sfu.rtp.transport_cc import TransportFeedback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zvonim_sfu.bandwidth.probing import Probe

VERSION: Final = 1


class TraceError(ValueError):
    """A line is not of a trace."""


class Step(NamedTuple):
    """One line of a replayed trace."""

    now: float
    """In seconds."""
    recorded_bps: float
    """The estimate when it was recorded."""
    bps: float
    """The estimate of the replay; the same, if the code is."""


class Recorder:
    """Stands before an estimator, takes the same calls, and writes each down.

    Args:
        estimator: one that nothing has been told yet.
        write: called with each line, which ends in a line feed.
    """

    def __init__(self, estimator: Estimator, write: Callable[[str], object]) -> None:
        self.estimator = estimator
        self._write = write
        self._sent = 0
        self._line(
            {
                "version": VERSION,
                "start_bps": estimator.estimate_bps,
                "min_bps": estimator.min_bps,
                "max_bps": estimator.max_bps,
                "capacity": estimator.history.mask + 1,
            }
        )

    def on_feedback(self, feedback: TransportFeedback, now: float) -> None:
        """As Estimator's."""
        self.estimator.on_feedback(feedback, now)
        fixed = [feedback.base_sequence, feedback.count, feedback.reference_time, feedback.number]
        self._step(now, {"feedback": [*fixed, feedback.received]})

    def on_remb(self, bps: float, now: float) -> None:
        """As Estimator's."""
        self.estimator.on_remb(bps, now)
        self._step(now, {"remb_bps": bps})

    def on_timer(self, now: float) -> None:
        """As Estimator's."""
        self.estimator.on_timer(now)
        self._step(now, {"timer": True})

    def next_probe(self, now: float, wanted_bps: float) -> Probe | None:
        """As Estimator's."""
        probe = self.estimator.next_probe(now, wanted_bps)
        self._step(now, {"wanted_bps": wanted_bps, "probe": None if probe is None else [probe.bps, probe.size]})
        return probe

    def on_probe_sent(self, now: float) -> None:
        """As Estimator's."""
        self.estimator.on_probe_sent(now)
        self._step(now, {"probe_sent": True})

    def _step(self, now: float, event: dict[str, object]) -> None:
        history = self.estimator.history
        first, end = max(self._sent, history.oldest_number), history.next_number
        sent: dict[str, object] = {}
        if first < end:
            indices = [number & history.mask for number in range(first, end)]
            times = [history.sent_at[index] for index in indices]
            sent["sent"] = [first, times, [history.sizes[index] for index in indices]]
            self._sent = end
        self._line({"now": now, **sent, **event, "bps": self.estimator.estimate_bps})

    def _line(self, fields: dict[str, object]) -> None:
        self._write(json.dumps(fields) + "\n")


def replay(lines: Iterable[str]) -> Iterator[Step]:
    """Give an estimator what was recorded, and yield what it makes of each line.

    Raises:
        TraceError: a line is not of a trace of this version.
    """
    estimator: Estimator | None = None
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            if estimator is None:
                estimator = _begin(fields)
            else:
                _apply(estimator, fields)
                yield Step(fields["now"], fields["bps"], estimator.estimate_bps)
        except (AssertionError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise TraceError(f"line {number} is not of a trace: {error!r}") from error


def _begin(fields: dict[str, Any]) -> Estimator:
    if fields["version"] != VERSION:
        raise ValueError(f"version {fields['version']} is unknown")
    history = SendHistory(int(fields["capacity"]))
    bounds = {name: fields[name] for name in ("start_bps", "min_bps", "max_bps")}
    return Estimator(**bounds, history=history)


def _apply(estimator: Estimator, fields: dict[str, Any]) -> None:
    now = fields["now"]
    if "sent" in fields:
        first, times, sizes = fields["sent"]
        estimator.history.counter[0] = first
        for sent_at, size in zip(times, sizes, strict=True):
            estimator.on_sent(size, sent_at)
    match fields:
        case {"feedback": [base, count, time, number, received]}:
            arrivals = tuple((offset, delta) for offset, delta in received)
            estimator.on_feedback(TransportFeedback(0, 0, base, count, time, number, arrivals), now)
        case {"remb_bps": bps}:
            estimator.on_remb(bps, now)
        case {"timer": True}:
            estimator.on_timer(now)
        case {"wanted_bps": wanted_bps}:
            estimator.next_probe(now, wanted_bps)
        case {"probe_sent": True}:
            estimator.on_probe_sent(now)
        case _:
            raise ValueError("its call is unknown")
