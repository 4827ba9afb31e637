"""One transport's link without a network: what it tells, what it holds back, and what it sends itself."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import pytest

from tests.net.links import link as socket_pair
from tests.net.links import rtp_header, sessions, waiting
from zvonim_sfu.bandwidth.estimator import MIN_BPS, START_BPS
from zvonim_sfu.bandwidth.pacer import MAX_QUEUED_BYTES, Priority
from zvonim_sfu.bandwidth.trace import replay
from zvonim_sfu.media.link import CHECK_S, DEAF_S, MAX_REPORTS_PER_S, Link
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.kernel import PYTHON
from zvonim_sfu.net.sending import UNPACED
from zvonim_sfu.net.srtp import unprotect_rtp
from zvonim_sfu.rtp.transport_cc import ArrivalLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zvonim_sfu.media.traces import Trace

BLOCK = b"\xbe\xde\x00\x01\x31\x00\x00\x00"
NUMBER_AT = 5


class Lines(list[str]):
    """A trace that is kept."""

    closed = False

    def write(self, line: str) -> None:
        self.append(line)

    def close(self) -> None:
        self.closed = True


class Scene:
    """A link whose owner this is, its egress, and a client that reports; the clock is the test's where it can be."""

    def __init__(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        path, self.receiver = stack.enter_context(socket_pair())
        outbound, self.inbound = sessions()
        self.egress = PYTHON.Egress(outbound, path)
        self.batch = PYTHON.Batch()
        self.now = 100.0
        monkeypatch.setattr("zvonim_sfu.net.sending.time.monotonic", lambda: self.now)
        self.wanted_bps = 0.0
        self.told: list[float] = []
        self.wakes: list[float] = []
        self.trace = Lines()
        self.arrivals = ArrivalLog()
        self.sent = 0
        self.rate_bps = 0.0
        "At which packets come one behind the other; 0: at once."
        self.free_at = 0.0
        self.padding: list[int] = []
        self.link = Link(
            self.egress,
            self.batch,
            self,
            wake=self.wakes.append,
            open_trace=lambda: cast("Trace", self.trace),
        )
        self.link.pad = self.pad

    def on_estimate(self, now: float) -> None:
        self.told.append(now)

    def pad(self, size: int) -> None:
        self.padding.append(size)
        for at in range(0, size, 250):
            self.append(min(250, size - at), UNPACED)

    def append(self, size: int = 1000, priority: int = Priority.VIDEO) -> None:
        self.sent += 1
        header = b"\x90" + rtp_header(self.sent & 0xFFFF)[1:]
        self.batch.append(self.egress, header, BLOCK + bytes(size), NUMBER_AT, priority)

    def flush(self, *sizes: int, priority: int = Priority.VIDEO) -> list[int]:
        """Send packets of these sizes; returns the numbers of those that left."""
        for size in sizes:
            self.append(size, priority)
        self.batch.flush()
        return self.arrive()

    def arrive(self) -> list[int]:
        """Let the client note what came; returns the sequence numbers."""
        numbers = []
        for data in waiting(self.receiver):
            plain = unprotect_rtp(self.inbound, data)
            assert plain is not None
            self.free_at = max(self.free_at, self.now) + (len(data) * 8 / self.rate_bps if self.rate_bps else 0.0)
            at = self.free_at if self.rate_bps else self.now
            self.arrivals.received(int.from_bytes(plain[12 + NUMBER_AT : 12 + NUMBER_AT + 2]), at)
            numbers.append(int.from_bytes(plain[2:4]))
        return numbers

    def report(self) -> None:
        """Let the client tell what came."""
        for feedback in self.arrivals.feedback(self.now, sender_ssrc=1, media_ssrc=2):
            self.link.on_feedback(feedback, self.now)

    def go_on(self, seconds: float, packets: int = 1, *, reports: bool = True) -> None:
        """Send so many packets each 10 ms, with a report each 50 ms and the timer as it wishes."""
        for step in range(round(seconds * 100)):
            self.now += 0.01
            self.flush(*[1000] * packets)
            if reports and step % 5 == 4:
                self.report()
            end = self.now + 0.0099
            while (at := self.link.on_timer(self.now)) <= end:
                self.arrive()
                self.now = max(self.now, at)
            self.arrive()
            self.now = end - 0.0099


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack, monkeypatch)


