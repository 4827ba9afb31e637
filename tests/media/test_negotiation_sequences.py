"""Negotiation over many turns: a client as RFC 8829 (JSEP) has it, and the server, each with a will of its own."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.media.support import AUDIO_LEVEL, AV1, H264, MID, OPUS, VP8, VP9, described, local, section, track
from zvonim_sfu.media.codecs import associated, codec_key
from zvonim_sfu.media.negotiation import accept_answer, answer, changes_needed, make_offer
from zvonim_sfu.media.sdp import Codec, Description, Extension, Section, parse, write
from zvonim_sfu.media.session import Negotiated, Session

if TYPE_CHECKING:
    from zvonim_sfu.media.session import Track

CODECS = {"audio": (OPUS,), "video": (VP8, VP9, H264, AV1)}
URIS = (MID, AUDIO_LEVEL, "urn:one", "urn:two", "urn:three", "urn:four")
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
MAX_TRANSCEIVERS = 8


@dataclass
class Transceiver:
    """What the client thinks of one m-section."""

    kind: str
    mid: str
    direction: str
    stopped: bool = False

    @property
    def sends(self) -> bool:
        return self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        return self.direction in ("sendrecv", "recvonly")


class Client:
    """A browser's side. It keeps the numbers that were agreed on, unless it numbers afresh as aiortc does."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.transceivers: list[Transceiver] = []
        "Those with an m-section, in its place."
        self.added: list[Transceiver] = []
        "Those that have not been offered yet."
        self.names = ["VP8", "opus"]
        "Encodings that it knows."
        self.payload_types = {"opus": 111, "VP8": 96}
        self.ids: dict[str, int] = {}
        self._mids = 0

    def add_transceiver(self) -> None:
        self._mids += 1
        kind, direction = self.rng.choice(["audio", "video"]), self.rng.choice(DIRECTIONS)
        self.added.append(Transceiver(kind, str(self._mids), direction))

    def number_afresh(self) -> None:
        self.names = sorted({"opus", *self.rng.sample(["VP8", "VP9", "H264", "AV1"], self.rng.randint(1, 4))})
        numbers = self.rng.sample([35, 45, 63, *range(96, 104), 111], len(self.names))
        self.payload_types = dict(zip(self.names, numbers, strict=True))
        known = self.rng.sample(URIS, self.rng.randint(0, len(URIS)))
        self.ids = dict(zip(known, self.rng.sample(range(1, 19), len(known)), strict=True))

    def offer(self, free: list[int]) -> Description:
        """`free` are the m-sections that both sides know to be stopped: they are recycled."""
        for added in self.added:
            if free:
                self.transceivers[free.pop(0)] = added
            elif len(self.transceivers) < MAX_TRANSCEIVERS:
                self.transceivers.append(added)
        self.added.clear()
        return described(*(self._section(t) for t in self.transceivers))

    def _section(self, t: Transceiver) -> Section:
        known = [codec for codec in CODECS[t.kind] if codec.name in self.names]
        made = section(
            t.kind,
            t.mid,
            t.direction,
            codecs=tuple(replace(codec, payload_type=self.payload_types[codec.name]) for codec in known),
            extensions=tuple(Extension(id_, uri) for uri, id_ in self.ids.items()),
        )
        return replace(made, port=0) if t.stopped else made

    def answer(self, offer: Description) -> Description:
        sections = []
        for i, s in enumerate(offer.sections):
            if i == len(self.transceivers):
                self.transceivers.append(Transceiver(s.kind, s.mid, "recvonly"))
            t = self.transceivers[i]
            codecs = tuple(codec for codec in s.codecs if codec.name in self.names)
            if s.rejected or t.stopped or not codecs or self.rng.random() < 0.1:
                t.stopped = True
                sections.append(replace(s, port=0))
                continue
            send, receive = s.receives and t.sends, s.sends and t.receives
            direction = DIRECTIONS[(0 if receive else 1) if send else (2 if receive else 3)]
            extensions = tuple(e for e in s.extensions if e.uri in self.ids or self.rng.random() < 0.5)
            sections.append(section(s.kind, s.mid, direction, codecs=codecs, extensions=extensions, setup="active"))
        self.adopt(sections)
        return described(*sections)

    def adopt(self, sections: list[Section]) -> None:
        for s in sections:
            for codec in s.codecs:
                if codec.name != "rtx" and codec.payload_type not in self.payload_types.values():
                    self.payload_types.setdefault(codec.name, codec.payload_type)
            for extension in s.extensions:
                if extension.id not in self.ids.values():
                    self.ids.setdefault(extension.uri, extension.id)


