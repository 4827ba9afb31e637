"""The estimator, its probes and the pacer on simulated links, in virtual time: figures that must not get worse.

`python -m tests.support.links` prints them all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from tests.support.links import scenarios
from tests.support.links.scenarios import KBPS, MBPS, START_S

if TYPE_CHECKING:
    from tests.support.links.link import LinkOptions

UTILISATION = 0.8
QUEUE_MS = 100.0
KNOWN_S = 0.4
"""A feedback each 50 ms, 50 ms each way, and 0.2 s of packets one behind the other."""
MEAN_KNOWN_S = 0.3
RECOVERY_S = 10.0


@pytest.mark.parametrize("bps", [150 * KBPS, 300 * KBPS, 1 * MBPS, 2 * MBPS, 8 * MBPS])
def test_a_constant_link_is_filled_without_a_queue(bps: float) -> None:
    run = scenarios.constant(bps)
    assert run.converged_s(UTILISATION * bps, 0) < RECOVERY_S
    assert run.utilisation(10, 60) > UTILISATION
    assert run.queue_ms(10, 60) < QUEUE_MS
    assert run.overshoot(10, 60) < 1.3


@pytest.mark.parametrize("feedback_s", [0.1, 0.25])
def test_feedback_may_be_seldom(feedback_s: float) -> None:
    run = scenarios.constant(2 * MBPS, feedback_s=feedback_s)
    assert run.utilisation(10, 60) > UTILISATION
    assert run.queue_ms(10, 60) < QUEUE_MS


def test_jitter_is_taken_for_jitter() -> None:
    run = scenarios.constant(2 * MBPS, jitter_s=0.03)
    assert run.utilisation(10, 60) > UTILISATION
    assert run.queue_ms(10, 60) < QUEUE_MS


@pytest.mark.parametrize(("loss", "utilisation"), [(0.02, 0.8), (0.05, 0.7), (0.1, 0.6)])
def test_loss_on_the_air_costs_little_more_than_what_is_lost(loss: float, utilisation: float) -> None:
    assert scenarios.constant(2 * MBPS, loss=loss).utilisation(20, 60) > utilisation


def test_a_link_without_a_queue_is_found_by_its_loss() -> None:
    run = scenarios.constant(2 * MBPS, queue_s=0.02)
    assert run.utilisation(20, 60) > 0.6
    assert run.link.dropped / run.flows[0].estimator.history.next_number < 0.08


@pytest.mark.parametrize("jitter_s", [0.0, 0.03])
def test_variable_capacity(jitter_s: float) -> None:
    """RFC 8867, section 5.1."""
    run = scenarios.variable_capacity(jitter_s)
    assert run.converged_s(UTILISATION * 1 * MBPS, 0) < RECOVERY_S
    assert run.converged_s(UTILISATION * 2.5 * MBPS, 40) < RECOVERY_S
    assert run.converged_s(UTILISATION * 1 * MBPS, 80) < RECOVERY_S
    for start, end in ((10, 40), (50, 60), (65, 80), (90, 100)):
        assert run.utilisation(start, end) > UTILISATION
        assert run.queue_ms(start, end) < QUEUE_MS


def test_variable_capacity_for_two() -> None:
    """RFC 8867, section 5.2."""
    run = scenarios.variable_capacity_two()
    for start, end in ((10, 25), (30, 50), (55, 75), (80, 100), (105, 125)):
        assert run.utilisation(start, end) > UTILISATION
        assert run.queue_ms(start, end) < QUEUE_MS


def test_feedback_that_waits_behind_media_is_survived() -> None:
    """RFC 8867, section 5.3."""
    there, back = scenarios.congested_feedback()
    for run, spans in ((there, ((10, 20), (25, 40), (45, 60), (70, 100))), (back, ((10, 35), (40, 70), (80, 100)))):
        for start, end in spans:
            assert run.utilisation(start, end) > UTILISATION


@pytest.mark.parametrize("low_bps", [100 * KBPS, 400 * KBPS])
def test_a_link_that_has_recovered_is_used_again(low_bps: float) -> None:
    run = scenarios.fall_and_return(low_bps)
    assert run.converged_s(UTILISATION * 1.5 * MBPS, 80) < RECOVERY_S
    assert run.utilisation(90, 120) > UTILISATION


@pytest.mark.parametrize("low_bps", [100 * KBPS, 400 * KBPS])
def test_a_link_that_has_become_thin_is_known_at_once(low_bps: float) -> None:
    run = scenarios.fall_and_return(low_bps)
    known_at = min(at for at, bps in run.flows[0].estimates if at > START_S + 40 and bps <= low_bps)
    assert known_at < START_S + 40 + KNOWN_S


@pytest.mark.parametrize("every", [3, 4, 5])
def test_it_is_known_as_soon_beside_probes_and_where_few_frames_are_sent(every: int) -> None:
    took = []
    for seed in range(12):
        run, fall_s = scenarios.fall_below_a_slow_camera(every, seed)
        known_at = (at for at, bps in run.flows[0].estimates if at > START_S + fall_s and bps <= 400 * KBPS)
        took.append(next(known_at, math.inf) - START_S - fall_s)
    assert max(took) <= KNOWN_S
    assert sum(took) / len(took) < MEAN_KNOWN_S


def test_a_way_back_that_breaks_is_survived() -> None:
    run = scenarios.broken_way_back()
    assert run.rates(28, 30)[0] < 0.1 * 2 * MBPS
    assert run.converged_s(UTILISATION * 2 * MBPS, 30) < RECOVERY_S


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_equal_flows_share_a_link(seed: int) -> None:
    run = scenarios.competing(2, 2 * MBPS, seed=seed)
    first, second = run.rates(30, 120)
    assert max(first, second) / min(first, second) < 1.5
    assert run.utilisation(30, 120) > UTILISATION
    assert run.queue_ms(30, 120) < QUEUE_MS


def test_three_equal_flows_share_a_link() -> None:
    """RFC 8867, section 5.4."""
    run = scenarios.competing(3, 3.5 * MBPS)
    rates = run.rates(50, 120)
    assert max(rates) / min(rates) < 2
    assert run.utilisation(50, 120) > UTILISATION
    assert run.queue_ms(50, 120) < QUEUE_MS


def test_round_trips_of_20_to_300_ms_share_a_link() -> None:
    """RFC 8867, section 5.5."""
    run = scenarios.round_trip_fairness()
    rates = run.rates(50, 300)
    assert max(rates) / min(rates) < 2
    assert run.utilisation(50, 300) > UTILISATION
    assert run.queue_ms(50, 300) < QUEUE_MS


@pytest.mark.parametrize("queue_s", [0.3, 1.0])
def test_a_long_tcp_does_not_starve_a_call(queue_s: float) -> None:
    """RFC 8867, section 5.6: whoever fills the queue gets more of the link, but not all of it."""
    run = scenarios.long_tcp(queue_s=queue_s)
    assert run.rates(15, 120)[0] > (0.2 if queue_s < 1 else 0.15) * 2 * MBPS


def test_what_a_tcp_has_left_is_used_again() -> None:
    run = scenarios.long_tcp(start_s=20, stop_s=80, media_s=0)
    assert run.converged_s(UTILISATION * 2 * MBPS, 80) < RECOVERY_S


def test_short_tcp_transfers_leave_room() -> None:
    """RFC 8867, section 5.7."""
    run = scenarios.short_tcp()
    assert min(run.rates(10, 300)) > 0.15 * 2 * MBPS


def test_a_pause_leaves_the_link_to_others_and_ends_at_once() -> None:
    """RFC 8867, section 5.8."""
    run = scenarios.pause_and_resume()
    assert run.utilisation(45, 60) > UTILISATION
    assert run.converged_s(0.5 * 3.5 * MBPS / 3, 60) < 2
    assert run.queue_ms(65, 120) < QUEUE_MS
    rates = run.rates(65, 120)
    assert max(rates) / min(rates) < 2


@pytest.mark.parametrize(
    ("bps", "layer_bps"),
    [(300 * KBPS, 150 * KBPS), (700 * KBPS, 500 * KBPS), (1 * MBPS, 500 * KBPS), (2 * MBPS, 1500 * KBPS)],
)
def test_a_layer_that_fits_is_forwarded_and_stays(bps: float, layer_bps: float) -> None:
    run = scenarios.layers((0, bps))
    assert run.rates(10, 60)[0] > 0.97 * layer_bps
    assert len(run.switches()) <= 4
    assert run.queue_ms(10, 60) < QUEUE_MS


@pytest.mark.parametrize("link", [{}, {"jitter_s": 0.03}, {"loss": 0.02}, {"delay_s": 0.02}, {"queue_s": 1.0}])
def test_layers_follow_a_link_down_at_once_and_up_soon(link: LinkOptions) -> None:
    """1.5 Mbit/s, 400 kbit/s, 150 kbit/s and back, by the real allocation: no layer is too high or too low for long.

    With 150 kbit/s there is sound alone, and it does not wait.
    """
    run = scenarios.down_and_up(**link)
    before = -1
    for at, _, layer in scenarios.DOWN_AND_UP:
        end = at + 30
        assert run.wrong_layer_s(layer, at, end) < (2 if layer < before else RECOVERY_S)
        assert run.sound_ms(at + 2, end) < 60
        before = layer
    assert len(run.switches()) <= 2 * len(scenarios.DOWN_AND_UP)


def test_a_grid_of_nine_follows_a_link_and_sound_does_not_suffer() -> None:
    """On 1.5 Mbit/s all but one are seen, on 600 kbit/s some; all come back, and none flickers."""
    run = scenarios.grid()

    def seen(at: float) -> list[int]:
        return [run.shown(picture, at, at + 0.1)[0][0] for picture in range(9)]

    assert min(seen(10)) >= 1
    assert sum(layer >= 0 for layer in seen(55)) >= 7
    assert sum(layer >= 0 for layer in seen(85)) >= 2
    # By then a probe has come, some 7 s after the last in vain; smaller sizes beside a large one are larger soon after.
    assert min(seen(90 + RECOVERY_S)) >= 0
    assert sum(layer >= 1 for layer in seen(90 + RECOVERY_S)) >= 7
    for start, end in ((2, 30), (32, 60), (62, 90), (92, 150)):
        assert run.sound_ms(start, end) < 60
    assert all(len(run.switches(picture)) <= 12 for picture in range(9))


def test_a_link_far_from_full_is_hardly_probed_and_hardly_paced() -> None:
    """Of 1800 frames, those that are keyframes are smoothed; the two probes need the timer too."""
    flow = scenarios.layers((0, 20 * MBPS)).flows[0]
    assert flow.probes <= 2
    assert flow.padding_bytes < 50_000
    assert flow.releases <= 180


@pytest.mark.parametrize("seed", range(4))
def test_frames_that_take_long_to_get_through_are_no_reason_for_less(seed: int) -> None:
    """A probe finds out what the link holds, and few large frames do not make it doubtful again."""
    run = scenarios.slow_camera(seed)
    assert min(bps for at, bps in run.flows[0].estimates if at > scenarios.START_S + 15) > 0.9 * 1.5 * MBPS


@pytest.mark.parametrize("seed", range(8))
def test_a_moment_without_packets_does_not_cost_a_small_picture(seed: int) -> None:
    run = scenarios.stalling(seed)
    lowest_bps = min((bps for at, bps in run.flows[0].estimates if at > START_S + 1), default=math.inf)
    assert lowest_bps > 1.2 * run.rates(10, 60)[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_link_that_holds_half_of_a_small_picture_is_known_soon(seed: int) -> None:
    run, fall_s = scenarios.fall_below_a_small_picture(seed)
    known_at = (at for at, bps in run.flows[0].estimates if at > START_S + fall_s and bps <= 55 * KBPS)
    assert next(known_at, math.inf) < START_S + fall_s + 0.6


def test_the_same_seed_gives_the_same_run() -> None:
    first, second = (scenarios.competing(2, 2 * MBPS, seconds=30) for _ in range(2))
    assert [flow.estimates for flow in first.flows] == [flow.estimates for flow in second.flows]
    other = scenarios.competing(2, 2 * MBPS, seconds=30, seed=2)
    assert [flow.estimates for flow in first.flows] != [flow.estimates for flow in other.flows]
