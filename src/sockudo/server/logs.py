"""Logs: text for people on a terminal, one JSON object per line otherwise (spec: platform § 7.5).

Everything goes to standard error in one form, lines of the standard library and of uvicorn included.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from sockudo.config import Settings, log_filter

__all__ = ["configure_logs"]

# uvicorn says what we say ourselves; httpcore and hpack say what is in the heads of answers and requests, credentials
# included. The filter can name them to get their lines.
_QUIET: Final = dict.fromkeys(("uvicorn", "httpcore", "hpack"), logging.WARNING)

# The thresholds that structlog has a logger class for.
_THRESHOLDS: Final = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)

# Level words of the JSON form where they differ from the standard library's.
_WORDS: Final = {"warning": "WARN", "critical": "ERROR", "notset": "TRACE"}

_METHODS: Final = ("debug", "info", "warning", "warn", "error", "critical", "fatal", "exception", "msg", "log")

_configured: set[str] = set()

# Loggers keep their class and these from the first use on, which makes a call that logs nothing cheaper by far. So a
# reload changes both in place.
_processors: list[structlog.typing.Processor] = []


class _Logger(structlog.make_filtering_bound_logger(logging.NOTSET)):  # type: ignore[misc]  # a class made at run time
    """The class of every logger; calls below the least level of all loggers are methods that do nothing."""


def configure_logs(settings: Settings, worker: int | None = None) -> None:
    """Sets up every logger of the process. Called again after a reload, it leaves nothing of the old filter behind.

    Of a ``worker`` every line has the number.
    """
    wanted = log_filter.parse(settings.log_level)
    levels = {name: max(level, wanted.default) for name, level in _QUIET.items()} | dict(wanted.loggers)
    _set_levels(wanted.default, levels)
    logging.captureWarnings(True)
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp")
    # Both ways in, ours and the standard library's, add the same.
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        stamp,
        *([] if worker is None else [_numbered(worker)]),
    ]
    _install_handler(settings, shared)
    _processors[:] = [
        structlog.stdlib.filter_by_level,
        *shared,
        *([_call_site()] if settings.debug else []),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]
    _set_threshold(min([wanted.default, *levels.values()]))
    structlog.configure(
        processors=_processors,
        wrapper_class=_Logger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _set_levels(default: int, levels: dict[str, int]) -> None:
    logging.getLogger().setLevel(default)
    for name in _configured - levels.keys():
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    _configured.clear()
    _configured.update(levels)


def _install_handler(settings: Settings, shared: list[structlog.typing.Processor]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_json() if _wants_json(settings) else _text(settings)),
            ],
        )
    )
    logging.getLogger().handlers[:] = [handler]


def _wants_json(settings: Settings) -> bool:
    return settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())


def _set_threshold(level: int) -> None:
    least = next((known for known in _THRESHOLDS if known <= level), logging.DEBUG)
    source = structlog.make_filtering_bound_logger(least)
    for name in _METHODS:
        setattr(_Logger, name, getattr(source, name))


def _numbered(worker: int) -> structlog.typing.Processor:
    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["worker"] = worker
        return event

    return add


def _call_site() -> structlog.processors.CallsiteParameterAdder:
    where = structlog.processors.CallsiteParameter
    return structlog.processors.CallsiteParameterAdder([where.FILENAME, where.LINENO])


def _json() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.format_exc_info,
        _as_fields,
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
    ]


def _text(settings: Settings) -> list[structlog.typing.Processor]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=settings.logging.colors_enabled and sys.stderr.isatty(),
        pad_event_to=0,
        # The richer forms print local variables, and those may be secrets.
        exception_formatter=structlog.dev.plain_traceback,
    )
    return [_in_words, renderer] if settings.logging.include_target else [_without_target, _in_words, renderer]


def _in_words(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Lists as people write them, and nothing for what is not there."""
    for name, value in list(event.items()):
        if value is None:
            del event[name]
        elif isinstance(value, (list, tuple, set, frozenset)):
            event[name] = ", ".join(map(str, value)) or "nothing"
    return event


def _without_target(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.pop("logger", None)
    return event


def _as_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The shape of a JSON line: what is always there on top, everything else under ``fields``."""
    level = str(event.pop("level", "info"))
    top = {
        "timestamp": event.pop("timestamp", None),
        "level": _WORDS.get(level, level.upper()),
        "target": event.pop("logger", None),
    }
    if "lineno" in event:
        top |= {"filename": event.pop("filename", None), "line_number": event.pop("lineno")}
    return {**top, "fields": {"message": event.pop("event", ""), **event}}
