from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.bandwidth.pacer import (
    FACTOR,
    MAX_QUEUED_BYTES,
    MAX_WAIT_S,
    Pacer,
    Priority,
)
from zvonim_sfu.bandwidth.probing import Probe

MBPS = 1_000_000.0
PACKET = 1100


def keyframe(pacer: Pacer[int], packets: int, now: float) -> list[tuple[float, int]]:
    """Hand over packets that come at once; returns when each is sent."""
    sent = []
    for index in range(packets):
        if pacer.admit(PACKET, now):
            sent.append((now, index))
        else:
            assert pacer.enqueue(index, PACKET)
    while (at := pacer.next_at()) is not None:
        assert at > now
        now = at
        sent += [(now, item) for item in pacer.release(now).items]
    return sent


def test_far_below_the_estimate_everything_passes_and_no_timer_runs() -> None:
    pacer: Pacer[int] = Pacer(estimate_bps=5 * MBPS)
    now = 10.0
    for _ in range(300):
        for _ in range(3):
            assert pacer.admit(PACKET, now)
        assert pacer.next_at() is None
        now += 1 / 30


def test_a_keyframe_is_spread_in_order_at_the_paced_rate() -> None:
    sent = keyframe(Pacer(estimate_bps=MBPS), 50, 10.0)
    assert [index for _, index in sent] == list(range(50))
    lasted = sent[-1][0] - sent[0][0]
    assert 0.7 < lasted / (50 * PACKET * 8 / (FACTOR * MBPS)) <= 1
    at_once = max(sum(PACKET for other, _ in sent if other == time) for time, _ in sent[5:])
    assert at_once <= 2 * PACKET


def test_nothing_waits_much_longer_than_it_is_allowed_to() -> None:
    sent = keyframe(Pacer(estimate_bps=0.1 * MBPS), 200, 10.0)
    assert len(sent) == 200
    # The rate follows what still waits, so that the last packets of a large burst come later than the bound.
    assert sent[int(len(sent) * 0.6)][0] - 10.0 < MAX_WAIT_S


def test_audio_first_then_repairs_then_video() -> None:
    pacer: Pacer[str] = Pacer(estimate_bps=MBPS)
    while pacer.admit(PACKET, 10.0):
        pass
    for item, priority in (("v", Priority.VIDEO), ("r", Priority.REPAIR), ("a", Priority.AUDIO)):
        assert pacer.enqueue(item, PACKET, priority)
    released: list[str] = []
    now = 10.0
    while (at := pacer.next_at()) is not None:
        now = at
        released += pacer.release(now).items
    assert released == ["a", "r", "v"]


def test_audio_never_waits_for_video_but_what_it_takes_is_counted() -> None:
    pacer: Pacer[int] = Pacer(estimate_bps=MBPS)
    assert not pacer.admit(100_000, 10.0)
    for index in range(20):
        if not pacer.admit(PACKET, 10.0):
            pacer.enqueue(index, PACKET)
    assert pacer.admit(200, 10.0, Priority.AUDIO)
    before = pacer.next_at()
    assert before is not None
    for _ in range(50):
        assert pacer.admit(200, 10.0, Priority.AUDIO)
    after = pacer.next_at()
    assert after is not None
    assert after > before


def test_what_is_of_no_use_any_more_is_let_go_of_and_the_rest_keeps_its_order() -> None:
    pacer: Pacer[int] = Pacer(estimate_bps=MBPS)
    assert pacer.discard(lambda _: True) == []
    for item in range(8):
        pacer.enqueue(item, PACKET, Priority.VIDEO if item < 5 else Priority.REPAIR if item < 7 else Priority.AUDIO)
    assert pacer.discard(lambda item: item not in {1, 3, 5}) == [0, 2, 4]
    assert pacer.queued_bytes == 4 * PACKET
    left: list[int] = []
    while (at := pacer.next_at()) is not None:
        left += pacer.release(max(at, 10.0)).items
    assert left == [7, 5, 1, 3]
    pacer.enqueue(9, PACKET)
    pacer.discard(lambda _: True)
    assert pacer.next_at() is None
    assert pacer.admit(PACKET, 20.0)


def test_what_waits_is_bounded() -> None:
    pacer: Pacer[int] = Pacer(estimate_bps=MBPS)
    taken = sum(pacer.enqueue(index, PACKET) for index in range(1000))
    assert taken == MAX_QUEUED_BYTES // PACKET
    assert pacer.queued_bytes <= MAX_QUEUED_BYTES


def test_a_probe_goes_out_at_its_rate_media_first() -> None:
    pacer: Pacer[int] = Pacer(estimate_bps=MBPS)
    pacer.enqueue(1, PACKET)
    probe = Probe.at(4 * MBPS, MBPS)
    pacer.begin_probe(probe, 10.0)
    assert not pacer.admit(PACKET, 10.0)
    sizes: list[tuple[float, int]] = []
    while (at := pacer.next_at()) is not None:
        release = pacer.release(at)
        sizes.append((at, PACKET * len(release.items) + release.padding))
        if len(sizes) == 1:
            assert release.items == [1]
    assert not pacer.is_probing
    total = sum(size for _, size in sizes)
    assert probe.size <= total <= 1.1 * probe.size
    rate = (total - sizes[-1][1]) * 8 / (sizes[-1][0] - sizes[0][0])
    assert 0.95 < rate / probe.bps < 1.1


@given(
    st.lists(
        st.tuples(
            st.floats(-1, 1),
            st.sampled_from(Priority),
            st.integers(1, 1500),
            st.floats(1e4, 1e8),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_every_packet_leaves_once(steps: list[tuple[float, Priority, int, float, bool]]) -> None:
    pacer: Pacer[int] = Pacer(estimate_bps=MBPS)
    now = 10.0
    taken, released = [], []
    for index, (elapsed, priority, size, estimate_bps, probe) in enumerate(steps):
        now += elapsed  # clocks that step back change nothing
        pacer.set_estimate(estimate_bps)
        if probe:
            pacer.begin_probe(Probe.at(estimate_bps, estimate_bps / 2), now)
        if not pacer.admit(size, now, priority) and pacer.enqueue(index, size, priority):
            taken.append(index)
        released += pacer.release(now).items
    now += 1000
    for _ in range(10_000):
        at = pacer.next_at()
        if at is None:
            break
        now = max(now, at)
        released += pacer.release(now).items
    assert sorted(released) == taken
    assert pacer.queued_bytes == 0
