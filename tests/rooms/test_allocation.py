from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_peer import FakeTrack, make_slots
from zvonim_sfu.media.peer import Slot
from zvonim_sfu.media.source import Source
from zvonim_sfu.rooms.allocation import NOBODY, Claims, Precedence, Published, allocate
from zvonim_sfu.rooms.view import Wish

CAMERA, MICROPHONE, SCREEN, SCREEN_AUDIO = (
    Source.CAMERA,
    Source.MICROPHONE,
    Source.SCREEN,
    Source.SCREEN_AUDIO,
)


def track(who: str, source: Source, number: int = 1) -> FakeTrack:
    return FakeTrack(who, source.value if number == 1 else f"{source.value}-{number}", source)


def person(who: str) -> list[FakeTrack]:
    return [track(who, MICROPHONE), track(who, CAMERA)]


def give(
    tracks: list[FakeTrack],
    slots: list[Slot],
    current: dict[str, FakeTrack | None],
    claims: Claims = NOBODY,
    *,
    to: str = "eve",
) -> dict[str, FakeTrack | None]:
    return allocate(Published(tracks), to, slots, current, Precedence(claims))


def shown(result: dict[str, FakeTrack | None]) -> dict[str, str]:
    return {mid: track.key for mid, track in result.items() if track is not None}


def test_nothing_to_give_leaves_all_slots_empty() -> None:
    assert give([], make_slots(1, 1), {}) == {"a0": None, "a1": None, "v0": None}


def test_nobody_is_given_what_is_its_own() -> None:
    tracks = [*person("ann"), *person("bob")]
    assert shown(give(tracks, make_slots(2, 0), {}, to="ann")) == {"a0": "bob/microphone", "v0": "bob/camera"}


def test_without_slots_there_is_nothing_to_do() -> None:
    assert give(person("ann"), [], {}) == {}


def test_a_person_gets_a_pair_and_so_does_a_screen_with_sound() -> None:
    tracks = [*person("ann"), track("ann", SCREEN_AUDIO), track("ann", SCREEN)]
    assert shown(give(tracks, make_slots(2, 1), {})) == {
        "a0": "ann/microphone",
        "v0": "ann/camera",
        "a1": "ann/screen-audio",
        "v1": "ann/screen",
    }


def test_a_camera_comes_beside_its_microphone_later() -> None:
    slots = make_slots(3, 1)
    bob = person("bob")
    first = give([track("ann", MICROPHONE), *bob], slots, {})
    then = give([*person("ann"), *bob], slots, first)
    mids = {key: mid for mid, key in shown(then).items()}
    assert mids["ann/microphone"][1:] == mids["ann/camera"][1:]
    assert mids["bob/microphone"][1:] == mids["bob/camera"][1:]


def test_a_microphone_comes_beside_its_camera_later_even_when_others_wait_for_a_place() -> None:
    slots = make_slots(1, 0)
    first = give([track("bob", CAMERA)], slots, {})
    then = give([*person("ann"), *person("bob")], slots, first)
    assert shown(then) == {"a0": "bob/microphone", "v0": "bob/camera"}


def test_the_second_camera_is_not_taken_for_the_partner_of_the_microphone() -> None:
    tracks = [*person("ann"), track("ann", CAMERA, 2)]
    assert shown(give(tracks, make_slots(2, 0), {})) == {
        "a0": "ann/microphone",
        "v0": "ann/camera",
        "v1": "ann/camera-2",
    }


def test_microphones_alone_spare_the_pairs_when_these_are_scarce() -> None:
    listeners = [track(who, MICROPHONE) for who in ("ann", "bob", "cem")]
    result = give(listeners, make_slots(2, 2), {})
    assert shown(result) == {"a0": "ann/microphone", "a2": "bob/microphone", "a3": "cem/microphone"}


def test_when_nothing_else_is_left_a_microphone_is_heard_beside_a_strangers_picture() -> None:
    result = give([track("ann", CAMERA), track("bob", MICROPHONE)], make_slots(1, 0), {})
    assert shown(result) == {"a0": "bob/microphone", "v0": "ann/camera"}


def test_who_came_first_is_served_first() -> None:
    result = give([*person("ann"), *person("bob")], make_slots(1, 0), {})
    assert shown(result) == {"a0": "ann/microphone", "v0": "ann/camera"}


def test_a_slot_that_falls_free_goes_to_who_waits() -> None:
    slots = make_slots(1, 0)
    first = give([*person("ann"), *person("bob")], slots, {})
    assert shown(give(person("bob"), slots, first)) == {"a0": "bob/microphone", "v0": "bob/camera"}


