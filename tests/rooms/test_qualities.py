"""What rooms make of views, links and ladders: which layers each slot gets, what clients and publishers are told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.rooms.support import Call, Client, settle
from tests.support.fake_peer import FakeLayer
from tests.support.warp import run_warped
from zvonim_sfu.media.layer import HIGHEST, Rung, Selection
from zvonim_sfu.rooms.demand import LOWER_AFTER_S
from zvonim_sfu.rooms.events import LayersWanted, QualityDetail, SlotQualities, SlotQuality, WantedLayers
from zvonim_sfu.rooms.qualities import COALESCE_S, REPEAT_S, REPEAT_WIDE_S, TELL_INTERVAL_S
from zvonim_sfu.rooms.quality import Reason
from zvonim_sfu.rooms.view import Tile, View, Wish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Q, H, F = (
    Rung(0, 0, 320, 180, 30.0, 150_000),
    Rung(1, 0, 640, 360, 30.0, 500_000),
    Rung(2, 0, 1280, 720, 30.0, 1_500_000),
)
LARGE, SMALL, HIDDEN = Tile(1280, 720), Tile(320, 180), Tile(0, 0)
SOON = COALESCE_S + 0.01
ALL = ("q", "h", "f")


def warped(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in a loop whose time passes at once."""

    def run() -> None:
        async def work() -> None:
            await test()

        run_warped(work())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def enter(call: Call, *names: str, pairs: int = 4) -> list[Client]:
    return [call.enter(name, slot_mode=True, offer=f"microphone camera pairs={pairs}") for name in names]


def show(client: Client, *tiles: Tile, wishes: tuple[Wish, ...] = ()) -> None:
    """Let a client have tiles of these sizes."""
    client.participant.set_view(View({f"v{k}": tile for k, tile in enumerate(tiles)}, wishes))


def told(client: Client) -> dict[str, SlotQuality]:
    """What it has been told since the last call: the newest of each slot."""
    return {entry.mid: entry for message in client.connection.take(SlotQualities) for entry in message.slots}


def wanted(client: Client) -> list[tuple[WantedLayers, ...]]:
    return [message.tracks for message in client.connection.take(LayersWanted)]


@warped
async def test_a_picture_follows_its_tile_within_a_moment() -> None:
    call = Call()
    ann, bob = enter(call, "ann", "bob")
    await settle()
    assert bob.peer.selected == {"v0": (2, 0)}
    assert told(bob)["v0"] == SlotQuality(
        "v0", False, 2, 0, 1280, 720, int(1_500_000 * 1.06), Reason.BEST, QualityDetail()
    )
    for tile, selection, reason in (
        (SMALL, Selection(0, 0), Reason.TILE),
        (LARGE, Selection(2, 0), Reason.BEST),
        (HIDDEN, None, Reason.HIDDEN),
        (Tile(1920, 1080), Selection(2, 0), Reason.PUBLISHER),
    ):
        show(bob, tile)
        await asyncio.sleep(SOON)
        assert bob.peer.selected == {"v0": selection}
        await asyncio.sleep(TELL_INTERVAL_S)
        entry = told(bob)["v0"]
        assert (entry.reason, entry.paused) == (reason, selection is None)
    assert ann.peer.selected == {"v0": (2, 0)}


@warped
async def test_changes_of_one_moment_are_one_decision() -> None:
    (_, bob) = enter(Call(), "ann", "bob")
    await asyncio.sleep(1)
    for tile in (SMALL, LARGE, HIDDEN, SMALL):
        show(bob, tile)
    await settle()
    show(bob, LARGE)
    assert bob.peer.selected == {"v0": (0, 0)}
    await asyncio.sleep(SOON)
    assert bob.peer.selected == {"v0": (2, 0)}


@warped
async def test_a_client_is_told_twice_a_second_at_most() -> None:
    (_, bob) = enter(Call(), "ann", "bob")
    await asyncio.sleep(1)
    bob.connection.messages.clear()
    for step in range(100):
        show(bob, SMALL if step % 2 else LARGE)
        await asyncio.sleep(0.12)
    messages = bob.connection.take(SlotQualities)
    assert 10 < len(messages) <= 25
    await asyncio.sleep(1)
    bob.peer.statistics = lambda: None  # type: ignore[attr-defined]
    assert [entry.reason for entry in bob.participant.statistics().slots] == [Reason.TILE]


