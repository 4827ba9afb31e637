"""Who is sent to by the fan-out gets what it would get from its down track, packet by packet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.media.flows import DELTA, KEYFRAME, Publisher, Subscriber
from tests.media.support import AUDIO_LEVEL, VP8, VP9, examples, rtp

NACKED = replace(VP8, feedback=("nack", "nack pli"))


class Watcher(Subscriber):
    """A subscriber with known beginnings, and calls of `forward` counted."""

    def __init__(self, *, is_steady: bool) -> None:
        super().__init__(codecs=[VP8, VP9], extension_ids={AUDIO_LEVEL: 6})
        self.down_track._sender.last_sequence = 65_000
        self.down_track._timestamp_base = 7
        self.forwarded = 0
        forward = self.down_track.forward

        def counted(*args: Any, **options: Any) -> None:
            self.forwarded += 1
            forward(*args, **options)

        self.down_track.forward = counted  # type: ignore[method-assign]
        if not is_steady:
            self.down_track.steady_sender = lambda layer: None  # type: ignore[method-assign]


def test_a_steady_receiver_is_not_asked_packet_by_packet() -> None:
    publisher, watcher = Publisher(), Watcher(is_steady=True)
    watcher.down_track.attach(publisher.up_track, 0.0)
    for number, payload in enumerate((DELTA, KEYFRAME, DELTA, DELTA, DELTA)):
        publisher.send_frame(number, 0.1 * number, payload=payload)
    assert watcher.forwarded == 2
    assert watcher.numbers == [0, 1, 2, 3]
    late = Watcher(is_steady=True)
    late.down_track.attach(publisher.up_track, 0.5)
    assert len(late.sent) == 4  # that were kept
    publisher.send_frame(5, 0.5)
    assert (len(watcher.sent), len(late.sent)) == (5, 5)
    assert watcher.forwarded == 2
    # Nor does one that can take nothing make a difference to the others.
    blind = Watcher(is_steady=True)
    blind.down_track.configure((), {})
    blind.down_track.attach(publisher.up_track, 0.6)
    for number in range(6, 9):
        publisher.send_frame(number, 0.1 * number)
    assert (len(watcher.sent), watcher.forwarded, blind.sent) == (8, 2, [])


def test_who_has_left_or_changed_is_noticed_with_the_next_packet() -> None:
    publisher = Publisher(extension_ids={AUDIO_LEVEL: 1})
    stays, leaves = Watcher(is_steady=True), Watcher(is_steady=True)
    for watcher in (stays, leaves):
        watcher.down_track.attach(publisher.up_track, 0.0)
    publisher.send(rtp(1, 3000 * 1, payload=KEYFRAME, extensions=[(1, b"a")]))
    publisher.send(rtp(2, 3000 * 2, payload=DELTA, extensions=[(1, b"a")]))
    leaves.down_track.attach(None, 0.1)
    publisher.send(rtp(3, 3000 * 3, payload=DELTA, extensions=[(1, b"a")]))
    stays.down_track.configure([replace(VP8, payload_type=101)], {AUDIO_LEVEL: 9})
    publisher.send(rtp(4, 3000 * 4, payload=DELTA, extensions=[(1, b"a")]))
    publisher.send(rtp(5, 3000 * 5, payload=KEYFRAME, extensions=[(1, b"a")]))
    publisher.send(rtp(6, 3000 * 6, payload=DELTA, extensions=[(1, b"a")]))
    assert len(leaves.sent) == 2
    assert [(p.payload_type, p.extensions()) for p in stays.sent] == [
        *[(96, [(6, b"a")])] * 3,
        *[(101, [(9, b"a")])] * 2,
    ]


step = st.tuples(
    st.sampled_from(
        ("send", "send", "send", "keyframe", "late", "skip", "rest", "leave", "join", "plan", "layer", "codec")
    ),
    st.integers(1, 40),
)


@examples(300)
@given(st.lists(step, max_size=60))
def test_the_fan_out_sends_what_the_down_tracks_would(steps: list[tuple[str, int]]) -> None:
    publisher = Publisher(codecs=[NACKED, VP9], extension_ids={AUDIO_LEVEL: 1})
    watchers = [Watcher(is_steady=True), Watcher(is_steady=False)]
    number, now, ssrc, payload_type = 65_520, 1.0, 1, 96
    for name, amount in [("send", 1), ("join", 1), ("keyframe", 1), *steps]:
        now += 0.01
        if name in {"send", "keyframe", "late"}:
            number += name != "late"
            wire = number - amount if name == "late" else number
            payload = KEYFRAME if name == "keyframe" else DELTA
            if payload_type == VP9.payload_type:
                payload = b"\x08" + payload if name == "keyframe" else b"\x48" + payload
            timestamp = int(now * 90000) - (amount * 900 if name == "late" else 0)
            data = rtp(wire & 0xFFFF, timestamp, payload=payload, ssrc=ssrc, payload_type=payload_type,
                       extensions=[(1, bytes([amount]))], marker=amount % 2 == 0)  # fmt: skip
            publisher.send(data, now)
        elif name == "skip":
            number += amount
        elif name == "rest":
            now += amount / 10
        elif name == "layer":
            ssrc, number = ssrc + 1, number + 1000 * amount
        elif name == "codec":
            payload_type = VP9.payload_type if payload_type == 96 else 96
        for watcher in watchers:
            if name == "leave":
                watcher.down_track.attach(None, now)
            elif name == "join":
                watcher.down_track.attach(publisher.up_track, now)
            elif name == "plan":
                watcher.down_track.configure([VP8, VP9] if amount > 5 else [VP8], {AUDIO_LEVEL: amount % 14 + 1})
        steady, other = watchers
        assert [packet.data for packet in steady.sent] == [packet.data for packet in other.sent]
        assert steady.down_track.statistics.packets == other.down_track.statistics.packets
        assert steady.down_track.statistics.octets == other.down_track.statistics.octets
    assert steady.forwarded <= other.forwarded
