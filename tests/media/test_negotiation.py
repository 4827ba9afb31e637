from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.media.support import (
    AUDIO_LEVEL,
    FINGERPRINT,
    MID,
    REVERSED,
    VP8,
    VP9,
    accepted,
    described,
    examples,
    joined,
    local,
    mutated_offers,
    refusal,
    section,
    track,
)
from tests.support.captures import offer, offer_names
from zvonim_sfu.media.codecs import SUPPORTED_FEEDBACK, associated, codec_key
from zvonim_sfu.media.negotiation import UNUSED, accept_answer, answer, changes_needed, make_offer
from zvonim_sfu.media.sdp import Description, Extension, SdpError, parse, write
from zvonim_sfu.media.session import NegotiationError, Session
from zvonim_sfu.media.simulcast import RID_EXTENSIONS, Announced, Encoding

MEDIA_OFFERS = [name for name in offer_names() if "data-channel-only" not in name]
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
CHROMIUM = offer("chromium-audio-video")


# A client's offer


@pytest.mark.parametrize("name", MEDIA_OFFERS)
def test_a_captured_offer_is_answered_section_by_section(name: str) -> None:
    offered = parse(offer(name))
    session, answered = answer(Session(), offered, local=local(), max_up_tracks=8)
    assert len(answered.sections) == len(offered.sections) == len(session.sections)
    for theirs, mine, agreed in zip(offered.sections, answered.sections, session.sections, strict=True):
        assert (mine.kind, mine.mid, mine.protocol) == (theirs.kind, theirs.mid, theirs.protocol)
        if theirs.rejected or theirs.kind == "application":
            assert mine.port == 0
            assert mine.formats == theirs.formats
            assert agreed.stopped
            continue
        assert mine.port == 9
        assert mine.direction == ("recvonly" if theirs.sends else "inactive")
        forwarded = {c.payload_type for c in theirs.codecs if codec_key(c)}
        taken = [c for c in theirs.codecs if c.payload_type in forwarded or associated(c) in forwarded]
        assert [c.payload_type for c in mine.codecs] == [c.payload_type for c in taken]
        assert [c.parameters for c in mine.codecs] == [c.parameters for c in taken]
        assert [c.feedback for c in mine.codecs] == [
            tuple(value for value in c.feedback if value in SUPPORTED_FEEDBACK) for c in taken
        ]
        assert [(e.id, e.uri, e.direction) for e in mine.extensions] == [
            (e.id, e.uri, REVERSED[e.direction])
            for e in theirs.extensions
            if e.uri not in UNUSED and (mine.received_encodings or e.uri not in RID_EXTENSIONS)
        ]
        assert mine.extmap_allow_mixed == theirs.extmap_allow_mixed
        assert (mine.setup, mine.rtcp_mux, mine.ssrcs, mine.repairs, mine.msid) == ("passive", True, (), (), None)
        assert (mine.ice_ufrag, mine.fingerprints) == ("srvufrag", (local().fingerprint,))
        assert (agreed.client_sends, agreed.client_receives) == (theirs.sends, theirs.receives)
    live = [s for s in answered.sections if not s.rejected]
    assert answered.bundle == tuple(s.mid for s in live)
    assert answered.ice_lite
    assert live[0].candidates == live[-1].candidates == local().candidates
    assert session.remote is not None
    assert session.remote.ice_ufrag == offered.sections[0].ice_ufrag
    assert session.remote.dtls_role == "server"


@pytest.mark.parametrize("name", MEDIA_OFFERS)
def test_an_answer_is_read_as_it_was_written(name: str) -> None:
    tracks = [track("bob/camera"), track("bob/microphone", "audio")]
    _, answered = answer(Session(), parse(offer(name)), local=local(), tracks=tracks)
    read = parse(write(answered))
    assert read.bundle == answered.bundle
    for mine, seen in zip(answered.sections, read.sections, strict=True):
        assert seen == (replace(mine, direction="inactive") if mine.rejected else mine)


