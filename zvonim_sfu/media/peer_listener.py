"""What a peer tells its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from zvonim_sfu.media.up_track import UpTrack


class PeerListener(Protocol):
    """The participant that owns a peer."""

    def on_up_track_added(self, track: UpTrack) -> None:
        """The client publishes a track."""

    def on_up_track_removed(self, track: UpTrack) -> None:
        """The client publishes this track no more."""

    def on_ladder_changed(self, track: UpTrack) -> None:
        """A layer of a track that the client publishes has come, has stopped or has another size."""

    def on_offer(self, sdp: str) -> None:
        """The server's own offer has to reach the client."""

    def on_track_unsupported(self, track: UpTrack) -> None:
        """The client negotiated no codec that can carry what this track sends now."""

    def on_connection_state(self, state: str) -> None:
        """One of `new`, `connecting`, `connected`, `disconnected`, `failed`, `closed`."""

    def on_estimate(self, now: float) -> None:
        """`Peer.estimate_bps` has changed by more than 3 %; told ten times a second at most."""
