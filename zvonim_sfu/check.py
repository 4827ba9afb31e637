"""`zvonim-sfu check`: what the settings come to on this host, and what is wrong with them."""

from __future__ import annotations

import ipaddress
import json
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from zvonim_sfu.app import find_certificate
from zvonim_sfu.config import Settings
from zvonim_sfu.config_values import IceServerSetting
from zvonim_sfu.net.addresses import candidates, host_addresses
from zvonim_sfu.net.kernel import KernelError, load_kernel
from zvonim_sfu.net.sockets import open_sockets
from zvonim_sfu.serve import http_port_problem
from zvonim_sfu.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zvonim_sfu.config import Loaded

# Time enough to renew a certificate by hand.
EXPIRES_SOON: Final = timedelta(days=14)

_MASK: Final = "***"


class Severity(StrEnum):
    """How bad a finding is."""

    NOTE = "note"
    """Good to know."""

    WARNING = "warning"
    """Something will not work for somebody."""

    ERROR = "error"
    """The server cannot start."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the settings that the operator should know."""

    severity: Severity
    message: str


def review(settings: Settings) -> Iterator[Finding]:
    """Yield what can be said about the settings without opening ports."""
    if not settings.serves_tls and not is_loopback(settings.host):
        yield Finding(
            Severity.WARNING,
            f"{settings.host} is reached over the network without TLS: browsers give pages no camera and no "
            "microphone there. Set tls_cert and tls_key, or tls = self-signed on a LAN, or put a proxy that does "
            "TLS in front.",
        )
    if not settings.announce and not any(ipaddress.ip_address(a).is_global for a in _media_addresses(settings)):
        yield Finding(
            Severity.NOTE,
            "This host has no public address for media: fine here and on the LAN. For calls over the internet set "
            "announce to the address that the router forwards to this host.",
        )
    try:
        kernel = load_kernel(settings.kernel)
    except KernelError as error:
        yield Finding(Severity.ERROR, f"{error}.")
    else:
        if settings.kernel == "auto" and kernel.name == "python":
            yield Finding(
                Severity.NOTE,
                "The packet kernel was not compiled, which costs about four times the CPU time for each packet. "
                "Install a C compiler and Python's headers, then the package again.",
            )


def review_certificate(settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong with an operator's certificate."""
    if settings.tls == "self-signed":
        return  # made when the server starts
    try:
        certificate = find_certificate(settings)
    except TlsError as error:
        yield Finding(Severity.ERROR, str(error))
        return
    if certificate is not None and certificate.expires - datetime.now(UTC) < EXPIRES_SOON:
        yield Finding(
            Severity.WARNING, f"The certificate {certificate.cert} expires on {certificate.expires:%Y-%m-%d}. Renew it."
        )


def check(loaded: Loaded) -> int:
    """Print the effective settings, the addresses to be announced and the findings; return the exit code."""
    settings = loaded.settings
    print("\n".join(describe(settings, loaded.origins)))  # noqa: T201 - this is what the command is for
    findings = [*review(settings), *review_certificate(settings), *_try_http_port(settings)]
    addresses, media_findings = _try_media_port(settings)
    findings += media_findings
    print("\nAddresses for media (UDP), as clients are told:")  # noqa: T201
    print("\n".join(f"  {address}" for address in addresses) or "  none")  # noqa: T201
    print("\nFindings:")  # noqa: T201
    print("\n".join(f"  {f.severity}: {f.message}" for f in findings) or "  none, all is well")  # noqa: T201
    return 1 if any(finding.severity is Severity.ERROR for finding in findings) else 0


def describe(settings: Settings, origins: Mapping[str, str]) -> Iterator[str]:
    """Yield the settings as lines of a TOML file, with the place where each was set; secrets are masked."""
    for name in Settings.model_fields:
        value = getattr(settings, name)
        line = f"# {name} =" if value is None else f"{name} = {_toml(value)}"
        yield f"{line}  # {origins.get(name, 'default')}"


def is_loopback(host: str) -> bool:
    """Tell whether a host to listen on is reached from this computer only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761 section 6.3


def _media_addresses(settings: Settings) -> list[str]:
    """Return the addresses that the media port is to be opened on."""
    if any(ipaddress.ip_address(host).is_unspecified for host in settings.media_hosts):
        return list(host_addresses())
    return list(settings.media_hosts)


def _try_media_port(settings: Settings) -> tuple[list[str], list[Finding]]:
    """Return the addresses to be announced, and what is wrong with the port."""
    try:
        sockets = open_sockets(settings.media_hosts, settings.media_port)
    except OSError as error:
        return [], [Finding(Severity.ERROR, f"{error}.")]
    bound = [sock.getsockname()[:2] for sock in sockets]
    for sock in sockets:
        sock.close()
    skipped = set(_media_addresses(settings)) - {address for address, _ in bound}
    findings = [
        Finding(Severity.WARNING, f"UDP port {settings.media_port} cannot be opened on {address}: it is left out.")
        for address in sorted(skipped)
    ]
    chosen_at_start = bound[0][1] if settings.media_port == 0 else None
    offered = [
        f"{candidate.address} port {'any' if candidate.port == chosen_at_start else candidate.port}"
        for candidate in candidates(bound, settings.announced)
    ]
    return offered, findings


def _try_http_port(settings: Settings) -> Iterator[Finding]:
    try:
        resolved = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        for family, _, _, _, address in resolved:
            socket.create_server(address, family=family).close()
    except OSError as error:
        yield Finding(Severity.ERROR, http_port_problem(settings, error))


def _toml(value: object) -> str:
    if isinstance(value, SecretStr):
        return json.dumps(_MASK)
    if isinstance(value, IceServerSetting):
        items = ((name, getattr(value, name)) for name in IceServerSetting.model_fields)
        return "{ " + ", ".join(f"{name} = {_toml(item)}" for name, item in items if item is not None) + " }"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, Path):
        return json.dumps(str(value))
    return json.dumps(value, ensure_ascii=False)
