from __future__ import annotations

import asyncio

from tests.support.warp import run_warped
from zvonim_sfu.media.source import Source
from zvonim_sfu.rooms.events import (
    Answer,
    CloseCode,
    Error,
    Offer,
    RoomState,
    SlotChange,
    Slots,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
    UserJoined,
    UserLeft,
)
from zvonim_sfu.rooms.view import View, Wish

from .support import ICE_SERVERS, Call, Client, settle


def keys(client: Client) -> list[str]:
    """What a documented client was told to receive."""
    return [track.key for track in client.peer.tracks]


def test_join_is_answered_with_all_there_is_to_know_and_told_to_the_others() -> None:
    async def scenario() -> None:
        call = Call()
        ann = call.enter("Ann", offer="microphone camera")
        bob = call.enter("Bob")
        (state,) = bob.connection.take(RoomState)
        assert (state.room_id, state.user_id) == ("room", bob.id)
        assert state.ice_servers == ICE_SERVERS
        assert [(p.user_id, p.user_name, p.is_online) for p in state.participants] == [
            (ann.id, "Ann", True),
            (bob.id, "Bob", True),
        ]
        assert [(t.track_id, t.source, t.muted) for t in state.participants[0].tracks] == [
            ("microphone", Source.MICROPHONE, False),
            ("camera", Source.CAMERA, False),
        ]
        assert ann.connection.take(UserJoined) == [UserJoined(bob.id, "Bob")]

    run_warped(scenario())


def test_join_again_is_answered_again_but_not_told_again() -> None:
    async def scenario() -> None:
        call = Call()
        ann, bob = call.enter("Ann"), call.enter("Bob")
        ann.connection.take(UserJoined)
        bob.connection.messages.clear()
        bob.drop()
        bob.reconnect()
        bob.participant.join("Robert", slot_mode=False)
        (state,) = bob.connection.take(RoomState)
        assert state.participants[1].user_name == "Bob"
        assert ann.connection.messages == []
        assert len(call.node.made) == 2

    run_warped(scenario())


def test_the_first_join_may_change_the_name() -> None:
    async def scenario() -> None:
        call = Call()
        ann, bob = call.enter("Ann"), call.connect("Bob")
        bob.participant.join("Robert", slot_mode=False)
        assert ann.connection.take(UserJoined) == [UserJoined(bob.id, "Robert")]

    run_warped(scenario())


def test_an_offer_is_answered_and_its_tracks_reach_the_others() -> None:
    async def scenario() -> None:
        call = Call()
        ann, bob = call.enter("Ann"), call.enter("Bob")
        ann.connection.messages.clear()
        ann.participant.handle_offer("camera", {})
        await settle()
        assert ann.connection.messages == [Answer("sfu", ann.id, "answer to camera")]
        assert bob.connection.take(TrackPublished) == [TrackPublished(ann.id, "camera", Source.CAMERA, False)]
        assert keys(bob) == [f"{ann.id}/camera"]
        assert keys(ann) == []

        ann.participant.handle_offer("microphone", {})
        await settle()
        assert bob.connection.take(TrackUnpublished) == [TrackUnpublished(ann.id, "camera")]
        assert keys(bob) == [f"{ann.id}/microphone"]

    run_warped(scenario())


def test_tracks_come_in_the_order_of_people_and_publication() -> None:
    async def scenario() -> None:
        call = Call()
        ann, bob, cem = call.enter("Ann"), call.enter("Bob"), call.enter("Cem")
        bob.participant.handle_offer("screen", {})
        ann.participant.handle_offer("microphone camera", {})
        await settle()
        assert keys(cem) == [f"{ann.id}/microphone", f"{ann.id}/camera", f"{bob.id}/screen"]

    run_warped(scenario())


def test_many_joins_in_one_turn_are_one_update_for_each() -> None:
    async def scenario() -> None:
        call = Call()
        clients = [call.enter(f"user {n}", offer="microphone camera") for n in range(50)]
        await settle()
        assert {client.peer.updates for client in clients} == {1}
        assert {len(client.peer.tracks) for client in clients} == {98}

    run_warped(scenario())


def test_who_has_no_free_slot_is_not_bothered_with_what_comes() -> None:
    async def scenario() -> None:
        call = Call()
        full = call.enter("Ann", slot_mode=True, offer="pairs=1")
        free = call.enter("Bob", slot_mode=True, offer="pairs=2")
        call.enter("Cem", offer="microphone camera")
        await settle()
        updates = full.peer.updates, free.peer.updates
        call.enter("Dan", offer="microphone camera")
        await settle()
        assert (full.peer.updates, free.peer.updates) == (updates[0], updates[1] + 1)

    run_warped(scenario())


