from __future__ import annotations

import struct

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zvonim_sfu.rtp.description import PLAIN, Description
from zvonim_sfu.rtp.history import (
    MAX_AGE_S,
    MAX_BYTES,
    MAX_OVERTAKEN,
    MAX_PACKETS,
    MAX_REPLAY_BYTES,
    MAX_REPLAY_PACKETS,
    PacketHistory,
)
from zvonim_sfu.rtp.packet import RtpPacket

KEYFRAME = Description(keyframe=True)


def packet(timestamp: int = 0, *, marker: bool = False, size: int = 20) -> RtpPacket:
    return RtpPacket.parse(struct.pack("!BBHII", 0x80, marker << 7 | 96, 0, timestamp, 1) + bytes(size - 12))


class Stream:
    """Adds packets written as a line: a letter is a packet of that frame; an upper-case one begins a keyframe; the last
    of a frame has the marker; `.` is a number that does not come."""

    def __init__(self, line: str, *, start: int = 100, now: float = 0.0) -> None:
        self.history = PacketHistory()
        self.start = start
        self.line = line
        for index in range(len(line)):
            if line[index] not in ".?":
                self.add(index, now)

    def add(self, index: int, now: float = 0.0) -> None:
        letter = self.line[index]
        last = index + 1 == len(self.line) or self.line[index + 1].lower() not in (letter.lower(), ".", "?")
        added = packet(ord(letter.lower()), marker=last)
        self.history.add(self.start + index, added, now, KEYFRAME if letter.isupper() else PLAIN)

    def late(self, index: int, letter: str, now: float = 0.0) -> None:
        self.line = self.line[:index] + letter + self.line[index + 1 :]
        self.add(index, now)

    def replay(self, now: float = 0.0) -> str | None:
        """The part of the line that a new receiver gets."""
        packets = self.history.since_keyframe(now)
        if packets is None:
            return None
        numbers = {sequence - self.start for sequence, _ in packets}
        assert sorted(numbers) == [sequence - self.start for sequence, _ in packets]
        return "".join(self.line[i] if i in numbers else "." for i in range(min(numbers), max(numbers) + 1))


@pytest.mark.parametrize("start", [100, 0, -3, 65530])
def test_a_packet_is_found_by_its_number(start: int) -> None:
    history = PacketHistory()
    packets = [packet(number) for number in range(5)]
    for index in (0, 1, 3, 2, 4):
        history.add(start + index, packets[index], 0.0, PLAIN)
    assert [history.get(start + index, 1.0) for index in range(5)] == packets
    assert history.get(start + 5, 1.0) is None
    assert history.get(start - 1, 1.0) is None
    assert history.get(start + MAX_PACKETS, 1.0) is None


def test_a_packet_that_is_too_old_is_not_found() -> None:
    history = PacketHistory()
    history.add(1, packet(), 10.0, PLAIN)
    assert history.get(1, 10.0 + MAX_AGE_S) is not None
    assert history.get(1, 10.1 + MAX_AGE_S) is None


def test_a_second_packet_of_a_number_is_left_out() -> None:
    history = PacketHistory()
    first = packet()
    history.add(1, first, 0.0, PLAIN)
    history.add(1, packet(size=100), 0.0, PLAIN)
    assert history.get(1, 0.0) is first
    assert history.size == 20


def test_only_the_latest_numbers_are_kept() -> None:
    history = PacketHistory()
    for number in range(MAX_PACKETS + 10):
        history.add(number, packet(), 0.0, PLAIN)
    assert history.get(9, 0.0) is None
    assert history.get(10, 0.0) is not None
    assert history.size == MAX_PACKETS * 20
    history.add(9, packet(), 0.0, PLAIN)
    assert history.get(9, 0.0) is None
    history.add(MAX_PACKETS * 10, packet(), 0.0, PLAIN)
    assert history.get(MAX_PACKETS * 10, 0.0) is not None


def test_bytes_are_bounded() -> None:
    history = PacketHistory()
    big = packet(size=60_000)
    for number in range(100):
        history.add(number, big, 0.0, PLAIN)
        assert history.size <= MAX_BYTES
        assert history.get(number, 0.0) is big
    assert history.get(99 - 10, 0.0) is big