def test_nobody_tells_at_first(scene: Scene) -> None:
    assert scene.link.estimate_bps is None
    assert scene.link.snapshot() is None
    assert scene.link.on_timer(scene.now) == float("inf")
    assert scene.flush(1000, 1000) == [1, 2]
    scene.report()  # which was not agreed on
    assert (scene.link.estimate_bps, scene.egress.gate, scene.trace) == (None, None, [])


def test_the_estimate_follows_what_the_client_reports(scene: Scene) -> None:
    scene.link.negotiated(transport_cc=True)
    assert scene.link.estimate_bps == START_BPS
    scene.go_on(10)  # 800 kbit/s
    assert scene.link.estimate_bps is not None
    assert scene.link.estimate_bps > 700_000
    assert 0 < len(scene.told) <= 101
    snapshot = scene.link.snapshot()
    assert snapshot is not None
    assert snapshot.estimator.estimate_bps == scene.link.estimate_bps
    assert (snapshot.queued_bytes, snapshot.probes) == (0, 0)


def test_a_remb_is_the_estimate_of_who_reports_nothing_else(scene: Scene) -> None:
    scene.link.on_remb(400_000, scene.now)
    assert scene.link.estimate_bps == 400_000
    scene.link.on_remb(405_000, scene.now + 1)  # too little to be told
    scene.link.on_remb(0, scene.now + 2)
    assert scene.link.estimate_bps == MIN_BPS
    assert scene.told == [scene.now, scene.now + 2]


def test_a_client_that_agrees_and_never_reports_tells_nothing(scene: Scene) -> None:
    scene.link.negotiated(transport_cc=True)
    scene.link.on_timer(scene.now)
    assert scene.link.estimate_bps == START_BPS
    scene.go_on(DEAF_S + 2 * CHECK_S + 0.1, reports=False)
    assert scene.link.estimate_bps is None
    assert scene.told != []
    scene.report()
    assert scene.link.estimate_bps is not None


def test_it_is_over_when_the_client_agrees_no_more(scene: Scene) -> None:
    scene.link.negotiated(transport_cc=True)
    scene.go_on(1)
    scene.link.negotiated(transport_cc=False)
    assert (scene.link.estimate_bps, scene.link.snapshot(), scene.egress.history) == (None, None, None)
    assert scene.trace.closed


def test_a_flood_of_reports_is_not_read(scene: Scene) -> None:
    scene.link.negotiated(transport_cc=True)
    for second in range(2):
        scene.now = 100.0 + second
        for _ in range(10 * MAX_REPORTS_PER_S):
            scene.flush(10, priority=UNPACED)
            scene.report()
    assert sum("feedback" in line for line in scene.trace) == 2 * MAX_REPORTS_PER_S


def test_before_the_first_report_nothing_waits_and_then_a_burst_does_in_order(scene: Scene) -> None:
    scene.link.negotiated(transport_cc=True)
    assert len(scene.flush(*[1000] * 60)) == 60
    scene.report()
    scene.now += 1
    first = scene.sent + 1
    at_once = scene.flush(*[1000] * 60)
    assert 0 < len(at_once) < 20
    assert scene.wakes
    sound = scene.flush(100, priority=Priority.AUDIO)
    later: list[int] = []
    began = scene.now
    at = scene.wakes[-1]
    while at < float("inf") and len(at_once) + len(later) < 60:
        scene.now = at
        at = scene.link.on_timer(scene.now)
        later += scene.arrive()
    assert at_once + later == list(range(first, first + 60))
    assert sound == [first + 60]  # past what waits
    assert 0.1 < scene.now - began < 0.6
    snapshot = scene.link.snapshot()
    assert snapshot is not None
    assert snapshot.queued_bytes == 0


def test_what_waits_is_bounded_and_ends_with_the_link(scene: Scene) -> None:
    scene.link.negotiated(transport_cc=True)
    scene.flush(1000)
    scene.report()
    scene.flush(*[1000] * 500)
    snapshot = scene.link.snapshot()
    assert snapshot is not None
    assert MAX_QUEUED_BYTES - 1100 < snapshot.queued_bytes <= MAX_QUEUED_BYTES
    assert scene.egress.drops[DropReason.PACER_FULL] > 50
    scene.link.close()
    assert scene.link.on_timer(scene.now + 10) == float("inf")
    assert scene.arrive() is not None
    assert (scene.egress.gate, scene.egress.history) == (None, None)
    assert len(scene.flush(*[1000] * 60)) == 60