@pytest.mark.parametrize("name", [name for name in offer_names() if "data-channel-only" in name])
def test_an_offer_of_nothing_but_data_is_refused(name: str) -> None:
    assert refusal(lambda: answer(Session(), parse(offer(name)), local=local())) == "no-media"


@pytest.mark.parametrize("name", ["chromium-audio-video", "firefox-audio-video", "aiortc-audio-video"])
def test_a_section_that_the_client_sends_in_carries_a_track_back(name: str) -> None:
    tracks = [track("bob/camera"), track("bob/microphone", "audio"), track("bob/screen")]
    session, answered = answer(Session(), parse(offer(name)), local=local(), tracks=tracks)
    assert [s.direction for s in answered.sections] == ["sendrecv", "sendrecv"]
    assert [s.msid for s in answered.sections] == [("bob", "microphone"), ("bob", "camera")]
    assert [s.cname for s in answered.sections] == ["bob", "bob"]
    assert len({s.ssrcs for s in answered.sections}) == 2
    sound, picture = answered.sections
    assert sound.repairs == ()
    ((ssrc, rtx_ssrc),) = picture.repairs
    assert (ssrc,) == picture.ssrcs
    assert rtx_ssrc not in (*sound.ssrcs, *picture.ssrcs)
    assert changes_needed(session, tracks)
    assert not changes_needed(session, tracks[:2])


@pytest.mark.parametrize("name", ["chromium-watch-only", "firefox-watch-only", "aiortc-watch-only"])
def test_who_only_watches_gets_tracks_in_the_sections_it_declared(name: str) -> None:
    tracks = [track("bob/camera"), track("bob/microphone", "audio")]
    session, answered = answer(Session(), parse(offer(name)), local=local(), tracks=tracks)
    assert [s.direction for s in answered.sections] == ["sendonly", "sendonly"]
    assert not changes_needed(session, tracks)


@pytest.mark.parametrize("name", ["chromium-simulcast", "firefox-simulcast"])
def test_a_simulcast_offer_is_answered_with_all_of_its_encodings(name: str) -> None:
    session, answered = answer(Session(), parse(offer(name)), local=local())
    text = write(answered)
    assert [line for line in text.splitlines() if "rid:" in line or "simulcast" in line] == [
        "a=rid:q recv",
        "a=rid:h recv",
        "a=rid:f recv",
        "a=simulcast:recv q;h;f",
    ]
    picture = session.sections[1]
    assert [encoding.rid for encoding in picture.encodings] == ["q", "h", "f"]
    assert {e.uri for e in picture.extensions} >= RID_EXTENSIONS
    # What the server offers later, for another track, has to say so again: else the browser stops two of them.
    sound = track("bob/microphone", "audio")
    offered, described_again = make_offer(session, [sound], local=local())
    assert "a=simulcast:recv q;h;f" in write(described_again)
    assert [e.rid for e in offered.sections[1].encodings] == ["q", "h", "f"]
    # Who answers without, as clients that know none of it, sends one encoding.
    assert accept_answer(offered, accepted(described_again)).sections[1].encodings == ()


def test_an_answer_takes_encodings_away_and_adds_none() -> None:
    offered, description = make_offer(joined(simulcast("q", "h")), [], local=local())
    answered = accepted(description, sent_encodings=(Encoding("h"), Encoding("f")), direction="sendonly")
    assert accept_answer(offered, answered).sections[0].encodings == (Encoding("h"),)


def test_encodings_are_negotiated_only_where_the_client_sends() -> None:
    session = joined(simulcast("q", "h", direction="recvonly"))
    assert session.sections[0].encodings == ()
    assert not {e.uri for e in session.sections[0].extensions} & RID_EXTENSIONS


