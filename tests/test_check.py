from __future__ import annotations

import os
import socket
import sys
import tomllib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from zvonim_sfu import check as check_module
from zvonim_sfu.check import Severity, check, describe, is_loopback, review, review_certificate
from zvonim_sfu.config import Loaded, Settings, load
from zvonim_sfu.tls import SELF_SIGNED_LIFE, self_signed_certificate

if TYPE_CHECKING:
    from pathlib import Path

TURN = (
    '[{"urls": "turn:turn.example:3478", "username": "u", "credential": "secret-word"},'
    ' {"urls": "turn:other.example", "secret": "shared-secret-word", "lifetime_s": 600}]'
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("ZVONIM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def local(**settings: object) -> Loaded:
    """Settings that open ports on loopback only."""
    return load({"port": "0", "media_host": "127.0.0.1", "media_port": "0"} | settings)


def severities(settings: Settings) -> list[Severity]:
    return [finding.severity for finding in (*review(settings), *review_certificate(settings))]


def test_the_effective_settings_are_printed_as_toml_with_where_each_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZVONIM_LOG_LEVEL", "debug")
    loaded = load({"port": "81", "announce": "203.0.113.7", "tls": "self-signed"})
    lines = list(describe(loaded.settings, loaded.origins))
    assert "port = 81  # --port" in lines
    assert 'log_level = "debug"  # ZVONIM_LOG_LEVEL' in lines
    assert 'announce = ["203.0.113.7"]  # --announce' in lines
    assert "# state_dir =  # default" in lines
    assert Settings(**tomllib.loads("\n".join(lines))) == loaded.settings


def test_secrets_are_masked() -> None:
    loaded = load({"ice_servers": TURN, "operator_token": "another-secret-word"})
    text = "\n".join(describe(loaded.settings, loaded.origins))
    assert "secret-word" not in text
    assert 'urls = ["turn:turn.example:3478"], username = "u", credential = "***"' in text
    assert 'urls = ["turn:other.example"], secret = "***", lifetime_s = 600' in text
    assert 'operator_token = "***"' in text
    tomllib.loads(text)


def test_a_sound_setting_prints_the_addresses_and_ends_with_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(local()) == 0
    out = capsys.readouterr().out
    assert "  127.0.0.1 port any\n" in out
    assert "error:" not in out


def test_announced_addresses_are_printed_instead_of_the_hosts_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(local(announce="203.0.113.7,[2001:db8::1]:7000")) == 0
    out = capsys.readouterr().out
    assert "  203.0.113.7 port any\n  2001:db8::1 port 7000\n" in out
    assert "note:" not in out
    assert "none, all is well" in out


def test_taken_ports_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as tcp, closing(socket.socket(type=socket.SOCK_DGRAM)) as udp:
        udp.bind(("127.0.0.1", 0))
        tcp_port, udp_port = tcp.getsockname()[1], udp.getsockname()[1]
        assert check(local(port=str(tcp_port), media_port=str(udp_port))) == 1
    out = capsys.readouterr().out
    assert f"error: TCP port {tcp_port} cannot be opened on 127.0.0.1: Address already in use." in out
    assert f"error: UDP port {udp_port} cannot be opened on 127.0.0.1: " in out


def test_an_address_whose_port_is_taken_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as taken:
        taken.bind(("::1", 0))
        port = taken.getsockname()[1]
        assert check(local(media_host="127.0.0.1,::1", media_port=str(port))) == 0
    out = capsys.readouterr().out
    assert f"  127.0.0.1 port {port}\n\n" in out
    assert f"warning: UDP port {port} cannot be opened on ::1: it is left out." in out


def test_an_unknown_host_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert check(local(host="nowhere.example")) == 1
    assert "error: The host 'nowhere.example' is unknown: " in capsys.readouterr().out


def test_serving_beyond_loopback_without_tls_is_a_warning(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.0.2.7", "::", "myhost"):
        assert Severity.WARNING in severities(Settings(host=host))
        assert Severity.WARNING not in severities(Settings(host=host, tls="self-signed", state_dir=tmp_path))
    for host in ("127.0.0.1", "::1", "localhost", "a.localhost"):
        assert is_loopback(host)
        assert Severity.WARNING not in severities(Settings(host=host))


def test_media_without_a_public_address_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "host_addresses", lambda: ("192.168.1.7", "fd00::7", "127.0.0.1"))
    assert severities(Settings()) == [Severity.NOTE]
    assert severities(Settings(announce=("203.0.113.7",))) == []
    monkeypatch.setattr(check_module, "host_addresses", lambda: ("8.8.4.4", "127.0.0.1"))
    assert severities(Settings()) == []
    assert severities(Settings(media_host=("192.168.1.7",))) == [Severity.NOTE]


@pytest.mark.parametrize(
    ("age", "found"),
    [
        (timedelta(), []),
        (SELF_SIGNED_LIFE - timedelta(days=3), [Severity.WARNING]),
        (SELF_SIGNED_LIFE + timedelta(days=3), [Severity.ERROR]),
    ],
)
def test_an_expired_certificate_is_an_error_and_a_soon_expiring_one_a_warning(
    tmp_path: Path, age: timedelta, found: list[Severity]
) -> None:
    path = self_signed_certificate(tmp_path, ["localhost"], now=datetime.now(UTC) - age).cert
    assert [f.severity for f in review_certificate(Settings(tls_cert=path, tls_key=path))] == found


def test_a_missing_certificate_is_an_error(tmp_path: Path) -> None:
    missing = Settings(tls_cert=tmp_path / "none", tls_key=tmp_path / "none")
    assert [f.severity for f in review_certificate(missing)] == [Severity.ERROR]


def test_a_kernel_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = {"announce": "203.0.113.7"}
    assert severities(local(kernel="compiled", **quiet).settings) == []
    monkeypatch.setitem(sys.modules, "zvonim_sfu.net.sending_compiled", None)
    assert severities(local(**quiet).settings) == [Severity.NOTE]
    assert severities(local(kernel="python", **quiet).settings) == []
    assert severities(local(kernel="compiled", **quiet).settings) == [Severity.ERROR]
