"""An app record as plain values, always in the ``policy`` form (spec: platform § 2.2)."""

from __future__ import annotations

from typing import Any

import msgspec

from sockudo.config.apps import App

__all__ = ["app_to_builtins"]


def app_to_builtins(app: App) -> dict[str, Any]:
    """Dicts, lists, texts, numbers and booleans; what is None is left out. Contains the secret.

    `sockudo.config.app_reader.read_app` makes an equal app of it.
    """
    plain: dict[str, Any] = _pruned(msgspec.to_builtins(app))
    return plain


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_pruned(item) for item in value]
    return value
