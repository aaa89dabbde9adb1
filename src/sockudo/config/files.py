"""Configuration files: which one, its ``${NAME}`` parts, and its text as a tree (spec: platform § 1.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sockudo.config.problems import ConfigError

__all__ = ["find", "interpolate", "parse", "read"]

_DISCOVERED = ("config/config.toml", "config/config.json")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def find(path: Path | None, cwd: Path) -> Path | None:
    """The file to read: the one asked for, else the first that exists under ``cwd``, else None."""
    if path is not None:
        return cwd / path
    return next((found for name in _DISCOVERED if (found := cwd / name).exists()), None)


def read(path: Path, place: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The file as a tree. Raises ConfigError when it cannot be read, interpolated or parsed."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{place}: is not UTF-8 (byte {error.start})"]) from None
    except OSError as error:
        raise ConfigError([f"{place}: cannot be read: {error.strerror or error}"]) from None
    return parse(interpolate(text, place, environ), place, toml=path.name.endswith(".toml"))


def interpolate(text: str, place: str, environ: Mapping[str, str]) -> str:
    """Puts variables in, once and everywhere, comments included; an empty one counts as missing.

    Raises ConfigError with every name that is missing and has no fallback.
    """
    missing: dict[str, None] = {}

    def value(match: re.Match[str]) -> str:
        name, fallback = match.groups()
        found = environ.get(name) or fallback
        if found is None:
            missing[name] = None
            return ""
        return found

    replaced = _PLACEHOLDER.sub(value, text)
    if missing:
        names = ", ".join(f"${{{name}}}" for name in missing)
        raise ConfigError([f"{place}: {names} not set in the environment; set it, or write ${{NAME:-fallback}}"])
    return replaced


def parse(text: str, place: str, *, toml: bool) -> dict[str, Any]:
    """The text as a tree, TOML or JSON. Raises ConfigError that says where the text is broken."""
    try:
        tree = _parse_toml(text) if toml else _parse_json(text)
    except RecursionError:
        raise ConfigError([f"{place}: is nested too deeply"]) from None
    except ValueError as error:
        raise ConfigError([f"{place}: is not {'TOML' if toml else 'JSON'}: {error}"]) from None
    if not isinstance(tree, dict):
        raise ConfigError([f"{place}: holds no object of settings"])
    return tree


def _parse_toml(text: str) -> Any:
    import tomllib  # only servers with a file pay for a parser

    return tomllib.loads(text)


def _parse_json(text: str) -> Any:
    import json  # tells line and column of a mistake, which our fast decoder does not

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for key, value in pairs:
            if key in tree:
                raise ValueError(f"the key '{key}' stands twice in one object")
            tree[key] = value
        return tree

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is not a JSON number")

    return json.loads(text, object_pairs_hook=once, parse_constant=no_constant)