@warped
async def test_pictures_share_what_the_link_holds_and_the_client_is_told_why() -> None:
    _, _, bob = enter(Call(), "ann", "cem", "bob")
    bob.peer.find_estimate(1_000_000)
    await asyncio.sleep(2)
    assert bob.peer.selected == {"v0": (1, 0), "v1": (0, 0)}
    entries = told(bob)
    assert {entry.reason for entry in entries.values()} == {Reason.LINK}
    detail = entries["v0"].detail
    assert detail.needed_bps == int(1_500_000 * 1.06)
    assert detail.available_bps is not None
    assert 500_000 < detail.available_bps < 1_000_000
    # What would be sent if the link held it, sounds included.
    assert bob.peer.wanted_bps == 2 * int(1_500_000 * 1.06) + 2 * (32_000 + 16_000)
    bob.peer.find_estimate(200_000)
    await asyncio.sleep(1)
    assert bob.peer.selected == {"v0": None, "v1": None}
    await asyncio.sleep(1)
    assert {mid: (entry.paused, entry.reason) for mid, entry in told(bob).items()} == dict.fromkeys(
        ("v0", "v1"), (True, Reason.LINK)
    )
    bob.peer.find_estimate(None)
    await asyncio.sleep(SOON)
    assert bob.peer.selected == {"v0": (2, 0), "v1": (2, 0)}


@warped
async def test_a_link_that_holds_far_less_than_is_sent_is_followed_without_delay() -> None:
    _, bob = enter(Call(), "ann", "bob")
    bob.peer.find_estimate(3_000_000)
    await asyncio.sleep(2)
    for estimate, selection in ((900_000, Selection(1, 0)), (300_000, Selection(0, 0)), (60_000, None)):
        bob.peer.find_estimate(estimate)
        await settle()
        assert bob.peer.selected == {"v0": selection}


@warped
async def test_what_a_link_that_is_wide_enough_holds_is_of_no_interest() -> None:
    _, bob = enter(Call(), "ann", "bob")
    bob.peer.find_estimate(1e8)
    await asyncio.sleep(0.5)
    decisions = bob.peer.wanted_bps
    bob.peer.wanted_bps = 0
    bob.peer.find_estimate(1.1e8)
    await asyncio.sleep(SOON)
    assert bob.peer.wanted_bps == 0
    await asyncio.sleep(REPEAT_WIDE_S)
    assert bob.peer.wanted_bps == decisions  # now and then, for the rates


@warped
async def test_a_rate_that_rises_is_followed_though_a_wide_link_is_looked_at_less_often() -> None:
    ann, bob = enter(Call(), "ann", "bob")
    camera = ann.peer.up["camera"]
    camera.rungs = (Q, H, F._replace(bitrate=300_000))
    bob.peer.find_estimate(1e8)
    await asyncio.sleep(10)
    camera.rungs = (Q, H, F)
    await asyncio.sleep(REPEAT_WIDE_S + SOON)
    assert bob.peer.wanted_bps > 0.8 * 1.06 * 1_500_000


@warped
async def test_a_link_that_is_wide_no_longer_is_looked_at_as_others_are() -> None:
    ann, bob = enter(Call(), "ann", "bob")
    camera = ann.peer.up["camera"]
    camera.rungs = (Q, H, F._replace(bitrate=800_000))
    bob.peer.find_estimate(1e8)
    await asyncio.sleep(10)
    # It holds what was measured, and not what comes now.
    camera.rungs = (Q, H, F)
    bob.peer.find_estimate(1_200_000)
    await asyncio.sleep(REPEAT_S + SOON)
    assert bob.peer.selected == {"v0": (1, 0)}


