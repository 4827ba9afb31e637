from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.rtcp import parse_compound
from zvonim_sfu.rtp.rtcp_reports import RtcpError
from zvonim_sfu.rtp.transport_cc import MAX_ARRIVALS, MAX_REPORTED, TICKS_PER_S, WINDOW_S, ArrivalLog, TransportFeedback

TICK_S = 1 / TICKS_PER_S


def feedback_of(statuses: str, *deltas: int, base: int = 0) -> TransportFeedback:
    """`x` came, `.` did not."""
    offsets = [offset for offset, status in enumerate(statuses) if status == "x"]
    if not deltas:
        deltas = (1,) * len(offsets)
    return TransportFeedback(1, 2, base, len(statuses), 3, 4, tuple(zip(offsets, deltas, strict=True)))


def chunks_of(feedback: TransportFeedback, count: int) -> tuple[int, ...]:
    return struct.unpack_from(f"!{count}H", feedback.pack(), 20)


@pytest.mark.parametrize(
    ("feedback", "chunks"),
    [
        # section 3.1.3: runs
        (feedback_of("x" * 15), [0x200F]),
        (feedback_of("." * 8191 + "x"), [0x1FFF, 0xD000]),
        (feedback_of("." * 20000 + "x"), [0x1FFF, 0x1FFF, 3618, 0xD000]),
        (feedback_of("x" * 8, *([-1] * 8)), [0x4008]),
        # section 3.1.4: vectors of one and of two bits
        (feedback_of("x" * 14), [0xBFFF]),
        (feedback_of("x.x.x.x.x.x.x."), [0xAAAA]),
        (feedback_of("x" * 7), [0xD555]),
        (feedback_of("x.x", 300, -1), [0xE200]),
        (feedback_of("x", 255), [0xD000]),
        (feedback_of("x", 256), [0xE000]),
        # a short vector is the last
        (feedback_of("xxxxxxxxx."), [0xBFE0]),
        (feedback_of("x" * 14 + ".x"), [0xBFFF, 0xC400]),
        (feedback_of("x" * 7 + ".x", *([1] * 7), 999), [0xD555, 0xC800]),
    ],
)
def test_statuses_fall_into_chunks(feedback: TransportFeedback, chunks: list[int]) -> None:
    assert list(chunks_of(feedback, len(chunks))) == chunks
    assert parse_compound(feedback.pack()) == [feedback]


def test_bytes_on_the_wire() -> None:
    feedback = TransportFeedback(0x01020304, 0x05060708, 0x1122, 5, 0xABCDEF, 0x42, ((0, 255), (2, -1), (4, 256)))
    assert feedback.pack() == bytes.fromhex("8fcd0006 01020304 05060708 11220005 abcdef42 d220 ff ffff 0100 00")


@pytest.mark.parametrize(
    ("body", "received"),
    [
        # chunks that reach beyond the last number
        ("0003 00000000 2fff 010203", ((0, 1), (1, 2), (2, 3))),
        ("0003 00000000 bfff 010203", ((0, 1), (1, 2), (2, 3))),
        ("0002 00000000 d555 0102", ((0, 1), (1, 2))),
        # empty runs
        ("0001 00000000 0000 2000 2001 07", ((0, 7),)),
        ("ffff 00000000 1fff 1fff 1fff 1fff 1fff 1fff 1fff 1fff 1fff", ()),
    ],
)
def test_what_others_send(body: str, received: tuple[tuple[int, int], ...]) -> None:
    assert TransportFeedback.parse(bytes(10) + bytes.fromhex(body)).received == received


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", "RTCP transport feedback is too short"),
        ("0001 00000000", "RTCP transport feedback is too short"),
        ("0000 00000000 2001", "RTCP transport feedback reports no packet"),
        ("0008 00000000 c000", "RTCP transport feedback ends before its last chunk"),
        ("0001 00000000 2001", "RTCP transport feedback ends before its last delta"),
        ("0002 00000000 4002 000000", "RTCP transport feedback ends before its last delta"),
        ("ffff 00000000 3fff 3fff 3fff 3fff 3fff", "RTCP transport feedback ends before its last delta"),
        ("0001 00000000 6001 00", "RTCP transport feedback has a reserved status"),
        ("0002 00000000 cfff 0000", "RTCP transport feedback has a reserved status"),
    ],
)
def test_refuses_with_a_sentence(body: str, sentence: str) -> None:
    with pytest.raises(RtcpError) as caught:
        TransportFeedback.parse(bytes(10) + bytes.fromhex(body))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "feedback",
    [
        TransportFeedback(1, 2, 3, 0, 0, 0, ()),
        TransportFeedback(1, 2, 3, 0x10000, 0, 0, ()),
        TransportFeedback(1, 2, 3, 2, 0, 0, ((1, 0), (0, 0))),
        TransportFeedback(1, 2, 3, 2, 0, 0, ((1, 0), (1, 0))),
        TransportFeedback(1, 2, 3, 2, 0, 0, ((2, 0),)),
        TransportFeedback(1, 2, 3, 2, 0, 0, ((0, 0x8000),)),
        TransportFeedback(1, 2, 3, 2, 0, 0, ((0, -0x8001),)),
    ],
)
def test_what_the_wire_cannot_carry_is_not_packed(feedback: TransportFeedback) -> None:
    with pytest.raises(RtcpError):
        feedback.pack()