def test_who_has_asked_for_a_track_gets_it_when_it_comes_and_nobody_else_is_looked_at() -> None:
    async def scenario() -> None:
        call = Call()
        call.enter("Ann", offer="microphone camera")
        dan = call.enter("Dan")
        full, asking = (call.enter(name, slot_mode=True, offer="pairs=1") for name in ("Bob", "Cem"))
        assert asking.participant.set_view(View(wishes=(Wish(dan.id, "camera", pinned=False),)))
        assert not dan.participant.set_view(View())
        await settle()
        updates = full.peer.updates
        dan.participant.handle_offer("camera", {})
        await settle()
        shown = asking.peer.assigned["v0"]
        assert shown is not None
        assert shown.participant_id == dan.id
        assert full.peer.updates == updates
        # `join` forgets it.
        asking.participant.join(None, slot_mode=True)
        dan.participant.handle_offer("", {})
        await settle()
        dan.participant.handle_offer("camera", {})
        await settle()
        shown = asking.peer.assigned["v0"]
        assert shown is not None
        assert shown.participant_id != dan.id

    run_warped(scenario())


def test_who_comes_without_tracks_has_nobody_else_looked_at() -> None:
    async def scenario() -> None:
        call = Call()
        ann = call.enter("Ann", offer="microphone")
        await settle()
        updates = ann.peer.updates
        call.enter("Bob", slot_mode=True, offer="pairs=1")
        await settle()
        assert ann.peer.updates == updates

    run_warped(scenario())


def test_muting_is_told_once_to_the_others_and_to_newcomers() -> None:
    async def scenario() -> None:
        call = Call()
        ann, bob = call.enter("Ann", offer="microphone"), call.enter("Bob")
        ann.connection.messages.clear()
        assert ann.participant.set_muted("microphone", muted=True)
        assert ann.participant.set_muted("microphone", muted=True)
        assert bob.connection.take(TrackMuted) == [TrackMuted(ann.id, "microphone", True)]
        assert ann.connection.messages == []
        (state,) = call.enter("Cem").connection.take(RoomState)
        assert state.participants[0].tracks[0].muted

    run_warped(scenario())


def test_only_own_tracks_can_be_muted() -> None:
    async def scenario() -> None:
        call = Call()
        call.enter("Ann", offer="microphone")
        bob = call.enter("Bob")
        assert not bob.participant.set_muted("microphone", muted=True)

    run_warped(scenario())


def test_who_leaves_is_closed_and_taken_from_the_others() -> None:
    async def scenario() -> None:
        call = Call()
        ann, bob = call.enter("Ann", offer="camera"), call.enter("Bob")
        await settle()
        bob.connection.messages.clear()
        ann.participant.leave()
        assert ann.connection.closed_with is CloseCode.LEFT
        assert ann.peer.is_closed
        # Without a word about each track.
        assert bob.connection.messages == [UserLeft(ann.id)]
        await settle()
        assert keys(bob) == []

    run_warped(scenario())


def test_a_lost_websocket_is_no_goodbye_for_the_time_of_grace() -> None:
    async def scenario() -> None:
        call = Call()
        ann, bob = call.enter("Ann", offer="camera"), call.enter("Bob")
        await settle()
        bob.connection.messages.clear()
        ann.drop()
        assert not ann.participant.is_online
        await asyncio.sleep(19)
        ann.reconnect()
        assert ann.participant.is_online
        assert ann.peer.resumed == 1
        await asyncio.sleep(100)
        assert bob.connection.messages == []
        ann.drop()
        await asyncio.sleep(21)
        assert bob.connection.messages == [UserLeft(ann.id)]
        assert ann.peer.is_closed
        assert call.registry.find("room", ann.id) is None

    run_warped(scenario())


def test_who_never_opens_a_websocket_is_removed() -> None:
    async def scenario() -> None:
        call = Call()
        bob = call.enter("Bob")
        _, ghost = call.registry.join("room", "Ghost")
        assert not ghost.is_online
        await asyncio.sleep(59)
        assert call.registry.find("room", ghost.user_id) is ghost
        await asyncio.sleep(2)
        assert call.registry.find("room", ghost.user_id) is None
        assert bob.connection.take(UserLeft) == [UserLeft(ghost.user_id)]

    run_warped(scenario())


def test_a_newer_websocket_replaces_the_older() -> None:
    async def scenario() -> None:
        call = Call()
        ann = call.enter("Ann")
        older = ann.connection
        ann.reconnect()
        assert older.closed_with is CloseCode.REPLACED
        ann.participant.detach(older)  # as its session does when it has closed
        assert ann.participant.is_online
        await asyncio.sleep(100)
        assert call.registry.find("room", ann.id) is ann.participant

    run_warped(scenario())