@warped
async def test_what_is_pinned_and_who_speaks_goes_first() -> None:
    call = Call()
    ann, cem, bob = enter(call, "ann", "cem", "bob")
    bob.peer.find_estimate(1_000_000)
    await asyncio.sleep(2)
    show(bob, wishes=(Wish(cem.id, "camera", pinned=True),))
    await asyncio.sleep(5)
    assert bob.peer.selected == {"v0": (0, 0), "v1": (1, 0)}
    show(bob)
    for _ in range(100):
        ann.peer.up["microphone"].levels.append(20)
        await asyncio.sleep(0.05)
    assert bob.peer.selected == {"v0": (1, 0), "v1": (0, 0)}


@warped
async def test_layers_that_come_and_stop_are_followed() -> None:
    ann, bob = enter(Call(), "ann", "bob")
    ann.peer.change_ladder("camera", Q, H)
    await asyncio.sleep(SOON)
    assert bob.peer.selected == {"v0": (1, 0)}
    ann.peer.change_ladder("camera")
    await asyncio.sleep(SOON)
    assert bob.peer.selected == {"v0": HIGHEST}
    await asyncio.sleep(1)
    assert told(bob)["v0"].reason is Reason.SOURCE
    ann.peer.change_ladder("camera", Q, H, F)
    await asyncio.sleep(SOON)
    assert bob.peer.selected == {"v0": (2, 0)}


@warped
async def test_who_waits_for_a_keyframe_is_told_so_and_when_it_has_come() -> None:
    _, bob = enter(Call(), "ann", "bob")
    await asyncio.sleep(1)
    bob.connection.messages.clear()
    bob.peer.waiting_since = asyncio.get_running_loop().time()
    show(bob, SMALL)
    await asyncio.sleep(1)
    entry = told(bob)["v0"]
    assert entry.reason is Reason.KEYFRAME
    assert entry.detail.waiting_ms is not None
    assert 150 <= entry.detail.waiting_ms <= 1000
    bob.peer.waiting_since = None
    await asyncio.sleep(1)
    assert told(bob)["v0"].reason is Reason.TILE


@warped
async def test_a_page_that_comes_back_is_told_everything_again() -> None:
    _, bob = enter(Call(), "ann", "bob")
    await asyncio.sleep(1)
    assert "v0" in told(bob)
    bob.drop()
    bob.reconnect()
    await asyncio.sleep(1)
    assert "v0" in told(bob)
    await asyncio.sleep(5)
    assert told(bob) == {}


@warped
async def test_documented_clients_get_everything_and_are_told_nothing() -> None:
    call = Call()
    ann = enter(call, "ann")[0]
    old = call.enter("old", offer="microphone camera")
    await asyncio.sleep(1)
    old.peer.find_estimate(700_000)
    await asyncio.sleep(1)
    assert old.peer.selected == {"1": (1, 0)}
    await asyncio.sleep(10)
    assert old.connection.take(SlotQualities) == []
    assert wanted(old) == []
    # It counts as one who takes all, and so do clients that say nothing of their tiles.
    assert wanted(ann) == []


# What publishers are told


@warped
async def test_a_layer_that_nobody_takes_is_not_wanted_after_a_while_and_at_once_when_it_is() -> None:
    call = Call()
    ann, bob, cem = enter(call, "ann", "bob", "cem")
    for viewer in (bob, cem):
        show(viewer, SMALL, SMALL)
    await asyncio.sleep(LOWER_AFTER_S - 0.2)
    assert wanted(ann) == []
    await asyncio.sleep(0.5)
    assert wanted(ann) == [(WantedLayers("camera", ("q",), 0),)]
    ann.peer.change_ladder("camera", Q)
    await asyncio.sleep(1)
    show(cem, LARGE, SMALL)
    await asyncio.sleep(SOON)
    assert wanted(ann) == [(WantedLayers("camera", ALL, 2),)]
    # It is aimed at before it comes.
    assert cem.peer.selected["v0"] == (2, 0)
    await asyncio.sleep(1)
    assert told(cem)["v0"].reason is Reason.PUBLISHER
    ann.peer.change_ladder("camera", Q, H, F)
    await asyncio.sleep(1)
    assert told(cem)["v0"].reason is Reason.BEST
    show(cem, SMALL, SMALL)
    await asyncio.sleep(1)
    show(cem, LARGE, SMALL)
    await asyncio.sleep(10)
    assert wanted(ann) == []
    show(cem, HIDDEN)
    show(bob, HIDDEN)
    await asyncio.sleep(LOWER_AFTER_S + 0.5)
    assert wanted(ann) == [(WantedLayers("camera", (), -1),)]


