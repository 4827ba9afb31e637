"""An aiortc receiver that asks for what it misses until it comes, by a timer as browsers do.

By itself aiortc asks once, and again only when it misses another packet: at a few packets a second what was lost
twice is then past any sender's memory, and the picture stands until its jitter buffer of 512 packets is full.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from aiortc import RTCRtpReceiver
    from aiortc.rtcrtpreceiver import NackGenerator

INTERVAL_S: Final = 0.1
MAX_TIMES: Final = 10
"""As libwebrtc's kMaxNackRetries: what a publisher sent last, before it left, may never come."""


class Asker:
    """Repeats the NACKs of one video receiver while something is missing."""

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self._missing = cast("NackGenerator", vars(receiver)["_RTCRtpReceiver__nack_generator"]).missing
        self._ask = receiver._send_rtcp_nack
        self._task: asyncio.Task[None] | None = None
        vars(receiver)["_send_rtcp_nack"] = self._ask_until_it_comes

    async def _ask_until_it_comes(self, media_ssrc: int, lost: list[int]) -> None:
        await self._ask(media_ssrc, lost)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._repeat(media_ssrc))

    async def _repeat(self, media_ssrc: int) -> None:
        times: Counter[int] = Counter()
        await asyncio.sleep(INTERVAL_S)
        while lost := sorted(number for number in self._missing if times[number] < MAX_TIMES):
            times.update(lost)
            await self._ask(media_ssrc, lost)
            await asyncio.sleep(INTERVAL_S)

    async def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
