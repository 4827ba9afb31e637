"""Figures of a call through a bad network: what browsers count themselves, read twice and compared."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.browser import client
from tests.browser.senses import HERE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.browser.senses import Tab

SCRIPTS: Final = client.SCRIPTS + (HERE / "measure.js").read_text()
"""To be loaded before the client."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Counters:
    """All that one page has counted up to a moment."""

    at: float
    """Seconds, by the page's clock."""
    sent: list[Row]
    """outbound-rtp, with `limit`: the maximum bitrate that was configured, and `wanted`: whether it is to be sent."""
    received: list[Row]
    """inbound-rtp."""
    available: float | None
    """What the page thinks that its link holds, in bit/s."""

    def is_received(self) -> bool:
        """Whether pictures are decoded, and the sound, if there is any, is there too."""
        return any(row["kind"] == "video" and row["framesDecoded"] > 10 for row in self.received)

    def sending(self, kind: str) -> Row:
        """What is sent of this kind; raises AssertionError unless it is one stream."""
        rows = [row for row in self.sent if row["kind"] == kind]
        assert len(rows) == 1, f"{len(rows)} streams of {kind} are sent: {rows}"
        return rows[0]

    def total(self, kind: str) -> Row:
        """What all streams of this kind have sent together (the sizes of a picture), and what the wanted ones may."""
        rows = [row for row in self.sent if row["kind"] == kind]
        wanted = [row for row in rows if row["wanted"]]
        return {
            "bytesSent": sum(row["bytesSent"] for row in rows),
            "targetBitrate": sum(row.get("targetBitrate", 0) for row in wanted),
            "limit": sum(row["limit"] for row in wanted),
        }

    def receiving(self, kind: str) -> Row:
        """What is received of this kind; raises AssertionError unless it is one stream."""
        rows = [row for row in self.received if row["kind"] == kind]
        assert len(rows) == 1, f"{len(rows)} streams of {kind} are received: {rows}"
        return rows[0]


async def counters(tab: Tab) -> Counters:
    """Read a page's counters."""
    return Counters(**await tab.evaluate("() => measure.counters()"))


@dataclass(frozen=True, slots=True)
class Figures:
    """How well one page received another during some time."""

    seconds: float
    sent_fps: float
    decoded_fps: float
    frozen: float
    """Share of the time in which the picture stood still (freezes as getStats defines them)."""
    keyframe_requests_per_s: float
    concealed: float
    """Share of the sound that had to be made up, silence left out."""
    retransmitted: int
    """Packets that came by retransmission."""
    lost: int
    """Packets that never came."""

    @property
    def decoded(self) -> float:
        """Share of the sent frames that was decoded."""
        return self.decoded_fps / self.sent_fps


async def figures(sender: Tab, receiver: Tab, seconds: float) -> Figures:
    """Watch for a while how `receiver` receives `sender`."""
    before = await asyncio.gather(counters(sender), counters(receiver))
    await asyncio.sleep(seconds)
    after = await asyncio.gather(counters(sender), counters(receiver))
    seconds = after[1].at - before[1].at
    sent = _difference(before[0].sending("video"), after[0].sending("video"))
    video = _difference(before[1].receiving("video"), after[1].receiving("video"))
    audio = _difference(before[1].receiving("audio"), after[1].receiving("audio"))
    return Figures(
        seconds=seconds,
        sent_fps=sent["framesSent"] / (after[0].at - before[0].at),
        decoded_fps=video["framesDecoded"] / seconds,
        frozen=video["totalFreezesDuration"] / seconds,
        keyframe_requests_per_s=(video["pliCount"] + video["firCount"]) / seconds,
        concealed=(audio["concealedSamples"] - audio["silentConcealedSamples"]) / max(1, audio["totalSamplesReceived"]),
        retransmitted=int(video.get("retransmittedPacketsReceived", 0)),
        lost=int(video["packetsLost"]),
    )


def _difference(before: Row, after: Row) -> Mapping[str, float]:
    assert before["ssrc"] == after["ssrc"], "the stream was replaced"
    return {key: value - before.get(key, 0) for key, value in after.items() if isinstance(value, int | float)}


def lip_sync_ms(now: Counters) -> float | None:
    """By how many milliseconds sound is played later than the picture that was captured with it.

    None before the first sender reports, without which a browser does not know.
    """
    audio, video = (now.receiving(kind).get("estimatedPlayoutTimestamp") for kind in ("audio", "video"))
    return None if audio is None or video is None else float(video - audio)
