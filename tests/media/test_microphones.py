"""How loud microphones are, and those that are let through only when somebody speaks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.flows import Publisher, Subscriber
from tests.media.support import AUDIO_LEVEL, OPUS, examples, rtp
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.up_track import LEAD_IN_FOR_S, LEAD_IN_S, MAX_LEVELS
from zvonim_sfu.rtp.sequence import ts_delta

FRAME_S = 0.02
TICKS = 960


class Microphone(Publisher):
    """A microphone that sends a packet each 20 ms, from second 0 on."""

    def __init__(self, source: Source = Source.MICROPHONE, *, level_id: int = 1) -> None:
        super().__init__(source, extension_ids={AUDIO_LEVEL: level_id} if level_id else {})
        self.sent = 0

    @property
    def now(self) -> float:
        """When the newest packet came."""
        return (self.sent - 1) * FRAME_S

    def speak(self, packets: int = 1, level: bytes = b"\x1e") -> None:
        for _ in range(packets):
            self.sent += 1
            extensions = [(1, level)] if level else []
            self.send(
                rtp(self.sent, self.sent * TICKS, payload_type=OPUS.payload_type, extensions=extensions), self.now
            )


def listening(*microphones: Microphone) -> Subscriber:
    listener = Subscriber("audio")
    for microphone in microphones:
        listener.down_track.attach(microphone.up_track, microphone.now)
    return listener


def steps(listener: Subscriber) -> list[int]:
    """By how much each timestamp is later than the one before, in packets."""
    stamps = [packet.timestamp for packet in listener.sent]
    return [round(ts_delta(b, a) / TICKS) for a, b in pairwise(stamps)]


def test_silence_that_is_not_sent_stays_as_long_as_it_was() -> None:
    """Discontinuous transmission (RFC 7587, section 3.1.3): numbers go on by one, timestamps as the sound does."""
    microphone = Microphone()
    listener = listening(microphone)
    number, stamp = 0, 0
    for gap in (1, 1, 10, 20, 20, 1, 1, 3000, 1):
        number, stamp = number + 1, stamp + gap
        data = rtp(number, stamp * TICKS, payload_type=OPUS.payload_type, payload=b"\x78" if gap > 1 else b"sound")
        microphone.send(data, stamp * FRAME_S)
        microphone.pass_time(stamp * FRAME_S + 0.01)
    assert steps(listener) == [1, 10, 20, 20, 1, 1, 3000, 1]
    assert listener.numbers == list(range(9))
    assert [len(packet.payload) for packet in listener.sent] == [5, 5, 1, 1, 1, 5, 5, 1, 5]
    assert not microphone.nacks


def test_levels_are_read_and_the_bit_beside_them_is_not() -> None:
    microphone = Microphone()
    assert microphone.up_track.tells_levels
    microphone.speak(level=b"\x1e")
    microphone.speak(level=b"\xff")
    microphone.speak(level=b"")
    assert list(microphone.up_track.levels) == [30, 127]


@pytest.mark.parametrize(
    "microphone",
    [Microphone(level_id=0), Microphone(level_id=2), Microphone(Source.SCREEN_AUDIO)],
    ids=["no-extension", "another-number", "screen-audio"],
)
def test_what_is_no_microphone_or_tells_no_levels_has_none(microphone: Microphone) -> None:
    microphone.speak(3)
    assert not microphone.up_track.levels


def test_levels_that_nobody_takes_are_forgotten() -> None:
    microphone = Microphone()
    microphone.speak(3 * MAX_LEVELS)
    assert len(microphone.up_track.levels) == MAX_LEVELS


def test_a_paused_microphone_goes_nowhere_and_comes_back_without_a_hole() -> None:
    microphone = Microphone()
    listener = listening(microphone)
    microphone.speak(5)
    microphone.up_track.pause()
    microphone.speak(100)
    assert len(listener.sent) == 5
    microphone.up_track.resume(microphone.now)
    lead_in = round(LEAD_IN_S / FRAME_S)
    assert len(listener.sent) == 5 + lead_in
    microphone.speak(3)
    assert listener.numbers == list(range(5 + lead_in + 3))
    # Time went on meanwhile, as a receiver knows it from silence that is not sent.
    assert steps(listener) == [1, 1, 1, 1, 101 - lead_in, *[1] * (lead_in + 2)]


def test_after_a_short_pause_nothing_comes_twice() -> None:
    microphone = Microphone()
    listener = listening(microphone)
    microphone.speak(10)
    microphone.up_track.pause()
    microphone.speak(4)
    microphone.up_track.resume(microphone.now)
    microphone.speak(1)
    assert listener.numbers == list(range(15))
    assert steps(listener) == [1] * 14


def test_who_takes_over_a_slot_is_heard_from_the_first_syllable_on() -> None:
    silent, speaker = Microphone(), Microphone()
    listener = listening(silent)
    silent.speak(5)
    speaker.speak(5)
    silent.up_track.pause()
    speaker.up_track.pause()
    silent.speak(100)
    speaker.speak(100)
    speaker.up_track.resume(speaker.now)
    listener.down_track.attach(speaker.up_track, speaker.now + LEAD_IN_FOR_S / 2)
    count = len(listener.sent) - 5
    assert count == round(LEAD_IN_S / FRAME_S)
    assert listener.numbers == list(range(5 + count))
    assert all(step >= 1 for step in steps(listener))


def test_in_a_slot_where_somebody_was_heard_just_now_it_begins_after_that() -> None:
    before, speaker = Microphone(), Microphone()
    listener = listening(before)
    speaker.up_track.pause()
    before.speak(100)
    speaker.speak(100)
    speaker.up_track.resume(speaker.now)
    listener.down_track.attach(speaker.up_track, speaker.now)
    speaker.speak(2)
    assert len(listener.sent) == 102
    assert all(step >= 1 for step in steps(listener))


def test_who_comes_into_a_call_hears_it_from_then_on() -> None:
    microphone = Microphone()
    microphone.up_track.pause()
    microphone.speak(50)
    microphone.up_track.resume(microphone.now)
    microphone.speak(50)
    listener = listening(microphone)
    assert listener.sent == []
    microphone.speak()
    assert len(listener.sent) == 1


def test_who_comes_during_a_pause_waits_for_its_end() -> None:
    microphone = Microphone()
    microphone.speak()
    microphone.up_track.pause()
    listener = listening(microphone)
    microphone.speak(50)
    assert listener.sent == []
    microphone.up_track.resume(microphone.now)
    assert listener.sent


@examples(40)
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=12))
def test_however_often_it_is_paused_nothing_is_missing_or_late(parts: list[tuple[int, bool]]) -> None:
    microphone = Microphone()
    listener = listening(microphone)
    for packets, paused in parts:
        if paused and not microphone.up_track.is_paused:
            microphone.up_track.pause()
        elif not paused and microphone.up_track.is_paused:
            microphone.up_track.resume(microphone.now)
        microphone.speak(packets)
    assert listener.numbers == list(range(len(listener.sent)))
    assert all(step >= 1 for step in steps(listener))
