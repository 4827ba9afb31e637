"""What all transports of one server process share."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

from zvonim_sfu.media.ortc import Certificate
from zvonim_sfu.media.totals import Totals
from zvonim_sfu.media.traces import Traces
from zvonim_sfu.net.addresses import candidates
from zvonim_sfu.net.udp import UdpPort

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from zvonim_sfu.media.traces import Trace
    from zvonim_sfu.media.tracks import Tracks
    from zvonim_sfu.media.transport import Transport
    from zvonim_sfu.net.addresses import Announced, Candidate
    from zvonim_sfu.net.kernel import Kernel
    from zvonim_sfu.net.limiter import AddressLimiter


class MediaNode:
    """Owner of the UDP port, the DTLS certificate and the tasks of transports."""

    def __init__(self, udp: UdpPort, announce: Sequence[Announced], traces: Traces | None = None) -> None:
        self.udp = udp
        self._traces = traces
        self.certificate = Certificate()
        self.candidates: tuple[Candidate, ...] = candidates(udp.addresses, announce)
        self.ended = Totals()
        "What transports and tracks that have ended counted."
        self.transports: set[Transport] = set()
        "Those that have not been closed; each enters and leaves by itself."
        self.track_sets: set[Tracks] = set()
        "The same for the tracks of transports."
        self._lost_told = 0
        # Server time is the monotonic clock, moved once to wall-clock time: sender reports of all transports agree,
        # and a step of the system's clock does not reach them.
        self._wall_offset = time.time() - time.monotonic()
        self._ssrcs: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        hosts: Sequence[str],
        port: int,
        announce: Sequence[Announced] = (),
        *,
        handshakes: AddressLimiter | None = None,
        kernel: Kernel | None = None,
        trace_directory: Path | None = None,
    ) -> MediaNode:
        """Bind the UDP port on `hosts`, and announce `announce` instead of the bound addresses where given.

        `handshakes` limits how many DTLS handshakes the clients of one address may begin; None: any number. `kernel`
        sends for all transports; None: the best that there is. `trace_directory` is for traces of estimates; None: none
        are written.

        Raises OSError with a sentence for the operator when no address can be bound, or traces cannot be written.
        """
        traces = None if trace_directory is None else Traces(trace_directory)
        return cls(await UdpPort.open(hosts, port, handshakes, kernel), announce, traces)

    def open_trace(self, name: str) -> Trace | None:
        """Begin a trace of the transport of this name; None if none is wanted, or it cannot be written."""
        return None if self._traces is None else self._traces.open(name)

    def totals(self) -> Totals:
        """Return what all transports and tracks that the node ever had have counted so far."""
        totals = Totals()
        totals.add(self.ended)
        totals.drops.update(self.udp.drops)
        for transport in self.transports:
            totals.add_path(transport.ingress, transport.egress)
        for tracks in self.track_sets:
            for up_track in tracks.up.values():
                totals.up.add(up_track.counters())
            for down_track in tracks.down.values():
                totals.add_down_track(down_track.statistics)
        # What was missing may still come; a total of it does not go back all the same.
        self._lost_told = totals.up.lost = max(totals.up.lost, self._lost_told)
        return totals

    def wall_time(self, now: float) -> float:
        """Server time in seconds since 1970 at monotonic time `now`."""
        return now + self._wall_offset

    def new_ssrc(self) -> int:
        """An SSRC that no other transport of this node sends with."""
        while (ssrc := secrets.randbits(32)) in self._ssrcs or ssrc == 0:
            pass
        self._ssrcs.add(ssrc)
        return ssrc

    def release_ssrc(self, ssrc: int) -> None:
        """Make an SSRC free for others."""
        self._ssrcs.discard(ssrc)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a transport's task; the node keeps it until it ends, and cancels it when it closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Close the port. The peers are their participants' to close, before this."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # aiortc's data pumps end in the turn after their agent was closed.
        await asyncio.sleep(0)
        self.udp.close()
