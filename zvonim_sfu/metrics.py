"""`GET /metrics` for Prometheus. Everything is read from counters that are there anyway, when a scrape comes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from zvonim_sfu import __version__
from zvonim_sfu.loop_lag import LagTicker
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.totals import Failure
from zvonim_sfu.media.transport import TransportState
from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.signaling.keys import REGISTRY
from zvonim_sfu.signaling.operator import require_operator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from zvonim_sfu.media.node import MediaNode
    from zvonim_sfu.rooms.registry import Registry
    from zvonim_sfu.rooms.statistics import TotalStatistics

LAG_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

_KINDS: Final = ("audio", "video")

# Counters of TotalStatistics: metric, labels and their values, field. Those of one metric stand together.
_COUNTERS: Final[tuple[tuple[str, str, Mapping[str, str], str], ...]] = (
    ("zvonim_joins", "Participants that were made by REST.", {}, "joins"),
    ("zvonim_transports_connected", "Transports whose handshake was done.", {}, "connected"),
    ("zvonim_rtp_packets", "Authentic RTP packets, repairs included.", {"direction": "in"}, "packets_received"),
    ("zvonim_rtp_packets", "", {"direction": "out"}, "packets_sent"),
    ("zvonim_rtp_bytes", "UDP payload of RTP packets, repairs included.", {"direction": "in"}, "bytes_received"),
    ("zvonim_rtp_bytes", "", {"direction": "out"}, "bytes_sent"),
    ("zvonim_rtp_lost_packets", "Packets of publishers that did not come by themselves.", {}, "up_lost"),
    (
        "zvonim_nack_packets",
        "Packets that were asked for again, out: of publishers, in: by subscribers.",
        {"direction": "out"},
        "up_requested",
    ),
    ("zvonim_nack_packets", "", {"direction": "in"}, "down_nacked"),
    (
        "zvonim_repaired_packets",
        "Packets that were sent again, in: by publishers (RTX), out: to subscribers.",
        {"direction": "in"},
        "up_repaired",
    ),
    ("zvonim_repaired_packets", "", {"direction": "out"}, "down_repaired"),
    (
        "zvonim_duplicate_packets",
        "Packets of publishers that were dropped because they had come before, or came too late.",
        {},
        "up_duplicates",
    ),
    ("zvonim_keyframe_requests", "Requests that were sent to publishers.", {}, "keyframe_requests"),
)


class NodeCollector(Collector):
    """Reads a node's rooms and counters."""

    def __init__(self, registry: Registry, node: MediaNode) -> None:
        self._registry = registry
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now."""
        yield GaugeMetricFamily("zvonim_rooms", "Rooms, those included that are empty.", len(self._registry.rooms))
        participants = [p for room in self._registry.rooms.values() for p in room.participants.values()]
        online = sum(participant.is_online for participant in participants)
        yield _gauge(
            "zvonim_participants",
            "Participants, by whether their WebSocket is open.",
            "online",
            {"true": online, "false": len(participants) - online},
        )
        sources = Counter(track.source.value for participant in participants for track in participant.tracks)
        yield _gauge("zvonim_up_tracks", "Tracks that are published.", "source", _filled(sources, Source))
        kinds = Counter(
            down_track.kind
            for tracks in self._node.track_sets
            for down_track in tracks.down.values()
            if down_track.up_track is not None
        )
        yield _gauge("zvonim_down_tracks", "Tracks on their way to a subscriber.", "kind", _filled(kinds, _KINDS))
        states = Counter(transport.state.value for transport in self._node.transports)
        open_states = [state for state in TransportState if state is not TransportState.CLOSED]
        yield _gauge("zvonim_transports", "Transports by state.", "state", _filled(states, open_states))
        yield from _counters(self._registry.totals())
        info = GaugeMetricFamily("zvonim_info", "The server's version, as a label.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info


def add_metrics(app: web.Application, node_key: web.AppKey[MediaNode]) -> None:
    """Mount `GET /metrics`, with a registry of the application's own; the ticker runs while the application does."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    lag = Histogram(
        "zvonim_event_loop_lag_seconds",
        "How late a timer was that is due ten times a second.",
        buckets=LAG_BUCKETS_S,
        registry=registry,
    )

    async def metrics(request: web.Request) -> web.Response:
        require_operator(request)
        headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
        return web.Response(body=generate_latest(registry), headers=headers)

    async def collecting(app: web.Application) -> AsyncIterator[None]:
        registry.register(NodeCollector(app[REGISTRY], app[node_key]))
        ticker = LagTicker(lag.observe)
        yield
        ticker.stop()

    app.router.add_get("/metrics", metrics)
    app.cleanup_ctx.append(collecting)


def _counters(totals: TotalStatistics) -> Iterator[CounterMetricFamily]:
    families: dict[str, CounterMetricFamily] = {}
    for name, meaning, labels, field in _COUNTERS:
        if name not in families:
            families[name] = CounterMetricFamily(name, meaning, labels=list(labels))
        families[name].add_metric(list(labels.values()), getattr(totals, field))
    yield from families.values()
    failures = CounterMetricFamily(
        "zvonim_handshake_failures", "Transports that did not come up, by reason.", labels=["reason"]
    )
    for reason in Failure:
        failures.add_metric([reason.value], totals.handshake_failures.get(reason.value, 0))
    yield failures
    drops = CounterMetricFamily(
        "zvonim_dropped_datagrams", "Datagrams that were dropped, by reason.", labels=["reason"]
    )
    for drop in DropReason:
        drops.add_metric([drop.value], totals.drops.get(drop.value, 0))
    yield drops


def _gauge(name: str, meaning: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _filled(counted: Counter[str], known: Iterable[str]) -> dict[str, int]:
    """Return a number for each known word: what is 0 now has a line too."""
    return {str(word): counted[str(word)] for word in known}
