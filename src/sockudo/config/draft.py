"""A configuration while it is being put together: values by dotted path, where each came from, and what was noticed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sockudo.config.schema import Setting
from sockudo.config.values import read_bool, read_value

__all__ = ["Draft"]

_SHOWN = 80


class Draft:
    """Later sources replace earlier ones, key by key. Problems are gathered, so that one run tells them all."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.sources: list[str] = []

    def put(self, path: str, value: Any, origin: str) -> None:
        """Takes a value that is known to be good."""
        self.values[path] = value
        self.origins[path] = origin

    def read(self, setting: Setting, raw: object, *, place: str, name: str, origin: str) -> None:
        """Reads a raw value for a key, or notes what is wrong with it under ``place`` and ``name``."""
        try:
            self.put(setting.path, read_value(setting, raw), origin)
        except ValueError as error:
            value = "" if setting.key.secret else f" = {shown(raw)}"
            self.problems.append(f"{place}: {name}{value} {error}")

    def flag(self, environ: Mapping[str, str], name: str) -> bool | None:
        """A boolean variable that is no key; None when it is not set or, with a problem noted, not a boolean."""
        raw = environ.get(name)
        if not raw:
            return None
        try:
            return read_bool(raw)
        except ValueError as error:
            self.problems.append(f"environment: {name} = {shown(raw)} {error}")
            return None


def shown(raw: object) -> str:
    """A value as it is quoted in a problem, cut where it is long."""
    text = "null" if raw is None else repr(raw)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
