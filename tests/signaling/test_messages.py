from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zvonim_sfu.media.source import Source
from zvonim_sfu.rooms.events import (
    Answer,
    CandidateInit,
    Error,
    IceCandidate,
    IceServer,
    LayersWanted,
    Offer,
    ParticipantInfo,
    QualityDetail,
    RoomState,
    ServerMessage,
    SlotChange,
    SlotQualities,
    SlotQuality,
    Slots,
    TrackInfo,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
    UserJoined,
    UserLeft,
    WantedLayers,
)
from zvonim_sfu.rooms.quality import Reason
from zvonim_sfu.signaling.messages import (
    MAX_TILE_SIDE,
    MAX_TILES,
    SERVER_MESSAGE,
    ClientAnswer,
    ClientCandidate,
    ClientMessage,
    ClientOffer,
    ClientView,
    Join,
    Leave,
    MessageError,
    MuteTrack,
    TileSize,
    WantedTrack,
    parse_message,
    render,
)

# The documented messages of a client, flat, and what they mean.
CLIENT_MESSAGES: list[tuple[dict[str, Any], ClientMessage]] = [
    (
        {"type": "join", "user_id": "u1", "user_name": "Ann"},
        Join(type="join", user_id="u1", user_name="Ann", delivery="offers"),
    ),
    (
        {"type": "join", "user_id": "u1", "user_name": "Ann", "delivery": "slots"},
        Join(type="join", user_id="u1", user_name="Ann", delivery="slots"),
    ),
    ({"type": "offer", "to": "all", "sdp": "v=0"}, ClientOffer(type="offer", to="all", sdp="v=0")),
    (
        {"type": "offer", "sdp": "v=0", "sources": {"0": "camera", "1": "screen-audio"}},
        ClientOffer(type="offer", sdp="v=0", sources={"0": Source.CAMERA, "1": Source.SCREEN_AUDIO}),
    ),
    ({"type": "answer", "to": "u2", "sdp": "v=0"}, ClientAnswer(type="answer", to="u2", sdp="v=0")),
    (
        {"type": "ice-candidate", "to": "sfu", "candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host"},
        ClientCandidate(type="ice-candidate", to="sfu", candidate="candidate:1 1 udp 1 192.0.2.1 9 typ host"),
    ),
    (
        {"type": "track-muted", "track_id": "camera", "muted": True},
        MuteTrack(type="track-muted", track_id="camera", muted=True),
    ),
    (
        {
            "type": "view",
            "tiles": [{"mid": "4", "width": 320, "height": 180}, {"mid": "5", "width": 0, "height": 0}],
            "wanted": [
                {"user_id": "u1", "track_id": "camera", "pinned": True},
                {"user_id": "u2", "track_id": "a"},
            ],
        },
        ClientView(
            type="view",
            tiles=(TileSize(mid="4", width=320, height=180), TileSize(mid="5", width=0, height=0)),
            wanted=(
                WantedTrack(user_id="u1", track_id="camera", pinned=True),
                WantedTrack(user_id="u2", track_id="a", pinned=False),
            ),
        ),
    ),
    ({"type": "leave"}, Leave(type="leave")),
]

SERVER_MESSAGES: list[ServerMessage] = [
    UserJoined("u1", "Ann"),
    UserLeft("u1"),
    RoomState(
        "room",
        "u1",
        (ParticipantInfo("u1", "Анна", True, (TrackInfo("camera", Source.CAMERA, False),)),),
        (IceServer(("stun:a", "turn:b"), "name", "secret"), IceServer(("stun:c",))),
        "1.0",
    ),
    TrackPublished("u1", "screen-audio", Source.SCREEN_AUDIO, True),
    TrackUnpublished("u1", "camera"),
    TrackMuted("u1", "camera", True),
    SlotQualities(
        (
            SlotQuality("4", False, 1, 2, 640, 360, 640_000, Reason.LINK, QualityDetail(640_000, 1_200_000)),
            SlotQuality("5", True, -1, -1, 0, 0, 0, Reason.HIDDEN, QualityDetail()),
        )
    ),
    LayersWanted((WantedLayers("camera", ("q", "h"), 1), WantedLayers("screen", (), -1))),
    Slots((SlotChange("0", "u1", "camera", Source.CAMERA, False), SlotChange("1", None, None, None, False))),
    Offer("sfu", "u1", "v=0\r\n"),
    Answer("u2", "u1", "v=0\r\n"),
    IceCandidate("u2", "u1", "candidate:1"),
    IceCandidate("u2", "u1", CandidateInit("candidate:1", "0", 0, "abcd")),
    IceCandidate("u2", "u1", None),
    Error("glare", "Answer first.", "offer"),
    Error("codec-unsupported", "No.", None, "u2", "camera"),
]


def nest(flat: dict[str, Any]) -> dict[str, Any]:
    """The same message as Go's models write it."""
    envelope: dict[str, Any] = {name: flat[name] for name in ("type", "from", "to") if name in flat}
    data = {name: value for name, value in flat.items() if name not in envelope}
    return {**envelope, "data": data} if data else envelope