def test_a_track_that_came_back_under_its_name_keeps_the_slot() -> None:
    slots = make_slots(2, 0)
    first = give([*person("ann"), *person("bob")], slots, {})
    renewed = person("bob")
    then = give([*renewed, *person("ann")], slots, first)
    assert shown(then) == shown(first)
    assert then["v1"] is renewed[1]


def test_a_mid_that_stands_for_another_kind_now_does_not_keep_its_track() -> None:
    picture = track("ann", CAMERA)
    assert give([picture], [Slot("0", "audio", 0)], {"0": picture}) == {"0": None}


# Claims


def claims(*people: str, dominant: str | None = None, silent: tuple[str, ...] = ()) -> Claims:
    """Of microphone and camera of these people, in this order of rank; `silent` follow them without a claim."""
    ranks = {who: rank for rank, who in enumerate((*people, *silent))}
    return Claims(frozenset(track.key for who in people for track in person(who)), ranks, dominant)


def crowd(*names: str) -> list[FakeTrack]:
    return [track for name in names for track in person(name)]


def test_who_speaks_takes_the_pair_of_the_last_in_rank() -> None:
    tracks, slots = crowd("ann", "bob", "cem", "dan"), make_slots(3, 0)
    first = give(tracks, slots, {})
    then = give(tracks, slots, first, claims("dan", silent=("bob", "ann", "cem")))
    assert shown(then) == shown(first) | {"a2": "dan/microphone", "v2": "dan/camera"}
    # Who never spoke goes before who spoke long ago, and the last who came goes first.
    then = give(tracks, slots, first, claims("dan", silent=("cem",)))
    assert shown(then) == shown(first) | {"a1": "dan/microphone", "v1": "dan/camera"}


def test_when_there_is_room_for_all_nothing_moves() -> None:
    tracks, slots = crowd("ann", "bob", "cem"), make_slots(3, 0)
    first = give(tracks, slots, {})
    assert give(tracks, slots, first, claims("cem", "ann", dominant="cem")) == first


def test_a_free_slot_is_taken_before_anybody_gives_way() -> None:
    tracks, slots = crowd("ann", "bob", "cem"), make_slots(2, 0)
    first = give(crowd("ann"), slots, {})
    then = give(tracks, slots, first, claims("cem"))
    assert shown(then) == shown(first) | {"a1": "cem/microphone", "v1": "cem/camera"}


def test_who_spoke_lately_gives_way_to_the_dominant_speaker_only() -> None:
    tracks, slots = crowd("ann", "bob", "cem"), make_slots(2, 0)
    first = give(tracks, slots, {})
    assert give(tracks, slots, first, claims("ann", "bob", "cem", dominant="ann")) == first
    then = give(tracks, slots, first, claims("cem", "ann", "bob", dominant="cem"))
    assert shown(then) == shown(first) | {"a1": "cem/microphone", "v1": "cem/camera"}


def test_a_picture_comes_beside_its_sound_if_the_stranger_there_has_no_claim() -> None:
    slots = make_slots(2, 0)
    first: dict[str, FakeTrack | None] = {
        "a0": track("cem", MICROPHONE),
        "v0": track("ann", CAMERA),
        "a1": track("bob", MICROPHONE),
        "v1": track("bob", CAMERA),
    }
    tracks = [*person("bob"), track("ann", CAMERA), *person("cem")]
    then = give(tracks, slots, first, claims("cem", silent=("ann",)))
    assert shown(then) == shown(first) | {"v0": "cem/camera"}


# Wishes


def ask(*keys: str, pinned: bool = False) -> list[Wish]:
    return [Wish(who, track_id, pinned) for who, track_id in (key.split("/") for key in keys)]


def serve(
    tracks: list[FakeTrack], slots: list[Slot], current: dict[str, FakeTrack | None], precedence: Precedence
) -> dict[str, str]:
    return shown(allocate(Published(tracks), "eve", slots, current, precedence))


def test_the_next_page_is_what_is_asked_for() -> None:
    tracks, slots = crowd("ann", "bob", "cem", "dan"), make_slots(2, 2)
    first = give(tracks, slots, {})
    page = serve(tracks, slots, first, Precedence(wishes=ask("cem/camera", "dan/camera")))
    assert {page["v0"], page["v1"]} == {"cem/camera", "dan/camera"}