def test_pictures_that_wait_can_be_taken_back_and_have_not_left() -> None:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as monkeypatch:
        scene = Scene(stack, monkeypatch)
        scene.link.negotiated(transport_cc=True)
        scene.flush(1000)
        scene.report()
        left = scene.flush(*[1000] * 60)
        sound = scene.flush(100, priority=Priority.AUDIO)
        waiting = set(range(2, 62)) - set(left)
        assert waiting
        assert scene.link.waiting(0xBEEF) == set()
        assert scene.link.waiting(0xABCD) == waiting
        scene.link.take_back(0xBEEF, 0xF00D, 0)
        assert scene.link.waiting(0xABCD) == waiting
        middle = sorted(waiting)[len(waiting) // 2]
        scene.link.take_back(0xABCD, 0xF00D, middle)
        assert scene.link.waiting(0xABCD) == {number for number in waiting if number < middle}
        scene.link.take_back(0xABCD, 0xF00D, 0)
        assert scene.link.waiting(0xABCD) == set()
        assert scene.egress.drops == {DropReason.SUPERSEDED: len(waiting)}
        assert scene.link.on_timer(scene.now + 5) > scene.now + 5
        assert scene.arrive() == []
        assert sound == [62]


def test_a_deep_fall_is_told_at_once(scene: Scene) -> None:
    scene.link.negotiated(transport_cc=True)
    scene.go_on(2)
    assert scene.link.estimate_bps is not None
    scene.now += 1
    told = len(scene.told)
    for bps, times in ((500_000, 1), (450_000, 1), (200_000, 2), (190_000, 2)):
        scene.now += 0.02
        scene.link.on_remb(bps, scene.now)
        assert len(scene.told) == told + times


def test_a_link_is_flooded_while_everything_waits_for_far_less_than_is_sent(scene: Scene) -> None:
    scene.link.negotiated(transport_cc=True)
    scene.go_on(2, packets=3)
    assert scene.link.estimate_bps is not None
    assert scene.link.estimate_bps < 1_500_000
    assert not scene.link.is_flooded  # 2.4 Mbit/s are more than is known to get through, but nothing waits
    scene.rate_bps = 400_000
    scene.go_on(0.35, packets=3)
    assert scene.link.is_flooded
    scene.rate_bps = 0.0
    scene.go_on(1)
    assert not scene.link.is_flooded


def test_more_is_probed_for_only_where_it_is_wanted(scene: Scene) -> None:
    scene.link.negotiated(transport_cc=True)
    scene.go_on(3)
    assert scene.padding == []
    scene.wanted_bps = 4_000_000
    scene.go_on(5)
    assert scene.padding != []
    estimate_bps = scene.link.estimate_bps
    assert estimate_bps is not None
    assert estimate_bps > 4_000_000
    snapshot = scene.link.snapshot()
    assert snapshot is not None
    assert snapshot.probes > 1
    assert snapshot.padding_bytes == sum(scene.padding)


def test_a_link_that_is_paused_for_too_low_an_estimate_is_looked_at(scene: Scene) -> None:
    scene.link.negotiated(transport_cc=True)
    scene.go_on(3)
    scene.link.on_remb(100_000, scene.now)
    scene.go_on(5, 0)
    assert scene.padding == []
    scene.wanted_bps = 1_000_000
    scene.go_on(15, 0)
    assert scene.padding[0] == 1
    estimate_bps = scene.link.estimate_bps
    assert estimate_bps is not None
    assert estimate_bps > 1_000_000


def test_what_it_was_told_can_be_replayed(scene: Scene) -> None:
    scene.wanted_bps = 4_000_000
    scene.link.negotiated(transport_cc=True)
    scene.go_on(4)
    scene.link.on_remb(1_000_000, scene.now)
    scene.go_on(1)
    scene.link.close()
    assert scene.trace.closed
    steps = list(replay(scene.trace))
    assert len(steps) > 100
    assert [step.bps for step in steps] == [step.recorded_bps for step in steps]
