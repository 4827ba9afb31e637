from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.support import FINGERPRINT, described, examples, mutated_offers, section
from tests.support.captures import offer, offer_names
from zvonim_sfu.media.sdp import (
    MAX_LINES,
    MAX_SECTIONS,
    Codec,
    Description,
    Extension,
    SdpError,
    Section,
    parse,
    write,
)

TWO_SECTIONS = offer("chromium-audio-video")
FIREFOX = offer("firefox-two-cameras-and-screen")


def without(text: str, line: str) -> str:
    changed = re.sub(rf"(?m)^{line}\r\n", "", text)
    assert changed != text
    return changed


def changed(text: str, pattern: str, replacement: str) -> str:
    result, times = re.subn(pattern, replacement, text)
    assert times
    return result


@pytest.mark.parametrize("name", offer_names())
def test_every_captured_offer_is_read(name: str) -> None:
    text = offer(name)
    description = parse(text)
    assert [s.kind for s in description.sections] == re.findall(r"(?m)^m=(\w+)", text)
    assert [s.mid for s in description.sections] == re.findall(r"(?m)^a=mid:(\S+)", text)
    assert description.bundle == tuple(s.mid for s in description.sections if not s.rejected)
    assert not description.ice_lite
    for s in description.sections:
        if s.rejected:
            assert not s.codecs
            assert not s.extensions
        else:
            assert s.ice_ufrag
            assert s.ice_pwd
            assert s.fingerprints
            assert s.setup == "actpass"


def test_a_chromium_section_keeps_all_that_counts() -> None:
    audio, video = parse(TWO_SECTIONS).sections
    assert (audio.kind, audio.protocol, audio.direction, audio.rtcp_mux) == (
        "audio",
        "UDP/TLS/RTP/SAVPF",
        "sendrecv",
        True,
    )
    opus = audio.codecs[0]
    assert (opus.payload_type, opus.name, opus.clock_rate, opus.channels) == (111, "opus", 48000, 2)
    assert opus.parameters == "minptime=10;useinbandfec=1"
    vp8 = video.codecs[0]
    assert (vp8.payload_type, vp8.name, vp8.channels) == (96, "VP8", 1)
    assert {"nack", "nack pli", "ccm fir", "transport-cc"} <= set(vp8.feedback)
    assert {39, 45} <= {codec.payload_type for codec in video.codecs}
    assert "urn:ietf:params:rtp-hdrext:sdes:mid" in {e.uri for e in video.extensions}
    assert video.extmap_allow_mixed
    assert video.msid is not None
    assert len(video.candidates) == TWO_SECTIONS.split("m=video")[1].count("a=candidate")


def test_codecs_and_extensions_are_read_once_for_all_sections_that_have_the_same() -> None:
    first, *others = [
        s for s in parse(offer("chromium-slots")).sections if s.kind == "video" and s.direction == "recvonly"
    ]
    assert others
    assert all(s.codecs is first.codecs and s.extensions is first.extensions for s in others)


def test_repair_flows_are_not_among_the_ssrcs() -> None:
    found = re.findall(r"a=ssrc-group:FID (\d+) (\d+)", FIREFOX)
    sections = parse(FIREFOX).sections
    assert found
    for media, repair in found:
        assert any(int(media) in s.ssrcs for s in sections)
        assert all(int(repair) not in s.ssrcs for s in sections)


def test_a_bundle_only_section_is_not_rejected() -> None:
    waiting = [s for s in parse(FIREFOX).sections if s.bundle_only]
    assert [s.port for s in waiting] == [0, 0]
    assert all(s.sends and s.receives and s.codecs for s in waiting)


def test_port_zero_rejects() -> None:
    audio, video = parse(offer("chromium-transceiver-stopped")).sections
    assert audio.sends
    assert video.rejected
    assert not video.sends
    assert not video.receives


def test_session_level_attributes_count_for_every_section() -> None:
    # Firefox gives the fingerprint once, for the session.
    assert [len(s.fingerprints) for s in parse(FIREFOX).sections] == [1, 1, 1, 1]
    assert FIREFOX.count("a=fingerprint") == 1


def test_firefox_feedback_for_unlisted_payload_types_is_passed_over() -> None:
    for s in parse(FIREFOX).sections:
        assert {codec.payload_type for codec in s.codecs} <= {int(text) for text in s.formats}


