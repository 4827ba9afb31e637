"""The UDP port that all transports share: one socket per local address, one port number.

A datagram finds its agent by the username fragment (checks) or by its remote address (all else), and an address
is known only from an authenticated check. Nothing is ever sent to an address without one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from zvonim_sfu.net.drops import DropReason
from zvonim_sfu.net.ice import StunError, parse_check
from zvonim_sfu.net.kernel import Kernel, load_kernel
from zvonim_sfu.net.loop import MediaLoop
from zvonim_sfu.net.path import Path, send
from zvonim_sfu.net.sockets import open_sockets

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from zvonim_sfu.net.ice import IceAgent
    from zvonim_sfu.net.limiter import AddressLimiter
    from zvonim_sfu.net.path import SockAddr
    from zvonim_sfu.net.receiving import Ingress, Receiver

# A client has few addresses at a time; one that moves for hours has many, of which the latest count.
MAX_ADDRESSES_PER_AGENT: Final = 16

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class UdpPort:
    """Receives for all agents that were added, and sends what their handlers append to `batch`.

    The batch is flushed after each wake-up's datagrams; who appends at another time (a timer) flushes himself.
    """

    def __init__(self, sockets: Sequence[socket.socket], handshakes: AddressLimiter | None, kernel: Kernel) -> None:
        """Take over bound, non-blocking sockets; `open` makes them."""
        self._handshakes = handshakes
        self.kernel = kernel
        self.addresses: tuple[tuple[str, int], ...] = tuple(sock.getsockname()[:2] for sock in sockets)
        self.port: int = self.addresses[0][1]
        self.batch = kernel.Batch()
        self.drops: Counter[DropReason] = Counter()
        self._agents: dict[str, IceAgent] = {}
        # Least recently checked first.
        self._paths: dict[IceAgent, dict[Path, None]] = {}
        self._receivers: dict[socket.socket, Receiver] = {sock: kernel.Receiver(sock) for sock in sockets}
        self._logged_faults: set[tuple[type[Exception], str, int]] = set()
        self._loop = asyncio.get_running_loop()
        for sock, receiver in self._receivers.items():
            if isinstance(self._loop, MediaLoop):
                self._loop.add_media_reader(sock, partial(self._on_readable, sock, receiver))
            else:
                self._loop.add_reader(sock, self._on_readable, sock, receiver)

    @classmethod
    async def open(
        cls,
        hosts: Sequence[str],
        port: int,
        handshakes: AddressLimiter | None = None,
        kernel: Kernel | None = None,
    ) -> UdpPort:
        """Bind `port` (0: any that is free) on each address in `hosts`.

        "0.0.0.0", "::" and "" all mean every address of this host, of both IP versions.

        `handshakes` limits how many DTLS handshakes the clients of one address may begin; None: any number. `kernel`
        sends for all transports; None: the best that there is.

        Raises OSError, with a sentence for the operator, if no address can be bound.
        """
        udp_port = cls(open_sockets(hosts, port), handshakes, kernel or load_kernel())
        log.info(
            "udp port open",
            port=udp_port.port,
            addresses=[address for address, _ in udp_port.addresses],
            kernel=udp_port.kernel.name,
        )
        return udp_port

    def add(self, agent: IceAgent) -> None:
        """Deliver to this agent from now on. Raises ValueError if its username fragment is taken."""
        if agent.local_ufrag in self._agents:
            raise ValueError("an agent with this username fragment has been added already")
        agent.drops = self.drops
        agent.ingress = self.kernel.Ingress(agent)
        self._agents[agent.local_ufrag] = agent
        self._paths[agent] = {}

    def remove(self, agent: IceAgent) -> None:
        """Deliver nothing to this agent any more and forget its addresses. A second time does nothing."""
        for path in self._paths.pop(agent, ()):
            self._receivers[path.socket].forget(path.address)
        if self._agents.get(agent.local_ufrag) is agent:
            del self._agents[agent.local_ufrag]

    def replace(self, old: IceAgent, new: IceAgent) -> None:
        """Put `new`, which has the credentials of `old`, in its place.

        Addresses are learned anew: what is still under way for the old one must not reach the new one.
        """
        self.remove(old)
        self.add(new)

    def restart(self, agent: IceAgent, credentials: tuple[str, str]) -> None:
        """Let an added agent answer to new credentials; its addresses stay, so that media goes on."""
        if self._agents.get(agent.local_ufrag) is agent:
            del self._agents[agent.local_ufrag]
            agent.restart(credentials)
            self._agents[agent.local_ufrag] = agent

    def close(self) -> None:
        """Close the sockets. The agents are their owners' to close."""
        for sock in self._receivers:
            if sock.fileno() >= 0:
                if isinstance(self._loop, MediaLoop):
                    self._loop.remove_media_reader(sock)
                else:
                    self._loop.remove_reader(sock)
                sock.close()

    def _on_readable(self, sock: socket.socket, receiver: Receiver) -> bool:
        """Deal with what waits in a socket; returns whether anybody but the kernel was called."""
        now = time.monotonic()
        has_called = False
        for ingress, address, arrived in receiver.read(now):
            has_called = True
            try:
                if not isinstance(arrived, (bytes, DropReason)):
                    assert ingress is not None  # who else could have sent what was decrypted?
                    ingress.agent.listener.on_rtp(arrived, now)  # as nearly always: without a further call
                    continue
                drop = self._deliver(sock, ingress, address, arrived, now)
            except Exception as error:  # noqa: BLE001 - one participant's fault must not stop the others
                drop = DropReason.HANDLER_ERROR
                self._log_once(error)
            if drop is not None:
                self.drops[drop] += 1
        return self.batch.flush() or has_called

    def _deliver(
        self,
        sock: socket.socket,
        ingress: Ingress | None,
        address: SockAddr | None,
        arrived: bytes | DropReason,
        now: float,
    ) -> DropReason | None:
        if isinstance(arrived, bytes):
            assert address is not None  # every datagram has one
            if ingress is None:
                return self._handle_stun(Path(sock, address), arrived, now)
            if arrived[0] >= 128:
                ingress.agent.listener.on_srtcp(arrived, now)
                return None
            return self._handle_dtls(ingress.agent, address, arrived, now)
        if ingress is None:
            return arrived
        ingress.agent.listener.drop(arrived)
        return None

    def _handle_dtls(self, agent: IceAgent, address: SockAddr, data: bytes, now: float) -> DropReason | None:
        if not agent.shakes_hands:
            # Some milliseconds of work; what is dropped here is sent again by the client, and so comes later.
            if self._handshakes is not None and self._handshakes.take(address[0], now=now) > 0:
                return DropReason.HANDSHAKE_LIMITED
            agent.shakes_hands = True
        agent.feed_dtls(data)
        return None

    def _handle_stun(self, path: Path, data: bytes, now: float) -> DropReason | None:
        try:
            check = parse_check(data)
        except StunError:
            return DropReason.STUN_MALFORMED
        if check is None:
            return DropReason.STUN_NOT_A_CHECK
        agent = self._agents.get(check.local_ufrag)
        if agent is None:
            return DropReason.STUN_UNKNOWN_UFRAG
        response = agent.handle_check(check, path, now)
        if response is None:
            return DropReason.STUN_UNAUTHENTICATED
        self._learn(path, agent)
        return send(path, response)

    def _learn(self, path: Path, agent: IceAgent) -> None:
        """Deliver what comes from this address to this agent, whosever it was before."""
        paths = self._paths.get(agent)
        if paths is None:
            return  # its owner removed it in answer to the check
        previous = self._receivers[path.socket].learn(path.address, agent.ingress)
        if previous is not None:
            del self._paths[previous.agent][path]
        paths[path] = None
        if len(paths) > MAX_ADDRESSES_PER_AGENT:
            oldest = next(known for known in paths if known != agent.selected)
            del paths[oldest]
            self._receivers[oldest.socket].forget(oldest.address)

    def _log_once(self, error: Exception) -> None:
        """Log a fault with its traceback the first time that it comes from this line of code."""
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        code, line = (traceback.tb_frame.f_code.co_filename, traceback.tb_lineno) if traceback else ("", 0)
        if (type(error), code, line) not in self._logged_faults:
            self._logged_faults.add((type(error), code, line))
            log.error("a datagram's handler failed", exc_info=error)
