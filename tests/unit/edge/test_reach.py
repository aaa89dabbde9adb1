"""For whom a listener on loopback answers."""

from __future__ import annotations

import pytest

from sockudo import errors
from sockudo.config import Settings
from sockudo.config.schema import build
from sockudo.edge.reach import Reach, host_of, is_local_origin
from sockudo.errors import SockudoError
from support.edge import EdgeNode

LOOPBACK = {"host": "127.0.0.1", "metrics.host": "127.0.0.1"}


def settings(*, dev: bool = False, **values: object) -> Settings:
    """On loopback, with these settings by dotted path (``__`` for a dot)."""
    return build(LOOPBACK | {name.replace("__", "."): value for name, value in values.items()}, dev=dev)


def answers_for(reach: Reach, host: str) -> bool:
    headers = {b"host": host.encode("latin-1")}
    if reach.passes(headers):
        reach.check_host(headers)
        return True
    with pytest.raises(SockudoError) as refused:
        reach.check_host(headers)
    assert refused.value.spec is errors.HOST_NOT_ALLOWED
    return False


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:6001",
        "LOCALHOST.:6001",
        "app.localhost:6001",
        "127.0.0.1",
        "127.0.0.1:6001",
        "127.9.8.7",
        "[::1]",
        "[::1]:6001",
    ],
)
def test_a_listener_on_loopback_answers_for_the_names_of_loopback(host: str) -> None:
    for made in (Reach.of_clients(settings()), Reach.of_operators(settings()), Reach.of_clients(settings(dev=True))):
        assert answers_for(made, host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:6001",
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "128.0.0.1",
        "192.168.0.1",
        "[::2]",
        "0.0.0.0",
        "",
        "caf\xe9",
        "[",
    ],
)
def test_it_answers_for_no_other_name(host: str) -> None:
    for made in (Reach.of_clients(settings()), Reach.of_operators(settings()), Reach.of_clients(settings(dev=True))):
        assert not answers_for(made, host)


def test_configured_hosts_are_answered_for() -> None:
    made = Reach.of_clients(settings(allowed_hosts=("shop.example", "*.Pier.example", "[2001:db8::5]")))
    for host in ("shop.example:6001", "SHOP.example.", "a.pier.example", "a.b.pier.example", "[2001:db8::5]:80"):
        assert answers_for(made, host)
    for host in ("x.shop.example", "pier.example", "evilpier.example"):
        assert not answers_for(made, host)
    assert Reach.of_clients(settings(allowed_hosts=("*",))).open


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.7", "realtime.example"])
def test_listeners_that_others_reach_answer_for_every_host(host: str) -> None:
    assert Reach.of_clients(settings(host=host)).open
    assert Reach.of_operators(settings(metrics__host=host)).open
    assert Reach.of_clients(settings(unix_socket__enabled=True, dev=True)).open


@pytest.mark.parametrize(
    "proxied",
    [
        {"rate_limiter__api_rate_limit__trust_hops": 1},
        {"rate_limiter__websocket_rate_limit__trust_hops": 2},
        {"proxy_protocol": True},
        {"dashboard__trust_hops": 1, "dashboard__public": True},
    ],
)
def test_a_proxy_that_is_trusted_passes_its_own_names_on(proxied: dict[str, object]) -> None:
    assert Reach.of_clients(settings(**proxied)).open
    named = Reach.of_clients(settings(allowed_hosts=("shop.example",), **proxied))
    assert answers_for(named, "shop.example")
    assert not answers_for(named, "evil.example")
    assert not answers_for(Reach.of_clients(settings(dev=True, **proxied)), "evil.example")


def test_the_proxy_of_the_dashboard_is_that_of_its_own_listener() -> None:
    assert Reach.of_operators(settings(dashboard__trust_hops=1)).open
    assert not Reach.of_operators(settings(rate_limiter__api_rate_limit__trust_hops=1)).open
    assert not Reach.of_operators(settings(dashboard__trust_hops=1, dev=True)).open