def test_feedback_for_all_payload_types_is_taken_for_each() -> None:
    text = changed(TWO_SECTIONS, r"a=rtcp-fb:96 nack pli", "a=rtcp-fb:* nack pli")
    assert all("nack pli" in codec.feedback for codec in parse(text).sections[1].codecs)


@pytest.mark.parametrize("value", ["sendonly", "recvonly", "sendrecv", "inactive"])
def test_directions_tell_who_sends(value: str) -> None:
    (read,) = parse(write(described(section("audio", "0", value)))).sections
    assert (read.direction, read.sends, read.receives) == (
        value,
        value in ("sendonly", "sendrecv"),
        value in ("recvonly", "sendrecv"),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "does not begin with v=0"),
        ("hello", "does not begin with v=0"),
        (changed(TWO_SECTIONS, "v=0", "v=1"), "does not begin with v=0"),
        (without(TWO_SECTIONS, "o=.*"), "o= line"),
        (changed(TWO_SECTIONS, r"o=- \d+ \d+", "o=- 1 x"), "the version in the o= line"),
        (without(TWO_SECTIONS, "a=mid:0"), "no a=mid"),
        (changed(TWO_SECTIONS, "a=mid:1", "a=mid:0"), "same a=mid"),
        (changed(TWO_SECTIONS, "a=mid:1", "a=mid:" + "x" * 65), "not a token"),
        (changed(TWO_SECTIONS, "a=mid:1", "a=mid:é"), "not a token"),
        (changed(TWO_SECTIONS, r"m=audio \d+", "m=audio 70000"), "the port of an m= line"),
        (changed(TWO_SECTIONS, r"m=audio \d+", "m=audio ٣"), "m= line is malformed"),
        (changed(TWO_SECTIONS, "VP8/90000", "VP8/٣"), "clock rate"),
        (changed(TWO_SECTIONS, r"m=audio .*\r", "m=audio 9\r"), "m= line is malformed"),
        (changed(TWO_SECTIONS, "m=audio", "m=áudio"), "m= line is malformed"),
        (changed(TWO_SECTIONS, r"(m=audio \d+) \S+", r"\1 " + "U" * 300), "m= line is malformed"),
        (changed(TWO_SECTIONS, r"(m=video \d+ \S+ )96", r"\g<1>128"), "payload type"),
        (changed(TWO_SECTIONS, r"a=rtpmap:96 .*\r", "a=rtpmap:96 VP8\r"), "a=rtpmap"),
        (changed(TWO_SECTIONS, r"a=rtpmap:96 .*\r", "a=rtpmap:96 V;8/90000\r"), "a=rtpmap"),
        (changed(TWO_SECTIONS, r"a=rtpmap:96 .*\r", "a=rtpmap:96 VP8/9e4\r"), "clock rate"),
        (changed(TWO_SECTIONS, r"a=rtpmap:111 .*\r", "a=rtpmap:111 opus/48000/999\r"), "number of channels"),
        (changed(TWO_SECTIONS, r"a=fmtp:111 .*\r", "a=fmtp:111 ümläut=1\r"), "a=fmtp"),
        (changed(TWO_SECTIONS, r"a=extmap:1 .*\r", "a=extmap:1\r"), "a=extmap"),
        (changed(TWO_SECTIONS, r"a=extmap:1 .*\r", "a=extmap:1 urn:\ud800\r"), "a=extmap"),
        (changed(TWO_SECTIONS, r"a=extmap:1 ", "a=extmap:5000 "), "id of a header extension"),
        (changed(TWO_SECTIONS, r"a=extmap:1 ", "a=extmap:1/both "), "unknown direction"),
        (changed(TWO_SECTIONS, r"a=extmap:1 ", "a=extmap:2 "), "same id"),
        (changed(TWO_SECTIONS, r"a=ice-ufrag:.*\r", "a=ice-ufrag:x y\r"), "a=ice-ufrag"),
        (changed(TWO_SECTIONS, r"a=ice-pwd:.*\r", "a=ice-pwd:short\r"), "a=ice-pwd"),
        (changed(TWO_SECTIONS, r"a=fingerprint:.*\r", "a=fingerprint:sha-256 zz\r"), "a=fingerprint"),
        (changed(TWO_SECTIONS, r"a=setup:.*\r", "a=setup:holdconn\r"), "a=setup"),
        (changed(TWO_SECTIONS, r"a=ssrc-group:FID (\d+) \d+", r"a=ssrc-group:FID \1 x"), "an SSRC"),
        (changed(TWO_SECTIONS, r"a=ssrc:\d+ ", "a=ssrc:99999999999 "), "an SSRC"),
        (TWO_SECTIONS + "m=audio 0 RTP/AVP 0\r\n" * MAX_SECTIONS, "m-sections"),
        (TWO_SECTIONS + "a=x\r\n" * MAX_LINES, "too many lines"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(SdpError, match=sentence):
        parse(text)


def test_a_rejected_section_needs_no_mid_and_its_lines_do_not_count() -> None:
    text = TWO_SECTIONS + "m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=extmap:1 urn:other\r\na=rtpmap:96 nonsense\r\n"
    last = parse(text).sections[2]
    assert last.rejected
    assert (last.mid, last.codecs, last.extensions) == ("", (), ())


def test_header_extensions_that_ask_for_a_number_are_left_out() -> None:
    text = changed(TWO_SECTIONS, r"a=extmap:1 ", "a=extmap:4100 ")
    assert all(e.id <= 255 for s in parse(text).sections for e in s.extensions)


@examples(500)
@given(
    st.text() | st.text().map(TWO_SECTIONS.__add__) | st.text().map("v=0\r\nm=".__add__) | mutated_offers(),
)
def test_any_text_is_a_description_or_an_sdp_error(text: str) -> None:
    try:
        description = parse(text)
    except SdpError:
        return
    assert isinstance(description, Description)


tokens = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-+._~", min_size=1, max_size=16)
words = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1, max_size=40)
codecs = st.builds(
    Codec,
    payload_type=st.integers(0, 127),
    name=tokens,
    clock_rate=st.integers(0, 2**31 - 1),
    channels=st.integers(1, 255),
    parameters=st.lists(words, max_size=3).map(" ".join),
    feedback=st.lists(words, max_size=3).map(tuple),
)
sections = st.builds(
    Section,
    kind=st.sampled_from(["audio", "video"]),
    port=st.integers(1, 65535),
    protocol=st.sampled_from(["UDP/TLS/RTP/SAVPF", "RTP/SAVPF"]),
    mid=tokens,
    direction=st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive"]),
    codecs=st.lists(codecs, min_size=1, max_size=4, unique_by=lambda codec: codec.payload_type).map(tuple),
    extensions=st.lists(
        st.builds(Extension, st.integers(1, 255), words, st.sampled_from(["", "sendonly", "recvonly", "inactive"])),
        max_size=4,
        unique_by=lambda extension: extension.id,
    ).map(tuple),
    extmap_allow_mixed=st.booleans(),
    msid=st.none() | st.tuples(words, words | st.just("")),
    ssrcs=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True).map(tuple),
    cname=words,
    rtcp_mux=st.booleans(),
    ice_ufrag=st.text("aZ09+/", min_size=4, max_size=8),
    ice_pwd=st.text("aZ09+/", min_size=22, max_size=32),
    fingerprints=st.just((FINGERPRINT,)),
    setup=st.sampled_from(["actpass", "active", "passive"]),
    candidates=st.lists(words, max_size=2).map(tuple),
).map(lambda s: replace(s, formats=tuple(str(codec.payload_type) for codec in s.codecs)))
rejected = st.builds(
    Section,
    kind=st.sampled_from(["audio", "video", "application"]),
    port=st.just(0),
    protocol=st.sampled_from(["UDP/DTLS/SCTP", "UDP/TLS/RTP/SAVPF"]),
    mid=tokens | st.just(""),
    formats=st.just(("0",)),
    direction=st.just("inactive"),
)
descriptions = st.builds(
    Description,
    sections=st.lists(sections | rejected, max_size=4, unique_by=lambda s: s.mid).map(tuple),
    session_id=st.integers(0, 2**62).map(str),
    version=st.integers(0, 2**32),
    ice_lite=st.booleans(),
).map(lambda d: replace(d, bundle=tuple(s.mid for s in d.sections if not s.rejected)))


@examples(150)
@given(descriptions)
def test_what_is_written_is_read_back_the_same(description: Description) -> None:
    assert parse(write(description)) == description


@pytest.mark.parametrize("name", offer_names())
def test_a_captured_offer_written_and_read_again_is_the_same(name: str) -> None:
    description = parse(offer(name))
    # An offer of the server is never bundle-only, and a section that it rejects says nothing more.
    live = tuple(replace(s, port=9, bundle_only=False) for s in description.sections if not s.rejected)
    description = replace(description, sections=live)
    assert parse(write(description)) == description
