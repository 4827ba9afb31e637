"""The two kernels do the same: the same calls leave the same datagrams and counters behind."""

from __future__ import annotations

import contextlib
import errno
import math
import socket
import struct
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy

from tests.net.kernels import COMPILED, KERNELS, sendmmsg
from tests.net.links import PROFILES, SO_NO_CHECK, link, rtp_header, session, sessions, waiting
from zvonim_sfu.bandwidth.history import SendHistory
from zvonim_sfu.bandwidth.pacer import AT, CREDIT, SHUT, Pacer, Priority
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.path import Path
from zvonim_sfu.net.sending import UNPACED, Packet
from zvonim_sfu.net.srtp import unprotect_rtp
from zvonim_sfu.rtp.packet import NO_FIELDS, ExtensionPlan, Fields, RtpPacket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zvonim_sfu.net.kernel import Kernel

PLANS: Final = [
    ExtensionPlan({}),
    ExtensionPlan({1: 1, 2: 2}, descriptor=2),
    ExtensionPlan({1: 2, 2: 1}, transport_wide=5),
    ExtensionPlan({1: 200}, transport_wide=3, descriptor=1),
    ExtensionPlan({}, red=96),
]
EGRESSES: Final = 5
SENDERS: Final = 6
HISTORY: Final = 8
"""Packets that are kept, so that numbers go round."""


class FullBucket(Pacer[Packet]):
    """A gate that lets some packets pass, and then no more until it is opened: time makes no difference."""

    def __init__(self) -> None:
        super().__init__(estimate_bps=1)
        self.held: list[tuple[Packet, int, Priority]] = []
        self.open()

    def open(self) -> list[tuple[Packet, int, Priority]]:
        """Return what was held, and let some pass again."""
        self.bucket[AT], self.bucket[CREDIT], self.bucket[SHUT] = math.inf, 3000, 0
        held, self.held = self.held, []
        return held

    is_flooded = False

    def waiting(self, _ssrc: int) -> set[int]:
        """Nothing is ever taken back."""
        return set()

    def take_back(self, _ssrc: int, _rtx_ssrc: int, _first: int) -> None: ...

    def hold(self, packet: Packet, size: int, priority: Priority) -> bool:
        """Take a few."""
        self.held.append((packet, size, priority))
        return len(self.held) <= 5


def whole(packet: Packet, size: int, priority: Priority) -> object:
    """Return what is held in one piece: where a header that is not of twelve bytes ends is a kernel's own affair."""
    header, tail, number_at = packet
    return header + tail, -1 if number_at < 0 else len(header) + number_at, size, priority


class Operation(NamedTuple):
    """A call, the number of its egress or sender, and its packet."""

    name: str
    number: int
    data: bytes
    marker: bool = False
    fields: Fields = NO_FIELDS
    number_at: int = -1
    offset: int = 0


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """An RTP packet with CSRCs and extensions, of few sizes as those of a frame, or of any."""
    csrcs = draw(st.integers(0, 2))
    header = struct.pack(
        "!BBHII",
        0x80 | csrcs,
        draw(st.sampled_from((96, 0xE0))),
        draw(st.integers(0, 0xFFFF)),
        draw(st.sampled_from((0, 1, 0xFFFFFFFF))),
        1,
    )
    extension = draw(
        st.sampled_from(
            (
                b"",
                b"\xbe\xde\x00\x01\x10\xaa\x20\xbb",
                b"\x10\x00\x00\x01\x01\x02xy",
                b"\xbe\xde\x00\x02\x10\xaa\x23\x80\xff\xfe\x01\x00",
                b"\xbe\xde\x00\x01\x12\x40\x12\x34",
            )
        )
    )
    size = draw(st.sampled_from((0, 1, 700, 700, 700, 1100, 1100, 1300, 1339, 1344)) | st.integers(0, 2047))
    first = header[0] | (0x10 if extension else 0)
    return bytes([first]) + header[1:] + bytes(4 * csrcs) + extension + bytes(size)