def simulcast(*rids: str, direction: str = "sendonly") -> Description:
    """An offer of one picture in several encodings."""
    extensions = tuple(Extension(5 + n, uri) for n, uri in enumerate(sorted(RID_EXTENSIONS)))
    encodings = tuple(Encoding(rid) for rid in rids)
    return described(section("video", "0", direction, extensions=extensions, sent_encodings=encodings))


def test_encodings_whose_ssrcs_are_grouped_are_told_by_these() -> None:
    grouped = section("video", "0", ssrcs=(1, 2, 3), simulcast_ssrcs=(1, 2, 3), repairs=((1, 11), (3, 13)))
    assert joined(described(grouped)).sections[0].client_ssrcs == (
        Announced(1, "0"),
        Announced(2, "1"),
        Announced(3, "2"),
        Announced(11, "0", repairs=True),
        Announced(13, "2", repairs=True),
    )


def test_an_extension_that_the_client_only_takes_is_answered_as_one_that_is_only_sent() -> None:
    _, answered = answer(Session(), parse(offer("firefox-audio-video")), local=local())
    assert [e.direction for e in answered.sections[1].extensions if e.uri == PLAYOUT_DELAY] == ["sendonly"]


def test_a_media_section_without_a_known_codec_is_rejected_in_its_place() -> None:
    text = re.sub(r"(m=video \d+ \S+).*", r"\1 96\r", offer("chromium-audio-video")).replace("VP8/90000", "VP7/90000")
    session, answered = answer(Session(), parse(text), local=local(), tracks=[track("bob/camera")])
    assert [s.port for s in answered.sections] == [9, 0]
    assert [s.stopped for s in session.sections] == [False, True]
    assert answered.bundle == ("0",)


def test_the_transport_is_that_of_the_first_section_that_is_accepted() -> None:
    data = section("application", "d", protocol="UDP/DTLS/SCTP", codecs=(), ice_ufrag="data", setup="passive")
    session = joined(described(data, section("audio", "0")))
    assert session.remote is not None
    assert session.remote.ice_ufrag == "clnt"


def test_the_server_is_the_dtls_client_only_when_the_client_insists() -> None:
    for setup, ours, role in [
        ("actpass", "passive", "server"),
        ("active", "passive", "server"),
        ("passive", "active", "client"),
    ]:
        session, answered = answer(Session(), described(section("audio", "0", setup=setup)), local=local())
        assert session.remote is not None
        assert (answered.sections[0].setup, session.remote.dtls_role) == (ours, role)


def test_the_dtls_role_stays_while_the_association_does() -> None:
    session = joined(described(section("audio", "0", setup="passive")))
    session, answered = answer(session, described(section("audio", "0", setup="actpass")), local=local())
    assert answered.sections[0].setup == "active"
    session, offered = make_offer(session, [track("bob/camera")], local=local())
    session = accept_answer(session, accepted(offered, setup="passive"))
    assert session.remote is not None
    assert session.remote.dtls_role == "client"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (re.sub("a=group:BUNDLE.*\r\n", "", CHROMIUM), "bundle-required"),
        (re.sub("a=group:BUNDLE 0 1", "a=group:BUNDLE 0", CHROMIUM), "bundle-required"),
        (CHROMIUM.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0\r\na=group:BUNDLE 1"), "bundle-required"),
        (CHROMIUM.replace("a=rtcp-mux\r\n", "", 1), "rtcp-mux-required"),
        (CHROMIUM.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "unsupported-transport"),
        (CHROMIUM.replace("UDP/TLS/RTP/SAVPF", "TCP/RTP/SAVPF", 1), "unsupported-transport"),
        (CHROMIUM.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n"), "unsupported-transport"),
        (re.sub("a=ice-ufrag.*\r\n", "", CHROMIUM), "invalid-sdp"),
        (re.sub("a=ice-pwd.*\r\n", "", CHROMIUM), "invalid-sdp"),
        (re.sub("a=fingerprint.*\r\n", "", CHROMIUM), "invalid-sdp"),
        (re.sub("a=fingerprint.*\r", "a=fingerprint:sha-1 AA" + ":AA" * 19 + "\r", CHROMIUM), "invalid-sdp"),
        (re.sub("m=(audio|video) [0-9]+", r"m=\1 0", CHROMIUM), "no-media"),
        (re.sub("m=(audio|video)", "m=text", CHROMIUM), "no-media"),
        (re.sub("opus|VP8|VP9|H264|AV1", "other", CHROMIUM), "no-media"),
    ],
)  # fmt: skip
def test_what_cannot_be_accepted_is_told_by_a_code(text: str, code: str) -> None:
    def negotiate() -> None:
        try:
            answer(Session(), parse(text), local=local())
        except SdpError as error:
            raise NegotiationError("invalid-sdp", str(error)) from error

    assert text != CHROMIUM
    assert refusal(negotiate) == code


