"""Which servers of a cluster are tried."""

from __future__ import annotations

from sockudo.config.sections.nats import AdapterNats, NatsTls
from sockudo.drivers.carriers.nats import NatsCarrier
from sockudo.drivers.carriers.nats_login import NatsServer


def places(carrier: NatsCarrier) -> set[str]:
    return {server.place for server in carrier._servers}


def test_servers_that_are_told_of_stand_beside_the_configured_ones_for_as_long_as_they_are_told_of() -> None:
    carrier = NatsCarrier(AdapterNats(servers=("nats://a.test:4222", "b.test")))
    (first, *_) = carrier._servers
    assert places(carrier) == {"a.test:4222", "b.test:4222"}
    carrier.on_servers(first, ["10.0.0.1:4222", "[::1]:4223", "10.0.0.1:4222", "x:y"])
    assert places(carrier) == {"a.test:4222", "b.test:4222", "10.0.0.1:4222", "[::1]:4223"}
    carrier.on_servers(first, ["10.0.0.2:4222"])
    assert places(carrier) == {"a.test:4222", "b.test:4222", "10.0.0.2:4222"}
    carrier.on_servers(first, (f"10.1.{number // 250}.{number % 250}:4222" for number in range(1_000)))
    assert len(carrier._servers) == 102


def test_the_certificate_of_one_that_is_told_of_is_for_the_name_that_is_configured() -> None:
    carrier = NatsCarrier(AdapterNats(servers=("nats.test",), tls=NatsTls(enabled=True)))
    carrier.on_servers(carrier._servers[0], ["10.0.0.1:4222"])
    assert carrier._servers[1] == NatsServer("10.0.0.1", 4222, True, "nats.test")


def test_its_name_has_all_that_is_configured() -> None:
    assert NatsCarrier(AdapterNats(servers=("b.test", "a.test:1"))).name == "nats at a.test:1, b.test:4222"
