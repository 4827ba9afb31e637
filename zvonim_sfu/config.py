"""The server's settings: one frozen object, from flags, environment and a TOML file, in this order of precedence.

`Settings` itself reads nothing: `load` asks the sources, and so can tell where each value came from.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from zvonim_sfu.config_values import (
    JSON_TABLES,
    SPLIT_LIST,
    AnnouncedText,
    Host,
    IceServerSetting,
    LocalAddress,
    Origin,
    attribute_docstrings,
)
from zvonim_sfu.net.addresses import Announced, parse_announced
from zvonim_sfu.rooms.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_PREFIX: Final = "ZVONIM_"
CONFIG_VARIABLE: Final = "ZVONIM_CONFIG"
DEFAULT_FILE: Final = Path("zvonim.toml")
LIMIT_PREFIX: Final = "limit_"

# Settings that are lists of words, for which a flag may be given several times.
MULTIPLE: Final = ("media_host", "announce", "allowed_origins")

# Settings whose values are not repeated in messages.
SECRET: Final = ("ice_servers", "operator_token")

ONE_OF: Final = "one of "

_LIMITS: Final = Limits()
_LIMIT_MEANINGS: Final = attribute_docstrings(Limits)


class ConfigError(ValueError):
    """Settings that cannot be used: a line for each fault, with the key, the value and what is allowed."""


def _limit(name: str, *, ge: float | None = None, le: float) -> Any:
    """Make the setting of one limit. What it is by default and what it means stands in Limits."""
    bounds = {"gt": 0} if ge is None else {"ge": ge}
    return Field(getattr(_LIMITS, name), description=_LIMIT_MEANINGS[name], le=le, allow_inf_nan=False, **bounds)


class Settings(BaseSettings):
    """All that an operator can set. The string under each field is its explanation in `--help`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    host: Host = "127.0.0.1"
    """Address or host name to serve HTTP on; 0.0.0.0 is every IPv4 address of this host."""

    port: int = Field(default=8080, ge=0, le=65535)
    """TCP port to serve HTTP on; 0 takes any that is free."""

    media_host: Annotated[tuple[LocalAddress, ...], SPLIT_LIST, NoDecode] = ()
    """Addresses of this host to send and receive media on; none means all."""

    media_port: int = Field(default=7882, ge=0, le=65535)
    """UDP port for the media of all participants; 0 takes any that is free."""

    announce: Annotated[tuple[AnnouncedText, ...], SPLIT_LIST, NoDecode] = ()
    """Where clients reach the media port, if not at this host's own addresses (NAT, containers): ADDRESS,
    ADDRESS:PORT or [IPV6]:PORT, the preferred one first."""

    tls: Literal["off", "self-signed"] = "off"
    """"self-signed" makes a certificate once and keeps it in the state directory: enough for a LAN, where each
    browser asks once whether to trust it."""

    tls_cert: Path | None = None
    """PEM file with the TLS certificate and its chain."""

    tls_key: Path | None = None
    """PEM file with the certificate's private key, without a passphrase."""

    allowed_origins: Annotated[tuple[Origin, ...], SPLIT_LIST, NoDecode] = ()
    """Web origins besides the server's own whose pages may use it, such as https://calls.example; * is all."""

    identity: Literal["open", "strict"] = "open"
    """"open" takes who knows a user_id for that user, as the documented API does, and the members of a room know each
    other's; "strict" asks for the secret that only the user's own client was told."""

    ice_servers: Annotated[tuple[IceServerSetting, ...], JSON_TABLES, NoDecode] = ()
    """STUN and TURN servers that clients are told to use: in a file [[ice_servers]] tables, else a JSON array of
    objects, with urls and, for TURN, either username and credential or the secret that the TURN server shares with this
    one (coturn: static-auth-secret), of which each participant gets credentials for lifetime_s (default 86400)."""

    operator_token: Annotated[SecretStr, Field(min_length=16, max_length=1024)] | None = None
    """What has to be sent as Authorization: Bearer TOKEN to read /api/statistics and /metrics from another computer,
    16 characters at least; without it they can be read on this computer only."""

    kernel: Literal["auto", "compiled", "python"] = "auto"
    """Which code protects and sends each packet: "compiled", which needs a C compiler when the package is installed,
    "python", which costs about four times the CPU time, or "auto", the compiled one if it is there."""

    state_dir: Path | None = None
    """Directory for what the server keeps; by default zvonim-sfu in $XDG_STATE_HOME or ~/.local/state."""

    trace_dir: Path | None = None
    """Directory for traces of the bandwidth estimates, a file for each client's connection, without media, names and
    addresses; without it none are written. See docs/operation.md."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""

    log_format: Literal["text", "json"] = "text"
    """"json" logs an object on each line."""

    access_log: bool = False
    """Whether each HTTP request is logged."""

    limit_body_bytes: int = _limit("body_bytes", ge=1024, le=2**24)
    limit_message_bytes: int = _limit("message_bytes", ge=16_384, le=2**24)
    limit_name_length: int = _limit("name_length", ge=1, le=1024)
    limit_id_length: int = _limit("id_length", ge=32, le=256)
    limit_rooms: int = _limit("rooms", ge=1, le=1_000_000)
    limit_participants_per_room: int = _limit("participants_per_room", ge=1, le=10_000)
    limit_up_tracks_per_participant: int = _limit("up_tracks_per_participant", ge=1, le=64)
    limit_microphones_heard: int = _limit("microphones_heard", ge=0, le=1000)
    limit_messages_per_second: float = _limit("messages_per_second", le=1_000_000)
    limit_message_burst: int = _limit("message_burst", ge=1, le=1_000_000)
    limit_message_bytes_per_second: float = _limit("message_bytes_per_second", ge=16_384, le=2**40)
    limit_joins_per_second: float = _limit("joins_per_second", le=1_000_000)
    limit_join_burst: int = _limit("join_burst", ge=1, le=1_000_000)
    limit_handshakes_per_second: float = _limit("handshakes_per_second", le=1_000_000)
    limit_handshake_burst: int = _limit("handshake_burst", ge=1, le=1_000_000)
    limit_join_timeout_s: float = _limit("join_timeout_s", le=86_400)
    limit_grace_s: float = _limit("grace_s", ge=0, le=86_400)
    limit_empty_room_s: float = _limit("empty_room_s", ge=0, le=86_400 * 366)
    limit_outbox_messages: int = _limit("outbox_messages", ge=16, le=1_000_000)
    limit_outbox_bytes: int = _limit("outbox_bytes", ge=2**16, le=2**30)

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "tls_cert and tls_key go together: set both or neither"
            raise ValueError(msg)
        if self.tls_cert is not None and self.tls != "off":
            msg = "tls = self-signed and tls_cert exclude each other: leave one out"
            raise ValueError(msg)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take nothing but the arguments: see `load`."""
        return (init_settings,)

    @property
    def limits(self) -> Limits:
        """The limits, as the layers below take them."""
        return Limits(**{field.name: getattr(self, LIMIT_PREFIX + field.name) for field in fields(Limits)})

    @property
    def announced(self) -> tuple[Announced, ...]:
        """The announced addresses, as the layers below take them."""
        return tuple(map(parse_announced, self.announce))

    @property
    def media_hosts(self) -> tuple[str, ...]:
        """The addresses to bind the media port on, as the layers below take them."""
        return self.media_host or ("0.0.0.0",)  # noqa: S104 - all addresses, as the meaning of the field says

    @property
    def serves_tls(self) -> bool:
        """Whether the address to open starts with https."""
        return self.tls != "off" or self.tls_cert is not None

    @property
    def state_directory(self) -> Path:
        """Where the server keeps what has to outlive it (XDG Base Directory Specification)."""
        if self.state_dir is not None:
            return self.state_dir.expanduser()
        base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(base).expanduser() / "zvonim-sfu"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and where they came from."""

    settings: Settings
    origins: Mapping[str, str]
    """For each field that was set: its name in the place where that was done. The others are at their default."""


def flag_name(field: str) -> str:
    """Return the flag that sets a field."""
    return "--" + field.replace("_", "-")


def variable_name(field: str) -> str:
    """Return the environment variable that sets a field."""
    return ENV_PREFIX + field.upper()


def load(flags: Mapping[str, object], config_flag: str | None = None) -> Loaded:
    """Merge `flags` (by field name), the environment and the TOML file. Raises ConfigError."""
    path = _config_file(config_flag)
    from_file = _read_file(path) if path else {}
    from_environment = EnvSettingsSource(Settings)()
    values: dict[str, object] = {**from_file, **from_environment, **flags}
    origins = {name: f"{name} in {path}" for name in from_file}
    origins |= {name: variable_name(name) for name in from_environment}
    origins |= {name: flag_name(name) for name in flags}
    faults = _unknown_variables()
    try:
        settings = Settings(**values)  # type: ignore[arg-type]  # that is what is being checked
    except ValidationError as error:
        faults += [_fault(dict(detail), origins) for detail in error.errors()]
        raise ConfigError("\n".join(faults)) from None
    if faults:
        raise ConfigError("\n".join(faults))
    return Loaded(settings, origins)


def allowed(field: str) -> str | None:
    """Say which values a field of numbers or words takes; None where its meaning says so."""
    info = Settings.model_fields[field]
    if get_origin(info.annotation) is Literal:
        return ONE_OF + ", ".join(get_args(info.annotation))
    if info.annotation is bool:
        return ONE_OF + "true, false"
    if info.annotation not in {int, float}:
        return None
    low = next((f"from {bound.ge} to" for bound in info.metadata if isinstance(bound, Ge)), None)
    low = low or next(f"above {bound.gt} and up to" for bound in info.metadata if isinstance(bound, Gt))
    high = next(bound.le for bound in info.metadata if isinstance(bound, Le))
    return f"a {'whole ' if info.annotation is int else ''}number {low} {high}"


def _config_file(flag: str | None) -> Path | None:
    given = flag or os.environ.get(CONFIG_VARIABLE)
    if given:
        return Path(given).expanduser()
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return TomlConfigSettingsSource(Settings, path)() if path.is_file() else _no_file(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML file: {error}.") from None


def _no_file(path: Path) -> dict[str, Any]:
    raise ConfigError(f"{path} is no file: write the settings there, or leave --config and {CONFIG_VARIABLE} out.")


def _unknown_variables() -> list[str]:
    known = [variable_name(name) for name in Settings.model_fields] + [CONFIG_VARIABLE]
    return [
        f"{name} is no setting.{_suggestion(name.upper(), known)}"
        for name in sorted(os.environ)
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in known
    ]


def _suggestion(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]}?" if close else " See zvonim-sfu --help for all."


def _fault(error: dict[str, Any], origins: Mapping[str, str]) -> str:
    """Turn one of pydantic's errors into a sentence for the operator."""
    if not error["loc"]:  # about several fields: the sentence names them
        return f"{error['ctx']['error']}."
    field = str(error["loc"][0])
    key = origins.get(field, field) + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"][1:]
    )
    if error["type"] == "extra_forbidden":
        return f"{key} is no setting.{_suggestion(field, list(Settings.model_fields))}"
    own_sentence = str(error["ctx"]["error"]) if error["type"] == "value_error" else None
    reason = own_sentence or (f"must be {limits}" if (limits := allowed(field)) else error["msg"])
    value = repr(error["input"])
    if field in SECRET or value in reason:  # what was written there may hold a credential
        return f"{key}: {reason}."
    return f"{key} = {value}: {reason}."
