"""Facts about aioice, aiortc and pylibsrtp that this package rests on without being promised them.

A test that fails here after an update means: read the new version, then change the module that knows it.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import re
import struct
from typing import TYPE_CHECKING, Any

import pylibsrtp
import pytest
from aioice import stun
from aiortc import RTCCertificate, RTCDtlsTransport

from tests.net.links import sessions
from tests.net.support import Client, eventually, new_agent, open_port
from zvonim_sfu.net.srtp import PROTECT_ADDRESS, UNPROTECT_ADDRESS, session_address

if TYPE_CHECKING:
    from zvonim_sfu.net.ice import IceAgent
    from zvonim_sfu.net.udp import UdpPort


def request(**attributes: Any) -> stun.Message:
    return stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes=attributes)


def test_aioice_refuses_a_wrong_fingerprint_with_value_error() -> None:
    message = request(USERNAME="a:b")
    message.add_message_integrity(b"key")
    data = bytes(message)
    with pytest.raises(ValueError, match="fingerprint"):
        stun.parse_message(data[:-1] + bytes([data[-1] ^ 1]))


def test_aioice_raises_struct_error_for_an_attribute_of_a_wrong_length() -> None:
    body = struct.pack("!HH4s", 0x0024, 3, b"abc")
    data = struct.pack("!HHI12s", 1, len(body), stun.COOKIE, bytes(12)) + body
    with pytest.raises(struct.error):
        stun.parse_message(data)


def test_aioice_takes_a_message_without_integrity_for_unauthenticated() -> None:
    message = stun.parse_message(bytes(request(USERNAME="a:b")))
    assert not message.check_message_integrity(b"")


def test_aioice_ignores_what_follows_the_integrity_attribute() -> None:
    message = request(USERNAME="a:b")
    message.add_message_integrity(b"key")
    del message.attributes["FINGERPRINT"]
    message.attributes["USE-CANDIDATE"] = None
    parsed = stun.parse_message(bytes(message))
    assert parsed.check_message_integrity(b"key")
    assert "USE-CANDIDATE" not in parsed.attributes


def test_aioice_names_the_attributes_as_the_agent_does() -> None:
    names = {"USERNAME", "USE-CANDIDATE", "ICE-CONTROLLED", "XOR-MAPPED-ADDRESS", "ERROR-CODE"}
    assert names <= set(stun.ATTRIBUTES_BY_NAME)


def test_aiortc_uses_three_things_of_the_transport_below_dtls() -> None:
    source = inspect.getsource(RTCDtlsTransport)
    assert set(re.findall(r"self\.transport\.(\w+)", source)) == {"role", "_recv", "_send"}
    assert not re.search(r"self\._transport\.", source)


def test_pylibsrtp_refuses_more_than_1356_bytes_with_value_error() -> None:
    session = pylibsrtp.Session(pylibsrtp.Policy(key=bytes(30), ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND))
    header = struct.pack("!BBHII", 0x80, 96, 1, 2, 3)
    assert len(session.protect(header + bytes(1356 - 12))) == 1366
    with pytest.raises(ValueError, match="too long"):
        session.protect(header + bytes(1357 - 12))
    assert not issubclass(pylibsrtp.Error, ValueError)


def test_pylibsrtp_tells_where_libsrtps_functions_and_a_sessions_state_are() -> None:
    process = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int))
    plain = struct.pack("!BBHII", 0x80, 96, 1, 2, 3) + b"payload"
    (tx, rx), (twin, _) = sessions(key=bytes(64)), sessions(key=bytes(64))
    packet, size = ctypes.create_string_buffer(plain, 1500), ctypes.c_int(len(plain))
    assert process(PROTECT_ADDRESS)(session_address(tx), packet, size) == 0
    assert packet.raw[: size.value] == twin.protect(plain)
    assert process(UNPROTECT_ADDRESS)(session_address(rx), packet, size) == 0
    assert packet.raw[: size.value] == plain
    assert process(UNPROTECT_ADDRESS)(session_address(rx), packet, size) != 0


class ClientTransport:
    """What a browser has below its DTLS: a socket."""

    role = "controlling"

    def __init__(self, client: Client) -> None:
        self.client = client

    async def _recv(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.client.socket, 2048)

    async def _send(self, data: bytes) -> None:
        self.client.send(data)


async def handshake(port: UdpPort, agent: IceAgent, client: Client, server_role: str) -> None:
    ours = RTCDtlsTransport(agent, [RTCCertificate.generateCertificate()])  # type: ignore[arg-type] # a stand-in
    theirs = RTCDtlsTransport(
        ClientTransport(client),  # type: ignore[arg-type] # a stand-in
        [RTCCertificate.generateCertificate()],
    )
    ours._set_role(server_role)
    theirs._set_role("client" if server_role == "server" else "server")
    async with asyncio.timeout(10):
        await asyncio.gather(ours.start(theirs.getLocalParameters()), theirs.start(ours.getLocalParameters()))
        assert (ours.state, theirs.state) == ("connected", "connected")
        await ours.stop()
        # The close-notify arrives, and then nothing more is to be read.
        await eventually(lambda: theirs.state == "closed")
        await theirs.stop()
    assert not port.drops


@pytest.mark.asyncio
@pytest.mark.parametrize("server_role", ["server", "client"])
async def test_aiortc_does_its_handshake_through_the_agent(server_role: str) -> None:
    async with open_port() as port:
        agent = new_agent()
        port.add(agent)
        client = Client(port.addresses[0])
        await client.check(agent, nominate=True)
        try:
            await handshake(port, agent, client, server_role)
        finally:
            client.close()


@pytest.mark.asyncio
async def test_closing_the_agent_ends_aiortcs_transport() -> None:
    async with open_port() as port:
        agent = new_agent()
        port.add(agent)
        dtls = RTCDtlsTransport(agent, [RTCCertificate.generateCertificate()])  # type: ignore[arg-type] # a stand-in
        dtls._set_role("server")
        starting = asyncio.create_task(dtls.start(dtls.getLocalParameters()))
        await asyncio.sleep(0)
        agent.close()
        async with asyncio.timeout(5):
            await starting
        assert dtls.state == "failed"
