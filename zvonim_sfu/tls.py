"""TLS for the HTTP side: an operator's certificate, or one that the server makes itself and keeps."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable

SELF_SIGNED_FILE: Final = "self-signed.pem"

# Apple's systems refuse certificates that live longer than 825 days; a new one means a new question in each browser.
SELF_SIGNED_LIFE: Final = timedelta(days=730)

# Clocks of other machines may be behind.
_CLOCK_TOLERANCE: Final = timedelta(days=1)

# RFC 5280: upper bound of a common name.
_MAX_COMMON_NAME: Final = 64


class TlsError(Exception):
    """A certificate or key that cannot be used; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A usable pair: the server can start TLS with it, and it has not expired."""

    cert: Path
    key: Path
    expires: datetime

    def context(self) -> ssl.SSLContext:
        """Return the server's TLS context."""
        return _context(self.cert, self.key)


def load_certificate(cert: Path, key: Path, *, now: datetime) -> Certificate:
    """Check an operator's certificate and key. Raises TlsError."""
    try:
        leaf = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    except OSError as error:
        raise TlsError(f"The certificate {cert} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise TlsError(f"{cert} holds no certificate in PEM form.") from None
    _context(cert, key)
    if leaf.not_valid_after_utc <= now:
        raise TlsError(f"The certificate {cert} expired on {leaf.not_valid_after_utc:%Y-%m-%d}. Renew it.")
    return Certificate(cert, key, leaf.not_valid_after_utc)


def self_signed_certificate(directory: Path, names: Iterable[str], *, now: datetime) -> Certificate:
    """Return the certificate kept in `directory`; make one for `names` if there is none, or an expired one.

    Raises TlsError if the directory cannot be written.
    """
    path = directory / SELF_SIGNED_FILE
    try:
        return load_certificate(path, path, now=now)
    except TlsError:
        pass
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_private(path, _make_pem(list(names), now))
    except OSError as error:
        raise TlsError(
            f"The self-signed certificate cannot be kept in {directory}: {error.strerror}. "
            "Set ZVONIM_STATE_DIR to a directory that this user may write."
        ) from None
    return load_certificate(path, path, now=now)


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # An empty passphrase, lest OpenSSL asks on the terminal.
        context.load_cert_chain(cert, key, password="")
    except FileNotFoundError:
        raise TlsError(f"The private key {key} is no file.") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"The private key {key} is not that of the certificate {cert}.") from None
        raise TlsError(f"{key} holds no private key in PEM form without a passphrase.") from None
    except OSError as error:
        raise TlsError(f"The private key {key} cannot be read: {error.strerror}.") from None
    return context


def _make_pem(names: list[str], now: datetime) -> bytes:
    """Return a new key and its certificate, in one PEM file: they can never be of two ages."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:_MAX_COMMON_NAME])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_TOLERANCE)
        .not_valid_after(now + SELF_SIGNED_LIFE)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read; it is there as a whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, delete=False) as file:  # mode 0600
        file.write(content)
    Path(file.name).replace(path)
