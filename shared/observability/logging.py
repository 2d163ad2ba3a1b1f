"""Logs: structured events through one pipe, for our own loggers and those of every library.

A log event is a constant dotted name (`execution.finished`); what belongs to it are fields. Every line carries time,
level, service, the bound context (request id, tenant, execution …) and the trace id. Secrets are masked on the way out,
in exception texts too. Lines go to stderr, so that what a command prints stays clean.
"""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.observability import tracing
from shared.observability.repeats import Repeats
from shared.security.redaction import Redactor
from shared.settings import TelemetrySettings

get_logger = structlog.get_logger

# Libraries that tell too much at INFO for a service that handles hundreds of messages a second.
_QUIET = (
    "aiokafka",
    "asyncio",
    "botocore",
    "boto3",
    "faststream",
    "httpx",
    "pymongo",
    "s3transfer",
    "urllib3",
    "uvicorn",
    "werkzeug",
)


# And one that repeats itself without end while its server is away.
_TALKATIVE = ("aiokafka",)


def configure(
    settings: TelemetrySettings,
    service: str,
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Set the process's logging up. `secrets` are values that must never be seen, such as `secrets_of(settings)`."""
    out = stream or sys.stderr
    level = logging.getLevelNamesMapping()[settings.log_level]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Stamp(service),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        _Mask(Redactor(secrets)),
    ]
    structlog.configure(
        processors=[*shared, _renderer(settings, out)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    _adopt_standard_logging(shared, _renderer(settings, out), level, out)


@contextmanager
def silent() -> Iterator[None]:
    """Nothing is logged meanwhile: a command says in its own words what went wrong."""
    before, standard = structlog.get_config(), logging.root.manager.disable
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        structlog.configure(**before)
        logging.disable(standard)


def _renderer(settings: TelemetrySettings, out: TextIO) -> Processor:
    if settings.log_format == "json":
        return structlog.processors.JSONRenderer(default=str)
    return structlog.dev.ConsoleRenderer(colors=out.isatty())


def _adopt_standard_logging(
    shared: list[Processor], renderer: Processor, level: int, out: TextIO
) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(Repeats(_TALKATIVE))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in (*_QUIET, *_below(_QUIET)):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate, logger.disabled = True, False
        logger.setLevel(max(level, logging.WARNING) if name in _QUIET else logging.NOTSET)
    logging.captureWarnings(capture=True)


def _below(names: Iterable[str]) -> list[str]:
    """Loggers under these that exist already; a library may have set them up in a way of its own."""
    prefixes = tuple(f"{name}." for name in names)
    return [name for name in logging.root.manager.loggerDict if name.startswith(prefixes)]


class _Stamp:
    """Adds service and trace."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = self._service
        if trace := tracing.trace_id():
            event["trace_id"] = trace
        return event


class _Mask:
    """Masks secrets in everything but the names of the fields that we set ourselves."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        meta = {name: event.pop(name) for name in _META if name in event}
        masked: dict[str, Any] = self._redactor.redact_json(
            {name: _plain(value) for name, value in event.items()}
        )
        return {**masked, **meta}


_META = ("_record", "_from_structlog")


def _plain(value: Any) -> Any:
    """What is not JSON is masked as the text that it will be written as."""
    if value is None or isinstance(value, str | int | float | bool | dict | list):
        return value
    if isinstance(value, tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)
