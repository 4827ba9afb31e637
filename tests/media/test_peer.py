"""Calls of aiortc clients: what one shows and says is what the others see and hear, decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.media.calls import Participant, open_call
from tests.support.aiortc_client import AiortcClient, is_colour
from tests.support.eventually import until

if TYPE_CHECKING:
    from tests.support.aiortc_client import Colour, Received

RED, GREEN, BLUE = (200, 30, 30), (30, 160, 30), (30, 30, 200)
Person = Participant[AiortcClient]


async def publish(person: Person) -> None:
    """Offer what the client has."""
    answer = person.peer.handle_offer(await person.client.offer(), {})
    await person.client.accept_answer(answer)


async def receive(person: Person, *others: Person) -> None:
    """Let a documented client receive what these publish, and negotiate it."""
    person.peer.set_tracks([track for other in others for track in other.peer.up_tracks])
    person.peer.handle_answer(await person.client.answer(await person.next_offer()))


def is_seen(received: Received | None, colour: Colour) -> bool:
    return received is not None and received.frames > 0 and is_colour(received.colour, colour)


def is_heard(received: Received | None, hertz: float) -> bool:
    return received is not None and abs(received.hertz - hertz) < 5


def sees(me: Person, name: str, colour: Colour) -> bool:
    return is_seen(me.client.heard_from(name, "camera"), colour)


def hears(me: Person, name: str, hertz: float) -> bool:
    return is_heard(me.client.heard_from(name, "microphone"), hertz)


@pytest.mark.asyncio
async def test_documented_clients_come_go_and_come_back() -> None:
    async with open_call() as call:
        ann = call.join_aiortc("ann", AiortcClient(RED, 440))
        bob = call.join_aiortc("bob", AiortcClient(BLUE, 880))
        for person in (ann, bob):
            await publish(person)
        await receive(ann, bob)
        await receive(bob, ann)
        await until(lambda: sees(ann, "bob", BLUE) and hears(ann, "bob", 880))
        await until(lambda: sees(bob, "ann", RED) and hears(bob, "ann", 440))

        # A camera that is switched to something else, and off and on again, is the two clients' own affair.
        ann.client.show(GREEN)
        await until(lambda: sees(bob, "ann", GREEN))
        ann.client.show(None)
        ann.client.show(RED)
        await until(lambda: sees(bob, "ann", RED))

        # One who only watches, and is late.
        cy = call.join_aiortc("cy", AiortcClient())
        await receive(cy, ann, bob)
        await until(lambda: sees(cy, "ann", RED) and sees(cy, "bob", BLUE))
        await until(lambda: hears(cy, "ann", 440) and hears(cy, "bob", 880))

        # Bob's page is loaded anew: he keeps his m-sections with the others, and his own have room for Ann's tracks.
        bob.reload(AiortcClient(GREEN, 660))
        await publish(bob)
        cy.peer.set_tracks([*ann.peer.up_tracks, *bob.peer.up_tracks])
        await until(lambda: sees(cy, "bob", GREEN) and hears(cy, "bob", 660) and sees(bob, "ann", RED))
        assert cy.offers.empty()

        # Ann closes her connection, and Dan gets her m-sections.
        await ann.client.close()
        await until(lambda: ann.published == [])
        dan = call.join_aiortc("dan", AiortcClient(BLUE, 550))
        await publish(dan)
        mids = set(cy.client.names())
        await receive(cy, bob, dan)
        assert set(cy.client.names()) == mids
        await until(lambda: sees(cy, "dan", BLUE) and hears(cy, "dan", 550) and sees(cy, "bob", GREEN))
        assert not cy.unsupported


@pytest.mark.asyncio
async def test_slots_show_whom_they_are_given_whatever_codec_it_sends() -> None:
    async with open_call() as call:
        ann = call.join_aiortc("ann", AiortcClient(RED, 440))
        bob = call.join_aiortc("bob", AiortcClient(BLUE, 880))
        bob.client.prefer_h264()
        cy = call.join_aiortc("cy", AiortcClient(GREEN, 660), slot_mode=True)
        cy.client.add_slots(2)
        for person in (ann, bob, cy):
            await publish(person)
        slots = {(slot.kind, slot.stream): slot.mid for slot in cy.peer.slots}
        assert sorted(slots) == [("audio", 0), ("audio", 1), ("video", 0), ("video", 1)]

        def assign(*people: Person) -> None:
            cy.peer.assign(
                {
                    slots[track.kind, stream]: track
                    for stream, person in enumerate(people)
                    for track in person.peer.up_tracks
                }
            )

        def shows(stream: int, colour: Colour, hertz: float) -> bool:
            received = cy.client.received
            return is_seen(received.get(slots["video", stream]), colour) and is_heard(
                received.get(slots["audio", stream]), hertz
            )

        assign(ann, bob)
        await until(lambda: shows(0, RED, 440) and shows(1, BLUE, 880))
        codecs = {track.codec.key.name for p in (ann, bob) for track in p.peer.up_tracks if track.codec is not None}
        assert codecs == {"opus", "VP8", "H264"}
        assign(bob, ann)
        await until(lambda: shows(0, BLUE, 880) and shows(1, RED, 440))
        assert cy.offers.empty()
        assert not cy.unsupported