def test_the_lowest_numbers_go_first() -> None:
    history = PacketHistory()
    for number in range(MAX_PACKETS + 500):
        history.add(number, packet(), 0.0, PLAIN)
    for number in range(MAX_PACKETS + 500, MAX_PACKETS + 520):
        history.add(number, packet(size=60_000), 0.0, PLAIN)
    assert history.size % 60_000 == 0
    assert history.size > MAX_BYTES / 2


def test_old_packets_are_let_go() -> None:
    history = PacketHistory()
    for number in (1, 2, 5, 6):
        history.add(number, packet(), number * 1.0, PLAIN)
    history.expire(5.5 + MAX_AGE_S)
    assert history.size == 20
    history.add(3, packet(), 5.5 + MAX_AGE_S, PLAIN)
    assert history.size == 20
    history.expire(7.0 + MAX_AGE_S)
    assert history.size == 0
    history.expire(100.0)
    history.add(7, packet(), 100.0, PLAIN)
    assert history.get(7, 100.0) is not None


def test_a_history_without_packets() -> None:
    history = PacketHistory()
    history.expire(1.0)
    assert history.get(0, 0.0) is None
    assert history.since_keyframe(0.0) is None
    assert history.keyframe is None


@pytest.mark.parametrize(
    ("line", "replayed"),
    [
        ("aab", None),
        ("Kkkaab", "Kkkaab"),
        ("aKkkb", "Kkkb"),
        ("aKkkbMmmcc", "Mmmcc"),
        ("aKk", "Kk"),  # still arriving
        ("aKkkb.cc.d", "Kkkb.cc.d"),  # a hole behind it is repaired like any other
        ("aK.kb", None),
        ("aKk.b", None),  # the end of the keyframe is missing
        ("aKkkb.", "Kkkb"),
        ("a.Kkb", None),  # what is missing may be its parameter sets
        ("Kkkb", "Kkkb"),  # the very first packet
        ("aKkKkb", "KkKkb"),  # H264: the slices begin a keyframe too
        ("akKkb", "kKkb"),  # H264: a packet before the parameter sets, of the same frame
        ("aKkb" + "c" * MAX_REPLAY_PACKETS, None),
        ("aKkb" + "c" * (MAX_REPLAY_PACKETS - 3), "Kkb" + "c" * (MAX_REPLAY_PACKETS - 3)),
    ],
)
def test_what_a_new_receiver_gets(line: str, replayed: str | None) -> None:
    assert Stream(line).replay() == replayed


@pytest.mark.parametrize(
    ("line", "repairs", "replayed"),
    [
        ("aK?kb", {2: "k"}, "Kkkb"),
        ("aKk?b", {3: "k"}, "Kkkb"),
        ("a?Kkb", {1: "a"}, "Kkb"),
        ("a?Kkb", {1: "K"}, "KKkb"),  # H264: the parameter sets were late
        ("a??Kb", {1: "K"}, None),
        ("a??Kb", {1: "K", 2: "k"}, "KkKb"),
        ("a??Kb", {2: "k", 1: "K"}, "KkKb"),
        ("aKk?Mmb", {3: "a"}, "Mmb"),
        ("a?kkbMmc", {1: "K"}, "Mmc"),  # an older keyframe that comes late
    ],
)
def test_repairs_make_a_keyframe_whole(line: str, repairs: dict[int, str], replayed: str | None) -> None:
    stream = Stream(line)
    assert "?" not in (stream.replay() or "")
    for index, letter in repairs.items():
        stream.late(index, letter)
    assert stream.replay() == replayed


def test_the_marker_ends_a_keyframe() -> None:
    for marker in (True, False):
        history = PacketHistory()
        history.add(1, packet(1, marker=marker), 0.0, KEYFRAME)
        history.add(3, packet(2), 0.0, PLAIN)
        assert (history.since_keyframe(0.0) is not None) is marker


def test_the_first_packets_may_come_in_any_order() -> None:
    stream = Stream("?kk")
    stream.late(0, "K")
    assert stream.replay() == "Kkk"
    history = PacketHistory()
    history.add(100, packet(), 0.0, PLAIN)
    history.add(100 - MAX_OVERTAKEN, packet(), 0.0, PLAIN)
    history.add(99 - MAX_OVERTAKEN, packet(), 0.0, PLAIN)
    assert history.get(100 - MAX_OVERTAKEN, 0.0) is not None
    assert history.get(99 - MAX_OVERTAKEN, 0.0) is None


def test_an_old_keyframe_is_not_sent() -> None:
    stream = Stream("aKkkb", now=5.0)
    assert stream.replay(5.0 + MAX_AGE_S) == "Kkkb"
    assert stream.replay(5.1 + MAX_AGE_S) is None