def refusal(text: str | bytes) -> MessageError:
    with pytest.raises(MessageError) as caught:
        parse_message(text)
    assert caught.value.message.endswith(".")
    assert len(caught.value.message) < 300
    return caught.value


@pytest.mark.parametrize(("flat", "expected"), CLIENT_MESSAGES)
def test_both_forms_mean_the_same(flat: dict[str, Any], expected: ClientMessage) -> None:
    assert parse_message(json.dumps(flat)) == (expected, False)
    assert parse_message(json.dumps(nest(flat)).encode()) == (expected, flat["type"] != "leave")


def test_what_the_server_does_not_know_is_ignored_and_so_is_from() -> None:
    text = '{"type": "leave", "from": 7, "shoe_size": 43, "data": {"from": [], "colour": "red"}}'
    assert parse_message(text) == (Leave(type="leave"), True)


def test_the_envelope_goes_before_what_is_inside() -> None:
    text = '{"type": "offer", "to": "u2", "data": {"type": "leave", "to": "u3", "sdp": "v=0"}}'
    assert parse_message(text) == (ClientOffer(type="offer", to="u2", sdp="v=0"), True)


def test_a_recipient_may_stand_inside() -> None:
    text = '{"type": "offer", "data": {"to": "u3", "sdp": "v=0"}}'
    assert parse_message(text) == (ClientOffer(type="offer", to="u3", sdp="v=0"), True)


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        ('"candidate:1"', "candidate:1"),
        ('""', ""),
        ("null", None),
        (
            '{"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "abcd"}',
            CandidateInit("candidate:1", "0", 0, "abcd"),
        ),
        (
            '{"candidate": "candidate:1", "sdpMid": null, "sdpMLineIndex": null, "extra": {}}',
            CandidateInit("candidate:1"),
        ),
        ("{}", CandidateInit()),
    ],
)
def test_a_candidate_comes_in_every_way_that_browsers_write_it(candidate: str, expected: object) -> None:
    message, _ = parse_message(f'{{"type": "ice-candidate", "to": "all", "candidate": {candidate}}}')
    assert message == ClientCandidate(type="ice-candidate", to="all", candidate=expected)  # type: ignore[arg-type]


def test_a_missing_candidate_is_the_end_of_candidates() -> None:
    assert parse_message('{"type": "ice-candidate"}')[0] == ClientCandidate(type="ice-candidate")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        "{'type': 'leave'}",
        '{"type": "leave"} {"type": "leave"}',
        '{"type": "leave", "x": NaN}',
        '{"type": "leave", "x": -Infinity}',
        '{"type": "leave", "type": "join"}',
        '{"type": "leave", "data": {"a": 1, "a": 2}}',
        '{"type": "leave", "x": ' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"a":' * 50_000,
        "[" * 100_000 + "]" * 100_000,
        b"\xff\xfe{\x00}\x00",
        b'{"type": "leave\xff"}',
        "\ufeff{}",
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    error = refusal(text)
    assert (error.code, error.request, error.nested) == ("invalid-json", None, None)


@pytest.mark.parametrize("text", ["null", "1", '"leave"', "[]", '[{"type": "leave"}]', "true"])
def test_a_message_has_to_be_an_object(text: str) -> None:
    assert refusal(text).code == "invalid-message"


@pytest.mark.parametrize("text", ["{}", '{"type": null}', '{"type": 1}', '{"type": ["leave"]}', '{"data": {}}'])
def test_a_message_needs_a_type(text: str) -> None:
    assert refusal(text).message == "A message needs a type, which is a string."


