from __future__ import annotations

import pytest

from tests.support.streams import RecordedStream
from zvonim_sfu.rtp.codecs import describer
from zvonim_sfu.rtp.description import Description, Restriction
from zvonim_sfu.rtp.layer_rates import MAX_LOOKS, LayerRates

FRAMES = [(0, 0), (0, 2), (0, 1), (0, 2)]


def test_nothing_is_known_before_the_second_look() -> None:
    rates = LayerRates()
    rates.add(Description(begins_frame=True), 1000)
    rates.look(1.0)
    assert rates.restrictions() == []
    assert rates.bitrate(Restriction(0, 0)) == 0
    assert rates.frame_rate(Restriction(0, 0)) == 0.0


def test_rates_are_those_of_all_layers_up_to_one() -> None:
    rates = LayerRates()
    rates.look(0.0)
    for _ in range(5):
        for spatial in range(2):
            for _, temporal in FRAMES:
                rates.add(Description(spatial, temporal, begins_frame=True), 1000 * (spatial + 1))
                rates.add(Description(spatial, temporal), 500)
    rates.look(1.0)
    assert rates.restrictions() == [Restriction(spatial, temporal) for spatial in range(2) for temporal in range(3)]
    assert rates.bitrate(Restriction(0, 0)) == 5 * 1500 * 8
    assert rates.bitrate(Restriction(0, 2)) == 4 * 5 * 1500 * 8
    assert rates.bitrate(Restriction(1, 2)) == 4 * 5 * 4000 * 8
    assert rates.bitrate(Restriction(7, 7)) == 4 * 5 * 4000 * 8
    assert [rates.frame_rate(Restriction(1, temporal)) for temporal in range(3)] == [5.0, 10.0, 20.0]


def test_a_layer_that_stops_is_forgotten() -> None:
    rates = LayerRates()
    rates.look(0.0)
    rates.add(Description(1, 0), 1000)
    for second in range(1, MAX_LOOKS):
        rates.add(Description(), 1000)
        rates.look(float(second))
        assert rates.restrictions() == [Restriction(0, 0), Restriction(1, 0)]
    rates.add(Description(), 1000)
    rates.look(float(MAX_LOOKS))
    assert rates.restrictions() == [Restriction(0, 0)]
    assert rates.bitrate(Restriction(7, 7)) == 8000


def test_a_recorded_stream() -> None:
    stream = RecordedStream.load("av1-l3t3")
    describe = describer(stream.encoding)
    rates = LayerRates()
    rates.look(0.0)
    for packet in stream.packets:
        rates.add(describe(packet.payload, packet.extension(stream.descriptor)), len(packet.payload))
    rates.look(2.0)
    steps = [rates.bitrate(restriction) for restriction in rates.restrictions()]
    assert len(steps) == 9
    assert steps[-1] == pytest.approx(sum(len(packet.payload) for packet in stream.packets) * 4, rel=0.01)
    assert [rates.frame_rate(Restriction(spatial, 2)) for spatial in range(3)] == [pytest.approx(20, abs=1)] * 3
