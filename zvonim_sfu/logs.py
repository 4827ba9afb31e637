"""Logging: one event per line on stderr, for people or as JSON, those of the libraries included."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final, Literal, TextIO

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

# At DEBUG these build a text for each packet.
_CHATTY: Final = ("aiortc", "aioice")


def configure_logs(level: str, form: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send all log events of `level` and above to `stream`, stderr by default. May be called again."""
    stream = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        render: list[Processor] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        console = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)
        render = [_escape_controls, console]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )
    # The standard library's handler, because it survives a terminal that was closed.
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    handler.addFilter(_NotTheClients())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    logger = _Logger("zvonim_sfu")
    logger.parent = root
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda: logger,
    )


class _Logger(logging.Logger):
    """Does not look for who called it: no line tells that, and to walk the stack is a part of what a line costs."""

    def findCaller(  # noqa: N802 - the library's name
        self, stack_info: bool = False, stacklevel: int = 1
    ) -> tuple[str, int, str, str | None]:
        """Return that nothing is known of the caller."""
        return "", 0, "", None


class _NotTheClients(logging.Filter):
    """Leaves out what aiohttp logs, with a traceback, when a client sent no valid HTTP: it has been answered."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, (HttpProcessingError, RequestPayloadError))


def _escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Write control characters as escapes: what a client sent is not to move an operator's cursor."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)
    return event
