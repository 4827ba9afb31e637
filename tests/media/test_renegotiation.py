from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.media.support import (
    AUDIO_LEVEL,
    H264,
    OPUS,
    VP8,
    accepted,
    described,
    joined,
    local,
    refusal,
    section,
    track,
)
from tests.support.captures import offer
from zvonim_sfu.media.negotiation import accept_answer, answer, changes_needed, make_offer
from zvonim_sfu.media.sdp import Codec, Description, Extension, Section, parse, write
from zvonim_sfu.media.session import NegotiationError, Session

if TYPE_CHECKING:
    from collections.abc import Callable

# Renegotiation


def test_a_stopped_section_keeps_its_place_and_is_recycled_by_the_client() -> None:
    # The same connection before and after: Chromium's captures show both.
    for client in ("chromium", "firefox"):
        session = joined(parse(offer(f"{client}-audio-video")))
        stopped = parse(offer(f"{client}-transceiver-stopped"))
        session, answered = answer(session, stopped, local=local())
        assert [s.port for s in answered.sections] == [9, 0]
        recycled = parse(offer(f"{client}-section-recycled"))
        session, answered = answer(session, recycled, local=local())
        assert [(s.mid, s.port) for s in answered.sections] == [("0", 9), ("2", 9)]
        assert [s.client_sends for s in session.sections] == [True, True]


def test_a_removed_track_is_no_longer_sent() -> None:
    for client in ("chromium", "firefox", "aiortc"):
        session = joined(parse(offer(f"{client}-audio-video")))
        assert [s.client_sends for s in session.sections] == [True, True]
        session, answered = answer(session, parse(offer(f"{client}-track-removed")), local=local())
        assert not session.sections[1].client_sends
        assert answered.sections[1].direction == "inactive"
        assert not session.sections[1].stopped


def test_an_ice_restart_renews_the_credentials() -> None:
    session = joined(parse(offer("chromium-audio-video")))
    restarted = parse(offer("chromium-ice-restart"))
    session, _ = answer(session, restarted, local=local())
    assert session.remote is not None
    assert session.remote.ice_ufrag == restarted.sections[0].ice_ufrag


def test_the_server_offers_one_section_for_each_track() -> None:
    tracks = [track("bob/camera"), track("bob/microphone", "audio"), track("cy/camera")]
    session, offered = make_offer(Session(), tracks, local=local())
    assert [(s.kind, s.mid, s.direction, s.msid) for s in offered.sections] == [
        ("video", "s0", "sendrecv", ("bob", "camera")),
        ("audio", "s1", "sendrecv", ("bob", "microphone")),
        ("video", "s2", "sendrecv", ("cy", "camera")),
    ]
    assert offered.bundle == ("s0", "s1", "s2")
    assert {s.setup for s in offered.sections} == {"actpass"}
    session = accept_answer(session, accepted(offered))
    assert not changes_needed(session, tracks)
    assert session.remote is not None


def test_a_section_that_falls_free_is_used_for_the_next_track() -> None:
    session, offered = make_offer(Session(), [track("bob/camera"), track("bob/microphone", "audio")], local=local())
    session = accept_answer(session, accepted(offered))
    first = session.sections[0].ssrc
    session, offered = make_offer(session, [track("bob/microphone", "audio")], local=local())
    assert [s.direction for s in offered.sections] == ["recvonly", "sendrecv"]
    session = accept_answer(session, accepted(offered))
    session, offered = make_offer(session, [track("cy/camera"), track("bob/microphone", "audio")], local=local())
    assert [(s.mid, s.msid) for s in offered.sections] == [("s0", ("cy", "camera")), ("s1", ("bob", "microphone"))]
    assert session.sections[0].ssrc == first


def test_a_rejected_data_section_keeps_its_format_in_later_offers() -> None:
    session = joined(parse(offer("firefox-data-channel")))
    _, offered = make_offer(session, [track("bob/camera")], local=local())
    assert "m=application 0 UDP/DTLS/SCTP webrtc-datachannel" in write(offered)


def test_new_sections_never_take_a_mid_of_the_client() -> None:
    session = joined(described(section("audio", "s0", "sendonly"), section("video", "s1", "sendonly")))
    _, offered = make_offer(session, [track("bob/camera")], local=local())
    assert [s.mid for s in offered.sections] == ["s0", "s1", "s2"]


def test_a_reloaded_number_of_the_client_wins() -> None:
    tracks = [track("bob/camera", codecs=[replace(VP8, payload_type=120), H264], extensions=[AUDIO_LEVEL])]
    session = joined(described(section("video", "0", codecs=(replace(VP8, payload_type=35),))))
    session, offered = make_offer(session, tracks, local=local())
    assert {(c.name, c.payload_type) for s in offered.sections for c in s.codecs} == {
        ("VP8", 35),
        ("H264", 102),
        ("rtx", 105),  # VP8 has none, as the client has offered none
    }
    session = accept_answer(session, accepted(offered))
    renumbered = [
        replace(section(s.kind, s.mid, "sendrecv"), codecs=(replace(VP8, payload_type=102),))
        for s in offered.sections
    ]  # fmt: skip
    session, answered = answer(session, described(*renumbered), local=local(), tracks=tracks)
    assert {(c.name, c.payload_type) for s in answered.sections for c in s.codecs} == {("VP8", 102)}
    more = [*tracks, track("cy/camera", codecs=[VP8, H264])]
    _, offered = make_offer(session, more, local=local())
    numbers = {(c.name, c.payload_type) for s in offered.sections for c in s.codecs}
    assert ("VP8", 102) in numbers
    assert sorted(name for name, _ in numbers) == ["H264", "VP8", "rtx"]
    assert len({number for _, number in numbers}) == len(numbers)


