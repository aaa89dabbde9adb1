"""The port of the store that keeps the apps (spec: platform § 2.3), and what every store does with a record.

One that could not be read again is never kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from sockudo import errors
from sockudo.config.app_reader import app_to_builtins, read_app
from sockudo.config.apps import App
from sockudo.config.problems import ConfigError

__all__ = ["AppStore", "Edit", "Origin", "key_taken", "origin_of", "plain_record"]


class Origin(StrEnum):
    """Where an app came from, which decides what becomes of it when the configuration does not name it."""

    CONFIGURATION = "configuration"
    """A file or the environment: it goes when it is no longer named there."""
    OPERATOR = "operator"
    """A command, the dashboard or the first start: it stays until it is removed."""


Edit = Callable[[App | None], App]
"""Takes the app as it is, None when there is none, and returns it as it is to be, under the same id."""


class AppStore(Protocol):
    """Keeps app records. Ids are unique, so are keys.

    Every method may raise ``errors.SERVICE_UNAVAILABLE`` when the store does not answer, and nothing else but what it
    names.
    """

    async def start(self) -> None:
        """Opens what is needed and brings the schema up to date."""
        ...

    async def stop(self) -> None:
        """Releases everything; calling it twice does no harm."""
        ...

    async def all(self) -> Sequence[App]:
        """Every app, sorted by id."""
        ...

    async def origins(self) -> Mapping[str, Origin | None]:
        """Where each app came from, by id; None where the row does not say.

        Such rows were written before origins were kept, or with SQL by other hands.
        """
        ...

    async def save(self, app: App, origin: Origin | None = None) -> None:
        """Creates the app or replaces the one of the same id.

        ``origin`` is remembered with it. Without one an app that is there keeps its own, and a new one is of
        `Origin.OPERATOR`, as with `change`.

        Raises ``errors.APP_KEY_TAKEN`` when another app already has this key, and ``errors.INVALID_INPUT`` when the
        record is not one that a configuration could hold (an empty secret, a pattern that does not compile).
        """
        ...

    async def change(self, app_id: str, edit: Edit) -> App:
        """Reads one app, lets ``edit`` decide and saves what it returns, without another change in between.

        What ``edit`` raises leaves the store unchanged and is raised here. Raises as `save` does.
        """
        ...

    async def remove(self, app_id: str) -> bool:
        """True when there was such an app."""
        ...

    async def revision(self) -> int:
        """A number that grows with every change by any process: cheap enough to ask every second.

        Saving a record that is already there is no change.
        """
        ...


def plain_record(app: App) -> dict[str, Any]:
    """The record as plain values. Raises ``errors.INVALID_INPUT`` when no configuration could hold it."""
    plain = app_to_builtins(app)
    try:
        read_app(plain, "record")
    except ConfigError as error:
        raise errors.INVALID_INPUT("; ".join(error.problems)) from error
    return plain


def origin_of(value: object) -> Origin | None:
    """Where an app came from, by its column; None for null and for a word that this version does not know."""
    return next((origin for origin in Origin if origin == value), None)


def key_taken(app: App) -> errors.SockudoError:
    """The refusal of a key that another app has."""
    return errors.APP_KEY_TAKEN(f"App '{app.id}' cannot have key '{app.key}': another app has it")