@warped
async def test_what_does_not_come_though_it_was_asked_for_is_not_counted_on() -> None:
    ann, bob = enter(Call(), "ann", "bob")
    show(bob, SMALL)
    await asyncio.sleep(LOWER_AFTER_S + 1)
    ann.peer.change_ladder("camera", Q)
    show(bob, LARGE)
    await asyncio.sleep(3)
    assert bob.peer.selected == {"v0": (2, 0)}
    await asyncio.sleep(5)
    show(bob, Tile(1281, 720))
    await asyncio.sleep(2)
    assert bob.peer.selected == {"v0": (0, 0)}
    assert told(bob)["v0"].reason is Reason.PUBLISHER
    assert wanted(ann)[-1] == (WantedLayers("camera", ALL, 2),)
    ann.peer.change_ladder("camera", Q, H, F)
    await asyncio.sleep(SOON)
    assert bob.peer.selected == {"v0": (2, 0)}


@warped
async def test_who_is_alone_encodes_nothing_and_begins_with_the_first_who_comes() -> None:
    call = Call()
    (ann,) = enter(call, "ann")
    await asyncio.sleep(LOWER_AFTER_S + 0.5)
    assert wanted(ann) == [(WantedLayers("camera", (), -1),)]
    call.enter("old")
    await settle()
    await settle()
    assert wanted(ann) == [(WantedLayers("camera", ALL, 2),)]


@warped
async def test_a_publisher_that_comes_back_is_told_again() -> None:
    (ann,) = enter(Call(), "ann")
    await asyncio.sleep(LOWER_AFTER_S + 0.5)
    ann.connection.messages.clear()
    ann.drop()
    ann.reconnect()
    ann.participant.join(None, slot_mode=True)
    await settle()
    assert wanted(ann) == [(WantedLayers("camera", (), -1),)]


@warped
async def test_a_narrow_link_takes_no_more_from_its_publisher_than_it_holds() -> None:
    ann, bob = enter(Call(), "ann", "bob")
    bob.peer.find_estimate(400_000)
    await asyncio.sleep(LOWER_AFTER_S + 1)
    assert wanted(ann) == [(WantedLayers("camera", ("q",), 0),)]
    ann.peer.change_ladder("camera", Q)
    await asyncio.sleep(10)
    bob.peer.find_estimate(5_000_000)
    await asyncio.sleep(3)
    assert wanted(ann) == [(WantedLayers("camera", ALL, 2),)]


@warped
async def test_places_are_those_of_sizes_where_these_are_known() -> None:
    ann, bob = enter(Call(), "ann", "bob")
    camera = ann.peer.up["camera"]
    camera.ordered = tuple(FakeLayer(rid, place) for rid, place in (("q", 2), ("h", 1), ("f", 0)))
    show(bob, SMALL)
    await asyncio.sleep(LOWER_AFTER_S + 1)
    assert wanted(ann) == [(WantedLayers("camera", ("f",), 0),)]


@warped
async def test_the_lowest_layer_is_tried_and_its_rate_is_the_first_that_is_measured() -> None:
    ann, bob = enter(Call(), "ann", "bob")
    ann.peer.change_ladder("camera", Rung(0, 0, 640, 360, 0.0, 0))
    bob.peer.find_estimate(200_000)
    await asyncio.sleep(1)
    assert bob.peer.selected == {"v0": (0, 0)}
    ann.peer.change_ladder("camera", Rung(0, 0, 640, 360, 20.0, 200_000))
    await asyncio.sleep(2)
    assert bob.peer.selected == {"v0": None}
    assert bob.peer.wanted_bps == 200_000 * 1.06 + 48_000
