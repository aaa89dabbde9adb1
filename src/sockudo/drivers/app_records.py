"""What every app store does with a record on its way in: one that could not be read again is never kept."""

from __future__ import annotations

from typing import Any

from sockudo import errors
from sockudo.apps.ports import Origin
from sockudo.config.app_reader import read_app
from sockudo.config.app_writer import app_to_builtins
from sockudo.config.apps import App
from sockudo.config.problems import ConfigError

__all__ = ["key_taken", "origin_of", "plain_record"]


def plain_record(app: App) -> dict[str, Any]:
    """The record as plain values. Raises ``errors.INVALID_INPUT`` when no configuration could hold it."""
    plain = app_to_builtins(app)
    try:
        read_app(plain, "record")
    except ConfigError as error:
        raise errors.INVALID_INPUT("; ".join(error.problems)) from error
    return plain


def origin_of(value: object) -> Origin | None:
    """Where an app came from, as its column says; None for null and for a word that this version does not know."""
    return next((origin for origin in Origin if origin == value), None)


def key_taken(app: App) -> errors.SockudoError:
    """The refusal of a key that another app has."""
    return errors.APP_KEY_TAKEN(f"App '{app.id}' cannot have key '{app.key}': another app has it")
