from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.support import examples
from zvonim_sfu.media.simulcast import MAX_ENCODINGS, Encoding, acceptable, parse_encodings, write_encodings


@pytest.mark.parametrize(
    ("rids", "simulcast", "encodings"),
    [
        (["q send", "h send"], "send q;h", [Encoding("q"), Encoding("h")]),
        (["q send", "h send"], "send h;~q", [Encoding("h"), Encoding("q", paused=True)]),
        (["q send", "h send"], "recv x send q;h", [Encoding("q"), Encoding("h")]),
        # Of alternatives the first that there is.
        (["q send", "h send"], "send a,~q;h", [Encoding("q", paused=True), Encoding("h")]),
        (["q send max-width=320;pt=96"], "send q", [Encoding("q", "max-width=320;pt=96")]),
        # Without a=simulcast, or without a=rid, there is one stream.
        (["q send", "h send"], "", []),
        ([], "send q;h", []),
        (["q recv", "h send"], "send q;h", [Encoding("h")]),
        (["q", "", "é send", "q/1 send", "h send \x07"], "send q;h;é;q/1", []),
        (["q send", "q send pt=9"], "send q;q;q", [Encoding("q")]),
        (["q send"], "send", []),
    ],
)
def test_what_is_sent_is_what_both_lines_say(rids: list[str], simulcast: str, encodings: list[Encoding]) -> None:
    assert parse_encodings(rids, simulcast, "send") == tuple(encodings)


def test_restrictions_stay_but_for_payload_types_that_are_not_taken() -> None:
    offered = [
        Encoding("a", "max-fps=30;pt=96,97"),
        Encoding("b", "pt=97", paused=True),
        Encoding("c", "max-width=320"),
        Encoding("d", "pt=x"),
        Encoding("e", "pt=98,96", paused=True),
        Encoding("f"),
    ]
    assert acceptable(offered, [96, 98]) == (
        Encoding("a", "max-fps=30;pt=96"),
        Encoding("c", "max-width=320"),
        Encoding("e", "pt=98,96", paused=True),
    )


names = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
several = st.lists(
    st.builds(Encoding, names, st.sampled_from(["", "pt=96", "max-width=9;max-fps=1"]), st.booleans()),
    max_size=6,
    unique_by=lambda encoding: encoding.rid,
)


@examples(100)
@given(several, several)
def test_what_is_written_is_read_back_the_same(sent: list[Encoding], received: list[Encoding]) -> None:
    received = [encoding for encoding in received if encoding.rid not in {other.rid for other in sent}]
    lines = write_encodings(sent, received)
    rids = [line.removeprefix("a=rid:") for line in lines if line.startswith("a=rid:")]
    simulcast = next((line.removeprefix("a=simulcast:") for line in lines if "simulcast" in line), "")
    assert parse_encodings(rids, simulcast, "send") == tuple(sent)
    assert parse_encodings(rids, simulcast, "recv") == tuple(received)


@examples(200)
@given(st.lists(st.text(max_size=30), max_size=4), st.text("send recv q;h,~é", max_size=40))
def test_any_text_is_read(rids: list[str], simulcast: str) -> None:
    assert len(acceptable(parse_encodings(rids, simulcast, "send"), [96])) <= MAX_ENCODINGS
