"""The server's half of one participant's peer connection: its transport, its negotiated session and its tracks."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.media import negotiation, sdp
from zvonim_sfu.media.feedback import Feedback
from zvonim_sfu.media.session import Local, NegotiationError, Session, Track
from zvonim_sfu.media.statistics import MediaStatistics, media_statistics
from zvonim_sfu.media.tracks import Tracks
from zvonim_sfu.media.transport import Transport, TransportState
from zvonim_sfu.net.ice import new_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from zvonim_sfu.media.down_track import DownTrack
    from zvonim_sfu.media.layer import Selection
    from zvonim_sfu.media.node import MediaNode
    from zvonim_sfu.media.peer_listener import PeerListener
    from zvonim_sfu.media.source import Source
    from zvonim_sfu.media.up_track import UpTrack

# A client that publishes offers right after `join`: it goes first. Chromium 156 can stay in ICE gathering for ever
# when an offer of its own is rolled back within some 10 ms (3 of 36; none from 20 ms on).
FIRST_OFFER_DELAY_S: Final = 0.1
# What comes in a burst (people join, two tracks each) becomes one offer; nobody notices 50 ms of a join.
OFFER_DELAY_S: Final = 0.05
# A client that has not answered by now never will; its own offers must not be refused for ever.
ANSWER_TIMEOUT_S: Final = 10.0


class Slot(NamedTuple):
    """An m-section that the client declared for whatever the server puts there."""

    mid: str
    kind: str
    stream: int
    "Audio k and video k are one pair: browsers play them in sync."


class Peer:
    """Answers and makes offers, and keeps up and down tracks as negotiated.

    Its owner tells it what the client is to receive by `set_tracks` (documented clients: an m-section for each track,
    by the server's offers) or by `assign` (clients that declared slots), and closes it.
    """

    def __init__(
        self,
        node: MediaNode,
        participant_id: str,
        *,
        listener: PeerListener,
        slot_mode: bool,
        max_up_tracks: int,
        log: FilteringBoundLogger,
    ) -> None:
        self._node = node
        self._participant_id = participant_id
        self._listener = listener
        self._slot_mode = slot_mode
        self._max_up_tracks = max_up_tracks
        self._log = log
        self._session_id = str(secrets.randbits(62))
        self._rtcp_ssrc = node.new_ssrc()
        self._loop = asyncio.get_running_loop()
        self._not_before = self._loop.time() + FIRST_OFFER_DELAY_S
        self._wanted: dict[str, UpTrack] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._ssrcs: set[int] = set()
        "Those that m-sections send with, or will when an offer is accepted."
        self._closed = False
        self.wanted_bps = 0.0
        "What the owner would have sent if the link held it, in bit/s; the link is probed for it."
        self._begin(Transport(node, self, log=log))

    def _begin(self, transport: Transport) -> None:
        """Start from nothing: at first, and when the client comes back with another peer connection."""
        self._transport = transport
        self._session = Session()
        self.slots: tuple[Slot, ...] = ()
        "Those that the client declared; none before its offer, and for documented clients."
        self._offered: Session | None = None
        "What takes effect with the client's answer."
        self._offer_sdp = ""
        self._awaits_answer = False
        self._begin_tracks()
        self._assigned: dict[str, UpTrack] = {}
        self._selected: dict[str, Selection | None] = {}

    def _begin_tracks(self) -> None:
        self._tracks = Tracks(self._node, self._participant_id, self._transport, self)
        self._feedback = Feedback(self._rtcp_ssrc, self._node, self._transport, self._tracks)

    @property
    def up_tracks(self) -> tuple[UpTrack, ...]:
        """What the client publishes."""
        return tuple(self._tracks.up.values())

    @property
    def down_tracks(self) -> Mapping[str, DownTrack]:
        """What the client may receive in, by mid, whether it carries something now or not."""
        return self._tracks.down

    @property
    def connection_state(self) -> str:
        """The state of the transport."""
        return self._transport.state.value

    @property
    def estimate_bps(self) -> float | None:
        """What the client's link holds, in bit/s; None while nobody tells: neither transport-cc nor REMB."""
        return self._transport.link.estimate_bps

    def statistics(self) -> MediaStatistics:
        """Return what is known of the client's media now."""
        return media_statistics(self._transport, self._feedback, self._tracks)

    def handle_offer(self, text: str, sources: Mapping[str, Source]) -> str:
        """Accept the client's offer and return the answer; `sources` names what is captured, by mid.

        Raises NegotiationError, and changes nothing then.
        """
        offer = _parse(text)
        fresh = self._is_other_client(offer) or self._transport.is_dead
        if self._awaits_answer and not fresh:
            raise NegotiationError(
                "glare", "This offer crossed one of the server's: answer that one, then offer again if still needed."
            )
        renew = fresh or self._is_ice_restart(offer)
        credentials = new_credentials() if renew else self._transport.credentials
        session, answer = negotiation.answer(
            Session() if fresh else self._session,
            offer,
            local=self._local(credentials),
            tracks=self._offerable(),
            slot_mode=self._slot_mode,
            max_up_tracks=self._max_up_tracks,
        )
        if fresh:
            self._restart(Transport(self._node, self, log=self._log, credentials=credentials))
        elif renew:
            self._transport.restart_ice(credentials)
        self._offered = None
        self._apply(session, sources)
        self._schedule_offer()
        return sdp.write(answer)

    def handle_answer(self, text: str) -> None:
        """Take the client's answer to the server's offer. Raises NegotiationError."""
        answer = _parse(text)
        if self._offered is None:
            raise NegotiationError("unexpected-answer", "There is no offer of the server that waits for an answer.")
        offered, other_client = self._offered, self._is_other_client(answer)
        session = negotiation.accept_answer(offered, answer, max_up_tracks=self._max_up_tracks)
        self._offered, self._awaits_answer = None, False
        self._cancel_timer()
        if other_client:
            # A page that was loaded anew has answered an offer for its predecessor: same session, new association.
            credentials = self._transport.credentials
            self._tell_removed(self._tracks.close())
            self._transport.close()
            self._transport = Transport(self._node, self, log=self._log, credentials=credentials)
            self._begin_tracks()
        self._apply(session, {})
        self._schedule_offer()

    def set_tracks(self, tracks: Sequence[UpTrack]) -> None:
        """Let the client receive exactly these. Offers follow by themselves, several changes in one."""
        self._wanted = {track.key: track for track in tracks}
        self._deliver()
        self._schedule_offer()

    def assign(self, assignment: Mapping[str, UpTrack | None]) -> None:
        """Let slots (by mid) carry these up tracks from now on; slots that are not named keep theirs."""
        for mid, track in assignment.items():
            if track is None:
                self._assigned.pop(mid, None)
            else:
                self._assigned[mid] = track
        if self._transport.is_up:
            self._tracks.assign(assignment)

    def select(self, choices: Mapping[str, Selection | None]) -> None:
        """Send at most this of what m-sections (by mid) carry, None: nothing. Those that are not named keep theirs."""
        self._selected.update(choices)
        self._tracks.select(choices)

    def resume(self) -> None:
        """The client has a new signalling connection: what it may have missed is sent again."""
        if self._awaits_answer:
            self._send_offer()
        else:
            self._schedule_offer()

    def close(self) -> None:
        """End everything and tell the client (BYE, close-notify). A second time does nothing."""
        if not self._closed:
            self._closed = True
            self._cancel_timer()
            gone = self._tracks.close()
            self._transport.close()
            self._tell_removed(gone)
            self._session, self._offered = Session(), None
            self._wanted, self._assigned = {}, {}  # who has left does not keep what others published
            self._release_unused_ssrcs()
            self._node.release_ssrc(self._rtcp_ssrc)

    def _local(self, credentials: tuple[str, str]) -> Local:
        return Local(
            ice_ufrag=credentials[0],
            ice_pwd=credentials[1],
            fingerprint=self._node.certificate.fingerprint,
            candidates=tuple(candidate.to_sdp() for candidate in self._node.candidates),
            session_id=self._session_id,
            new_ssrc=self._new_ssrc,
        )

    def _new_ssrc(self) -> int:
        ssrc = self._node.new_ssrc()
        self._ssrcs.add(ssrc)
        return ssrc

    def _release_unused_ssrcs(self) -> None:
        sessions = [self._session, self._offered or Session()]
        used = {
            ssrc for session in sessions for section in session.sections for ssrc in (section.ssrc, section.rtx_ssrc)
        }
        for ssrc in self._ssrcs - used:
            self._node.release_ssrc(ssrc)
        self._ssrcs &= used

    def _offerable(self) -> list[Track]:
        return [
            Track(
                key=track.key,
                kind=track.kind,
                stream_id=track.participant_id,
                track_id=track.id,
                cname=track.participant_id,
                codecs=track.codecs,
                extensions=tuple(track.extension_ids),
            )
            for track in self._wanted.values()
        ]

    def _is_other_client(self, description: sdp.Description) -> bool:
        """Whether this comes from another peer connection than before: a page that was loaded anew."""
        remote = self._session.remote
        fingerprints = next((s.fingerprints for s in description.sections if not s.rejected), ())
        return remote is not None and bool(fingerprints) and fingerprints != remote.fingerprints

    def _is_ice_restart(self, offer: sdp.Description) -> bool:
        """Whether the client wants new credentials on both sides (RFC 8839 section 4.4.1.1.1)."""
        remote = self._session.remote
        ufrag = next((s.ice_ufrag for s in offer.sections if not s.rejected), "")
        return remote is not None and bool(ufrag) and ufrag != remote.ice_ufrag

    def _apply(self, session: Session, sources: Mapping[str, Source]) -> None:
        """Make transport and tracks those of a newly agreed session."""
        self._session = session
        self.slots = tuple(
            Slot(section.mid, section.kind, section.stream)
            for section in session.sections
            if section.stream >= 0 and section.client_receives
        )
        if session.remote is not None:
            self._transport.connect(session.remote)
        came, gone = self._tracks.apply(session, sources)
        self._release_unused_ssrcs()
        self._deliver()
        self._tell_removed(gone)
        for up_track in came:
            self._listener.on_up_track_added(up_track)

    def _deliver(self) -> None:
        """Let m-sections carry their tracks as soon as there are keys: a keyframe that came before would be lost."""
        if self._transport.is_up:
            self._tracks.select(self._selected)
            self._tracks.attach(self._session, self._wanted)
            self._tracks.assign(self._assigned)

    def _tell_removed(self, up_tracks: Sequence[UpTrack]) -> None:
        for up_track in up_tracks:
            self._listener.on_up_track_removed(up_track)

    def _restart(self, transport: Transport) -> None:
        """The client has come back with another peer connection: what belonged to the old one ends."""
        self._log.info("peer replaced")
        self._cancel_timer()
        old, tracks = self._transport, self._tracks
        gone = tracks.close()
        old.close()
        self._begin(transport)
        self._tell_removed(gone)

    def _schedule_offer(self) -> None:
        if self._closed or self._slot_mode or self._timer is not None:
            return
        if negotiation.changes_needed(self._session, self._offerable()):
            at = max(self._loop.time() + OFFER_DELAY_S, self._not_before)
            self._timer = self._loop.call_at(at, self._offer)

    def _offer(self) -> None:
        self._timer = None
        tracks = self._offerable()
        if not negotiation.changes_needed(self._session, tracks):
            return
        local = self._local(self._transport.credentials)
        self._offered, offer = negotiation.make_offer(self._session, tracks, local=local)
        self._release_unused_ssrcs()
        self._offer_sdp = sdp.write(offer)
        self._send_offer()

    def _send_offer(self) -> None:
        self._cancel_timer()
        self._awaits_answer = True
        self._timer = self._loop.call_later(ANSWER_TIMEOUT_S, self._stop_waiting)
        self._listener.on_offer(self._offer_sdp)

    def _stop_waiting(self) -> None:
        """Let the client make offers again; its answer still counts, should it come before anything else does."""
        self._log.warning("offer not answered", seconds=ANSWER_TIMEOUT_S)
        self._timer = None
        self._awaits_answer = False

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What tracks and the transport tell.

    def request_keyframe(self, ssrc: int, *, accepts_pli: bool) -> None:
        """Ask the client for a keyframe (called by an up track)."""
        self._feedback.request_keyframe(ssrc, accepts_pli=accepts_pli)

    def request_packets(self, ssrc: int, lost: Sequence[int]) -> None:
        """Ask the client for what is missing (called by an up track)."""
        self._feedback.request_packets(ssrc, lost)

    def wake(self, at: float) -> None:
        """Have up tracks look for what is missing (called by an up track)."""
        self._feedback.wake_tracks(at)
        self._transport.wake(at)

    def on_ladder_changed(self, up_track: UpTrack) -> None:
        """What can be had of it has changed (called by an up track)."""
        self._listener.on_ladder_changed(up_track)

    def on_down_track_ended(self, ssrc: int) -> None:
        """Tell the client (called by the tracks)."""
        self._feedback.goodbye(ssrc)

    def on_unsupported(self, up_track: UpTrack) -> None:
        """The client cannot receive this track (called by a down track)."""
        self._listener.on_track_unsupported(up_track)

    def on_estimate(self, now: float) -> None:
        """Pass on that the client's link holds more or less (called by the transport's link)."""
        self._listener.on_estimate(now)

    def on_rtcp(self, data: bytes, now: float) -> None:
        """Take RTCP of the client (called by the transport)."""
        self._feedback.on_rtcp(data, now)

    def on_timer(self, now: float) -> float:
        """Send the RTCP that is due (called by the transport)."""
        return self._feedback.on_timer(now)

    def on_transport_state(self, transport: Transport, state: TransportState) -> None:
        """Follow the transport; one that was replaced has no say (called by the transport)."""
        if transport is not self._transport or self._closed:
            return
        if state is TransportState.CLOSED:
            # The client closed its peer connection; it may come back with another one.
            self._restart(Transport(self._node, self, log=self._log))
            self._release_unused_ssrcs()
        elif state is TransportState.CONNECTED:
            self._deliver()
        self._listener.on_connection_state(state.value)


def _parse(text: str) -> sdp.Description:
    try:
        return sdp.parse(text)
    except sdp.SdpError as error:
        raise NegotiationError("invalid-sdp", str(error)) from error