@given(
    st.binary(max_size=60)
    | st.builds(
        lambda count, chunks, rest: bytes(10) + struct.pack(f"!HI{len(chunks)}H", count, 0, *chunks) + rest,
        st.integers(0, 0xFFFF) | st.integers(0, 30),
        st.lists(st.integers(0, 0xFFFF), max_size=10),
        st.binary(max_size=40),
    )
)
def test_any_bytes_are_a_feedback_or_an_rtcp_error(body: bytes) -> None:
    try:
        feedback = TransportFeedback.parse(body)
    except RtcpError:
        return
    assert len(feedback.received) <= len(body)
    assert len(feedback.arrivals()) == len(feedback.received)
    [again] = parse_compound(feedback.pack())
    assert again == feedback


def told(packets: list[TransportFeedback]) -> list[tuple[int, float]]:
    """Number and arrival of what came, as the sender reads it."""
    parsed = parse_compound(b"".join(packet.pack() for packet in packets)) if packets else []
    arrivals = []
    for packet in parsed:
        assert isinstance(packet, TransportFeedback)
        arrivals += [(number, ticks / TICKS_PER_S) for number, ticks in packet.arrivals()]
    return arrivals


def report(log: ArrivalLog, now: float) -> list[TransportFeedback]:
    return log.feedback(now, sender_ssrc=1, media_ssrc=2)


def test_nothing_came() -> None:
    log = ArrivalLog()
    assert report(log, 1.0) == []
    log.received(5, 1.0)
    assert len(report(log, 1.1)) == 1
    assert report(log, 1.2) == []
    assert report(log, 100.0) == []


def test_each_number_is_reported_once_and_losses_with_the_next() -> None:
    log = ArrivalLog()
    for number in (65534, 65535, 1):
        log.received(number, 2.0)
    [first] = report(log, 2.1)
    assert (first.base_sequence, first.count, first.number) == (65534, 4, 0)
    assert [offset for offset, _ in first.received] == [0, 1, 3]
    log.received(4, 2.15)
    [second] = report(log, 2.2)
    assert (second.base_sequence, second.count, second.number) == (2, 3, 1)  # 2 and 3 are lost
    assert [offset for offset, _ in second.received] == [2]


def test_a_late_packet_is_reported_with_all_behind_it() -> None:
    log = ArrivalLog()
    for number in (10, 11, 13, 14):
        log.received(number, 1.0)
    report(log, 1.1)
    log.received(12, 1.15)
    log.received(15, 1.16)
    [again] = report(log, 1.2)
    assert again.base_sequence == 12
    assert [offset for offset, _ in again.received] == [0, 1, 2, 3]
    assert [delta for _, delta in again.received][1] < 0


def test_a_packet_beyond_the_window_is_left_out() -> None:
    log = ArrivalLog()
    for number in (10, 12):
        log.received(number, 1.0)
    report(log, 1.0)
    report(log, 1.1 + WINDOW_S)
    log.received(11, 1.2 + WINDOW_S)
    assert report(log, 1.3 + WINDOW_S) == []
    log.received(13, 1.4 + WINDOW_S)
    [packet] = report(log, 1.5 + WINDOW_S)
    assert (packet.base_sequence, packet.count) == (13, 1)


def test_a_duplicate_counts_when_it_came_first() -> None:
    log = ArrivalLog()
    log.received(1, 1.0)
    log.received(1, 2.0)
    assert told(report(log, 2.0)) == [(1, 1.0)]
    log.received(1, 2.1)
    assert report(log, 2.1) == []


