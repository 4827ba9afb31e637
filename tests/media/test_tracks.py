from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.media.flows import KEYFRAME, Publisher, RecordingEgress, Wire
from tests.media.support import AUDIO_LEVEL, MID, described, local, rtp, section, track
from zvonim_sfu.media.negotiation import accept_answer, answer, make_offer
from zvonim_sfu.media.router import Router
from zvonim_sfu.media.sdp import Extension
from zvonim_sfu.media.session import Session
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.totals import Totals
from zvonim_sfu.media.tracks import Tracks
from zvonim_sfu.net.kernel import PYTHON
from zvonim_sfu.rtp.packet import RtpPacket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zvonim_sfu.media.session import Track
    from zvonim_sfu.media.up_track import UpTrack


class Owner:
    """Stands in for a peer: its transport, and what its tracks tell it."""

    def __init__(self) -> None:
        egress = RecordingEgress()
        self.sent = egress.sent
        link = SimpleNamespace(negotiated=lambda *, transport_cc: None)
        self.transport = SimpleNamespace(router=Router(), egress=egress, arrival_extension=0, link=link)
        self.ended: list[int] = []
        self.unsupported: list[UpTrack] = []
        udp = SimpleNamespace(batch=Wire(), kernel=PYTHON)
        node = SimpleNamespace(udp=udp, track_sets=set(), ended=Totals())
        self.tracks = Tracks(cast("Any", node), "ann", cast("Any", self.transport), self)
        self.session = Session()
        self.local = local()

    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None: ...

    def request_packets(self, ssrc: int, lost: Sequence[int]) -> None: ...

    def wake(self, at: float) -> None: ...

    def on_ladder_changed(self, up_track: UpTrack) -> None: ...

    def on_unsupported(self, up_track: UpTrack) -> None:
        self.unsupported.append(up_track)

    def on_down_track_ended(self, ssrc: int) -> None:
        self.ended.append(ssrc)

    def offered(
        self, *sections: object, sources: dict[str, Source] | None = None, slot_mode: bool = False
    ) -> tuple[list[str], list[str]]:
        """Apply a client's offer; returns the ids of the up tracks that came and that went."""
        offer = described(*cast("Any", sections))
        self.session, _ = answer(self.session, offer, local=self.local, slot_mode=slot_mode)
        came, gone = self.tracks.apply(self.session, sources or {})
        return [up.id for up in came], [up.id for up in gone]

    def offers(self, tracks: Sequence[Track], *answers: object) -> None:
        """Apply an answer to an offer of these tracks."""
        session, _ = make_offer(self.session, tracks, local=self.local)
        self.session = accept_answer(session, described(*cast("Any", answers)))
        self.tracks.apply(self.session, {})


def test_up_tracks_come_and_go_with_their_sections() -> None:
    owner = Owner()
    audio, video = section("audio", "0"), section("video", "1")
    assert owner.offered(audio, video) == (["microphone", "camera"], [])
    assert [up.key for up in owner.tracks.up.values()] == ["ann/microphone", "ann/camera"]
    assert owner.offered(audio, section("video", "1", "recvonly")) == ([], ["camera"])
    assert owner.offered(audio, video) == (["camera"], [])
    assert owner.offered(section("audio", "0", port=0), video) == ([], ["microphone"])


def test_an_up_track_outlives_negotiations_that_do_not_concern_it() -> None:
    owner = Owner()
    owner.offered(section("video", "1"))
    (camera,) = owner.tracks.up.values()
    owner.offered(section("video", "1"), section("video", "2"))
    assert owner.tracks.up["1"] is camera
    assert owner.tracks.up["2"].id == "screen"
    assert all(up.clock is owner.tracks.clock for up in owner.tracks.up.values())


@pytest.mark.parametrize(
    ("sources", "ids"),
    [
        ({}, ["microphone", "camera", "screen", "screen-audio", "screen-2"]),
        ({"1": Source.SCREEN, "2": Source.CAMERA}, ["microphone", "screen", "camera", "screen-audio", "screen-2"]),
        (
            {"1": Source.CAMERA, "2": Source.CAMERA, "4": Source.CAMERA},
            ["microphone", "camera", "camera-2", "screen-audio", "camera-3"],
        ),
        # A source of the other kind, and one of no section, count for nothing.
        ({"0": Source.CAMERA, "9": Source.SCREEN}, ["microphone", "camera", "screen", "screen-audio", "screen-2"]),
    ],
)
def test_tracks_are_named_by_their_sources(sources: dict[str, Source], ids: list[str]) -> None:
    owner = Owner()
    kinds = ["audio", "video", "video", "audio", "video"]
    came, _ = owner.offered(*(section(kind, str(i)) for i, kind in enumerate(kinds)), sources=sources)
    assert came == ids
    assert len({up.key for up in owner.tracks.up.values()}) == 5


def test_the_name_of_a_track_that_went_is_free_again() -> None:
    owner = Owner()
    owner.offered(section("video", "1"), section("video", "2"), sources={"1": Source.CAMERA, "2": Source.CAMERA})
    owner.offered(section("video", "1", "inactive"), section("video", "2"))
    came, _ = owner.offered(section("video", "1"), section("video", "2"), sources={"1": Source.CAMERA})
    assert came == ["camera"]


def test_the_router_knows_mids_and_signalled_ssrcs() -> None:
    owner = Owner()
    owner.offered(section("video", "1", ssrcs=(7,)), section("video", "2", ssrcs=(8,)))
    router = owner.transport.router
    stream = router.bind(_packet(8))
    assert stream is not None
    assert stream.up_track is owner.tracks.up["2"]
    stream = router.bind(_packet(9, mid=b"1"))
    assert stream is not None
    assert stream.up_track is owner.tracks.up["1"]


