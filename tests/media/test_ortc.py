"""What zvonim_sfu.media.ortc rests on without being promised it, and what it makes of it.

A test that fails here after an update of aiortc means: read the new version, then change that module.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pylibsrtp
import pytest
from aiortc import RTCCertificate, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    SRTP_PROFILES,
    RTCDtlsFingerprint,
)
from OpenSSL import SSL

from tests.media.support import rtp
from zvonim_sfu.media import ortc
from zvonim_sfu.media.ortc import Certificate, Dtls, DtlsError, SrtpSessions
from zvonim_sfu.rtp.rtcp import ReceiverReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiortc.rtcdtlstransport import SRTPProtectionProfile


class End:
    """One end of a way for DTLS, with what aiortc uses of an RTCIceTransport."""

    def __init__(self, role: str, inbound: asyncio.Queue[bytes | None], outbound: asyncio.Queue[bytes | None]) -> None:
        self.role = role
        self.inbound = inbound
        self.outbound = outbound

    async def _recv(self) -> bytes:
        data = await self.inbound.get()
        if data is None:
            raise ConnectionError("the transport is closed")
        return data

    async def _send(self, data: bytes) -> None:
        self.outbound.put_nowait(data)


class Association:
    """The server's Dtls, and aiortc's own transport as the client."""

    def __init__(
        self,
        role: str = "server",
        profiles: list[SRTPProtectionProfile] | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        to_server: asyncio.Queue[bytes | None] = asyncio.Queue()
        to_client: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.end = End("controlled", to_server, to_client)
        self.certificate = certificate or Certificate()
        self.server = Dtls(cast("Any", self.end), self.certificate, role)
        self.client_end = End("controlling", to_client, to_server)
        self.client = RTCDtlsTransport(cast("Any", self.client_end), [RTCCertificate.generateCertificate()])
        self.client._set_role("client" if role == "server" else "server")
        if profiles is not None:
            self.client._srtp_profiles = profiles

    @property
    def fingerprints(self) -> list[tuple[str, str]]:
        return [(f.algorithm, f.value) for f in self.client.getLocalParameters().fingerprints]

    async def handshake(self, fingerprints: list[tuple[str, str]] | None = None) -> SrtpSessions:
        ours = RTCDtlsParameters([RTCDtlsFingerprint(*self.certificate.fingerprint)])
        theirs = asyncio.create_task(self.client.start(ours))
        try:
            return await self.server.handshake(fingerprints or self.fingerprints)
        finally:
            await asyncio.wait([theirs])

    def close(self) -> None:
        """Close both ways below, as the peers' agents do."""
        self.end.inbound.put_nowait(None)
        self.client_end.inbound.put_nowait(None)


@asynccontextmanager
async def associated(**options: Any) -> AsyncIterator[tuple[Association, SrtpSessions]]:
    association = Association(**options)
    async with asyncio.timeout(5):
        try:
            yield association, await association.handshake()
        finally:
            association.close()
            tasks = [t for t in (association.client._task, association.server._dtls._task) if t is not None]
            if tasks:
                await asyncio.wait(tasks)


def test_aiortc_still_has_what_is_reached_into() -> None:
    transport = RTCDtlsTransport(cast("Any", End("controlled", asyncio.Queue(), asyncio.Queue())),
                                 [RTCCertificate.generateCertificate()])  # fmt: skip
    assert transport._srtp_profiles is SRTP_PROFILES
    assert [transport._rx_srtp, transport._tx_srtp, transport._task, transport._ssl] == [None] * 4
    assert list(inspect.signature(transport._set_role).parameters) == ["role"]
    assert list(inspect.signature(RTCCertificate._create_ssl_context).parameters) == ["self", "srtp_profiles"]
    assert {"new", "connecting", "connected", "closed", "failed"} == {
        state.name.lower() for state in type(transport._state)
    }


def test_nothing_more_is_reached_into_than_is_guarded_here() -> None:
    used = set(re.findall(r"_dtls\.(_\w+)", inspect.getsource(ortc)))
    assert used == {"_set_role", "_srtp_profiles", "_rx_srtp", "_tx_srtp", "_task", "_ssl"}


def test_all_profiles_are_there() -> None:
    assert set(SRTP_PROFILES) == {SRTP_AEAD_AES_128_GCM, SRTP_AEAD_AES_256_GCM, SRTP_AES128_CM_SHA1_80}


@pytest.mark.asyncio
async def test_after_a_handshake_the_private_side_holds_what_it_is_taken_for() -> None:
    async with associated() as (association, sessions):
        dtls = association.server._dtls
        assert dtls.state == "connected"
        assert isinstance(dtls._ssl, SSL.Connection)
        assert isinstance(dtls._task, asyncio.Task)
        assert not dtls._task.done()
        assert (sessions.inbound, sessions.outbound) == (dtls._rx_srtp, dtls._tx_srtp)
        assert isinstance(sessions.inbound, pylibsrtp.Session)
        assert isinstance(sessions.outbound, pylibsrtp.Session)