def test_redundant_audio_is_known_no_longer_than_what_it_carries() -> None:
    red = Codec(63, "red", 48000, 2, "111/111")
    tracks = [track("bob/microphone", "audio", codecs=[red, OPUS])]
    session = joined(described(section("audio", "0", "sendonly", codecs=(OPUS, red))))
    _, offered = make_offer(session, tracks, local=local())
    assert [c.name for s in offered.sections for c in s.codecs if s.sends] == ["red", "opus"]
    # The client gives opus another number: what is in redundant audio would name the old one.
    session, _ = answer(
        session, described(section("audio", "0", "sendonly", codecs=(replace(OPUS, payload_type=109),))), local=local()
    )
    _, offered = make_offer(session, tracks, local=local())
    assert {(c.name, c.payload_type) for s in offered.sections for c in s.codecs if s.sends} == {("opus", 109)}


def test_only_extensions_that_the_client_has_numbered_are_offered() -> None:
    session = joined(described(section("video", "0", "sendonly", extensions=(Extension(3, AUDIO_LEVEL),))))
    _, offered = make_offer(session, [track("bob/camera", extensions=[AUDIO_LEVEL, "urn:own"])], local=local())
    assert [(e.id, e.uri) for e in offered.sections[1].extensions] == [(3, AUDIO_LEVEL)]


def test_a_client_that_has_numbered_none_is_offered_none() -> None:
    _, offered = make_offer(Session(), [track("bob/camera", extensions=[AUDIO_LEVEL])], local=local())
    assert offered.sections[0].extensions == ()


def test_a_client_that_uses_all_payload_types_is_not_offered_a_new_codec_again_and_again() -> None:
    full = tuple(Codec(n, "rtx", 90000) for n in range(128) if n != 111)
    session = joined(described(section("audio", "0"), section("audio", "1", codecs=(*full, OPUS))))
    tracks = [track("bob/camera")]
    session, offered = make_offer(session, tracks, local=local())
    assert [s.port for s in offered.sections] == [9, 9, 0]
    session = accept_answer(session, accepted(offered))
    assert not changes_needed(session, tracks)


@pytest.mark.parametrize("how", ["rejects", "switches off", "leaves no codec"])
def test_a_track_that_the_client_refuses_is_not_offered_again(how: str) -> None:
    tracks = [track("bob/camera")]
    session, offered = make_offer(Session(), tracks, local=local())
    match how:
        case "rejects":
            refused = described(replace(offered.sections[0], port=0))
        case "switches off":
            refused = accepted(offered)
            refused = described(replace(refused.sections[0], direction="inactive"))
        case "leaves no codec":
            refused = accepted(offered, codecs=(Codec(97, "rtx", 90000),))
    session = accept_answer(session, refused)
    assert not changes_needed(session, tracks)
    # Another one gets a section all the same, and when the refused one has gone and come back, it has another try.
    session, offered = make_offer(session, [track("cy/camera")], local=local())
    assert [s.msid for s in offered.sections if s.msid] == [("cy", "camera")]
    session = accept_answer(session, accepted(offered))
    assert changes_needed(session, [track("bob/camera"), track("cy/camera")])


def test_a_track_whose_section_the_client_stops_counts_as_refused() -> None:
    tracks = [track("bob/camera"), track("bob/microphone", "audio")]
    session, offered = make_offer(Session(), tracks, local=local())
    session = accept_answer(session, accepted(offered))
    video, audio = accepted(offered).sections
    session, answered = answer(session, described(replace(video, port=0), audio), local=local(), tracks=tracks)
    assert [s.port for s in answered.sections] == [0, 9]
    assert not changes_needed(session, tracks)
    # A section in its place is an invitation.
    session, answered = answer(
        session, described(section("video", "n", "recvonly"), audio), local=local(), tracks=tracks
    )
    assert answered.sections[0].msid == ("bob", "camera")


def test_a_client_may_publish_in_its_answer_up_to_the_limit() -> None:
    tracks = [track("bob/camera"), track("cy/camera")]
    session, offered = make_offer(Session(), tracks, local=local())
    answered = accepted(offered, direction="sendrecv")
    session = accept_answer(session, answered, max_up_tracks=1)
    assert [s.client_sends for s in session.sections] == [True, False]


