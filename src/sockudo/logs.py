"""Logs: text for people on a terminal, one JSON object per line otherwise (contract 70 § 7.5)."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from sockudo.config import Settings

__all__ = ["configure_logs"]

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 10,
}


def configure_logs(settings: Settings) -> None:
    """Sets up every logger of the process; called again when the configuration is reloaded."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    default, by_logger = _levels("debug" if settings.debug else settings.log_level)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, _time()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_json_processors() if as_json else _text_processors(settings)),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(default)
    for name, level in by_logger.items():
        logging.getLogger(name).setLevel(level)
    # uvicorn says on its own what we say better, once.
    logging.getLogger("uvicorn").setLevel(max(default, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            _time(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(min([default, *by_logger.values()])),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _time() -> structlog.processors.TimeStamper:
    return structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp")


def _levels(text: str) -> tuple[int, dict[str, int]]:
    """A comma list of ``level`` and ``logger=level``; what it does not name stays at info."""
    default = logging.INFO
    by_logger: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, level = part.rpartition("=")
        number = _LEVELS.get(level.strip().lower(), logging.INFO)
        if equals:
            by_logger[name.strip().replace("::", ".")] = number
        else:
            default = number
    return default, by_logger


def _json_processors() -> list[structlog.typing.Processor]:
    return [structlog.processors.format_exc_info, _as_fields, structlog.processors.JSONRenderer(ensure_ascii=False)]


def _text_processors(settings: Settings) -> list[structlog.typing.Processor]:
    colors = settings.logging.colors_enabled and sys.stderr.isatty()
    return [structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0)]


def _as_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The shape of a JSON line: what is always there on top, everything else under ``fields``."""
    top = {
        "timestamp": event.pop("timestamp", None),
        "level": str(event.pop("level", "info")).upper(),
        "target": event.pop("logger", None),
    }
    return {**top, "fields": {"message": event.pop("event", ""), **event}}
