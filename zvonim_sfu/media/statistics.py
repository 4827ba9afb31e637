"""What an operator may know of one participant's media: values, made of the counters when somebody asks.

The names are those of `GET /api/statistics`; the strings under the fields explain them in its OpenAPI document.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import ConfigDict, with_config

if TYPE_CHECKING:
    from zvonim_sfu.media.down_track import DownTrack
    from zvonim_sfu.media.feedback import Feedback
    from zvonim_sfu.media.layer import Layer
    from zvonim_sfu.media.link import Link
    from zvonim_sfu.media.tracks import Tracks
    from zvonim_sfu.media.transport import Transport
    from zvonim_sfu.media.up_track import UpTrack

DESCRIBED: Final = ConfigDict(use_attribute_docstrings=True)


@with_config(DESCRIBED)
@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """What is known of the way to a client. Rates in bit/s of UDP payload."""

    estimate: int
    """what it holds"""
    bound: str
    """what the estimate is bounded by: delay, loss, remb, min or max"""
    delay_bitrate: int
    """what it holds by the growth of queues on it"""
    loss_bitrate: int | None
    """what it holds by its loss; null while that bounds nothing"""
    remb_bitrate: int | None
    """what the client asks for (REMB); null if it does not"""
    acknowledged_bitrate: int
    """what came through lately, as the client reports"""
    usage: str
    """of its queue: normal, overuse (grows) or underuse (drains)"""
    loss: float
    """part of the packets that did not come lately, 0 to 1"""
    round_trip_ms: float
    """smoothed, the client's delay of its reports included"""
    wanted_bitrate: int
    """what would be sent if it held that"""
    queued_bytes: int
    """that wait for their time"""
    probes: int
    """bursts that were sent to find out whether it holds more"""
    padding_bytes: int
    """that were in them"""


@with_config(DESCRIBED)
@dataclass(frozen=True, slots=True)
class TransportStatistics:
    """A participant's connection to the media port."""

    state: str
    """new, connecting, connected, disconnected, failed or closed"""
    address: str | None
    """address and port where the client is reached; null before its first authentic check"""
    srtp_profile: str | None
    """null until the handshake is done"""
    packets_received: int
    """authentic RTP packets; RTCP is not in it"""
    bytes_received: int
    """UDP payload of these"""
    packets_sent: int
    """RTP packets, repairs included"""
    bytes_sent: int
    """UDP payload of these"""
    bitrate_received: int
    """bit/s in the last second"""
    bitrate_sent: int
    """bit/s in the last second"""
    round_trip_ms: float | None
    """smoothed; null until the client has answered a report of the server (aiortc as publisher alone does not)"""
    link_bitrate: int | None
    """bit/s that the client says its link to it holds (REMB); null if it never did"""
    link: LinkStatistics | None
    """null while the client does not report: it has agreed to no transport-wide feedback, and sent no REMB"""
    drops: dict[str, int]
    """datagrams of or for this client that were dropped, by reason"""


@with_config(DESCRIBED)
@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """One encoding of a track."""

    rid: str
    """as the client names it; empty where there is only one"""
    ssrc: int
    live: bool
    """whether packets come; an encoding that its client has switched off brings none"""
    width: int
    """of its latest keyframe, in pixels; 0 where that is not known"""
    height: int
    frame_rate: float
    """per second, smoothed"""
    bitrate: int
    """bit/s of payload in the last second"""
    loss: float
    """part of the packets that were lost in the last second, 0 to 1"""
    receivers: int
    """down tracks that carry it, or wait for a keyframe of it"""


@with_config(DESCRIBED)
@dataclass(frozen=True, slots=True)
class UpTrackStatistics:
    """A track on its way from its publisher."""

    track_id: str
    source: str
    """camera, microphone, screen or screen-audio"""
    muted: bool
    codec: str | None
    """null before the first packet"""
    packets: int
    """that came, each once, repairs included"""
    octets: int
    """of their payload"""
    lost: int
    """packets that did not come by themselves"""
    loss: float
    """part of the packets that were lost so in the last second, 0 to 1"""
    requested: int
    """packets that the publisher was asked for again (NACK), each time that it was"""
    repaired: int
    """packets that came as retransmissions (RTX)"""
    duplicates: int
    """packets that were dropped because they had come before, or came too late"""
    unforwarded: int
    """packets that were dropped for another reason: of a former layer, or not as negotiated"""
    keyframe_requests: int
    """that were sent to the publisher"""
    jitter_ms: float
    """interarrival jitter (RFC 3550)"""
    bitrate: int
    """bit/s of payload in the last second"""
    receivers: int
    """down tracks that carry it"""
    paused: bool
    """whether it is not forwarded: a microphone while others speak, see limit_microphones_heard"""
    layers: list[LayerStatistics]
    """its encodings, the smallest picture first; one, unless the client sends simulcast"""