def _packet(ssrc: int, mid: bytes | None = None) -> RtpPacket:
    return RtpPacket.parse(rtp(1, ssrc=ssrc, extensions=[(4, mid)] if mid else []))


def test_a_down_track_carries_the_track_of_its_section() -> None:
    owner, publisher = Owner(), Publisher(name="bob")
    owner.offers([track("bob/camera")], section("video", "s0", "recvonly"))
    (down,) = owner.tracks.down.values()
    assert owner.tracks.down_by_ssrc == {down.ssrc: down} == {owner.session.sections[0].ssrc: down}
    assert down.cname == "bob"
    assert down.up_track is None
    owner.tracks.attach(owner.session, {"bob/camera": publisher.up_track})
    assert down.up_track is publisher.up_track
    publisher.send_frame(1, payload=KEYFRAME)
    assert len(owner.sent) == 1
    owner.tracks.attach(owner.session, {})
    publisher.send_frame(2)
    assert len(owner.sent) == 1


def test_a_section_that_is_used_again_keeps_its_down_track() -> None:
    owner = Owner()
    bob, cy = Publisher(name="bob").up_track, Publisher(name="cy").up_track
    owner.offers([track("bob/camera")], section("video", "s0", "recvonly"))
    owner.tracks.attach(owner.session, {bob.key: bob})
    (down,) = owner.tracks.down.values()
    owner.offers([], section("video", "s0", "inactive"))
    owner.tracks.attach(owner.session, {cy.key: cy})
    assert down.up_track is None
    owner.offers([track("cy/camera")], section("video", "s0", "recvonly"))
    owner.tracks.attach(owner.session, {cy.key: cy})
    assert list(owner.tracks.down.values()) == [down]
    assert down.up_track is cy
    assert down.cname == "cy"
    assert owner.ended == []


def test_a_down_track_ends_with_its_section() -> None:
    owner, bob = Owner(), Publisher(name="bob").up_track
    owner.offers([track("bob/camera")], section("video", "s0", "recvonly"))
    owner.tracks.attach(owner.session, {bob.key: bob})
    (down,) = owner.tracks.down.values()
    owner.offered(section("video", "s0", port=0), section("video", "1", "sendonly"))
    assert not owner.tracks.down
    assert not owner.tracks.down_by_ssrc
    assert owner.ended == [down.ssrc]
    assert down.up_track is None


def test_slots_carry_what_they_are_assigned() -> None:
    owner = Owner()
    bob, cy = Publisher(name="bob").up_track, Publisher(name="cy").up_track
    slots = [section("video", "v0", "recvonly"), section("video", "v1", "recvonly")]
    owner.offered(*slots, slot_mode=True)
    owner.tracks.assign({"v0": bob, "v1": cy, "v9": bob})
    assert {mid: down.up_track for mid, down in owner.tracks.down.items()} == {"v0": bob, "v1": cy}
    owner.tracks.attach(owner.session, {bob.key: bob})  # the other way of delivery: no concern of slots
    owner.tracks.assign({"v0": None})
    assert {mid: down.up_track for mid, down in owner.tracks.down.items()} == {"v0": None, "v1": cy}
    owner.offered(*slots, slot_mode=True)
    assert owner.tracks.down["v1"].up_track is cy


def test_a_paused_section_sends_nothing_and_reports_nothing() -> None:
    owner, publisher = Owner(), Publisher(name="bob")
    owner.offers([track("bob/camera")], section("video", "s0", "recvonly"))
    owner.tracks.attach(owner.session, {"bob/camera": publisher.up_track})
    publisher.send_frame(1, payload=KEYFRAME)
    paused = described(section("video", "s0", "inactive"))
    owner.session, _ = answer(owner.session, paused, local=owner.local, tracks=[track("bob/camera")])
    owner.tracks.apply(owner.session, {})
    publisher.send_frame(2, payload=KEYFRAME)
    assert len(owner.sent) == 1
    assert owner.unsupported == []


def test_an_extension_is_sent_only_to_who_takes_it() -> None:
    owner = Owner()
    extensions = tuple(Extension(n, f"urn:{n}", direction) for n, direction in enumerate(
        ["", "sendrecv", "recvonly", "sendonly", "inactive"], 5))  # fmt: skip
    publisher = Publisher(name="bob", extension_ids={f"urn:{n}": n for n in range(5, 10)} | {MID: 1, AUDIO_LEVEL: 2})
    owner.offered(section("video", "0", "recvonly", extensions=(*extensions, Extension(1, MID))), slot_mode=True)
    owner.tracks.assign({"0": publisher.up_track})
    publisher.send(rtp(1, payload=KEYFRAME, extensions=[(n, b"x") for n in (1, 2, 5, 6, 7, 8, 9)]))
    assert [number for number, _ in owner.sent[0].extensions()] == [5, 6, 7]


def test_closing_ends_everything() -> None:
    owner, bob = Owner(), Publisher(name="bob").up_track
    owner.offered(section("audio", "0"), section("video", "1"), section("video", "2", "recvonly"), slot_mode=True)
    owner.tracks.assign({"2": bob})
    (down,) = owner.tracks.down.values()
    assert [up.id for up in owner.tracks.close()] == ["microphone", "camera"]
    assert not owner.tracks.up
    assert not owner.tracks.down
    assert not owner.tracks.down_by_ssrc
    assert owner.ended == [down.ssrc]
    assert owner.tracks.close() == []