def test_more_tracks_than_allowed_are_refused() -> None:
    offered = parse(offer("chromium-two-cameras-and-screen"))
    assert sum(s.sends for s in offered.sections) == 4
    assert refusal(lambda: answer(Session(), offered, local=local(), max_up_tracks=3)) == "too-many-tracks"
    answer(Session(), offered, local=local(), max_up_tracks=4)


def test_numbers_with_two_meanings_are_refused() -> None:
    audio = section("audio", "0")
    for video in (
        section("video", "1", codecs=(replace(VP8, payload_type=111),)),
        section("video", "1", extensions=(Extension(4, AUDIO_LEVEL),)),
        section("video", "1", extensions=(Extension(5, MID),)),
    ):
        assert refusal(partial(joined, described(audio, video))) == "invalid-sdp"


def test_a_later_offer_continues_the_earlier_one() -> None:
    session = joined(described(section("audio", "0"), section("video", "1")))
    for sections in (
        [section("audio", "0")],
        [section("audio", "0"), section("audio", "1")],
        [section("audio", "0"), section("video", "2")],
    ):
        offered = described(*sections)
        assert refusal(partial(answer, session, offered, local=local())) == "invalid-sdp"


# Anything at all


def negotiate_and_check(session: Session, offered: Description, *, slot_mode: bool) -> Session:
    tracks = [track("bob/camera", codecs=[VP8, VP9]), track("bob/microphone", "audio", extensions=[AUDIO_LEVEL])]
    session, answered = answer(session, offered, local=local(), tracks=tracks, slot_mode=slot_mode)
    text = write(answered)
    assert text.isascii()
    assert len(parse(text).sections) == len(offered.sections)
    if slot_mode or not changes_needed(session, tracks):
        return session
    session, mine = make_offer(session, tracks, local=local())
    assert len(parse(write(mine)).sections) >= len(offered.sections)
    return session


@examples(400)
@given(mutated_offers(), mutated_offers(), st.booleans())
def test_any_offer_is_answered_or_refused(first: str, second: str, slot_mode: bool) -> None:
    session = Session()
    for text in (first, second):
        try:
            session = negotiate_and_check(session, parse(text), slot_mode=slot_mode)
        except (NegotiationError, SdpError):
            continue


@examples(150)
@given(st.data())
def test_any_answer_is_accepted_or_refused(data: st.DataObject) -> None:
    """A client's own description, and what came of it by chance, as the answer to an offer of the server."""
    tracks = [track("bob/camera"), track("bob/microphone", "audio")]
    session, offered = make_offer(Session(), tracks, local=local())
    lines = write(accepted(offered)).split("\r\n")
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["delete", "double", "cut", "flip"])):
            case "delete":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "cut":
                lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
            case "flip" if lines[at]:
                lines[at] = lines[at][:-1] + data.draw(st.characters())
        assume(lines)
    try:
        session = accept_answer(session, parse("\r\n".join(lines)))
    except (NegotiationError, SdpError):
        return
    assert not changes_needed(session, tracks)
    parse(write(make_offer(session, [], local=local())[1]))
    assert session.remote is None or session.remote.fingerprints[0] == FINGERPRINT
