from __future__ import annotations

from zvonim_sfu.bandwidth.history import SOUNDS, SendHistory


def test_numbers_go_round() -> None:
    history = SendHistory(4)
    assert [history.add(100 + n, float(n)) for n in range(6)] == list(range(6))
    assert (history.oldest_number, history.next_number) == (2, 6)
    assert list(history.sizes) == [104, 105, 102, 103]


def test_the_number_of_a_sound_is_known_for_a_while() -> None:
    history = SendHistory(4)
    assert history.sound(0xABCD, 7) is None
    history.keep_sound(0xFFFFFFFF, 0xFFFF, 0x1FFFF)
    for number in range(SOUNDS - 1):
        history.keep_sound(0xABCD, number, 1000 + number)
    assert history.sound(0xFFFFFFFF, 0xFFFF) == 0xFFFF
    assert history.sound(0xABCD, 7) == 1007
    assert history.sound(0xABCE, 7) is None
    history.keep_sound(0xABCE, 7, 2000)
    assert history.sound(0xFFFFFFFF, 0xFFFF) is None
    assert history.sound(0xABCE, 7) == 2000