@with_config(DESCRIBED)
@dataclass(frozen=True, slots=True)
class DownTrackStatistics:
    """A track on its way to a subscriber: what an m-section of the session carries."""

    mid: str
    """of the m-section"""
    kind: str
    """audio or video"""
    user_id: str | None
    """whose track it carries now; null for none"""
    track_id: str | None
    """which of them"""
    spatial: int | None
    """which layer of it is sent, 0 the smallest picture; null while none is"""
    temporal: int | None
    """the same of its frame rate"""
    packets: int
    """that were sent in this m-section, repairs not included"""
    octets: int
    """of their payload"""
    nacked: int
    """packets that the subscriber asked for again (NACK)"""
    repaired: int
    """packets that were sent again"""
    lost: int | None
    """packets that the subscriber says it missed; null before its first report"""
    loss: float | None
    """part of the packets that were lost lately, 0 to 1, as the subscriber says"""
    jitter_ms: float | None
    """as the subscriber says"""
    bitrate: int
    """bit/s of payload in the last second"""


@with_config(DESCRIBED)
@dataclass(frozen=True, slots=True)
class MediaStatistics:
    """One participant's media."""

    transport: TransportStatistics
    up_tracks: list[UpTrackStatistics]
    down_tracks: list[DownTrackStatistics]


def media_statistics(transport: Transport, feedback: Feedback, tracks: Tracks) -> MediaStatistics:
    """Return what is known of a participant's media now."""
    return MediaStatistics(
        _transport_statistics(transport, feedback),
        [_up_track_statistics(track) for track in tracks.up.values()],
        [_down_track_statistics(mid, track) for mid, track in tracks.down.items()],
    )


def _transport_statistics(transport: Transport, feedback: Feedback) -> TransportStatistics:
    egress = transport.egress
    return TransportStatistics(
        state=transport.state.value,
        address=transport.address or None,
        srtp_profile=transport.profile or None,
        packets_received=transport.ingress.packets_received,
        bytes_received=transport.ingress.bytes_received,
        packets_sent=egress.packets_sent,
        bytes_sent=egress.bytes_sent,
        bitrate_received=transport.received_rate.bitrate,
        bitrate_sent=transport.sent_rate.bitrate,
        round_trip_ms=_milliseconds(feedback.round_trip.smoothed_s) if feedback.round_trip.is_measured else None,
        link_bitrate=feedback.link_bitrate,
        link=_link_statistics(transport.link),
        drops={reason.value: count for reason, count in (transport.drops + egress.drops).items()},
    )


def _link_statistics(link: Link) -> LinkStatistics | None:
    snapshot = link.snapshot()
    if snapshot is None:
        return None
    found = snapshot.estimator
    return LinkStatistics(
        estimate=round(found.estimate_bps),
        bound=found.bound,
        delay_bitrate=round(found.delay_bps),
        loss_bitrate=_rate(found.loss_bps),
        remb_bitrate=_rate(found.remb_bps),
        acknowledged_bitrate=round(found.acknowledged_bps),
        usage=found.usage.value,
        loss=round(found.loss, 3),
        round_trip_ms=_milliseconds(found.round_trip_s),
        wanted_bitrate=round(snapshot.wanted_bps),
        queued_bytes=snapshot.queued_bytes,
        probes=snapshot.probes,
        padding_bytes=snapshot.padding_bytes,
    )


def _rate(bps: float) -> int | None:
    return round(bps) if math.isfinite(bps) else None


def _up_track_statistics(track: UpTrack) -> UpTrackStatistics:
    counters = track.counters()
    layer = track.layer
    return UpTrackStatistics(
        track_id=track.id,
        source=track.source.value,
        muted=track.muted,
        codec=track.codec.key.name if track.codec is not None else None,
        packets=counters.packets,
        octets=counters.octets,
        lost=counters.lost,
        loss=max((round(layer.statistics.loss, 3) for layer in track.ordered), default=0.0),
        requested=counters.requested,
        repaired=counters.repaired,
        duplicates=counters.duplicates,
        unforwarded=track.unforwarded,
        keyframe_requests=counters.keyframe_requests,
        jitter_ms=_milliseconds(layer.statistics.jitter_s) if layer is not None else 0.0,
        bitrate=sum(layer.rate.bitrate for layer in track.ordered),
        receivers=track.receivers,
        paused=track.is_paused,
        layers=[_layer_statistics(layer) for layer in track.ordered],
    )


def _layer_statistics(layer: Layer) -> LayerStatistics:
    return LayerStatistics(
        rid=layer.rid,
        ssrc=layer.ssrc,
        live=layer.is_up,
        width=layer.width,
        height=layer.height,
        frame_rate=round(layer.frame_rate, 1),
        bitrate=layer.rate.bitrate,
        loss=round(layer.statistics.loss, 3),
        receivers=len(layer.outlets.receivers),
    )


def _down_track_statistics(mid: str, track: DownTrack) -> DownTrackStatistics:
    counters, carried = track.statistics, track.up_track
    report = counters.report
    return DownTrackStatistics(
        mid=mid,
        kind=track.kind,
        user_id=carried.participant_id if carried is not None else None,
        track_id=carried.id if carried is not None else None,
        spatial=track.current[0] if track.current is not None else None,
        temporal=track.current[1] if track.current is not None else None,
        packets=counters.packets,
        octets=counters.octets,
        nacked=counters.nacked,
        repaired=counters.repaired,
        lost=report.packets_lost if report is not None else None,
        loss=round(report.fraction_lost / 256, 3) if report is not None else None,
        jitter_ms=_milliseconds(report.jitter / track.clock_rate) if report is not None else None,
        bitrate=counters.rate.bitrate,
    )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
