"""Descriptions that nobody should send, given to a peer of a running node."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.media.calls import open_call, publish, watch
from tests.media.flows import KEYFRAME
from tests.media.raw_client import camera, microphone
from tests.media.support import AUDIO_LEVEL, MID, rtp
from tests.support.captures import offer, offer_names
from tests.support.eventually import until
from zvonim_sfu.media import peer, transport
from zvonim_sfu.media.sdp import Extension
from zvonim_sfu.media.session import NegotiationError
from zvonim_sfu.net.drops import DropReason

OFFERS = [offer(name).split("\r\n") for name in offer_names()]
CHARACTERS = "\0\t\r\n :;/=,-0159aZé\u2028\ud800"


def mutate(rng: random.Random, lines: list[str]) -> str:
    """Delete, double, move, mix and garble some lines."""
    lines = list(lines)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(lines))
        match rng.choice(["delete", "double", "move", "mix", "flip", "number"]):
            case "delete" if len(lines) > 1:
                del lines[at]
            case "double":
                lines.insert(rng.randrange(len(lines)), lines[at])
            case "move":
                lines.insert(rng.randrange(len(lines)), lines.pop(at))
            case "mix":
                lines[at] = rng.choice(rng.choice(OFFERS))
            case "flip" if lines[at]:
                where = rng.randrange(len(lines[at]))
                lines[at] = lines[at][:where] + rng.choice(CHARACTERS) + lines[at][where + 1 :]
            case "number":
                words = lines[at].split(" ")
                words[rng.randrange(len(words))] = rng.choice(["0", "15", "96", "111", "255", "65536", "-1", "9" * 30])
                lines[at] = " ".join(words)
    return "\r\n".join(lines)


@pytest.mark.asyncio
@pytest.mark.parametrize("slot_mode", [False, True])
async def test_a_peer_answers_or_refuses_whatever_is_described_to_it(
    monkeypatch: pytest.MonkeyPatch, *, slot_mode: bool
) -> None:
    monkeypatch.setattr(peer, "OFFER_DELAY_S", 0.0)
    monkeypatch.setattr(peer, "ANSWER_TIMEOUT_S", 0.002)
    # Its tracks get packets, though nobody has shaken hands.
    monkeypatch.setattr(transport.Transport, "is_up", True)
    rng = random.Random(11)
    async with open_call() as call:
        ann, bob, hostile = call.join("ann"), call.join("bob"), call.join("hostile", slot_mode=slot_mode)
        mine = (Extension(3, AUDIO_LEVEL), Extension(5, MID))
        await publish(ann, camera(extensions=mine), microphone(extensions=mine))
        await watch(bob, *ann.peer.up_tracks)
        hostile.peer.set_tracks(ann.peer.up_tracks)
        answered = 0
        for n in range(300):
            text = mutate(rng, rng.choice(OFFERS))
            try:
                if rng.random() < 0.2:
                    hostile.peer.handle_answer(text)
                else:
                    hostile.peer.handle_offer(text, {})
                    answered += 1
            except NegotiationError:
                pass
            hostile.peer.assign(dict(zip([slot.mid for slot in hostile.peer.slots], ann.peer.up_tracks, strict=False)))
            bob.peer.set_tracks([*ann.peer.up_tracks, *hostile.peer.up_tracks])
            ann.client.send_rtp(rtp(n, payload=KEYFRAME, extensions=[(3, b"level"), (5, b"0")]))
            await asyncio.sleep(0.001)
            while not bob.offers.empty():
                bob.peer.handle_answer(bob.client.answer(bob.offers.get_nowait()))
        assert answered > 50
        assert len({packet.payload for packet in bob.client.packets}) == 1
        await until(lambda: len(bob.client.rtp) > 250)
        assert not call.node.udp.drops[DropReason.HANDLER_ERROR]
