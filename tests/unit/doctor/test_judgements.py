"""What the checks make of what they see: every decision, without a deployment."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sockudo.client.failures import ApiError, ClosedError
from sockudo.config import ConfigError, Loaded, Settings
from sockudo.config.apps import App, Channels, Policy
from sockudo.config.schema import build
from sockudo.config.sections.push import Push
from sockudo.config.sections.server import UnixSocket
from sockudo.doctor import (
    addresses,
    credentials,
    loop,
    process,
    reach,
    roundtrip,
    service,
    sockets,
    storage,
    stores,
    tls,
)
from sockudo.doctor import origins as origins_of_pages
from sockudo.doctor.addresses import Probe, Surroundings
from sockudo.doctor.deployment import Deployment, Options
from sockudo.doctor.finding import problem
from sockudo.doctor.operators import failed_parts, judge_binding
from sockudo.doctor.probe import Answer
from sockudo.doctor.reach import Knock
from sockudo.doctor.service import judge_degraded
from sockudo.doctor.storage import SqliteFile
from sockudo.doctor.stores import Server
from sockudo.doctor.tls import Certificate
from sockudo.errors import CATALOGUE
from sockudo.storage import failures, redis_scripts

DAY = 86_400.0
GIGABYTE = 1024**3


# ---- port ----


def test_every_address_that_answers_is_well() -> None:
    found = reach.judge([Knock("192.0.2.1", None, 0.0123), Knock("2001:db8::1", None, 0.004)], 443)
    assert [(each.state, each.seen) for each in found] == [
        ("ok", "192.0.2.1:443 answers after 12.3 ms"),
        ("ok", "[2001:db8::1]:443 answers after 4.0 ms"),
    ]


def test_one_family_that_does_not_answer_is_a_warning_and_none_a_problem() -> None:
    half = reach.judge([Knock("192.0.2.1", None), Knock("2001:db8::1", "Connection refused")], 443)
    assert [each.state for each in half] == ["ok", "warning"]
    assert "IPv6" in half[1].advice[0]
    none = reach.judge([Knock("192.0.2.1", "no answer within 5 s"), Knock("2001:db8::1", "Connection refused")], 443)
    assert [each.state for each in none] == ["problem", "problem"]


# ---- TLS ----


def certificate(**changes: Any) -> Certificate:
    fields = {"names": ("shop.test",), "issuer": "Harbor", "begins": 0.0, "ends": 90 * DAY, "fits": True, "chain": 0}
    return Certificate(**{**fields, **changes})


@pytest.mark.parametrize(
    ("now", "state", "words"),
    [
        (60.0, "ok", "89 days left"),
        (75.9 * DAY, "ok", "14 days left"),
        (76.1 * DAY, "warning", "ends in 13 days"),
        (89.5 * DAY, "warning", "ends in 12 hours"),
        (91 * DAY, "problem", "expired 24 hours ago"),
        (-1.0, "problem", "not valid yet"),
    ],
)
def test_the_days_of_a_certificate(now: float, state: str, words: str) -> None:
    found = tls.judge(certificate(), "shop.test", now)
    assert found[0].state == state
    assert words in found[0].seen


def test_a_certificate_of_few_days_is_not_warned_of_all_its_life() -> None:
    six_days = certificate(ends=6 * DAY)
    assert [each.state for each in tls.judge(six_days, "shop.test", 3 * DAY)] == ["ok"]
    assert tls.judge(six_days, "shop.test", 4.5 * DAY)[0].state == "warning"


@pytest.mark.parametrize(
    ("chain", "words"),
    [(18, "self-signed"), (19, "an authority that is not trusted"), (20, "ends before"), (7, "reason 7")],
)
def test_reasons_for_distrust(chain: int, words: str) -> None:
    (found,) = tls.judge(certificate(chain=chain), "shop.test", DAY)
    assert found.state == "problem"
    assert words in found.seen


def test_everything_that_is_wrong_with_a_certificate_is_said() -> None:
    found = tls.judge(certificate(fits=False, chain=18), "harbor.test", 100 * DAY)
    assert [each.state for each in found] == ["problem"] * 3
    assert "for shop.test, not for harbor.test" in found[1].seen


def test_reading_what_python_makes_of_a_certificate() -> None:
    shown = {
        "subject": ((("commonName", "shop.test"),),),
        "issuer": ((("organizationName", "Harbor"),), (("commonName", "R1"),)),
        "notBefore": "Jan  5 09:30:00 2026 GMT",
        "notAfter": "Jan  6 09:30:00 2026 GMT",
    }
    read = tls.read_certificate(shown, fits=True, chain=0)
    assert (read.names, read.issuer, read.ends - read.begins) == (("shop.test",), "Harbor", DAY)
    named = tls.read_certificate({**shown, "subjectAltName": (("DNS", "a.test"),)}, fits=True, chain=0)
    assert named.names == ("a.test",)


# ---- what answers, clock, version ----


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (Answer(200, {}, b""), "ok", "Sockudo answers"),
        (Answer(200, {"server": "nginx"}, b""), "ok", "behind a proxy (Server: nginx)"),
        (
            Answer(301, {"location": "https://shop.test/live?a=b"}, b""),
            "problem",
            "sends clients on to https://shop.test",
        ),
        (Answer(502, {"server": "nginx"}, b"<html>"), "problem", "a proxy answers 502"),
        (Answer(400, {}, b"The plain HTTP request was sent to HTTPS port"), "problem", "speaks TLS"),
        (Answer(200, {}, b"hello"), "problem", "something else answers: 200"),
        (Answer(404, {}, b""), "problem", "something else answers: 404"),
    ],
)
def test_what_answers(answer: Answer, state: str, words: str) -> None:
    found = service.judge_live(answer)
    assert (found.state, words in found.seen) == (state, True), found
    assert bool(found.advice) == (state == "problem")


@pytest.mark.parametrize(
    ("skew", "state"),
    [
        (0.4, "ok"),
        (-2.4, "ok"),
        (30.0, "ok"),
        (31.0, "warning"),
        (-599.0, "warning"),
        (600.0, "problem"),
        (-4000, "problem"),
    ],
)
def test_clocks(skew: float, state: str) -> None:
    found = service.judge_skew(skew, of_proxy=False)
    assert found.state == state
    assert found.slug == (None if state == "ok" else "timestamp_stale")
    if abs(skew) > 3:
        assert ("ahead of" if skew > 0 else "behind") in found.seen


def test_versions() -> None:
    assert service.judge_version("1.2.0", "1.2.0", newer=False).state == "ok"
    assert "this command is 1.3.0" in service.judge_version("1.2.0", "1.3.0", newer=False).seen
    assert "Restart" in service.judge_version("1.2.0", "1.2.0", newer=True).advice[0]


# ---- credentials, websocket, origin ----


@pytest.mark.parametrize(
    ("slug", "words"),
    [
        ("app_not_found", "no app has the id shop"),
        ("unknown_key", "no app has the key k1"),
        ("app_mismatch", "another app than shop"),
        ("signature_mismatch", "the secret is not that of the app shop"),
        ("timestamp_stale", "clocks"),
        ("app_disabled", "disabled"),
    ],
)
def test_what_does_not_fit_is_told_apart(slug: str, words: str) -> None:
    row = CATALOGUE[slug]
    error = ApiError(row.status or 0, row.code, "refused", docs=f"errors.md#{slug}")
    found = credentials.judge_refusal(error, "shop", "k1")
    assert (found.state, found.slug) == ("problem", slug)
    assert words in found.seen
    assert found.advice


def test_a_limit_is_no_fault_of_the_credentials_and_a_proxy_is_named() -> None:
    limited = ApiError(429, "rate_limited", "Too many", docs="errors.md#rate_limited", retry_after=7)
    assert credentials.judge_refusal(limited, "shop", "k1").state == "warning"
    for text in ("Too many", "Too many. Try again in 7 s."):
        told = ApiError(429, "rate_limited", text, docs="errors.md#rate_limited", retry_after=7)
        found = credentials.judge_refusal(told, "shop", "k1")
        assert found.seen.lower().count("try again in 7 s") == 1
        assert "rate_limiter.api_rate_limit.max_requests" in found.advice[0]
    page = ApiError(403, "unknown", "The answer is not one of a Sockudo server")
    assert "A proxy" in credentials.judge_refusal(page, "shop", "k1").advice[0]


@pytest.mark.parametrize(
    ("code", "reason", "state", "slug"),
    [
        (4009, "Origin not allowed", "ok", None),
        (4001, "Application does not exist", "problem", "unknown_app"),
        (4003, "The app is disabled.", "problem", "app_disabled"),
        (4100, "Over capacity", "problem", "over_capacity"),
        (1006, "", "problem", "connection_cut"),
    ],
)
def test_closes_in_place_of_a_greeting(code: int, reason: str, state: str, slug: str | None) -> None:
    found = sockets.judge_refusal(ClosedError(code, reason, established=False))
    assert (found.state, found.slug) == (state, slug)


def record(*origins: str) -> App:
    return App("shop", "k1", "hidden", True, Policy(channels=Channels(allowed_origins=origins)))


@pytest.mark.parametrize(
    ("origins", "given", "used"),
    [
        ((), None, None),
        (("*",), None, None),
        (("https://shop.test",), None, "https://shop.test"),
        (("*.shop.test",), None, "https://shop.test"),
        (("https://*.shop.test",), None, "https://www.shop.test"),
        (("https://shop.test:*",), None, "https://shop.test:8443"),
        (("https://shop.test/path",), None, "https://shop.test"),
        (("https://shop.test:443",), None, "https://shop.test"),
        (("https://shop.test/path", "http://other.test"), None, "http://other.test"),
        (("https://shop.test",), "HTTPS://Shop.test:443", "https://shop.test"),
        (("shop.test:8443",), None, "https://shop.test:8443"),
        (("https://shop.test",), "https://evil.test", "https://evil.test"),
    ],
)
def test_the_origin_to_connect_with(origins: tuple[str, ...], given: str | None, used: str | None) -> None:
    deployment = Deployment("https://ws.test", None, Options(origin=given), app=record(*origins))
    assert origins_of_pages.origin_of(deployment) == used


def test_a_pattern_that_no_page_fits_is_a_problem_whatever_the_server_says() -> None:
    deployment = Deployment("https://ws.test", app=record("https://shop.test/path"))
    deployment.refusal = ClosedError(4009, "Origin not allowed", established=False)
    useless, refused = origins_of_pages.judge(deployment, connected=False)
    assert (useless.state, refused.state) == ("problem", "problem")
    assert "'https://shop.test/path'" in useless.seen
    assert "'/path'" in useless.seen
    assert "pages of https://shop.test" in refused.seen


def test_beside_a_pattern_that_fits_it_is_a_warning() -> None:
    deployment = Deployment("https://ws.test", app=record("https://shop.test/path", "https://shop.test"))
    useless, let_in = origins_of_pages.judge(deployment, connected=True)
    assert (useless.state, let_in.state) == ("warning", "ok")
    deployment = Deployment("https://ws.test", app=record("*"))
    assert [each.state for each in origins_of_pages.judge(deployment, connected=True)] == ["ok"]


# ---- who the client is ----

ALONE = Probe(before=90, forged=89, after=88)
BELIEVED = Probe(before=90, forged=99, after=89)


@pytest.mark.parametrize(
    ("probe", "hops", "proxy", "here", "state", "words"),
    [
        (ALONE, 0, None, False, "ok", "trust_hops = 0"),
        (ALONE, 1, "Server: nginx", False, "ok", "trust_hops = 1"),
        (ALONE, 0, "Server: nginx", False, "problem", "all clients share one limit"),
        (ALONE, None, "Server: nginx", False, "not_checked", "--config"),
        (ALONE, None, None, False, "not_checked", "--config"),
        (ALONE, 1, None, False, "not_checked", "no proxy was met"),
        (Probe(90, 85, 80), 1, "Server: nginx", False, "warning", "8 requests of others"),
        (BELIEVED, 1, "Server: nginx", False, "problem", "pass for any address"),
        (BELIEVED, None, None, False, "problem", "pass for any address"),
        (BELIEVED, 1, "Server: nginx", True, "problem", "pass for any address"),
        (BELIEVED, 1, None, True, "not_checked", "on loopback"),
    ],
)
def test_addresses(probe: Probe, hops: int | None, proxy: str | None, here: bool, state: str, words: str) -> None:
    found = addresses.judge("HTTP API", probe, Surroundings("rate_limiter.x.trust_hops", hops, proxy, here))
    assert (found.state, words in found.seen) == (state, True), found


def test_on_a_unix_socket_one_proxy_at_least_is_trusted() -> None:
    on_tcp, on_a_file = Settings(), Settings(unix_socket=UnixSocket(enabled=True))
    assert addresses._hops(on_tcp, "api_rate_limit") == 0
    assert addresses._hops(on_a_file, "websocket_rate_limit") == 1


def test_a_first_request_of_a_window_is_not_taken_for_a_forged_one() -> None:
    assert not Probe(before=99, forged=98, after=97).believed
    assert Probe(before=99, forged=99, after=98).believed
    assert Probe(before=99, forged=99, after=98).others == 0


# ---- round trip ----


def test_times_of_events() -> None:
    found = roundtrip.judge(2, [3.0, 1.0, 9.0])
    assert (found.state, found.facts["p50_ms"], found.facts["max_ms"]) == ("ok", 3.0, 9.0)
    assert roundtrip.judge(1, [1500.0, 1600.0]).state == "warning"
    lost = roundtrip.judge(1, [3.0, None])
    assert (lost.state, lost.facts["lost"]) == ("problem", 1)


# ---- process, stores, operators ----


@pytest.mark.parametrize(
    ("limit", "in_use", "wanted", "state"),
    [
        (65_536, 100, 0, "ok"),
        (65_536, None, 60_000, "ok"),
        (1024, 20, 0, "warning"),
        (65_536, 60_000, 0, "warning"),
        (65_536, 64_000, 0, "problem"),
        (1024, 930, 0, "problem"),
        (10_000, 20, 10_000, "problem"),
    ],
)
def test_descriptors(limit: int, in_use: int | None, wanted: int, state: str) -> None:
    found = process.judge(limit, in_use, wanted, "process 7")
    assert found.state == state
    assert bool(found.advice) == (state != "ok")


@pytest.mark.parametrize(
    ("free", "state"),
    [(50 * GIGABYTE, "ok"), (4 * GIGABYTE, "warning"), (GIGABYTE // 2, "warning"), (GIGABYTE // 20, "problem")],
)
def test_room_on_the_disk(free: int, state: str) -> None:
    assert storage.judge_disk("/var/lib/sockudo", free, 100 * GIGABYTE).state == state


@pytest.mark.parametrize(
    ("owner", "mode", "head", "user", "state"),
    [
        (7, 0o600, b"SQLite format 3\0", 7, "ok"),
        (7, 0o600, None, None, "ok"),
        (0, 0o600, b"SQLite format 3\0", 7, "problem"),
        (7, 0o400, b"SQLite format 3\0", 7, "problem"),
        (7, 0o600, b"SQLite format 3\0", 0, "ok"),
        (7, 0o644, b"SQLite format 3\0", 7, "warning"),
        (7, 0o600, b"<!DOCTYPE html> ", 7, "problem"),
    ],
)
def test_files(owner: int, mode: int, head: bytes | None, user: int | None, state: str) -> None:
    assert storage.judge_file(SqliteFile(Path("apps.sqlite3"), owner, mode, 4096, head), user).state == state


def test_an_empty_file_is_a_store_that_holds_nothing_yet() -> None:
    assert storage.judge_file(SqliteFile(Path("apps.sqlite3"), 7, 0o600, 0, b""), 7).state == "ok"


@pytest.mark.parametrize(
    ("address", "mode", "state"),
    [
        ("0.0.0.0", "production", "warning"),
        ("::", "production", "warning"),
        ("0.0.0.0", "staging", "ok"),
        ("127.0.0.1", "production", "ok"),
        ("10.0.0.5", "production", "ok"),
    ],
)
def test_where_metrics_listen(address: str, mode: str, state: str) -> None:
    assert judge_binding(address, mode).state == state


def test_the_parts_that_fail_are_named_with_their_reasons() -> None:
    told = {"checks": [{"name": "apps", "passed": True}, {"name": "history", "passed": False, "reason": "no answer"}]}
    assert failed_parts(told) == ["history: no answer"]
    assert failed_parts({}) == []


def test_what_fails_while_the_server_is_in_service_has_its_own_advice() -> None:
    found = judge_degraded({"history_writes": "its disk is full", "webhooks": "Redis is away"}, "Start Redis.")
    assert [each.facts["part"] for each in found] == ["history_writes", "webhooks"]
    assert "(its disk is full)" in found[0].seen
    assert found[0].advice[0].startswith("Make room")
    assert found[1].advice == ("Start Redis.",)
    (unknown,) = judge_degraded({}, "Start Redis.")
    assert "dashboard.password" in unknown.advice[0]


def test_the_databases_of_push_are_reached_too() -> None:
    settings = Settings(push=Push(storage_driver="postgres", queue_driver="redis"))
    assert [server.name for server in stores._servers(settings)] == ["PostgreSQL", "Redis"]
    assert not list(stores._servers(Settings()))


# ---- databases and Redis ----


def server_of(name: str, login: Callable[[float], Awaitable[str | None]]) -> Server:
    return Server(name, "database.redis", "127.0.0.1", 1, "0", login)


async def test_a_server_whose_driver_is_not_installed_is_only_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def login(_: float) -> str | None:
        raise ConfigError(["Redis needs a driver that is not installed: pip install '.[redis]' in a checkout"])

    async def reached(*_: object) -> None:
        return None

    monkeypatch.setattr(stores, "_reach", reached)
    found = await stores._look_at(server_of("Redis", login), 1)
    assert (found.state, found.advice) == (
        "not_checked",
        ("Redis needs a driver that is not installed: pip install '.[redis]' in a checkout",),
    )
    assert found.seen.startswith("Redis at 127.0.0.1:1 takes connections")


def test_both_drivers_say_the_same_of_a_wrong_password() -> None:
    """The advice is found by these words."""
    assert redis_scripts.UNKNOWN_USER == failures.UNKNOWN_USER


# ---- the event loop ----


@pytest.mark.parametrize(
    ("last", "pressure", "state", "words"),
    [
        (40.0, None, "ok", "blocked for 40 ms at most"),
        (40.0, 3.0, "ok", "40 ms"),
        (1098.0, 0.0, "warning", "blocked for 1,098 ms"),
        (1098.0, 41.5, "warning", "for 42 % of the last minute"),
        (40.0, 41.5, "ok", "blocked for 40 ms at most"),
    ],
)
def test_a_blocked_loop(last: float, pressure: float | None, state: str, words: str) -> None:
    found = loop.judge(last, 1200.0, 3, pressure)
    assert found.state == state
    assert words in found.seen
    starved = state == "warning" and pressure is not None and pressure > 10
    assert ("machine is short" in " ".join(found.advice)) == starved


def test_pressure_is_read_from_the_kernel(tmp_path: Path) -> None:
    file = tmp_path / "cpu"
    assert loop.pressure_of(file) is None
    file.write_text("some avg10=0.00 avg60=12.34 avg300=1.00 total=5\nfull avg10=0.00 avg60=9.99 avg300=0 total=0\n")
    assert loop.pressure_of(file) == 12.34
    file.write_text("nothing of the kind")
    assert loop.pressure_of(file) is None


# ---- who answers ----


@pytest.mark.parametrize(
    ("body", "words", "slug"),
    [
        (
            {"error": "There is nothing at /rt/live", "docs": "errors.md#not_found"},
            "sees another path than /live",
            "not_found",
        ),
        ({"error": "Busy", "docs": "errors.md#rate_limited"}, "refuses GET /live", "rate_limited"),
        ({"error": "Other", "docs": "errors.md#of_something_else"}, "something else answers", None),
        (["other"], "something else answers", None),
    ],
)
def test_a_server_of_ours_is_known_by_its_refusals(body: object, words: str, slug: str | None) -> None:
    found = service.judge_live(Answer(404, {}, json.dumps(body).encode()))
    assert (found.state, found.slug) == ("problem", slug)
    assert words in found.seen


def test_a_loopback_host_of_the_configuration_is_why_nothing_answers() -> None:
    refused = problem("203.0.113.9:6001: Connection refused", "Is it running?")
    for host, explained in (("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)):
        settings = build({"host": host, "port": 6001})
        deployment = Deployment("http://203.0.113.9:6001", loaded=Loaded(settings))
        found = reach.beside_the_configuration(refused, deployment)
        assert (f"host = {host!r}" in found.seen) == explained
        assert ("0.0.0.0" in found.advice[0]) == explained
    other_port = Deployment("http://203.0.113.9:443", loaded=Loaded(build({"host": "127.0.0.1", "port": 6001})))
    assert reach.beside_the_configuration(refused, other_port) is refused
