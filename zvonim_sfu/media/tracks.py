"""The up and down tracks of one session, kept as they were negotiated."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from zvonim_sfu.media.down_track import DownTrack
from zvonim_sfu.media.negotiation import READ_HERE, TRANSPORT_CC_EXTENSION
from zvonim_sfu.media.publisher_clock import PublisherClock
from zvonim_sfu.media.simulcast import encoding_names
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.up_track import UpTrack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zvonim_sfu.media.layer import Selection
    from zvonim_sfu.media.node import MediaNode
    from zvonim_sfu.media.session import Negotiated, Session
    from zvonim_sfu.media.transport import Transport


class TracksOwner(Protocol):
    """The peer whose tracks these are."""

    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None:
        """Ask the client for a keyframe of what it publishes."""

    def request_packets(self, ssrc: int, lost: Sequence[int]) -> None:
        """Ask the client for packets that are missing of what it publishes."""

    def wake(self, at: float) -> None:
        """Have up tracks look for what is missing at this time, or before."""

    def on_ladder_changed(self, up_track: UpTrack) -> None:
        """What can be had of a track that the client publishes has changed."""

    def on_unsupported(self, up_track: UpTrack) -> None:
        """The client negotiated no codec that can carry what this track sends now."""

    def on_down_track_ended(self, ssrc: int) -> None:
        """An m-section in which the server sent has ended."""


class Tracks:
    """Owner of a peer's tracks on one transport."""

    def __init__(self, node: MediaNode, participant_id: str, transport: Transport, owner: TracksOwner) -> None:
        self.clock = PublisherClock()
        self.up: dict[str, UpTrack] = {}
        "What the client publishes, by mid."
        self.down: dict[str, DownTrack] = {}
        "What it can receive in, by mid, whether it carries something now or not."
        self.down_by_ssrc: dict[int, DownTrack] = {}
        self.wants_remb = False
        "Whether the client takes REMB for what it publishes."
        self._node = node
        self._participant_id = participant_id
        self._transport = transport
        self._owner = owner
        transport.link.pad = self._pad
        node.track_sets.add(self)

    def apply(self, session: Session, sources: Mapping[str, Source]) -> tuple[list[UpTrack], list[UpTrack]]:
        """Make the tracks those of a newly agreed session; returns up tracks that came and that went."""
        live = {section.mid: section for section in session.sections if not section.stopped}
        gone = [self._end_up_track(mid) for mid in list(self.up) if mid not in live or not live[mid].client_sends]
        for mid in [mid for mid in self.down if mid not in live]:
            self._end_down_track(mid)
        came = []
        for mid, section in live.items():
            extensions = [e for e in section.extensions if e.uri not in READ_HERE]
            if section.client_sends:
                if mid not in self.up:
                    self.up[mid] = self._new_up_track(section, sources.get(mid))
                    came.append(self.up[mid])
                self.up[mid].configure(
                    section.codecs,
                    {e.uri: e.id for e in extensions},
                    encoding_names(section.encodings, section.client_ssrcs),
                )
            if section.sending is not None:
                down_track = self.down.get(mid) or self._new_down_track(section)
                down_track.cname = section.sending.cname
                down_track.configure(
                    section.codecs if section.client_receives else (),
                    {e.uri: e.id for e in extensions if e.direction not in ("sendonly", "inactive")},
                    rtx_ssrc=section.rtx_ssrc,
                    transport_wide=_reported_number(section),
                )
        self._transport.router.configure(
            by_mid=self.up,
            announced=[(self.up[mid], said) for mid in self.up for said in live[mid].client_ssrcs],
            extension_ids=session.extension_ids,
        )
        self._transport.link.negotiated(transport_cc=any(_reported_number(live[mid]) > 0 for mid in self.down))
        sending = [section for section in live.values() if section.client_sends]
        has_arrivals = any(e.uri == TRANSPORT_CC_EXTENSION for section in sending for e in section.extensions)
        self._transport.arrival_extension = session.extension_ids[TRANSPORT_CC_EXTENSION] if has_arrivals else 0
        self.wants_remb = any("goog-remb" in codec.feedback for section in sending for codec in section.codecs)
        return came, gone

    def attach(self, session: Session, wanted: Mapping[str, UpTrack]) -> None:
        """Let each m-section that was negotiated for a track carry it, if it is there (it has a key in `wanted`)."""
        now = time.monotonic()
        for section in session.sections:
            if section.stream < 0 and section.mid in self.down:
                key = section.sending.key if section.sending is not None else None
                self.down[section.mid].attach(wanted.get(key) if key else None, now)

    def assign(self, assignment: Mapping[str, UpTrack | None]) -> None:
        """Let slots (by mid) carry these up tracks."""
        now = time.monotonic()
        for mid, up_track in assignment.items():
            if mid in self.down:
                self.down[mid].attach(up_track, now)

    def _pad(self, size: int) -> None:
        """Send padding by the first down track that can."""
        for down_track in self.down.values():
            if down_track.pad(size):
                return

    def select(self, choices: Mapping[str, Selection | None]) -> None:
        """Send at most this in each m-section (by mid), None: nothing."""
        now = time.monotonic()
        for mid, selection in choices.items():
            if mid in self.down:
                self.down[mid].select(selection, now)

    def close(self) -> list[UpTrack]:
        """End all tracks; returns the up tracks that went."""
        gone = [self._end_up_track(mid) for mid in list(self.up)]
        for mid in list(self.down):
            self._end_down_track(mid)
        self._node.track_sets.discard(self)
        return gone

    def _end_up_track(self, mid: str) -> UpTrack:
        up_track = self.up.pop(mid)
        self._node.ended.up.add(up_track.counters())
        up_track.close()
        return up_track

    def _new_up_track(self, section: Negotiated, source: Source | None) -> UpTrack:
        others = self.up.values()
        if source is None or source.kind != section.kind:
            source = Source.default(section.kind, first=all(track.kind != section.kind for track in others))
        taken = {track.id for track in others}
        numbered = (f"{source.value}-{n}" for n in range(2, len(taken) + 3))
        return UpTrack(
            track_id=next(name for name in (source.value, *numbered) if name not in taken),
            participant_id=self._participant_id,
            source=source,
            clock=self.clock,
            publisher=self._owner,
            new_intake=self._node.udp.kernel.Intake,
            new_fan_out=lambda: self._node.udp.kernel.FanOut(self._node.udp.batch),
        )

    def _new_down_track(self, section: Negotiated) -> DownTrack:
        down_track = DownTrack(
            section.kind,
            self._node.udp.kernel.Sender(self._transport.egress, section.ssrc),
            batch=self._node.udp.batch,
            listener=self._owner,
        )
        self.down[section.mid] = self.down_by_ssrc[section.ssrc] = down_track
        return down_track

    def _end_down_track(self, mid: str) -> None:
        down_track = self.down.pop(mid)
        down_track.detach()
        self._node.ended.add_down_track(down_track.statistics)
        del self.down_by_ssrc[down_track.ssrc]
        self._owner.on_down_track_ended(down_track.ssrc)


def _reported_number(section: Negotiated) -> int:
    """The header extension of the transport-wide numbers on which the client reports in a section; 0 for none.

    Also where repairs of a picture would be the same packets once more: they have to stay the same, see Resending.
    """
    feedback = {value for codec in section.codecs for value in codec.feedback}
    if not section.client_receives or "transport-cc" not in feedback:
        return 0
    if section.kind == "video" and "nack" in feedback and not section.rtx_ssrc:
        return 0
    return next(
        (
            extension.id
            for extension in section.extensions
            if extension.uri == TRANSPORT_CC_EXTENSION and extension.direction not in ("sendonly", "inactive")
        ),
        0,
    )