@pytest.mark.asyncio
@pytest.mark.parametrize("role", ["server", "client"])
async def test_the_keys_work_in_their_directions(role: str) -> None:
    packet, report = rtp(1, payload=b"payload"), ReceiverReport(1).pack()
    async with associated(role=role) as (association, sessions):
        client = association.client
        assert sessions.inbound.unprotect(client._tx_srtp.protect(packet)) == packet
        assert client._rx_srtp.unprotect(sessions.outbound.protect(packet)) == packet
        assert sessions.inbound.unprotect_rtcp(client._tx_srtp.protect_rtcp(report)) == report
        with pytest.raises(pylibsrtp.Error):
            sessions.inbound.unprotect(sessions.outbound.protect(rtp(2)))


@pytest.mark.asyncio
async def test_the_cheapest_profile_is_chosen_that_the_client_has() -> None:
    async with associated() as (_, sessions):
        assert sessions.profile == "SRTP_AEAD_AES_128_GCM"
    async with associated(profiles=[SRTP_AES128_CM_SHA1_80, SRTP_AEAD_AES_128_GCM]) as (_, sessions):
        assert sessions.profile == "SRTP_AEAD_AES_128_GCM"
    async with associated(profiles=[SRTP_AES128_CM_SHA1_80]) as (_, sessions):
        assert sessions.profile == "SRTP_AES128_CM_SHA1_80"


@pytest.mark.asyncio
async def test_another_certificate_than_announced_is_refused() -> None:
    association = Association()
    async with asyncio.timeout(5):
        with pytest.raises(DtlsError):
            await association.handshake([("sha-256", ":".join(["00"] * 32))])
    association.close()
    await asyncio.wait([cast("asyncio.Task[None]", association.client._task)])


@pytest.mark.asyncio
async def test_every_fingerprint_that_is_known_has_to_match() -> None:
    association = Association()
    wrong = [*association.fingerprints, ("sha-256", ":".join(["00"] * 32))]
    async with asyncio.timeout(5):
        with pytest.raises(DtlsError):
            await association.handshake(wrong)
    association.close()
    await asyncio.wait([cast("asyncio.Task[None]", association.client._task)])


@pytest.mark.asyncio
async def test_a_hash_that_is_not_known_does_not_disturb() -> None:
    association = Association()
    async with asyncio.timeout(5):
        await association.handshake([*association.fingerprints, ("sha-1", "00")])
    association.close()
    await association.server.ended()
    await asyncio.wait([cast("asyncio.Task[None]", association.client._task)])


@pytest.mark.asyncio
async def test_a_handshake_over_a_way_that_closes_fails() -> None:
    association = Association()
    handshake = asyncio.create_task(association.server.handshake(association.fingerprints))
    await asyncio.sleep(0)
    association.close()
    async with asyncio.timeout(5):
        with pytest.raises(DtlsError):
            await handshake


@pytest.mark.asyncio
async def test_garbage_in_the_handshake_does_not_end_it() -> None:
    association = Association()
    for data in (b"\x16" * 40, b"\x14" + bytes(60), b"\x16\xfe\xfd" + bytes(30)):
        association.end.inbound.put_nowait(data)
    async with asyncio.timeout(10):
        sessions = await association.handshake()
    assert sessions.profile == "SRTP_AEAD_AES_128_GCM"
    association.close()
    await asyncio.wait([cast("asyncio.Task[None]", association.client._task)])


@pytest.mark.asyncio
async def test_our_close_notify_ends_the_clients_side() -> None:
    async with associated() as (association, _):
        goodbye = association.server.close()
        assert 20 <= goodbye[0] <= 63
        await association.end._send(goodbye)
        await asyncio.wait([cast("asyncio.Task[None]", association.client._task)])
        assert association.client.state == "closed"


@pytest.mark.asyncio
async def test_the_clients_close_notify_ends_ours() -> None:
    async with associated() as (association, _):
        assert association.client._ssl is not None
        association.client._ssl.shutdown()
        await association.client._write_ssl()
        await association.server.ended()
        assert association.server.close() == b""


@pytest.mark.asyncio
async def test_there_is_nothing_to_tell_before_a_handshake() -> None:
    assert Association().server.close() == b""


@pytest.mark.asyncio
async def test_all_associations_of_a_certificate_share_a_context_that_keeps_nothing_of_them() -> None:
    async with associated() as (first, _), associated(certificate=first.certificate) as (second, _):
        ours, theirs = first.server._dtls._ssl, second.server._dtls._ssl
        assert ours is not None
        assert theirs is not None
        assert ours.get_context() is theirs.get_context()
        assert ours.get_context().get_session_cache_mode() == SSL.SESS_CACHE_OFF


def test_a_certificate_tells_its_sha_256() -> None:
    algorithm, value = Certificate().fingerprint
    assert algorithm == "sha-256"
    assert len(value.split(":")) == 32
    assert Certificate().fingerprint[1] != value
