from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.support import AV1, H264, OPUS, VP8, VP9, examples
from tests.support.captures import offer, offer_names
from zvonim_sfu.media.codecs import (
    SUPPORTED_FEEDBACK,
    CodecKey,
    associated,
    codec_key,
    find_receiver,
    renumber,
    repair_types,
    stands_on,
    supported,
    unwrapped_type,
)
from zvonim_sfu.media.sdp import Codec, parse

BASELINE = replace(H264, parameters="packetization-mode=1;profile-level-id=42001f")
RED = Codec(63, "red", 48000, 2, "111/111")
HIGH = replace(H264, parameters="packetization-mode=1;profile-level-id=64001f")


@pytest.mark.parametrize(
    ("codec", "key"),
    [
        (OPUS, CodecKey("opus")),
        (Codec(9, "OPUS", 48000, 2), CodecKey("opus")),
        (Codec(9, "opus", 48000, 1), None),
        (Codec(9, "opus", 8000, 2), None),
        (VP8, CodecKey("VP8")),
        (Codec(9, "vp8", 90000), CodecKey("VP8")),
        (Codec(9, "VP9", 90000), CodecKey("VP9", "0")),
        (Codec(9, "VP9", 90000, parameters="profile-id=2"), CodecKey("VP9", "2")),
        (Codec(9, "VP9", 90000, parameters="profile-id=9"), None),
        (Codec(9, "AV1", 90000), CodecKey("AV1", "0")),
        (Codec(9, "AV1", 90000, parameters="level-idx=5; Profile=1 ;tier=0"), CodecKey("AV1", "1")),
        (Codec(9, "AV1", 90000, parameters="profile=x"), None),
        (Codec(9, "H264", 90000), CodecKey("H264", "baseline", "0")),
        (H264, CodecKey("H264", "constrained-baseline", "1")),
        (BASELINE, CodecKey("H264", "baseline", "1")),
        (HIGH, CodecKey("H264", "high", "1")),
        (replace(H264, parameters="profile-level-id=4d001f"), CodecKey("H264", "main", "0")),
        (replace(H264, parameters="profile-level-id=4d801f"), CodecKey("H264", "constrained-baseline", "0")),
        (replace(H264, parameters="profile-level-id=640c1f"), CodecKey("H264", "constrained-high", "0")),
        (replace(H264, parameters="profile-level-id=f4001f"), CodecKey("H264", "high-444", "0")),
        (replace(H264, parameters="profile-level-id=990000"), None),
        (replace(H264, parameters="profile-level-id=nonsense"), None),
        (replace(H264, parameters="packetization-mode=2;profile-level-id=42e01f"), None),
        (Codec(9, "rtx", 90000, parameters="apt=96"), None),
        (Codec(9, "red", 48000, 2), None),
        (Codec(9, "red", 48000, 2, "111/111"), CodecKey("red", "111")),
        (Codec(9, "RED", 48000, 2, " 109/109/109"), CodecKey("red", "109")),
        (Codec(9, "red", 48000, 2, "111/0"), None),
        (Codec(9, "red", 48000, 2, "x/x"), None),
        (Codec(9, "red", 48000, 1, "111/111"), None),
        (Codec(9, "red", 90000, parameters="96/96"), None),
        (Codec(0, "PCMU", 8000), None),
    ],
)
def test_a_codec_is_known_by_what_changes_its_payload(codec: Codec, key: CodecKey | None) -> None:
    assert codec_key(codec) == key


@pytest.mark.parametrize("name", [name for name in offer_names() if "data-channel-only" not in name])
def test_every_captured_section_has_a_codec_that_is_forwarded(name: str) -> None:
    for section in parse(offer(name)).sections:
        if not section.rejected and section.kind != "application":
            found = supported(section.codecs)
            assert found
            assert {codec.name for codec in found} <= {"opus", "VP8", "VP9", "H264", "AV1", "red", "rtx"}
            forwarded = {codec.payload_type for codec in found if codec_key(codec) is not None}
            assert {stands_on(codec) for codec in found} <= {None, *forwarded}
            assert {associated(codec) for codec in found if codec.name == "rtx"} <= forwarded
            assert all(set(codec.feedback) <= set(SUPPORTED_FEEDBACK) for codec in found)


def test_supported_keeps_the_offered_order_and_parameters() -> None:
    offered = (
        VP9,
        Codec(97, "rtx", 90000),
        H264,
        replace(VP8, feedback=("nack", "nack pli", "transport-cc", "nack rpsi")),
    )
    assert supported(offered) == (VP9, H264, replace(VP8, feedback=("nack", "nack pli", "transport-cc")))


def test_retransmissions_are_supported_with_what_they_repair() -> None:
    repairs = Codec(97, "RTX", 90000, parameters="apt=96;rtx-time=3000")
    for unwanted in ("apt=98", "apt=", "apt=x", "apt=\u00b2", "apt=9999", "rtx-time=96", ""):
        assert supported((VP8, repairs, Codec(99, "rtx", 90000, parameters=unwanted))) == (VP8, repairs)
    assert supported((repairs,)) == ()
    assert repair_types((VP8, repairs)) == {96: 97}


def test_redundant_audio_is_supported_with_what_it_carries() -> None:
    assert supported((RED, OPUS)) == (RED, OPUS)
    assert supported((RED,)) == ()
    assert supported((OPUS, replace(RED, parameters="0/0"))) == (OPUS,)
    assert supported((VP8, Codec(98, "red", 90000), Codec(99, "rtx", 90000, parameters="apt=98"))) == (VP8,)