class Negotiation:
    """The server, the room and what has to hold."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.client = Client(self.rng)
        self.local = local()
        self.session = Session()
        self.room: dict[str, Track] = {}
        self.published = 0
        self.offered_payload_types: dict[str, int] = {}
        self.offered_ids: dict[str, int] = {}
        self.ssrcs: dict[tuple[int, str], int] = {}

    def step(self) -> None:
        client = self.client
        match self.rng.choice(
            [
                "add",
                "direction",
                "stop",
                "afresh",
                *["publish"] * 3,
                "unpublish",
                *["client offers", "server offers"] * 3,
            ]
        ):
            case "add":
                client.add_transceiver()
            case "direction" if client.transceivers:
                self.rng.choice(client.transceivers).direction = self.rng.choice(DIRECTIONS)
            case "stop" if client.transceivers and self.rng.random() < 0.5:
                self.rng.choice(client.transceivers).stopped = True
            case "afresh" if self.rng.random() < 0.3:
                client.number_afresh()
            case "publish":
                self.publish()
            case "unpublish" if self.room:
                del self.room[self.rng.choice(list(self.room))]
            case "client offers" if client.added or any(not t.stopped for t in client.transceivers):
                self.client_offers()
            case "server offers" if changes_needed(self.session, list(self.room.values())):
                self.server_offers()
        self.check_agreed()

    def check_agreed(self) -> None:
        keys = [s.sending.key for s in self.session.sections if s.sending is not None]
        assert len(set(keys)) == len(keys)
        ssrcs = {(i, s.mid): s.ssrc for i, s in enumerate(self.session.sections) if s.ssrc and not s.stopped}
        assert len(set(ssrcs.values())) == len(ssrcs)
        for where, ssrc in self.ssrcs.items():
            assert ssrcs.get(where, ssrc) == ssrc
        self.ssrcs = ssrcs

    def publish(self) -> None:
        self.published += 1
        kind = self.rng.choice(["audio", "video"])
        codecs = self.rng.sample(CODECS[kind], self.rng.randint(1, len(CODECS[kind])))
        numbers = self.rng.sample(range(96, 104), len(codecs))
        codecs = [replace(codec, payload_type=n) for codec, n in zip(codecs, numbers, strict=True)]
        uris = self.rng.sample(URIS[1:], self.rng.randint(0, 3))
        made = track(f"user/{self.published}", kind, codecs, uris)
        self.room[made.key] = made

    def client_offers(self) -> None:
        client = self.client
        free = [i for i, t in enumerate(client.transceivers) if t.stopped and self.session.sections[i].stopped]
        offer = client.offer(free)
        live = [s for s in offer.sections if not s.rejected]
        self.offered_payload_types = {codec.name: codec.payload_type for s in live for codec in s.codecs}
        self.offered_ids = {extension.uri: extension.id for s in live for extension in s.extensions}
        before = self.session
        tracks = list(self.room.values())
        self.session, answered = answer(before, offer, local=self.local, tracks=tracks, max_up_tracks=99)
        self.check(before, answered)
        for t, theirs, mine in zip(client.transceivers, offer.sections, answered.sections, strict=True):
            assert (mine.kind, mine.mid, mine.rejected) == (theirs.kind, theirs.mid, theirs.rejected)
            t.stopped = mine.rejected
            assert mine.receives == theirs.sends
            assert mine.sends <= theirs.receives
        # No section is left empty that the client keeps ready for a track.
        carried = {s.sending.key for s in self.session.sections if s.sending is not None}
        for kind in ("audio", "video"):
            if any(key not in carried for key, wanted in self.room.items() if wanted.kind == kind):
                assert not any(is_free(s, kind) for s in self.session.sections)
        client.adopt(list(answered.sections))

    def server_offers(self) -> None:
        before, wanted = self.session, list(self.room.values())
        session, offer = make_offer(before, wanted, local=self.local)
        self.check(before, offer)
        assert {s.sending.key for s in session.sections if s.sending is not None} == set(self.room)
        for kind in ("audio", "video"):
            if any(s.kind == kind for s in session.sections[len(before.sections) :]):
                assert not any(is_free(s, kind) for s in session.sections)
        if self.rng.random() < 0.2:
            return  # the answer never comes
        answered = self.client.answer(offer)
        self.session = accept_answer(session, answered)
        assert not changes_needed(self.session, wanted)
        for agreed, theirs in zip(self.session.sections, answered.sections, strict=True):
            assert agreed.stopped == theirs.rejected
            assert agreed.client_sends == theirs.sends

    def check(self, before: Session, said: Description) -> None:
        """What holds for every description of the server."""
        assert len(said.sections) >= len(before.sections)
        for old, s in zip(before.sections, said.sections, strict=False):
            assert old.stopped or (old.kind, old.mid) == (s.kind, s.mid)
        assert len({s.mid for s in said.sections}) == len(said.sections)
        live = [s for s in said.sections if not s.rejected]
        assert said.bundle == tuple(s.mid for s in live)
        self.check_payload_types([codec for s in live for codec in s.codecs])
        self.check_ids([extension for s in live for extension in s.extensions])
        carried = [s.msid for s in live if s.msid is not None]
        assert len(set(carried)) == len(carried)
        read = parse(write(said))
        assert [s for s in read.sections if not s.rejected] == live
        assert read.bundle == said.bundle

    def check_payload_types(self, codecs: list[Codec]) -> None:
        meanings: dict[int, object] = {}
        for codec in codecs:
            key = codec_key(codec) or associated(codec)
            assert meanings.setdefault(codec.payload_type, key) == key is not None
            if codec.name == "rtx":
                continue
            assert self.offered_payload_types.get(codec.name, codec.payload_type) == codec.payload_type

    def check_ids(self, extensions: list[Extension]) -> None:
        ids = {extension.uri: extension.id for extension in extensions}
        assert {(e.uri, e.id) for e in extensions} == set(ids.items())
        assert len(set(ids.values())) == len(ids)
        for uri, id_ in ids.items():
            assert id_ == self.offered_ids.get(uri, id_)


def is_free(agreed: Negotiated, kind: str) -> bool:
    return agreed.kind == kind and not agreed.stopped and agreed.sending is None and agreed.client_receives


@pytest.mark.parametrize("seeds", [range(n, n + 50) for n in range(0, 200, 50)], ids=str)
def test_whatever_both_sides_do_they_understand_each_other(seeds: range) -> None:
    for seed in seeds:
        negotiation = Negotiation(seed)
        try:
            for _ in range(60):
                negotiation.step()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