PLACES: Final = st.sampled_from((-1, 0, 1, 698, 699, 700)) | st.integers(-3, 1400)
OFFSETS: Final = st.sampled_from((0, 0, 1, -1, 0x7F, 0x7FFF, 0xFFFF)) | st.integers(-(2**40), 2**40)
FIELDS: Final = st.just(NO_FIELDS) | st.builds(
    Fields, PLACES, st.sampled_from((7, 15, 8)), st.integers(0, 0x7FFF), PLACES, st.integers(0, 255)
)
NAMES: Final = ("append", "forward", "forward", "forward", "shift", "flush", "session", "path", "history", "replace",
                "gate", "open")  # fmt: skip


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    """Any of them."""
    name = draw(st.sampled_from(NAMES))
    data = draw(packets()) if name in {"append", "forward"} else b""
    return Operation(
        name, draw(st.integers(0, EGRESSES - 1)), data, draw(st.booleans()), draw(FIELDS), draw(PLACES), draw(OFFSETS)
    )


class Scene:
    """Some senders of one kernel, and sockets that take what they send."""

    def __init__(self, kernel: Kernel, profile: str, hosts: Sequence[str], stack: contextlib.ExitStack) -> None:
        links = [stack.enter_context(link(host)) for host in hosts]
        self.paths = [path for path, _ in links]
        self.receivers = [receiver for _, receiver in links]
        self.sessions = [session(profile, bytes([number]) * 64, Policy.SSRC_ANY_OUTBOUND) for number in range(EGRESSES)]
        # The last one has another address of the first one's socket that nobody can send to.
        self.paths[-1] = Path(self.paths[0].socket, (hosts[0], 0, 0, 0) if ":" in hosts[0] else (hosts[0], 0))
        self.egresses = [kernel.Egress(*both) for both in zip(self.sessions, self.paths, strict=True)]
        self.histories = [SendHistory(HISTORY) for _ in self.egresses]
        for egress, history in zip(self.egresses[1:], self.histories[1:], strict=True):
            egress.history = history
            history.counter[0] = 0xFFFE
        self.gates = [FullBucket() for _ in self.egresses]
        for egress, gate in zip(self.egresses[2:], self.gates[2:], strict=True):
            egress.gate = gate
        self.began = time.monotonic()
        self.batch = kernel.Batch(16)
        self.senders = [kernel.Sender(self.egresses[number % EGRESSES], 100 + number) for number in range(SENDERS)]
        for number, sender in enumerate(self.senders):
            sender.payload_type = 96 + number
            sender.plan = PLANS[number % len(PLANS)]
            sender.sequence_offset = number * 40_000 - 7
            sender.timestamp_offset = number * 0x7FFFFFFF - 5
        self.fan_out = kernel.FanOut(self.batch)
        self.fan_out.replace(self.senders)
        self.received: list[list[bytes]] = [[] for _ in links]

    def do(self, operation: Operation, sequence: int) -> None:
        name, number, data, marker, fields, number_at, offset = operation
        egress = self.egresses[number]
        match name:
            case "append":
                at = 12 if offset % 2 else 14  # a header may be of any size
                self.batch.append(egress, data[:at], data[at:], number_at, sequence % 4 - 1)
            case "forward":
                self.fan_out.forward(RtpPacket.parse(data), sequence, marker, fields)
            case "shift":
                sender = self.senders[number]
                sender.picture_id_offset, sender.tl0_offset, sender.frame_number_offset = offset, offset // 3, number_at
                sender.priority = abs(offset) % 3
            case "gate":
                egress.gate = None if egress.gate is not None else self.gates[number]
            case "open":
                for packet, _, _ in self.gates[number].open():
                    self.batch.append(egress, *packet, UNPACED)
            case "history":
                egress.history = None if egress.history is not None else self.histories[number]
            case "session":
                egress.session = None if egress.session is not None else self.sessions[number]
            case "path":
                egress.path = None if egress.path is not None else self.paths[number]
            case "replace":
                self.fan_out.replace(self.senders[number:])
            case _:
                self.batch.flush()
        for datagrams, receiver in zip(self.received, self.receivers, strict=True):
            datagrams.extend(waiting(receiver))

    def state(self) -> object:
        return (
            [(egress.packets_sent, egress.bytes_sent, egress.drops) for egress in self.egresses],
            [(s.packets, s.octets, s.last_sequence, s.last_timestamp, s.floor) for s in self.senders],
            [(list(history.counter), list(history.sizes), list(history.sounds)) for history in self.histories],
            [([whole(*held) for held in gate.held], list(gate.bucket)) for gate in self.gates],
            len(self.batch),
        )

    def check_times(self) -> None:
        """What was noted was sent meanwhile."""
        now = time.monotonic()
        for history in self.histories:
            assert all(at == 0 or self.began <= at <= now for at in history.sent_at)