@pytest.mark.parametrize("kind", ["fly", "user-joined", "", "\ud800", "x" * 1000, "<script>"])
def test_an_unknown_type_is_told_apart(kind: str) -> None:
    error = refusal(json.dumps({"type": kind}))
    assert error.code == "unknown-type"
    assert error.request == (kind if kind in ("fly", "user-joined") else None)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"type": "join"}, "user_id"),
        ({"type": "join", "user_id": 7}, "user_id"),
        ({"type": "join", "user_id": "x" * 300}, "user_id"),
        ({"type": "join", "user_id": "x", "user_name": ["Ann"]}, "user_name"),
        ({"type": "join", "user_id": "x", "user_name": "x" * 2000}, "user_name"),
        ({"type": "join", "user_id": "x", "delivery": "pigeon"}, "delivery"),
        ({"type": "offer"}, "sdp"),
        ({"type": "offer", "sdp": None}, "sdp"),
        ({"type": "offer", "sdp": "\ud800"}, "sdp"),
        ({"type": "offer", "sdp": "v=0", "to": 5}, "to"),
        ({"type": "offer", "sdp": "v=0", "sources": {"0": "moon"}}, "sources"),
        ({"type": "offer", "sdp": "v=0", "sources": {"\ud800": "camera"}}, "sources"),
        ({"type": "offer", "sdp": "v=0", "sources": {str(n): "camera" for n in range(2000)}}, "sources"),
        ({"type": "offer", "sdp": "v=0", "sources": ["camera"]}, "sources"),
        ({"type": "ice-candidate", "candidate": 5}, "candidate"),
        ({"type": "ice-candidate", "candidate": "x" * 3000}, "candidate"),
        ({"type": "ice-candidate", "candidate": {"sdpMLineIndex": 10**300}}, "candidate"),
        ({"type": "ice-candidate", "candidate": {"sdpMLineIndex": -1}}, "candidate"),
        ({"type": "track-muted", "track_id": "camera"}, "muted"),
        ({"type": "track-muted", "track_id": "camera", "muted": "yes"}, "muted"),
        ({"type": "track-muted", "track_id": "camera", "muted": 1}, "muted"),
        ({"type": "view", "tiles": None}, "tiles"),
        ({"type": "view", "tiles": [{"mid": "1", "width": 320}]}, "tiles"),
        ({"type": "view", "tiles": [{"mid": "1", "width": -1, "height": 0}]}, "tiles"),
        ({"type": "view", "tiles": [{"mid": "1", "width": 320.5, "height": 180}]}, "tiles"),
        ({"type": "view", "tiles": [{"mid": "1", "width": MAX_TILE_SIDE + 1, "height": 180}]}, "tiles"),
        ({"type": "view", "tiles": [{"mid": "1", "width": 1, "height": 1}] * 2}, "tiles"),
        (
            {"type": "view", "tiles": [{"mid": str(k), "width": 1, "height": 1} for k in range(MAX_TILES + 1)]},
            "tiles",
        ),
        ({"type": "view", "wanted": [{"user_id": "u1"}]}, "wanted"),
        ({"type": "view", "wanted": [{"user_id": "u1", "track_id": "x", "pinned": "no"}]}, "wanted"),
        ({"type": "view", "wanted": [{"user_id": "u1", "track_id": "x"}] * 65}, "wanted"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], field: str) -> None:
    for form in (fields, nest(fields)):
        error = refusal(json.dumps(form))
        assert error.code == "invalid-message"
        assert error.request == fields["type"]
        assert error.nested is ("data" in form)
        assert error.message.startswith(f"The field {field} is wrong: ")


@pytest.mark.parametrize("message", SERVER_MESSAGES)
def test_what_the_server_says_can_be_read_back_from_both_forms(message: ServerMessage) -> None:
    flat = render(message, nested=False)
    assert flat.isascii()
    assert next(iter(json.loads(flat))) == "type"
    assert SERVER_MESSAGE.validate_json(flat) == message
    nested = json.loads(render(message, nested=True))
    assert nested.keys() <= {"type", "data", "from", "to"}
    assert nested == {**nest(json.loads(flat)), "data": nested["data"]}


def test_what_a_room_is_told_is_written_once_for_each_form() -> None:
    first, same, other = (TrackMuted("u1", "camera", muted) for muted in (True, True, False))
    assert render(first, nested=False) is render(same, nested=False)
    assert render(first, nested=True) is render(same, nested=True)
    assert len({render(first, nested=False), render(first, nested=True), render(other, nested=False)}) == 3


def test_absent_fields_are_left_out_only_where_null_would_be_a_value() -> None:
    state = json.loads(render(SERVER_MESSAGES[2], nested=False))
    assert state["ice_servers"][1] == {"urls": ["stun:c"]}
    assert json.loads(render(Error("a", "b"), nested=False)) == {
        "type": "error", "code": "a", "message": "b", "request": None,
    }  # fmt: skip


# Properties

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["camera", "slots", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
types = st.sampled_from(["join", "offer", "answer", "ice-candidate", "track-muted", "view", "leave", "error"]) | values
names = st.sampled_from(
    ["user_id", "user_name", "delivery", "to", "from", "sdp", "sources", "candidate", "track_id", "muted", "data"]
) | st.text()  # fmt: skip
inner = st.dictionaries(names, values | st.dictionaries(names, values, max_size=4), max_size=6)
messages = st.builds(lambda kind, fields: {**fields, "type": kind}, types, inner)


@given(st.binary() | st.text() | st.text(alphabet=string.printable))
@example(b"")
def test_any_bytes_are_a_message_or_a_message_error(text: str | bytes) -> None:
    check(text)


@given(messages)
def test_any_json_is_a_message_or_a_message_error(fields: dict[str, Any]) -> None:
    check(json.dumps(fields))


def check(text: str | bytes) -> None:
    try:
        message, _ = parse_message(text)
    except MessageError as error:
        # What goes back to the client can be sent.
        render(Error(error.code, error.message, error.request), nested=bool(error.nested))
        return
    if isinstance(message, ClientCandidate):
        render(IceCandidate("a", message.to or "", message.candidate), nested=True)
    if isinstance(message, ClientOffer):
        render(Offer("a", message.to or "", message.sdp), nested=False).encode()
