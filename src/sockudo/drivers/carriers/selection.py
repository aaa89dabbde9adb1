"""Which carrier ``adapter.driver`` asks for. Adding one is a module beside this and a line in the table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

import structlog

from sockudo.cluster.carrier import Carrier
from sockudo.config import Settings
from sockudo.config.installed import driver_missing
from sockudo.errors import SockudoError

__all__ = ["configured_carrier", "reaches_others"]

_log = structlog.get_logger("sockudo.cluster")


class _Driver(NamedTuple):
    """Where a carrier is made, as ``function(settings)``, and the extra that installs what it needs, if any."""

    module: str
    function: str
    extra: str = ""


_DRIVERS: Final[Mapping[str, _Driver]] = {
    "nats": _Driver("sockudo.drivers.carriers.nats", "nats_carrier"),
    "postgres": _Driver("sockudo.drivers.carriers.postgres", "postgres_carrier", "postgres"),
    "redis": _Driver("sockudo.drivers.carriers.redis", "redis_carrier", "redis"),
    "redis-cluster": _Driver("sockudo.drivers.carriers.redis_cluster", "redis_cluster_carrier", "redis"),
}


def configured_carrier(settings: Settings) -> Carrier | None:
    """The carrier of ``adapter.driver``, not opened yet; None for a node that is not joined with others by a broker.

    Raises ConfigError when its driver is not installed.
    """
    driver = _DRIVERS.get(settings.adapter.driver)
    if driver is None:
        return None
    try:
        # Takes a while to import, and is an extra.
        module = importlib.import_module(driver.module)
    except ImportError as error:
        raise driver_missing(driver.extra) from error
    make: Callable[[Settings], Carrier] = getattr(module, driver.function)
    return make(settings)


async def reaches_others(settings: Settings) -> bool:
    """Whether the carrier of ``adapter.driver`` can be opened; when it cannot, the log says why. True without one."""
    carrier = configured_carrier(settings)
    if carrier is None:
        return True
    try:
        await carrier.open(_Nothing())
    except SockudoError as problem:
        _log.error(
            "other nodes cannot be reached: this one goes on alone until its next start (adapter.fallback_to_local)",
            problem=problem.text,
        )
        return False
    finally:
        await carrier.close()
    return True


class _Nothing:
    """Hears what a carrier tells, and does nothing about it."""

    def arrived(self, topic: str, payload: bytes) -> None:
        pass

    def connected(self) -> None:
        pass

    def disconnected(self, reason: str) -> None:
        pass

    def lost(self, topics: Sequence[str] | None) -> None:
        pass

    def gone(self, topics: Collection[str]) -> None:
        pass