def test_what_is_pinned_goes_before_who_speaks_and_that_before_what_is_asked_for() -> None:
    tracks, slots = crowd("ann", "bob", "cem", "dan"), make_slots(2, 0)
    first = give(tracks, slots, {})
    speakers = claims("ann", "bob", dominant="ann")
    assert serve(tracks, slots, first, Precedence(speakers, ask("dan/camera"))) == shown(first)
    then = serve(tracks, slots, first, Precedence(speakers, ask("dan/camera", pinned=True)))
    assert then == shown(first) | {"v1": "dan/camera"}
    both = ask("dan/camera", "cem/camera", pinned=True)
    assert {"v0": "dan/camera", "v1": "cem/camera"}.items() <= serve(
        tracks, slots, {}, Precedence(speakers, both)
    ).items()


def test_who_speaks_goes_before_what_is_asked_for_whether_it_has_the_floor_or_not() -> None:
    tracks, slots = crowd("ann", "bob", "cem", "dan"), make_slots(2, 0)
    page = Precedence(wishes=ask("ann/camera", "bob/camera"))
    first = {mid: track for track in tracks for mid, key in serve(tracks, slots, {}, page).items() if track.key == key}
    for dominant in ("dan", "eve", None):
        speaking = Precedence(claims("dan", dominant=dominant), ask("ann/camera", "bob/camera"))
        then = serve(tracks, slots, dict(first), speaking)
        assert then["v1"] == "dan/camera", "the last that is asked for gives way"
        assert then["v0"] == "ann/camera"


def test_a_picture_without_its_sound_takes_a_whole_pair_if_it_can() -> None:
    slots = make_slots(2, 0)
    sound = track("ann", MICROPHONE)
    result = give([sound, track("bob", CAMERA)], slots, {"a0": sound})
    assert shown(result) == {"a0": "ann/microphone", "v1": "bob/camera"}


def test_what_is_hidden_gives_way_first() -> None:
    tracks, slots = crowd("ann", "bob", "cem"), make_slots(2, 1)
    first = give(tracks, slots, {})
    for mid in ("v0", "v1"):
        then = serve(tracks, slots, first, Precedence(wishes=ask("cem/camera"), hidden={mid}))
        assert then == shown(first) | {mid: "cem/camera"}


def test_what_does_not_exist_or_is_ones_own_is_not_given() -> None:
    tracks, slots = [*person("ann"), *person("eve")], make_slots(2, 0)
    assert serve(tracks, slots, {}, Precedence(wishes=ask("bob/camera", "eve/camera", "ann/camera"))) == {
        "a0": "ann/microphone",
        "v0": "ann/camera",
    }


# Properties

people = st.sampled_from(["ann", "bob", "cem", "dan"])
tracks_lists = st.lists(
    st.builds(track, people, st.sampled_from(list(Source)), st.integers(1, 2)), unique_by=lambda t: t.key, max_size=14
)


@dataclass
class Step:
    tracks: list[FakeTrack]
    slots: list[Slot]


def slot_lists() -> st.SearchStrategy[list[Slot]]:
    return st.tuples(st.integers(0, 5), st.integers(0, 4)).map(lambda sizes: make_slots(*sizes))


steps = st.lists(st.builds(Step, tracks_lists, slot_lists()), min_size=1, max_size=5)


@given(steps)
def test_whatever_comes_and_goes_every_allocation_is_sound(sequence: list[Step]) -> None:
    current: dict[str, FakeTrack | None] = {}
    for step in sequence:
        before, current = current, give(step.tracks, step.slots, current)
        kinds = {slot.mid: slot.kind for slot in step.slots}
        given_out = [track for track in current.values() if track is not None]
        # Every slot is spoken of, and each track is one of those, in one slot, of its kind.
        assert current.keys() == kinds.keys()
        assert all(any(track is other for other in step.tracks) for track in given_out)
        assert len({track.key for track in given_out}) == len(given_out)
        assert all(track is None or track.kind == kinds[mid] for mid, track in current.items())
        # Who has a slot keeps it as long as both last.
        for mid, held in before.items():
            if held is not None and mid in kinds and held.key in {track.key for track in step.tracks}:
                now = current[mid]
                assert now is not None
                assert now.key == held.key
        # No slot stays empty while a track of its kind waits.
        for kind in ("audio", "video"):
            waiting = [track for track in step.tracks if track.kind == kind and track not in given_out]
            assert not waiting or all(current[mid] is not None for mid in kinds if kinds[mid] == kind)
        # And a second look changes nothing.
        assert give(step.tracks, step.slots, current) == current