@pytest.mark.parametrize("hosts", [("127.0.0.1",) * EGRESSES, ("::1", "127.0.0.1", "::1", "127.0.0.1", "::1")])
@settings(max_examples=60)
@given(profile=st.sampled_from(list(PROFILES)), calls=st.lists(operations(), max_size=40))
def test_the_same_calls_send_the_same_bytes(hosts: tuple[str, ...], profile: str, calls: list[Operation]) -> None:
    with contextlib.ExitStack() as stack:
        one, other = (Scene(kernel, profile, hosts, stack) for kernel in KERNELS.values())
        for sequence, call in enumerate([*calls, Operation("flush", 0, b"")]):
            one.do(call, sequence + 65_500)
            other.do(call, sequence + 65_500)
            assert one.state() == other.state()
        assert one.received == other.received
        sent = sum(egress.packets_sent for egress in one.egresses)
        assert sent == sum(len(datagrams) for datagrams in one.received)
        one.check_times()
        other.check_times()


def burst(sizes: Sequence[int], egresses: int = 1) -> Callable[[Kernel], tuple[list[list[bytes]], list[object]]]:
    """Return a function of a kernel that sends packets of these sizes to each egress, and returns what came of it."""

    def run(kernel: Kernel) -> tuple[list[list[bytes]], list[object]]:
        with contextlib.ExitStack() as stack:
            path, first = stack.enter_context(link())
            receivers = [first, *(stack.enter_context(link())[1] for _ in range(egresses - 1))]
            targets = [
                kernel.Egress(
                    session("AEAD_AES_128_GCM", bytes([number]) * 64, Policy.SSRC_ANY_OUTBOUND),
                    Path(path.socket, receiver.getsockname()),
                )
                for number, receiver in enumerate(receivers)
            ]
            batch = kernel.Batch()
            for number, size in enumerate(sizes):
                for egress in targets:
                    batch.append(egress, rtp_header(number), bytes(size))
            batch.flush()
            return [waiting(receiver) for receiver in receivers], [(e.packets_sent, e.drops) for e in targets]

    return run


@pytest.mark.parametrize(
    ("sizes", "messages"),
    [
        ([1100], 1),
        ([1100] * 6, 1),
        ([1100] * 5 + [300], 1),
        ([1100] * 2 + [300] * 2 + [400] * 2, 3),  # 1100 1100 300 | 300 | 400 400
        ([300, 1100, 300, 1100], 3),  # 300 | 1100 300 | 1100
        ([20] * 65, 2),
        ([1300] * 60, 2),  # 65,000 bytes at most
    ],
)
def test_a_burst_is_sent_in_runs_of_one_size(sizes: list[int], messages: int) -> None:
    run = burst(sizes, egresses=2)
    with sendmmsg(lambda count: count) as calls:
        received, counters = run(COMPILED)
    assert calls == [2 * messages]
    assert (received, counters) == run(KERNELS["python"])
    assert [len(datagrams) for datagrams in received] == [len(sizes)] * 2


@pytest.mark.parametrize("most", [1, 2, 3])
def test_what_the_system_took_only_in_part_is_sent_on(most: int) -> None:
    run = burst([300, 1100] * 5, egresses=3)
    with sendmmsg(lambda count: min(count, most)) as calls:
        assert run(COMPILED) == run(KERNELS["python"])
    assert len(calls) > 3


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errno.EAGAIN, DropReason.SOCKET_FULL),
        (errno.ENOBUFS, DropReason.NO_BUFFERS),
        (errno.ENETUNREACH, DropReason.SEND_FAILED),
        (errno.EPERM, DropReason.SEND_FAILED),
        (errno.EMSGSIZE, DropReason.SEND_FAILED),
        (errno.EINVAL, DropReason.SEND_FAILED),
        (errno.EIO, DropReason.SEND_FAILED),
    ],
)
def test_what_the_system_refuses_is_counted_for_each_packet(error: int, reason: DropReason) -> None:
    with sendmmsg(lambda _: -error):
        received, counters = burst([300, 300, 300, 1100], egresses=2)(COMPILED)
    assert received == [[], []]
    assert counters == [(0, {reason: 4})] * 2


