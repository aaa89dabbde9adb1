"""Which carrier ``adapter.driver`` asks for. Adding one is a module beside this and a line in the table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from sockudo.cluster.carrier import Carrier
from sockudo.config import Settings
from sockudo.config.installed import driver_missing

__all__ = ["configured_carrier"]


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
