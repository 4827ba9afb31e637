from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from zvonim_sfu.tls import (
    SELF_SIGNED_FILE,
    SELF_SIGNED_LIFE,
    TlsError,
    load_certificate,
    self_signed_certificate,
)

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ("localhost", "127.0.0.1", "::1", "host.example")


def subject_names(pem: bytes) -> list[str]:
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def test_a_self_signed_certificate_is_made_once_for_all_names_and_kept_private(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "zvonim-sfu"
    made = self_signed_certificate(directory, NAMES, now=NOW)
    assert made.expires == NOW + SELF_SIGNED_LIFE
    assert subject_names(made.cert.read_bytes()) == list(NAMES)
    assert made.key.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    before = made.cert.read_bytes()
    assert self_signed_certificate(directory, ["other"], now=NOW + timedelta(days=700)) == made
    assert made.cert.read_bytes() == before
    assert [path.name for path in directory.iterdir()] == [SELF_SIGNED_FILE]


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
def test_an_expired_or_broken_self_signed_certificate_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    first = self_signed_certificate(tmp_path, NAMES, now=NOW - SELF_SIGNED_LIFE)
    if content is not None:
        first.cert.write_bytes(content)
    second = self_signed_certificate(tmp_path, NAMES, now=NOW)
    assert second.expires == NOW + SELF_SIGNED_LIFE


def test_a_state_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TlsError, match=r"cannot be kept in .*/file: .*ZVONIM_STATE_DIR"):
        self_signed_certificate(tmp_path / "file", NAMES, now=NOW)


@pytest.mark.asyncio
async def test_a_client_that_trusts_the_certificate_connects(tmp_path: Path) -> None:
    made = self_signed_certificate(tmp_path, NAMES, now=datetime.now(UTC))

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=made.context())
    async with server:
        trusting = ssl.create_default_context(cadata=made.cert.read_text().partition("-----END PRIVATE KEY-----\n")[2])
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="127.0.0.1")
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()


def test_an_operators_pair_is_loaded(tmp_path: Path) -> None:
    path = self_signed_certificate(tmp_path, NAMES, now=NOW).cert
    assert load_certificate(path, path, now=NOW).expires == NOW + SELF_SIGNED_LIFE


def test_what_is_wrong_with_an_operators_pair_is_said(tmp_path: Path) -> None:
    path = self_signed_certificate(tmp_path / "a", NAMES, now=NOW).cert
    other = self_signed_certificate(tmp_path / "b", NAMES, now=NOW).key
    text = tmp_path / "text"
    text.write_text("no PEM")
    missing = tmp_path / "missing"
    with pytest.raises(TlsError, match="expired on 2028-02-29"):
        load_certificate(path, path, now=NOW + SELF_SIGNED_LIFE)
    with pytest.raises(TlsError, match="is not that of the certificate"):
        load_certificate(path, other, now=NOW)
    with pytest.raises(TlsError, match=r"certificate .*missing cannot be read"):
        load_certificate(missing, path, now=NOW)
    with pytest.raises(TlsError, match=r"key .*missing is no file"):
        load_certificate(path, missing, now=NOW)
    with pytest.raises(TlsError, match="holds no certificate"):
        load_certificate(text, path, now=NOW)
    with pytest.raises(TlsError, match="holds no private key"):
        load_certificate(path, text, now=NOW)


def test_a_key_with_a_passphrase_is_refused_instead_of_asked_for(tmp_path: Path) -> None:
    made = self_signed_certificate(tmp_path, NAMES, now=NOW)
    key = serialization.load_pem_private_key(made.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    with pytest.raises(TlsError, match="without a passphrase"):
        load_certificate(made.cert, locked, now=NOW)
