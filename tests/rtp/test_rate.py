from __future__ import annotations

from zvonim_sfu.rtp.rate import BitrateMeter


def test_the_bit_rate_is_that_between_the_last_two_looks() -> None:
    meter = BitrateMeter()
    meter.update(5000, 10.0)
    assert meter.bitrate == 0, "one look says nothing"
    meter.update(6000, 12.0)
    assert meter.bitrate == 4000
    meter.update(6000, 13.0)
    assert meter.bitrate == 0


def test_two_looks_at_the_same_moment_are_one() -> None:
    meter = BitrateMeter()
    meter.update(0, 1.0)
    meter.update(100, 2.0)
    meter.update(200, 2.0)
    assert meter.bitrate == 800
