"""The command `zvonim-sfu`: its flags are the settings, one for one."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

import structlog

from zvonim_sfu import __version__
from zvonim_sfu.check import Severity, check, review
from zvonim_sfu.config import (
    CONFIG_VARIABLE,
    DEFAULT_FILE,
    LIMIT_PREFIX,
    MULTIPLE,
    ONE_OF,
    ConfigError,
    Settings,
    allowed,
    flag_name,
    load,
    variable_name,
)
from zvonim_sfu.logs import configure_logs
from zvonim_sfu.serve import StartError, run

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2

_DESCRIPTION: Final = "A media server for group video calls in the browser."
_EPILOG: Final = f"""\
Each setting can also be given in the environment (ZVONIM_PORT for --port) or in a TOML file (port for --port):
the one that --config or {CONFIG_VARIABLE} names, else {DEFAULT_FILE} in the current directory. A flag goes before
the environment, and the environment before the file."""

# What stands for a value in --help, by how the field's name ends.
_METAVARS: Final = {
    "host": "ADDRESS",
    "announce": "ADDRESS",
    "port": "PORT",
    "origins": "ORIGIN",
    "servers": "JSON",
    "cert": "FILE",
    "key": "FILE",
    "dir": "DIRECTORY",
    "token": "TOKEN",
    "_bytes": "BYTES",
    "_s": "SECONDS",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 if the server cannot run, 2 if the settings are wrong."""
    given = vars(_parser().parse_args(arguments))
    command, config = given.pop("command"), given.pop("config")
    try:
        loaded = load(given, config)
    except ConfigError as error:
        return _fail(str(error), EXIT_USAGE)
    settings = loaded.settings
    configure_logs(settings.log_level, settings.log_format)
    if command == "check":
        return check(loaded)
    _log_warnings(settings)
    try:
        run(settings)
    except StartError as error:
        return _fail(str(error), EXIT_FAILURE)
    return 0


def _fail(message: str, code: int) -> int:
    for line in message.splitlines():
        print(f"zvonim-sfu: {line}", file=sys.stderr)  # noqa: T201 - no log: the settings may not even say its form
    return code


def _log_warnings(settings: Settings) -> None:
    log: structlog.stdlib.BoundLogger = structlog.get_logger()
    for finding in review(settings):
        if finding.severity is not Severity.NOTE:  # those are for who asks
            log.warning(finding.message)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zvonim-sfu",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
        # A setting that no flag gives is the environment's, the file's or the default's.
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("run", "check"),
        default="run",
        help="run serves (the default); check prints the effective settings, the addresses that clients are told "
        "for media, and what is wrong with them",
    )
    parser.add_argument("--version", action="version", version=f"zvonim-sfu {__version__}")
    parser.add_argument("--config", metavar="FILE", default=None, help="TOML file with settings")
    settings = parser.add_argument_group("settings")
    limits = parser.add_argument_group("limits", "Past one of these a caller gets an error, and nobody else notices.")
    for name in Settings.model_fields:
        group = limits if name.startswith(LIMIT_PREFIX) else settings
        action = "append" if name in MULTIPLE else "store"
        group.add_argument(flag_name(name), dest=name, action=action, metavar=_metavar(name), help=_help(name))
    return parser


def _metavar(name: str) -> str:
    choices = allowed(name)
    if choices and choices.startswith(ONE_OF):
        return choices.removeprefix(ONE_OF).replace(", ", "|")
    default = "N" if name.startswith(LIMIT_PREFIX) else name.upper()
    return next((word for ending, word in _METAVARS.items() if name.endswith(ending)), default)


def _help(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.default
    if isinstance(default, bool):
        default = str(default).lower()
    notes = [f"default {default}"] if default not in {None, ()} else []
    if name in MULTIPLE:
        notes.append("may be given several times, or once with commas")
    text = f"{' '.join((field.description or '').split())} ({'; '.join([*notes, variable_name(name)])})"
    return text.replace("%", "%%")
