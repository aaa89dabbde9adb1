"""Drivers that the configuration asks for and that come with an extra of the package: are they installed?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sockudo.config.databases import DATABASES, database_of
from sockudo.config.problems import ConfigError

if TYPE_CHECKING:
    from sockudo.config.settings import Settings

__all__ = ["driver_missing", "how_to_install", "missing_drivers"]

_MODULES: Final = {"redis": ("Redis", "redis"), **{kind.extra: (kind.name, kind.module) for kind in DATABASES}}


def driver_missing(extra: str) -> ConfigError:
    """What to raise where the driver of this extra cannot be imported."""
    name, _ = _MODULES[extra]
    return ConfigError([f"{name} needs a driver that is not installed: {how_to_install(extra)}"])


def how_to_install(extra: str) -> str:
    """The command for people. A checkout is named, as a bare name would be looked for in a public index."""
    return f"pip install '.[{extra}]' in a checkout"


def missing_drivers(settings: Settings) -> list[str]:
    """A problem for each driver that a server with these settings would miss; nothing is imported."""
    from importlib.util import find_spec

    needed = dict.fromkeys(_extras(settings))
    return [driver_missing(extra).problems[0] for extra in needed if find_spec(_MODULES[extra][1]) is None]


def _extras(settings: Settings) -> Iterator[str]:
    push = settings.push
    drivers = [settings.app_manager.driver, push.storage_driver, push.queue_driver, settings.queue.driver]
    drivers += [settings.cache.driver, settings.rate_limiter.driver]
    if settings.history.enabled:
        drivers.append(settings.history.backend)
    for driver in (*drivers, settings.adapter.driver):
        if (database := database_of(driver)) is not None:
            yield database.extra
        elif driver in ("redis", "redis-cluster"):
            yield "redis"