def test_redundant_audio_goes_to_who_has_it_and_else_what_it_carries() -> None:
    same, other = replace(RED, payload_type=50), replace(RED, parameters="109/109")
    assert find_receiver(key(RED), [OPUS, same]) is same
    assert unwrapped_type([RED, OPUS], [OPUS, same]) == 0
    for codecs in ([OPUS], [other, OPUS]):  # what is in the packets names other numbers than it knows
        assert find_receiver(key(RED), codecs) is OPUS
        assert unwrapped_type([RED, OPUS], codecs) == 63
    assert find_receiver(key(RED), [VP8]) is None
    assert find_receiver(key(OPUS), [RED]) is None
    assert unwrapped_type([OPUS], [OPUS]) == 0


def test_redundant_audio_is_offered_to_who_has_offered_it() -> None:
    assert [codec.name for codec in renumber([RED, OPUS], {})] == ["opus"]
    known = {111: OPUS, 50: replace(RED, payload_type=50)}
    assert renumber([RED, OPUS], known) == (known[50], OPUS)


def key(codec: Codec) -> CodecKey:
    found = codec_key(codec)
    assert found is not None
    return found


def test_a_receiver_is_found_under_its_own_number() -> None:
    mine = [replace(VP9, payload_type=35), replace(VP8, payload_type=120)]
    found = find_receiver(key(VP8), mine)
    assert found is not None
    assert found.payload_type == 120
    assert find_receiver(key(H264), mine) is None
    assert find_receiver(key(VP8), []) is None


def test_another_profile_is_another_codec() -> None:
    assert find_receiver(CodecKey("VP9", "2"), [VP9]) is None
    assert find_receiver(CodecKey("AV1", "1"), [AV1]) is None


def test_an_h264_decoder_takes_the_profiles_that_its_own_includes() -> None:
    assert find_receiver(key(H264), [BASELINE]) is BASELINE
    assert find_receiver(key(H264), [HIGH]) is HIGH
    assert find_receiver(key(BASELINE), [H264]) is None
    assert find_receiver(key(HIGH), [H264, BASELINE]) is None
    # The very same one is better, wherever it stands.
    assert find_receiver(key(H264), [HIGH, H264]) is H264


def test_an_h264_decoder_of_fragmented_units_takes_single_ones_too() -> None:
    single = replace(H264, parameters="packetization-mode=0;profile-level-id=42e01f")
    assert find_receiver(key(single), [H264]) is H264
    assert find_receiver(key(H264), [single]) is None


def test_a_fresh_transport_gets_familiar_numbers() -> None:
    known: dict[int, Codec] = {}
    codecs = [replace(codec, payload_type=n) for n, codec in enumerate((OPUS, VP8, VP9, H264, AV1), 100)]
    numbered = renumber(codecs, known)
    assert [codec.payload_type for codec in numbered if codec_key(codec)] == [111, 96, 98, 102, 45]
    # Video is offered with retransmissions, and with the feedback that the server acts on.
    assert repair_types(numbered) == {96: 105, 98: 106, 102: 112, 45: 113}
    assert all(("nack" in codec.feedback) == (codec.name not in ("opus", "rtx")) for codec in numbered)
    assert sorted(known) == sorted(codec.payload_type for codec in numbered)


def test_a_codec_keeps_the_number_that_the_transport_knows() -> None:
    known = {120: replace(VP8, payload_type=120, parameters="max-fs=12288")}
    assert renumber([VP8], known) == (known[120],)
    assert list(known) == [120]


def test_a_codec_keeps_the_retransmissions_that_the_transport_knows() -> None:
    known = {120: replace(VP8, payload_type=120), 35: Codec(35, "rtx", 90000, parameters="apt=120")}
    assert renumber([VP8], known) == (known[120], known[35])
    assert list(known) == [120, 35]


def test_a_number_that_is_taken_is_not_given_again() -> None:
    known = {96: Codec(96, "rtx", 90000)}
    vp8, repairs = renumber([VP8], known)
    assert (vp8.payload_type, repairs.payload_type) == (97, 105)
    assert (known[97], known[105]) == (vp8, repairs)


def test_what_nobody_forwards_is_not_numbered() -> None:
    known: dict[int, Codec] = {}
    assert renumber([Codec(97, "rtx", 90000)], known) == ()
    assert not known


def test_a_codec_that_comes_twice_is_offered_once() -> None:
    assert [codec.name for codec in renumber([VP8, replace(VP8, payload_type=120)], {})] == ["VP8", "rtx"]


def test_a_codec_for_which_no_number_is_left_is_left_out() -> None:
    full = {n: Codec(n, "rtx", 90000) for n in range(128)}
    assert renumber([VP8], full) == ()
    del full[63]
    # Without retransmissions, if there is no number for them.
    assert [codec.payload_type for codec in renumber([VP8, VP9], full)] == [63]


def test_all_codecs_there_are_find_a_number() -> None:
    offered = [
        OPUS,
        VP8,
        *(replace(VP9, parameters=f"profile-id={n}") for n in range(200)),
        *(replace(AV1, parameters=f"profile={n}") for n in range(200)),
        *(replace(H264, parameters=f"packetization-mode={n % 4};profile-level-id={n * 997:06x}") for n in range(16000)),
    ]
    known: dict[int, Codec] = {}
    numbered = renumber(offered, known)
    assert {codec_key(codec) for codec in numbered} - {None} == {codec_key(c) for c in offered} - {None}
    assert len(known) == len(numbered) < 60


@examples(200)
@given(st.text(max_size=30), st.text(max_size=12))
def test_any_parameters_give_a_key_or_none(parameters: str, profile: str) -> None:
    for name in ("opus", "VP8", "VP9", "H264", "AV1"):
        for text in (parameters, f"profile-level-id={profile};profile-id={profile};profile={profile}"):
            found = codec_key(Codec(96, name, 48000 if name == "opus" else 90000, 2, text))
            assert found is None or found.name == name