def test_what_the_system_refuses_keeps_its_number_and_the_rest_has_none() -> None:
    with link() as (path, receiver):
        tx, rx = sessions()
        egress = COMPILED.Egress(tx, path)
        egress.history = history = SendHistory(8)
        batch = COMPILED.Batch()
        answers = [-errno.EAGAIN]
        with sendmmsg(lambda count: answers.pop() if answers else count):
            for number, size in enumerate((100, 200, 2000, 300)):
                batch.append(egress, rtp_header(number), bytes(size), 4)
            batch.flush()
        assert egress.drops == {DropReason.SOCKET_FULL: 1, DropReason.TOO_LONG: 1}
        assert (history.next_number, list(history.sizes[:4])) == (3, [128, 228, 328, 0])
        received = [unprotect_rtp(rx, data) for data in waiting(receiver)]
        assert [data and data[16:18] for data in received] == [b"\0\1", b"\0\2"]


def test_one_refused_message_costs_no_other() -> None:
    answers = [1, -errno.EAGAIN, 1, -errno.ENOBUFS]
    with sendmmsg(lambda count: answers.pop(0) if answers else count) as calls:
        received, counters = burst([300, 300], egresses=6)(COMPILED)
    assert calls == [6, 5, 4, 3, 2]
    assert [len(datagrams) for datagrams in received] == [2, 0, 2, 0, 2, 2]
    assert counters[1] == (0, {DropReason.SOCKET_FULL: 2})
    assert counters[3] == (0, {DropReason.NO_BUFFERS: 2})


@pytest.mark.parametrize("error", [errno.EIO, errno.EINVAL, errno.EMSGSIZE])
def test_a_run_that_cannot_be_cut_is_sent_one_by_one(error: int) -> None:
    answers = [-error]
    with sendmmsg(lambda count: answers.pop() if answers else count):
        assert burst([300] * 3 + [100], egresses=2)(COMPILED) == burst([300] * 3 + [100], egresses=2)(KERNELS["python"])


def test_a_device_that_cannot_cut_is_asked_once() -> None:
    with link() as (path, receiver):
        path.socket.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        egresses = [COMPILED.Egress(sessions()[0], path) for _ in range(2)]
        batch = COMPILED.Batch()
        with sendmmsg(lambda count: count) as calls:
            for number in range(6):
                for egress in egresses:
                    batch.append(egress, rtp_header(number), bytes(500))
                if number % 3 == 2:
                    batch.flush()
        # Two runs of three are refused and sent one by one; then nothing is gathered any more.
        assert calls == [2, 1, 1, 1, 1, 1, 1, 1, 6]
        assert len(waiting(receiver)) == 12
        assert [(egress.packets_sent, egress.drops) for egress in egresses] == [(6, {}), (6, {})]


def test_a_path_that_cannot_carry_a_run_leaves_the_others_alone() -> None:
    with link() as (path, receiver):
        egresses = [COMPILED.Egress(sessions()[0], path) for _ in range(2)]
        batch = COMPILED.Batch()
        answers = [-errno.EINVAL]
        with sendmmsg(lambda count: answers.pop() if answers else count) as calls:
            for number in range(4):
                for egress in egresses:
                    batch.append(egress, rtp_header(number), bytes(500))
                if number % 2:
                    batch.flush()
            assert calls == [2, 1, 1, 1, 3]
            egresses[0].path = Path(*path)  # the client has moved: tried again
            for number in range(4, 6):
                batch.append(egresses[0], rtp_header(number), bytes(500))
            batch.flush()
            assert calls[5:] == [1]
        assert len(waiting(receiver)) == 10