def test_the_refusal_names_the_setting() -> None:
    with pytest.raises(SockudoError, match=r"on 127\.0\.0\.1 .* host 'evil\.example': .*allowed_hosts") as refused:
        Reach.of_clients(settings()).check_host({b"host": b"evil.example:80"})
    assert refused.value.spec.status == 421


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "https://LOCALHOST",
        "http://shop.localhost",
        "https://shop.test:8443",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "http://10.1.2.3",
        "http://172.31.0.9:5173",
        "http://192.168.178.20",
        "http://169.254.7.7",
        "http://[fd12::1]:3000",
        "http://[fe80::1]",
        "capacitor://localhost",
        "file://",
        "null",
    ],
)
def test_pages_of_this_machine_and_of_private_networks_are_local(origin: str) -> None:
    assert is_local_origin(origin)
    made = Reach.of_clients(settings(dev=True))
    made.check_origin(origin)
    assert made.passes({b"host": b"localhost", b"origin": origin.encode()})


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example:6001",
        "http://eviltest",
        "http://172.32.0.1",
        "http://11.0.0.1",
        "http://[2001:db8::1]",
        "file://evil.example",
        "chrome-extension://abcdef",
        "http://[",
        "",
        "caf\xe9",
    ],
)
def test_other_pages_are_refused_under_dev_alone(origin: str) -> None:
    assert not is_local_origin(origin)
    made = Reach.of_clients(settings(dev=True))
    with pytest.raises(SockudoError, match="--allow-origin") as refused:
        made.check_origin(origin)
    assert refused.value.spec is errors.ORIGIN_NOT_LOCAL
    assert not made.passes({b"host": b"localhost", b"origin": origin.encode("latin-1")})
    Reach.of_clients(settings()).check_origin(origin)


def test_named_origins_and_those_of_named_hosts_get_through() -> None:
    made = Reach.of_clients(settings(dev=True, dev_origins=("https://*.pier.example",), allowed_hosts=("a.example",)))
    for origin in ("https://shop.pier.example", "https://a.example", "http://localhost"):
        made.check_origin(origin)
    with pytest.raises(SockudoError):
        made.check_origin("https://b.example")
    Reach.of_clients(settings(dev=True, dev_origins=("*",))).check_origin("https://b.example")


def test_programs_send_no_origin_and_pass() -> None:
    made = Reach.of_clients(settings(dev=True))
    made.check_origin(None)
    assert made.passes({b"host": b"localhost"})


def test_what_strangers_choose_is_bounded() -> None:
    made = Reach.of_clients(settings(dev=True))
    for number in range(1000):
        assert not answers_for(made, f"h{number}.example")
    assert len(made._kept) <= 256
    assert len(made._logged) <= 20


@pytest.mark.parametrize(("value", "expected"), [("A:1", "a"), ("[::1]:1", "::1"), ("a.:1", "a"), ("", "")])
def test_the_host_of_a_header(value: str, expected: str) -> None:
    assert host_of(value) == expected


async def test_neither_way_of_a_request_answers_a_foreign_host() -> None:
    """The express lane and the web framework's, as well as an upgrade, which ends before its handshake."""
    node = EdgeNode(settings=settings(dev=True))
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    for request in (
        b"GET /live HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"POST /apps/x/events HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /app/k HTTP/1.1\r\nHost: evil.example\r\n" + upgrade + b"\r\n",
    ):
        wire = node.wire()
        wire.feed(request)
        reply = wire.reply()
        assert (reply.status, reply.json()["code"]) == (421, "host_not_allowed")
    assert node.gateway.refused_requests["host_not_allowed"] == 3


async def test_neither_way_of_a_request_answers_a_foreign_page() -> None:
    node = EdgeNode(settings=settings(dev=True))
    for request in (
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n",
        b"OPTIONS /apps/x/events HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n",
        b"POST /apps/x/events HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nContent-Length: 0\r\n\r\n",
    ):
        wire = node.wire()
        wire.feed(request)
        reply = wire.reply()
        assert reply.status == 403
        assert "access-control-allow-origin" not in reply.headers
        assert "--allow-origin https://evil.example" in reply.json()["error"]
