"""The settings in force as people and programs read them. Secrets are masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from sockudo.config.app_reader import app_to_builtins
from sockudo.config.apps import App
from sockudo.config.loader import Loaded
from sockudo.config.schema import Setting, declared, value_at
from sockudo.config.webhooks import shown_url

__all__ = ["MASK", "as_toml", "as_tree", "rows"]

MASK = "********"


def rows(loaded: Loaded) -> Iterator[tuple[str, Any, str]]:
    """Dotted path, plain value and origin of every key; the origin of a default is ``default``."""
    for path, setting in declared().items():
        value = value_at(loaded.settings, path)
        yield path, _shown(setting, value), loaded.origins.get(path, "default")


def as_tree(loaded: Loaded) -> dict[str, Any]:
    """The settings as nested dicts of plain values."""
    tree: dict[str, Any] = {}
    for path, value, _ in rows(loaded):
        *sections, name = path.split(".")
        part = tree
        for section in sections:
            part = part.setdefault(section, {})
        part[name] = value
    return tree


def as_toml(loaded: Loaded) -> str:
    """The settings as a TOML file, each with its origin for a comment."""
    lines: list[str] = []
    current = ""
    for path, value, origin in sorted(rows(loaded), key=lambda row: "." in row[0]):
        section, _, name = path.rpartition(".")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for record in value:
                lines += ["", f"[[{path}]] # {origin}", *(f"{key} = {_toml(item)}" for key, item in record.items())]
            current = path
            continue
        if section != current:
            lines += ["", f"[{section}]"]
            current = section
        if value is None:
            lines.append(f"# {name} is not set")
        else:
            lines.append(f"{name} = {_toml(value)} # {origin}")
    return "\n".join(lines).strip() + "\n"


def _shown(setting: Setting, value: Any) -> Any:
    if setting.kind == "apps":
        return [_masked(app) for app in value]
    if setting.kind == "rules":
        return [msgspec.to_builtins(rule) for rule in value]
    if setting.key.secret and value and value != setting.default:
        return MASK
    return list(value) if isinstance(value, tuple) else value


def _masked(app: App) -> dict[str, Any]:
    tree = {**app_to_builtins(app), "secret": MASK}
    if app.previous_secret is not None:
        tree["previous_secret"] = {"secret": MASK, "until": app.previous_secret.until}
    policy = tree.get("policy", {})
    if policy.get("webhooks"):
        tree["policy"] = {**policy, "webhooks": [_masked_webhook(entry) for entry in policy["webhooks"]]}
    return tree


def _masked_webhook(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Addresses and headers of webhooks often carry credentials."""
    shown = dict(entry)
    if isinstance(url := entry.get("url"), str):
        shown["url"] = shown_url(url)
    if isinstance(headers := entry.get("headers"), Mapping):
        shown["headers"] = dict.fromkeys(headers, MASK)
    return shown


def _toml(value: Any) -> str:
    import json  # its texts are TOML's too, with the escape of one character added

    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