def test_an_answer_agrees_to_nothing_that_was_not_offered() -> None:
    known = (Extension(1, "urn:a"), Extension(2, "urn:b"))
    session = joined(described(section("video", "0", "sendonly", extensions=known)))
    session, offered = make_offer(session, [track("bob/camera", extensions=["urn:a", "urn:b"])], local=local())
    mine, theirs = accepted(offered, direction="sendrecv").sections
    wrong = replace(theirs, extensions=(Extension(1, "urn:b"), Extension(18, "urn:c")))
    with pytest.raises(NegotiationError):
        accept_answer(session, described(mine, wrong))
    session = accept_answer(session, described(mine, replace(theirs, extensions=(Extension(18, "urn:c"),))))
    assert session.sections[1].client_receives
    assert session.sections[1].extensions == ()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (lambda s: described(s, section("audio", "x")), "invalid-sdp"),
        (lambda s: described(replace(s, mid="x")), "invalid-sdp"),
        (lambda s: described(replace(s, kind="audio")), "invalid-sdp"),
        (lambda s: Description((s,)), "bundle-required"),
        (lambda s: described(replace(s, rtcp_mux=False)), "rtcp-mux-required"),
        (lambda s: described(replace(s, protocol="RTP/AVP")), "unsupported-transport"),
        (lambda s: replace(described(s), ice_lite=True), "unsupported-transport"),
        (lambda s: described(replace(s, fingerprints=())), "invalid-sdp"),
        (lambda s: described(replace(s, ice_ufrag="")), "invalid-sdp"),
    ],
)
def test_an_answer_that_does_not_fit_is_told_by_a_code(wrong: Callable[[Section], Description], code: str) -> None:
    session, offered = make_offer(Session(), [track("bob/camera")], local=local())
    (taken,) = accepted(offered).sections
    answered = wrong(taken)
    assert refusal(lambda: accept_answer(session, answered)) == code


def test_an_answer_that_rejects_everything_has_no_transport() -> None:
    session, offered = make_offer(Session(), [track("bob/camera")], local=local())
    session = accept_answer(session, described(replace(offered.sections[0], port=0)))
    assert session.remote is None


# Slots


@pytest.mark.parametrize("client", ["chromium", "firefox", "aiortc"])
def test_the_kth_audio_and_the_kth_video_slot_are_a_pair(client: str) -> None:
    offered = parse(offer(f"{client}-slots"))
    session, answered = answer(Session(), offered, local=local(), slot_mode=True)
    declared = [s for s in session.sections if s.stream >= 0]
    assert [s.direction for s in offered.sections[:2]] == ["sendonly", "sendonly"]
    assert [(s.kind, s.stream) for s in declared] == [(kind, k) for k in range(4) for kind in ("audio", "video")]
    for agreed, s in zip(declared, answered.sections[2:], strict=True):
        assert s.msid == (f"slot-{agreed.stream}", f"slot-{agreed.stream}-{agreed.kind}")
        assert (s.direction, s.cname, s.ssrcs) == ("sendonly", f"slot-{agreed.stream}", (agreed.ssrc,))
    assert len({s.ssrc for s in declared}) == 8
    assert [s.direction for s in answered.sections[:2]] == ["recvonly", "recvonly"]


def slots(session: Session) -> dict[str, int]:
    return {s.mid: s.stream for s in session.sections if s.stream >= 0 and s.client_receives}


def test_a_slot_keeps_its_number_whatever_happens_to_others() -> None:
    kinds = {"a0": "audio", "v0": "video", "a1": "audio", "v1": "video"}
    declared = {mid: section(kind, mid, "recvonly") for mid, kind in kinds.items()}
    session = joined(described(*declared.values()), slot_mode=True)

    def negotiate(**changes: Section) -> None:
        nonlocal session
        declared.update(changes)
        before = {s.mid: s.ssrc for s in session.sections}
        session, answered = answer(session, described(*declared.values()), local=local(), slot_mode=True)
        for agreed in session.sections:
            if agreed.stream >= 0:
                assert before.get(agreed.mid, agreed.ssrc) == agreed.ssrc
        for s in answered.sections:
            if s.direction == "sendonly":
                assert s.msid is not None
                assert s.msid[0] == f"slot-{slots(session)[s.mid]}"

    assert slots(session) == {"a0": 0, "v0": 0, "a1": 1, "v1": 1}
    negotiate(v0=replace(declared["v0"], direction="inactive"))
    assert slots(session) == {"a0": 0, "a1": 1, "v1": 1}
    negotiate(v0=replace(declared["v0"], direction="sendrecv"))
    assert slots(session) == {"a0": 0, "v0": 0, "a1": 1, "v1": 1}
    negotiate(v0=replace(declared["v0"], port=0))
    assert slots(session) == {"a0": 0, "a1": 1, "v1": 1}
    negotiate(v2=section("video", "v2", "recvonly"))
    assert slots(session) == {"a0": 0, "v2": 0, "a1": 1, "v1": 1}


def test_a_slot_is_not_given_to_a_track_by_name() -> None:
    session, answered = answer(
        Session(),
        described(section("video", "0", "sendrecv"), section("video", "1", "recvonly")),
        local=local(),
        tracks=[track("bob/camera")],
        slot_mode=True,
    )
    assert [s.direction for s in answered.sections] == ["recvonly", "sendonly"]
    assert session.sections[1].sending is not None
    assert session.sections[1].sending.key is None