def test_a_keyframe_after_a_pause_is_whole_though_what_was_before_it_is_gone() -> None:
    stream = Stream("ab", now=0.0)
    stream.history.expire(60.0)
    stream.line += "Kk"
    stream.add(2, 61.0)
    stream.add(3, 61.0)
    assert stream.replay(61.0) == "Kk"
    stream.history.expire(61.0)
    assert stream.replay(61.0) == "Kk"


def test_too_many_bytes_are_not_sent_at_once() -> None:
    history = PacketHistory()
    history.add(1, packet(1, size=MAX_REPLAY_BYTES // 4, marker=True), 0.0, KEYFRAME)
    for number in range(2, 5):
        history.add(number, packet(2, size=MAX_REPLAY_BYTES // 4), 0.0, PLAIN)
    assert history.since_keyframe(0.0) is not None
    history.add(5, packet(2), 0.0, PLAIN)
    assert history.since_keyframe(0.0) is None


class HistoryMachine(RuleBasedStateMachine):
    """Packets of frames come in any order; a model keeps everything."""

    def __init__(self) -> None:
        super().__init__()
        self.history = PacketHistory()
        self.model: dict[int, tuple[RtpPacket, float]] = {}
        self.now = 50.0
        self.next = 7
        self.frame = 0
        self.lost: dict[int, tuple[RtpPacket, bool]] = {}

    def arrive(self, number: int, added: RtpPacket, *, keyframe: bool = False) -> None:
        self.history.add(number, added, self.now, KEYFRAME if keyframe else PLAIN)
        if number not in self.model:
            self.model[number] = (added, self.now)

    @rule(sizes=st.lists(st.sampled_from([12, 300, 1200, 9000]), min_size=1, max_size=40), lost=st.integers(0, 45))
    def send_frame(self, sizes: list[int], lost: int) -> None:
        self.send(sizes, lost, keyframe=False)

    @rule(sizes=st.lists(st.sampled_from([12, 300, 1200, 9000]), min_size=1, max_size=40), lost=st.integers(0, 45))
    def send_keyframe(self, sizes: list[int], lost: int) -> None:
        self.send(sizes, lost, keyframe=True)

    def send(self, sizes: list[int], lost: int, *, keyframe: bool) -> None:
        self.frame += 1
        for index, size in enumerate(sizes):
            added = packet(self.frame, size=size, marker=index == len(sizes) - 1)
            if index == lost:
                self.lost[self.next] = added, keyframe and index == 0
            else:
                self.arrive(self.next, added, keyframe=keyframe and index == 0)
            self.next += 1

    @rule(data=st.data())
    @precondition(lambda self: self.lost)
    def late(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.lost)))
        added, keyframe = self.lost.pop(number)
        self.arrive(number, added, keyframe=keyframe)

    @rule(distance=st.sampled_from([1, 30, MAX_PACKETS, 3 * MAX_PACKETS]))
    def jump(self, distance: int) -> None:
        self.next += distance

    @rule(seconds=st.sampled_from([0.01, 0.5, MAX_AGE_S + 0.1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        self.history.expire(self.now)

    @rule(distance=st.integers(1, MAX_PACKETS * 2))
    def get(self, distance: int) -> None:
        number = self.next - distance
        found = self.history.get(number, self.now)
        if found is not None:
            expected, at = self.model[number]
            assert found is expected
            assert self.now - at <= MAX_AGE_S

    @rule()
    def replay(self) -> None:
        packets = self.history.since_keyframe(self.now)
        if packets is None:
            return
        numbers = [number for number, _ in packets]
        assert numbers == sorted(set(numbers))
        assert len(packets) <= MAX_REPLAY_PACKETS
        assert sum(len(sent.data) for _, sent in packets) <= MAX_REPLAY_BYTES
        assert numbers[0] == self.history.keyframe
        keyframe = [(number, sent) for number, sent in packets if sent.timestamp == packets[0][1].timestamp]
        whole = [number for number, _ in keyframe]
        assert whole == list(range(whole[0], whole[0] + len(whole)))
        assert keyframe[-1][1].marker or numbers[-1] == whole[-1]

    @invariant()
    def bounded(self) -> None:
        assert 0 <= self.history.size <= MAX_BYTES


TestHistoryMachine = HistoryMachine.TestCase
TestHistoryMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
