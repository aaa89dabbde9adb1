"""Brokers of the carriers on Redis, for the contract suite and for the tests of what happens to their servers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from sockudo.cluster.carrier import Carrier
from sockudo.config.sections.redis import RedisAccess
from sockudo.drivers.carriers.redis import RedisCarrier
from sockudo.drivers.carriers.redis_cluster import RedisClusterCarrier
from sockudo.drivers.carriers.redis_link import Pace, RedisLink

__all__ = ["PACE", "PREFIX", "REDIS_CARRIERS", "RedisBroker", "cut", "links_of", "redis_broker_of"]

PREFIX = "sockudo_adapter:"
PACE = Pace(check=0.5, answer=2.0)
"""As good as the one in use, ten times as fast."""


class RedisBroker:
    """Carriers on servers that the run has; nothing ends with it."""

    def __init__(self, access: RedisAccess, *, sharded: bool = False) -> None:
        self.access = access
        self._sharded = sharded

    def carrier(self) -> RedisCarrier | RedisClusterCarrier:
        kind = RedisClusterCarrier if self._sharded else RedisCarrier
        return kind(self.access, PREFIX, PACE)

    async def cut(self, carrier: Carrier) -> None:
        cut(carrier)

    async def close(self) -> None:
        """The servers stay for the next test."""


def links_of(carrier: Carrier) -> Iterator[RedisLink]:
    """The ways of a carrier to its servers."""
    if isinstance(carrier, RedisClusterCarrier):
        yield from carrier._links.values()
    else:
        assert isinstance(carrier, RedisCarrier)
        yield carrier._link


def cut(carrier: Carrier) -> None:
    """Ends every connection of the carrier, as a network does."""
    for link in links_of(carrier):
        for wire in link._wires:
            assert wire._transport is not None
            descriptor = wire._transport.get_extra_info("socket").fileno()
            with socket.socket(fileno=os.dup(descriptor)) as copy:
                copy.shutdown(socket.SHUT_RDWR)


REDIS_CARRIERS: dict[str, Callable[[pytest.FixtureRequest], RedisBroker]] = {
    "redis": lambda request: RedisBroker(request.getfixturevalue("redis").settings.access()),
    "valkey": lambda request: RedisBroker(request.getfixturevalue("valkey").settings.access()),
    "valkey-cluster-sharded": lambda request: RedisBroker(
        request.getfixturevalue("valkey_cluster").access, sharded=True
    ),
    "redis-tls": lambda request: RedisBroker(request.getfixturevalue("redis_tls")),
    "redis-sentinel": lambda request: RedisBroker(request.getfixturevalue("redis_sentinel").access),
    "redis-cluster": lambda request: RedisBroker(request.getfixturevalue("redis_cluster").access),
    "redis-cluster-sharded": lambda request: RedisBroker(request.getfixturevalue("redis_cluster").access, sharded=True),
}
"""What makes a broker for one test, by the kind of servers: started once, they serve all tests that follow."""


def redis_broker_of(kind: str, request: pytest.FixtureRequest) -> RedisBroker:
    """A broker of one of `REDIS_CARRIERS`."""
    return REDIS_CARRIERS[kind](request)
