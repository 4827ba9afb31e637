"""DTLS-SRTP by aiortc's RTCDtlsTransport: the only module that knows aiortc's private side.

What is reached into, and guarded by tests/media/test_ortc.py: `_set_role`, `_srtp_profiles`, `_rx_srtp`, `_tx_srtp`,
`_task` and `_ssl` of a transport, `_create_ssl_context` of a certificate. SRTP never passes through aiortc: its parsers
lose header extensions and some malformed packets end its transport (they raise struct.error, which nothing catches).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, cast

from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_PROFILES,
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)
from OpenSSL import SSL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiortc import RTCIceTransport
    from aiortc.rtcdtlstransport import SRTPProtectionProfile
    from pylibsrtp import Session

    from zvonim_sfu.net.ice import IceAgent

_CLOSE_NOTIFY_BYTES = 1500

# The profile that the server prefers when it is the DTLS server, cheapest first: AES-128-GCM costs 6.3 us for a packet
# of 1100 bytes, AES128_CM_SHA1_80 8.7 us.
_PROFILES = sorted(SRTP_PROFILES, key=lambda profile: profile is not SRTP_AEAD_AES_128_GCM)


class DtlsError(Exception):
    """The handshake failed: the peer's certificate is not the announced one, or no common SRTP profile."""


class SrtpSessions(NamedTuple):
    """The keys of one association."""

    inbound: Session
    outbound: Session
    profile: str


class _CertificateWithContext(RTCCertificate):
    """Makes the context for handshakes once: certificate, key and ciphers are read and parsed there."""

    _context: SSL.Context | None = None

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
            # A context of one association has forgotten its session by the next; this one would keep thousands.
            self._context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        return self._context


class Certificate:
    """The node's certificate: made at start, the same for all transports."""

    def __init__(self) -> None:
        self._certificate = _CertificateWithContext.generateCertificate()
        found = next(f for f in self._certificate.getFingerprints() if f.algorithm == "sha-256")
        self.fingerprint = (found.algorithm, found.value)
        "Hash name and value, as a=fingerprint wants them."

    def transport_under(self, agent: IceAgent) -> RTCDtlsTransport:
        """An RTCDtlsTransport on top of an ICE agent, which has what the former uses of an RTCIceTransport."""
        return RTCDtlsTransport(cast("RTCIceTransport", agent), [self._certificate])


class Dtls:
    """One DTLS association from handshake to close-notify.

    Args:
        role: what the server is, `server` (passive) or `client` (active).
    """

    def __init__(self, agent: IceAgent, certificate: Certificate, role: str) -> None:
        self._ended = asyncio.Event()
        self._dtls = certificate.transport_under(agent)
        self._dtls._set_role(role)
        self._dtls._srtp_profiles = _PROFILES
        self._dtls.on("statechange", self._on_state_change)

    def _on_state_change(self) -> None:
        if self._dtls.state in ("closed", "failed"):
            self._ended.set()

    async def handshake(self, fingerprints: Sequence[tuple[str, str]]) -> SrtpSessions:
        """Shake hands with the peer whose certificate has these fingerprints.

        Waits until the peer begins; the caller sets a time limit. Raises DtlsError.
        """
        await self._dtls.start(
            RTCDtlsParameters([RTCDtlsFingerprint(algorithm, value) for algorithm, value in fingerprints])
        )
        if self._dtls.state != "connected" or self._dtls._task is None or self._dtls._ssl is None:
            raise DtlsError("The DTLS handshake failed.")
        self._dtls._task.add_done_callback(_retrieve)
        profile = self._dtls._ssl.get_selected_srtp_profile().decode()
        return SrtpSessions(self._dtls._rx_srtp, self._dtls._tx_srtp, profile)

    async def ended(self) -> None:
        """Wait until the peer has sent a close-notify or the agent was closed."""
        await self._ended.wait()

    def close(self) -> bytes:
        """Let go of the association; returns the datagram that tells the peer, empty if there is nothing to tell."""
        self._dtls.remove_all_listeners()  # they are of this object, which owns that one: a cycle
        ssl = self._dtls._ssl
        if ssl is None or self._dtls.state != "connected":
            return b""
        try:
            ssl.shutdown()
            return ssl.bio_read(_CLOSE_NOTIFY_BYTES)
        except SSL.Error:
            return b""


def _retrieve(task: asyncio.Future[None]) -> None:
    # aiortc logs what its data pump raises; asked for here, so that the loop does not report it once more.
    if not task.cancelled():
        task.exception()