def test_slots_are_told_in_full_at_first_and_then_by_their_changes() -> None:
    async def scenario() -> None:
        call = Call()
        ann = call.enter("Ann", offer="microphone camera")
        bob = call.enter("Bob", slot_mode=True, offer="pairs=2")
        await settle()
        (slots,) = bob.connection.take(Slots)
        assert slots.changes == (
            SlotChange("a0", ann.id, "microphone", Source.MICROPHONE, False),
            SlotChange("a1", None, None, None, False),
            SlotChange("v0", ann.id, "camera", Source.CAMERA, False),
            SlotChange("v1", None, None, None, False),
        )
        cem = call.enter("Cem", offer="camera")
        await settle()
        (slots,) = bob.connection.take(Slots)
        assert slots.changes == (SlotChange("v1", cem.id, "camera", Source.CAMERA, False),)
        assert {mid: track and track.key for mid, track in bob.peer.assigned.items()} == {
            "a0": f"{ann.id}/microphone",
            "a1": None,
            "v0": f"{ann.id}/camera",
            "v1": f"{cem.id}/camera",
        }
        ann.participant.leave()
        await settle()
        assert {change.mid: change.user_id for s in bob.connection.take(Slots) for change in s.changes} == {
            "a0": None,
            "v0": None,
        }

    run_warped(scenario())


def test_nothing_new_for_the_slots_is_no_message() -> None:
    async def scenario() -> None:
        call = Call()
        bob = call.enter("Bob", slot_mode=True, offer="pairs=1")
        await settle()
        bob.connection.messages.clear()
        call.enter("Cem")
        await settle()
        assert bob.connection.take(Slots) == []

    run_warped(scenario())


def test_slots_are_told_in_full_after_every_answer_join_and_new_websocket() -> None:
    async def scenario() -> None:
        call = Call()
        call.enter("Ann", offer="camera")
        bob = call.enter("Bob", slot_mode=True, offer="pairs=1")

        async def told() -> list[int]:
            await settle()
            return [len(slots.changes) for slots in bob.connection.take(Slots)]

        assert await told() == [2]
        bob.participant.handle_offer("pairs=1 camera", {})
        assert await told() == [2]
        bob.participant.join(None, slot_mode=True)
        assert await told() == [2]
        bob.drop()
        bob.reconnect()
        assert await told() == [2]

    run_warped(scenario())


def test_a_slot_that_is_no_longer_negotiated_gives_up_its_track() -> None:
    async def scenario() -> None:
        call = Call()
        ann = call.enter("Ann", offer="camera screen")
        bob = call.enter("Bob", slot_mode=True, offer="pairs=2")
        await settle()
        bob.participant.handle_offer("pairs=1", {})
        await settle()
        held = bob.peer.assigned
        assert held["v0"] is ann.peer.up["camera"]
        assert "v1" not in held

    run_warped(scenario())


def test_another_delivery_mode_is_another_peer() -> None:
    async def scenario() -> None:
        call = Call()
        bob = call.enter("Bob", offer="camera")
        ann = call.enter("Ann")
        bob.participant.join(None, slot_mode=True)
        assert [peer.is_closed for peer in call.node.made] == [True, False, False]
        assert ann.connection.take(TrackUnpublished) == [TrackUnpublished(bob.id, "camera")]
        bob.participant.handle_offer("camera pairs=1", {})
        await settle()
        assert bob.peer.assigned == {"a0": None, "v0": None}

    run_warped(scenario())


def test_join_gives_up_a_peer_whose_media_has_failed() -> None:
    async def scenario() -> None:
        call = Call()
        bob = call.enter("Bob")
        failed = bob.peer
        failed.connection_state = "failed"
        bob.participant.join(None, slot_mode=False)
        assert failed.is_closed
        assert bob.peer is not failed

    run_warped(scenario())


def test_the_servers_offer_and_what_it_cannot_send_reach_the_client() -> None:
    async def scenario() -> None:
        call = Call()
        ann, bob = call.enter("Ann", offer="camera"), call.enter("Bob")
        bob.connection.messages.clear()
        bob.peer.offer("an offer")
        assert bob.connection.messages == [Offer("sfu", bob.id, "an offer")]
        bob.peer.find_unsupported(ann.peer.up["camera"])
        (error,) = bob.connection.take(Error)
        assert (error.code, error.request) == ("codec-unsupported", None)
        assert (error.user_id, error.track_id) == (ann.id, "camera")
        assert "the camera of Ann" in error.message
        bob.drop()
        bob.peer.offer("nobody hears it, and nothing happens")

    run_warped(scenario())


def test_a_defect_in_one_peer_costs_only_its_participant_the_media() -> None:
    async def scenario() -> None:
        call = Call()
        ann, bob, cem = call.enter("Ann"), call.enter("Bob"), call.enter("Cem")
        await settle()
        broken = bob.peer
        broken.fails = True
        ann.participant.handle_offer("camera", {})
        await settle()
        assert keys(cem) == [f"{ann.id}/camera"]
        assert broken.is_closed
        assert [error.code for error in bob.connection.take(Error)] == ["internal"]
        bob.participant.join(None, slot_mode=False)
        await settle()
        assert keys(bob) == [f"{ann.id}/camera"]

    run_warped(scenario())