@st.composite
def claims_of(draw: st.DrawFn, tracks: list[FakeTrack]) -> Claims:
    """Anything that the room may want of these tracks."""
    keys = draw(st.frozensets(st.sampled_from([track.key for track in tracks]))) if tracks else frozenset()
    order = draw(st.permutations(["ann", "bob", "cem", "dan"]))
    ranks = {who: rank for rank, who in enumerate(order[: draw(st.integers(0, 4))])}
    return Claims(keys, ranks, draw(st.sampled_from([None, order[0]])))


@given(tracks_lists, slot_lists(), st.data())
def test_who_has_a_claim_waits_only_for_others_who_have_one(
    tracks: list[FakeTrack], slots: list[Slot], data: st.DataObject
) -> None:
    before = give(tracks, slots, {})
    claims = data.draw(claims_of(tracks))
    after = give(tracks, slots, before, claims)
    held = [track for track in after.values() if track is not None]
    assert len({track.key for track in held}) == len(held)
    for track in tracks:
        if track.key in claims.tracks and track not in held:
            holders = [other for other in held if other.kind == track.kind]
            assert all(other.key in claims.tracks for other in holders)
            if track.participant_id == claims.dominant:
                assert all(other.participant_id == claims.dominant for other in holders)
    # Nobody moves, and nobody goes for less than a claim.
    taken = [mid for mid, track in before.items() if track is not None and after[mid] is not track]
    assert all(before[mid] not in held for mid in taken)
    assert {getattr(after[mid], "key", None) for mid in taken} <= claims.tracks
    assert sum(track is not None for track in before.values()) == len(held)
    # A second look changes nothing; nor does it when the claims have gone.
    assert give(tracks, slots, after, claims) == after
    assert give(tracks, slots, after, NOBODY) == after


@given(tracks_lists, slot_lists(), st.data())
def test_nobody_waits_while_a_lower_class_is_served(
    tracks: list[FakeTrack], slots: list[Slot], data: st.DataObject
) -> None:
    before = give(tracks, slots, {})
    keys = st.sampled_from([track.key for track in tracks]) if tracks else st.nothing()
    wishes = [
        wish for key in data.draw(st.lists(keys, unique=True)) for wish in ask(key, pinned=data.draw(st.booleans()))
    ]
    hidden = data.draw(st.frozensets(st.sampled_from([slot.mid for slot in slots]))) if slots else frozenset()
    precedence = Precedence(data.draw(claims_of(tracks)), wishes, hidden)
    after = allocate(Published(tracks), "eve", slots, before, precedence)
    held = [track for track in after.values() if track is not None]
    for track in tracks:
        if track not in held:
            holders = [other for other in held if other.kind == track.kind]
            assert len(holders) == sum(slot.kind == track.kind for slot in slots)
            assert all(precedence.of(other)[0] <= precedence.of(track)[0] for other in holders)
    # Who gave way is of a class below all that came, and as many are served as before.
    gone = [track for track in before.values() if track is not None and track not in held]
    came = [track for track in held if track not in before.values()]
    assert all(
        precedence.of(one)[0] > precedence.of(other)[0] for one in gone for other in came if one.kind == other.kind
    )
    assert len(gone) == len(came)
    assert allocate(Published(tracks), "eve", slots, after, precedence) == after


@given(st.lists(people, unique=True), st.integers(0, 5), st.integers(0, 3))
def test_pairs_are_kept_together_as_long_as_there_are_pairs(names: list[str], pairs: int, audio: int) -> None:
    result = give([track for who in names for track in person(who)], make_slots(pairs, audio), {})
    for k in range(min(pairs, len(names))):
        sound, picture = result[f"a{k}"], result[f"v{k}"]
        assert sound is not None
        assert picture is not None
        assert sound.participant_id == picture.participant_id


@given(tracks_lists, slot_lists(), tracks_lists)
def test_a_new_pair_is_kept_together_when_a_whole_pair_is_free(
    first: list[FakeTrack], slots: list[Slot], second: list[FakeTrack]
) -> None:
    others = [track for track in first + second if track.participant_id != "eve"]
    before = give(others, slots, {}, to="fay")
    taken = {mid for mid, held in before.items() if held is not None}
    whole = [s.stream for s in slots if s.kind == "video" and not {f"a{s.stream}", s.mid} & taken]
    after = give([*others, *person("eve")], slots, before, to="fay")
    mids = {key: mid for mid, key in shown(after).items()}
    if whole:
        assert mids["eve/microphone"][1:] == mids["eve/camera"][1:]
