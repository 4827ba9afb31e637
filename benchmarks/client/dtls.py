"""The client's half of DTLS-SRTP (RFC 5764) by pyOpenSSL's public face, without I/O.

The client is always the one that begins, and offers AEAD_AES_128_GCM (RFC 7714) and nothing else: every server
encrypts alike then, with the cheapest profile.
"""

from __future__ import annotations

import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from pylibsrtp import Policy, Session

SRTP_PROFILE: Final = b"SRTP_AEAD_AES_128_GCM"
FIRST_RESEND_S: Final = 0.05
_KEY_BYTES: Final = 16
_SALT_BYTES: Final = 12
_MAX_DATAGRAM_BYTES: Final = 1400
_FINGERPRINT: Final = "sha-256"


class HandshakeError(Exception):
    """The handshake failed: refused by the server, or its certificate is not the announced one."""


class Identity:
    """The certificate that all clients of one generator share: making one for each would be time of theirs."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=7))
            .sign(key, hashes.SHA256())
        )
        self.fingerprint: Final = (_FINGERPRINT, _colons(certificate.fingerprint(hashes.SHA256())))
        """Hash name and value, as a=fingerprint wants them."""
        self.context: Final = SSL.Context(SSL.DTLS_METHOD)
        # Self-signed, as all are in WebRTC: what counts is the fingerprint, which DtlsSrtp compares.
        self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        self.context.use_certificate(certificate)
        self.context.use_privatekey(key)
        self.context.set_tlsext_use_srtp(SRTP_PROFILE)


class DtlsSrtp:
    """One association. `start`, `receive` and `resend` return the datagrams to send, and raise HandshakeError.

    What is not answered is sent again as libwebrtc does it, after 50 ms and then at growing intervals: OpenSSL waits a
    second, and servers tend to miss the first flight, which comes right after the first check.
    """

    def __init__(self, identity: Identity, fingerprints: tuple[tuple[str, str], ...]) -> None:
        self.inbound: Session | None = None
        self.outbound: Session | None = None
        self.profile = ""
        """The negotiated SRTP profile; empty before the handshake has ended."""
        self.started = False
        self._flight: list[bytes] = []
        "What was sent last."
        self._interval = FIRST_RESEND_S
        self._resend_at = 0.0
        self._expected = {value for name, value in fingerprints if name == _FINGERPRINT}
        self._ssl = SSL.Connection(identity.context)
        self._ssl.set_ciphertext_mtu(_MAX_DATAGRAM_BYTES)
        self._ssl.set_connect_state()

    def start(self, now: float) -> list[bytes]:
        """Begin the handshake at `now`, in seconds of any clock."""
        self.started = True
        return self._proceed(now)

    def receive(self, datagram: bytes, now: float) -> list[bytes]:
        """Take a datagram of the server's; what comes after the handshake changes nothing."""
        if self.profile:
            return []
        self._ssl.bio_write(datagram)
        return self._proceed(now)

    def resend(self, now: float) -> list[bytes]:
        """Return what is due to be sent again."""
        if self.profile or not self.started or now < self._resend_at:
            return []
        self._interval *= 2
        self._resend_at = now + self._interval
        return self._flight

    def _proceed(self, now: float) -> list[bytes]:
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            raise HandshakeError(f"DTLS failed: {error}") from error
        else:
            self._finish()
        datagrams = self._outgoing()
        if datagrams:
            self._flight, self._interval = datagrams, FIRST_RESEND_S
            self._resend_at = now + FIRST_RESEND_S
        return datagrams

    def _finish(self) -> None:
        certificate = self._ssl.get_peer_certificate(as_cryptography=True)
        if certificate is None or _colons(certificate.fingerprint(hashes.SHA256())) not in self._expected:
            raise HandshakeError("The server's certificate is not the one that it announced.")
        profile = self._ssl.get_selected_srtp_profile()
        if profile != SRTP_PROFILE:
            raise HandshakeError(f"The server does not do {SRTP_PROFILE.decode()}.")
        # RFC 5764, section 4.2: both keys, then both salts, the client's first.
        material = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (_KEY_BYTES + _SALT_BYTES))
        salts = 2 * _KEY_BYTES
        client = material[:_KEY_BYTES] + material[salts : salts + _SALT_BYTES]
        server = material[_KEY_BYTES:salts] + material[salts + _SALT_BYTES :]
        self.outbound = _session(client, Policy.SSRC_ANY_OUTBOUND)
        self.inbound = _session(server, Policy.SSRC_ANY_INBOUND)
        self.profile = profile.decode()

    def _outgoing(self) -> list[bytes]:
        datagrams = []
        while True:
            try:
                datagrams.append(self._ssl.bio_read(_MAX_DATAGRAM_BYTES))
            except SSL.WantReadError:
                return datagrams


def _session(key: bytes, direction: int) -> Session:
    return Session(Policy(key=key, ssrc_type=direction, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM))


def _colons(digest: bytes) -> str:
    return digest.hex(":").upper()