def test_the_number_of_the_feedback_wraps() -> None:
    log = ArrivalLog()
    numbers = []
    for index in range(258):
        log.received(index, index * 0.1)
        numbers += [packet.number for packet in report(log, index * 0.1)]
    assert numbers == [index % 256 for index in range(258)]


def test_the_reference_time_wraps() -> None:
    wrap_s = (1 << 24) * 0.064
    log = ArrivalLog()
    log.received(1, wrap_s - 0.01)
    log.received(2, wrap_s + 0.02)
    numbers, times = zip(*told(report(log, wrap_s + 0.03)), strict=True)
    assert numbers == (1, 2)
    assert times == pytest.approx((wrap_s - 0.01, 0.02))


@pytest.mark.parametrize(
    ("arrivals", "packets"),
    [
        ([(0, 1.0), (1, 9.0)], 1),
        ([(0, 1.0), (1, 9.3)], 2),  # more than 32767 ticks
        ([(1, 1.0), (0, 9.0)], 1),
        ([(1, 1.0), (0, 9.3)], 2),
        ([(0, 1.0), (32765, 1.0)], 1),
        ([(0, 1.0), (32766, 1.0)], 2),
        ([(0, 1.0), (32767, 1.0)], 2),
        ([(number, 1.0) for number in range(MAX_REPORTED)], 1),
        ([(number, 1.0) for number in range(MAX_REPORTED + 1)], 2),
    ],
)
def test_what_does_not_fit_goes_out_in_several(arrivals: list[tuple[int, float]], packets: int) -> None:
    log = ArrivalLog()
    for number, at in arrivals:
        log.received(number, at)
    sent = report(log, 10.0)
    assert len(sent) == packets
    assert sorted(told(sent)) == sorted(arrivals)


def test_no_feedback_is_longer_than_a_datagram() -> None:
    log = ArrivalLog()
    number, now = 0, 1.0
    for index in range(1000):
        number += (16, 25, 9, 1)[index % 4]
        now += 0.3 if index % 2 else -0.29  # out of order: negative, large deltas
        log.received(number, now)
    sent = report(log, now)
    assert len(told(sent)) == 1000
    assert all(len(packet.pack()) < 1200 for packet in sent)


def test_who_sends_too_much_loses_the_oldest_reports() -> None:
    log = ArrivalLog()
    for index in range(10 * MAX_ARRIVALS):
        log.received(index & 0xFFFF, 1.0)
    numbers = [number for number, _ in told(report(log, 1.0)[-32:])]
    assert numbers[-1] == 10 * MAX_ARRIVALS - 1
    assert len(report(log, 10.0)) == 0


@given(
    start=st.integers(0, 0xFFFF),
    origin=st.floats(0, 1e6),
    steps=st.lists(
        st.tuples(
            st.integers(1, 3) | st.integers(1, 400),  # to the next number that is sent
            st.sampled_from([0.0, 0.0001, 0.004, 0.03, 0.08]) | st.floats(0, 0.2),  # between two that are sent
            st.sampled_from([0, 0, 0, 1, 5]),  # how many others overtake it
            st.booleans(),  # whether a feedback goes out
        ),
        max_size=60,
    ),
)
def test_the_sender_reads_every_arrival_within_a_tick(
    start: int, origin: float, steps: list[tuple[int, float, int, bool]]
) -> None:
    order = sorted(range(len(steps)), key=lambda index: index + steps[index][2])
    numbers = []
    number = start
    for distance, _, _, _ in steps:
        number += distance
        numbers.append(number & 0xFFFF)
    log = ArrivalLog()
    now = origin
    came: dict[int, float] = {}
    read: dict[int, float] = {}
    forgotten = set()
    for index in order:
        _, seconds, _, feedback = steps[index]
        now += seconds
        log.received(numbers[index], now)
        log.received(numbers[index], now + 1)
        if came and now - min(came.values()) > WINDOW_S:
            forgotten.add(numbers[index])
        came[numbers[index]] = now
        if feedback:
            read |= told(report(log, now))
    read |= told(report(log, now))
    assert set(read) <= set(came)
    assert set(came) - set(read) <= forgotten, "what comes late within the window is told"
    for number, at in read.items():
        assert abs(at - came[number]) <= TICK_S
