"""Redundant audio on its way to who takes it and who does not: sequence numbers, repairs, silence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.media.flows import Publisher, Subscriber
from tests.media.support import OPUS, rtp
from tests.rtp.test_red import red
from zvonim_sfu.media.sdp import Codec
from zvonim_sfu.media.source import Source
from zvonim_sfu.rtp.budget import RepairBudget

RED = Codec(63, "red", 48000, 2, "111/111")
RTX = Codec(112, "rtx", 48000, 2, "apt=111")
TICKS = 960


class Microphone(Publisher):
    """A microphone whose packets carry the one before too."""

    def __init__(self) -> None:
        super().__init__(Source.MICROPHONE, codecs=(RED, OPUS))

    def speak(self, number: int, *, payload_type: int = RED.payload_type) -> None:
        sound = b"sound %d" % number
        payload = red(sound, (TICKS, b"sound %d" % (number - 1))) if payload_type == RED.payload_type else sound
        self.send(rtp(number, number * TICKS, payload_type=payload_type, payload=payload), number * 0.02)


def listeners(microphone: Microphone, *codecs: tuple[Codec, ...]) -> list[Subscriber]:
    found = [Subscriber("audio", codecs=each, rtx_ssrc=7) for each in codecs]
    for listener in found:
        listener.down_track.attach(microphone.up_track, 0.0)
    return found


def heard(listener: Subscriber) -> list[tuple[int, bytes]]:
    return [(packet.payload_type, packet.payload) for packet in listener.sent]


def test_who_has_it_gets_it_as_it_came_and_others_what_it_carries() -> None:
    microphone = Microphone()
    renamed = replace(OPUS, payload_type=100)
    taker, other, third = listeners(microphone, (OPUS, replace(RED, payload_type=50)), (renamed,), (OPUS,))
    for number in range(1, 6):
        microphone.speak(number)
    numbers = range(1, 6)
    assert heard(taker) == [(50, red(b"sound %d" % n, (TICKS, b"sound %d" % (n - 1)))) for n in numbers]
    assert heard(other) == [(100, b"sound %d" % n) for n in numbers]
    assert heard(third) == [(111, b"sound %d" % n) for n in numbers]
    for listener in (taker, other, third):
        assert listener.numbers == list(range(5))
        assert listener.down_track.statistics.octets == sum(len(packet.payload) for packet in listener.sent)
    assert not taker.unsupported + other.unsupported + third.unsupported


def test_a_publisher_may_change_between_it_and_what_it_carries() -> None:
    """As libwebrtc does with sounds that are too long for it."""
    microphone = Microphone()
    taker, other = listeners(microphone, (OPUS, RED), (OPUS,))
    for number in range(1, 9):
        microphone.speak(number, payload_type=RED.payload_type if number % 4 else OPUS.payload_type)
    assert heard(other) == [(111, b"sound %d" % number) for number in range(1, 9)]
    assert [payload_type for payload_type, _ in heard(taker)] == [63, 63, 63, 111, 63, 63, 63, 111]
    assert other.numbers == taker.numbers == list(range(8))


@pytest.mark.parametrize("codecs", [(OPUS,), (OPUS, RTX)], ids=["again", "rtx"])
def test_what_was_unwrapped_is_sent_again_unwrapped(codecs: tuple[Codec, ...]) -> None:
    microphone = Microphone()
    (listener,) = listeners(microphone, codecs)
    for number in range(1, 6):
        microphone.speak(number)
    lost = listener.sent[2]
    listener.down_track.repair([lost.sequence_number], RepairBudget(sent=0, now=0.0), 0.1, 0.01)
    again = listener.sent[-1]
    if RTX in codecs:
        assert (again.ssrc, again.payload_type) == (7, RTX.payload_type)
        assert again.payload == lost.sequence_number.to_bytes(2) + b"sound 3"
    else:
        assert again.data == lost.data


def test_what_is_no_redundant_audio_leaves_no_hole() -> None:
    microphone = Microphone()
    (listener,) = listeners(microphone, (OPUS,))
    microphone.speak(1)
    microphone.send(rtp(2, 2 * TICKS, payload_type=RED.payload_type, payload=b"\xff"), 0.04)
    microphone.speak(3)
    assert [payload for _, payload in heard(listener)] == [b"sound 1", b"", b"sound 3"]
    assert listener.numbers == [0, 1, 2]
