"""How single values of the settings are written, and what is allowed there."""

from __future__ import annotations

import ast
import inspect
import ipaddress
import json
import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from zvonim_sfu.net.addresses import parse_announced
from zvonim_sfu.rooms.events import IceServer
from zvonim_sfu.rooms.ice_servers import DEFAULT_LIFETIME_S, SharedSecretServer

# RFC 7064 and RFC 7065: scheme, host (a bracketed one for IPv6), port, and the transport for TURN.
_ICE_URL: Final = re.compile(
    r"(stuns?:|turns?:)(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?(\?transport=(udp|tcp))?", re.ASCII
)

_ORIGIN_HELP: Final = "write scheme://host or scheme://host:port, as in https://calls.example, or * for all"


def _split(value: object) -> object:
    """Flags and the environment write a list with commas or blanks, and a flag may be given several times."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return value
    return [part for item in value for part in re.split(r"[,\s]+", item) if part]


def _parse_json(value: object) -> object:
    """Flags and the environment write tables as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        msg = f"is no JSON: {error.msg} at character {error.pos + 1}"
        raise ValueError(msg) from None


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", value, re.ASCII):
        msg = "must be an IP address or a host name; 0.0.0.0 and :: stand for all addresses"
        raise ValueError(msg)
    return value


def _local_address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        msg = f"{value!r} is no IP address: write addresses of this host, or 0.0.0.0 for all"
        raise ValueError(msg) from None


def _announced(value: str) -> str:
    parse_announced(value)  # AddressError is a ValueError that says what is allowed
    return value


def _origin(value: str) -> str:
    if value == "*":
        return value
    split = urlsplit(value.lower())
    try:
        port_is_valid = split.port is None or split.port > 0
    except ValueError:
        port_is_valid = False
    bare = f"{split.scheme}://{split.netloc}"
    if split.scheme not in {"http", "https"} or not split.hostname or not port_is_valid or "@" in bare:
        msg = f"{value!r} is no origin: {_ORIGIN_HELP}"
        raise ValueError(msg)
    if value.lower().rstrip("/") != bare:
        msg = f"{value!r} is more than an origin: {_ORIGIN_HELP}"
        raise ValueError(msg)
    return bare


def _ice_url(value: str) -> str:
    if not _ICE_URL.fullmatch(value):
        msg = f"{value!r} is no STUN or TURN address: write stun:HOST:PORT or turn:HOST:PORT?transport=udp"
        raise ValueError(msg)
    return value


Host = Annotated[str, AfterValidator(_host)]
LocalAddress = Annotated[str, AfterValidator(_local_address)]
AnnouncedText = Annotated[str, AfterValidator(_announced)]
Origin = Annotated[str, AfterValidator(_origin)]

SPLIT_LIST: Final = BeforeValidator(_split)
JSON_TABLES: Final = BeforeValidator(_parse_json)


class IceServerSetting(BaseModel):
    """A STUN or TURN server that clients are told to use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    urls: Annotated[tuple[Annotated[str, AfterValidator(_ice_url)], ...], SPLIT_LIST]
    username: str | None = None
    credential: SecretStr | None = None
    secret: SecretStr | None = None
    lifetime_s: Annotated[int, Field(ge=60, le=31_536_000)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> IceServerSetting:
        if not self.urls:
            msg = "urls must hold one address at least"
            raise ValueError(msg)
        if self.secret and (self.username or self.credential):
            msg = "secret takes the place of username and credential: leave out the one or the others"
            raise ValueError(msg)
        if self.lifetime_s is not None and not self.secret:
            msg = "lifetime_s goes with secret only"
            raise ValueError(msg)
        # WebRTC section 4.2.4: browsers refuse a TURN server without both of these.
        needs_both = any(url.startswith("turn") for url in self.urls)
        if needs_both and not (self.username and self.credential) and not self.secret:
            msg = "a TURN server needs username and credential, or the secret that it shares with this server"
            raise ValueError(msg)
        return self

    def to_server(self) -> IceServer | SharedSecretServer:
        """Return it as the rooms take it."""
        if self.secret:
            lifetime_s = DEFAULT_LIFETIME_S if self.lifetime_s is None else self.lifetime_s
            return SharedSecretServer(self.urls, self.secret.get_secret_value(), lifetime_s)
        credential = self.credential.get_secret_value() if self.credential else None
        return IceServer(urls=self.urls, username=self.username, credential=credential)


def attribute_docstrings(cls: type) -> dict[str, str]:
    """Return the string under each attribute of a class: what the attribute means."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        attribute.target.id: inspect.cleandoc(text.value.value)
        for attribute, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(attribute, ast.AnnAssign)
        and isinstance(attribute.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
