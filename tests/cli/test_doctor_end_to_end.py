"""``sockudo doctor`` against deployments that are well, and against ones that are broken in one way each."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from cli.http_proxy import HttpProxy, Ways
from sockudo.config.sections.databases import Postgres
from support import commands
from support.certificates import write_certificate, write_chain
from support.databases import PASSWORD, DatabaseServer
from support.endpoint import WebhookEndpoint
from support.http_server import Asked, HttpServer
from support.nats import NatsProcess
from support.ports import free_port
from support.redis import PASSWORD as REDIS_PASSWORD
from support.redis import RedisProcess, redis_server
from support.redis_sets import ClusterSet, SentinelSet
from support.server import DEFAULT_APP, FROM_NOTHING, Reply, ServerProcess, app_record, start_server
from support.waiting import wait_until
from support.websocket import WebSocket

HIDDEN = "s3cret-token"
CREDENTIALS = commands.credentials(DEFAULT_APP)


class Report:
    """What the command said as JSON."""

    def __init__(self, exit_code: int, stdout: str) -> None:
        self.exit_code = exit_code
        self.findings: list[dict[str, Any]] = json.loads(stdout)["findings"]

    def of(self, check: str, state: str | None = None) -> dict[str, Any]:
        found = [each for each in self.findings if each["check"] == check and state in (None, each["state"])]
        assert found, f"nothing of {check} is {state}: {self.findings}"
        return found[0]

    def states(self, check: str) -> set[str]:
        return {each["state"] for each in self.findings if each["check"] == check}

    def problems(self) -> set[str]:
        return {each["check"] for each in self.findings if each["state"] == "problem"}


def run(
    *arguments: str, url: str | None = None, env: Mapping[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    return commands.run(
        ["doctor", "--timeout", "3", *arguments],
        env=commands.environment(url, DEFAULT_APP, **(env or {})),
        cwd=Path(__file__).parent,
        code=code,
        secrets=(HIDDEN, DEFAULT_APP.secret),
    )


def doctor(
    url: str | None,
    only: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    who: Mapping[str, str] = CREDENTIALS,
) -> Report:
    """The command in this process, which is quicker; what is not in ``env`` or ``who`` is not set."""
    unset = {name: None for name in os.environ if name.startswith(("SOCKUDO_", "PUSHER_"))}
    place = {} if url is None else {"SOCKUDO_URL": url}
    options = ["--json", "--only", only, "--timeout", "3", "--idle", "0.2", "--rounds", "2", *arguments]
    done = commands.invoke(["doctor", *options], env={**unset, **who, **place, **(env or {})})
    for secret in (HIDDEN, DEFAULT_APP.secret):
        assert secret not in done.output
    return Report(done.exit_code, done.stdout)


def at_home(server: ServerProcess, only: str, *arguments: str, url: str | None = None) -> Report:
    """On the server's machine, with its configuration."""
    env = {"SOCKUDO_DATA_DIR": str(server.folder / "data")}
    return doctor(url, only, "--config", str(server.folder / "config.json"), *arguments, env=env)


def limited(**sections: Mapping[str, Any]) -> dict[str, Any]:
    """Limits by address that no test reaches."""
    wide = {"max_requests": 5000}
    return {
        "rate_limiter": {
            "enabled": True,
            "api_rate_limit": wide | dict(sections.get("api", {})),
            "websocket_rate_limit": wide | dict(sections.get("ws", {})),
        }
    }


# ---- all is well ----


class VerifyingEndpoint(HttpServer):
    """Takes what is signed with the app's secret, and answers 401 to everything else."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        super().__init__(self._verified, methods=("POST",))
        self.url = f"{self.origin}/hook?token={HIDDEN}"

    def _verified(self, asked: Asked) -> Reply:
        signature = hmac.new(DEFAULT_APP.secret.encode(), asked.body, hashlib.sha256).hexdigest()
        status = 200 if hmac.compare_digest(signature, asked.headers["x-pusher-signature"]) else 401
        self.statuses.append(status)
        return Reply(status, {}, b"")


def hooked(url: str) -> dict[str, Any]:
    record = app_record(DEFAULT_APP, webhooks=[{"url": url, "event_types": ["channel_occupied"]}])
    return {"app_manager": {"array": {"apps": [record]}}, "webhooks": {"allow_private_addresses": True}}


def test_everything_is_well_on_the_machine_itself() -> None:
    with VerifyingEndpoint() as endpoint:
        config = hooked(endpoint.url) | limited() | {"dashboard": {"password": "a-long-password-of-operators"}}
        config["app_manager"]["driver"] = "sqlite"
        with start_server(config) as server:
            arguments = ["--config", str(server.folder / "config.json"), "--idle", "0.2", "--strict"]
            env = {"SOCKUDO_DATA_DIR": str(server.folder / "data")}
            shown = run(*arguments, env=env)
            again = run(*arguments, "--json", env=env)
            report = Report(again.returncode, again.stdout)
            assert server.metrics().count('error_type="authentication_failed"') == 0
    assert "a-long-password-of-operators" not in shown.stdout
    assert "No problem" in shown.stdout
    listed = run("--list").stdout
    assert {line.split()[0] for line in listed.splitlines()} == {each["check"] for each in report.findings}
    assert report.states("tls") == {"not_checked"}
    assert not {"warning", "problem"} & {each["state"] for each in report.findings}
    assert {each["facts"]["protocol"] for each in report.findings if each["check"] == "publish"} == {1, 2}
    assert 0 < report.of("publish")["facts"]["p50_ms"] <= report.of("publish")["facts"]["max_ms"] < 3000
    assert report.of("descriptors")["facts"]["limit"] > 100
    assert "refuses a wrong signature" in report.of("webhooks")["seen"]
    assert 401 in endpoint.statuses


def test_what_can_be_seen_from_outside(server: ServerProcess) -> None:
    done = run("--idle", "0.2", url=server.url)
    for check in ("port", "server", "clock", "credentials", "health", "websocket", "origin", "frames", "publish"):
        assert f"ok           {check}" in done.stdout
    assert "not checked  config" in done.stdout
    assert "stores" in done.stdout.partition("not checked")[2]


def test_without_credentials_it_still_looks_at_what_it_can(server: ServerProcess, tmp_path: Path) -> None:
    nothing = tmp_path / "sockudo.json"
    nothing.write_text(json.dumps({"app_manager": {"driver": "memory"}}))
    report = doctor(server.url, "server,health,credentials,websocket,publish", "--config", str(nothing), who={})
    assert report.exit_code == 0
    assert report.states("credentials") == report.states("publish") == {"not_checked"}
    assert report.states("server") == report.states("health") == report.states("websocket") == {"ok"}


@pytest.mark.parametrize("check", ["origin", "frames", "idle", "publish", "clock", "webhooks"])
def test_one_check_alone(server: ServerProcess, check: str) -> None:
    report = doctor(server.url, check)
    assert report.states(check) == {"not_checked" if check == "webhooks" else "ok"}


# ---- port, TLS, who answers ----


def test_a_closed_port_makes_the_rest_pointless() -> None:
    done = run(url=f"http://127.0.0.1:{free_port()}", code=1)
    assert "Connection refused" in done.stdout
    left_out = next(line for line in done.stdout.splitlines() if "because of the problem with port" in line)
    for check in ("server", "credentials", "publish", "webhooks"):
        assert check in left_out


def test_https_to_a_port_of_plain_http(server: ServerProcess) -> None:
    report = doctor(server.url.replace("http:", "https:"), "port,tls,server")
    assert report.exit_code == 1
    assert "plain HTTP" in report.of("tls")["seen"]
    assert server.url in " ".join(report.of("tls")["advice"])
    assert report.states("server") == {"not_checked"}


@contextlib.contextmanager
def tls_server(files: tuple[Path, Path]) -> Iterator[ServerProcess]:
    settings = {"enabled": True, "cert_path": str(files[0]), "key_path": str(files[1])}
    with start_server({"ssl": settings}, plain_http=False) as running:
        yield running


def test_http_to_a_port_of_tls(tmp_path: Path) -> None:
    with tls_server(write_certificate(tmp_path)) as server:
        report = doctor(server.url, "port,server,credentials")
    assert "speaks TLS" in report.of("server")["seen"]
    assert "https://" in report.of("server")["advice"][0]
    assert report.states("credentials") == {"not_checked"}


def test_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    authority, files = write_chain(tmp_path)
    with tls_server(files) as server:
        report = doctor(
            f"https://localhost:{server.port}",
            "port,tls,server,credentials,websocket,publish",
            env={"SSL_CERT_FILE": str(authority)},
        )
    assert report.exit_code == 0, report.findings
    tls = [each["seen"] for each in report.findings if each["check"] == "tls"]
    assert any("TLSv1.3" in seen for seen in tls), tls
    assert any("certificate for localhost" in seen for seen in tls), tls
    assert report.states("publish") == {"ok"}


@pytest.mark.parametrize(
    ("how", "host", "trusted", "words"),
    [
        ({}, "localhost", False, ["self-signed"]),
        ({"expired": True}, "localhost", False, ["expired", "self-signed"]),
        ({"expired": True}, "localhost", True, ["expired"]),
        ({"host": "shop.test"}, "localhost", True, ["is for shop.test, not for localhost"]),
        ({"host": "shop.test", "expired": True}, "127.0.0.1", False, ["expired", "not for 127.0.0.1", "self-signed"]),
    ],
)
def test_certificates_that_nobody_trusts(
    tmp_path: Path, how: dict[str, Any], host: str, trusted: bool, words: list[str]
) -> None:
    files = write_certificate(tmp_path, **how)
    with tls_server(files) as server:
        env = {"SSL_CERT_FILE": str(files[0])} if trusted else {}
        report = doctor(f"https://{host}:{server.port}", "port,tls,server", env=env)
    assert report.exit_code == 1
    seen = [each["seen"] for each in report.findings if each["check"] == "tls" and each["state"] == "problem"]
    assert len(seen) == len(words), seen
    for word in words:
        assert any(word in each for each in seen), seen
    assert report.states("server") == {"not_checked"}


def test_an_authority_that_is_unknown_and_a_chain_that_ends_early(tmp_path: Path) -> None:
    _, files = write_chain(tmp_path)
    with tls_server(files) as server:
        report = doctor(f"https://localhost:{server.port}", "tls")
    assert "ends before an authority" in report.of("tls", "problem")["seen"]
    assert "fullchain" in report.of("tls", "problem")["advice"][0]


def test_an_old_protocol_that_is_still_spoken(tmp_path: Path) -> None:
    authority, files = write_chain(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with HttpServer(silent(), tls=context) as other:
        report = doctor(f"https://localhost:{other.port}", "tls", "--strict", env={"SSL_CERT_FILE": str(authority)})
    assert "TLS 1.0 or 1.1" in report.of("tls", "warning")["seen"]
    assert report.exit_code == 1


def silent(behind: float = 0.0) -> Callable[[Asked], Reply]:
    """Answers as ``/live`` does, with a Date that may be wrong by so many seconds."""

    def answer(_: Asked) -> Reply:
        when = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=behind)
        return Reply(200, {"Date": format_datetime(when, usegmt=True)}, b"")

    return answer


@pytest.mark.parametrize(("seconds", "state", "code"), [(0, "ok", 0), (90, "warning", 0), (3700, "problem", 1)])
def test_a_clock_that_runs_wrong(seconds: int, state: str, code: int) -> None:
    with HttpServer(silent(seconds)) as wrong:
        report = doctor(wrong.origin, "server,clock")
    assert report.states("clock") == {state}
    assert report.exit_code == code
    assert abs(report.of("clock")["facts"]["skew_s"] + seconds) <= 2
    assert report.of("clock")["slug"] == (None if state == "ok" else "timestamp_stale")


def test_a_proxy_with_a_wrong_clock_is_not_the_server(server: ServerProcess) -> None:
    with HttpProxy(server.port, Ways(date="Mon, 05 Jan 2026 09:30:00 GMT")) as proxy:
        report = doctor(proxy.url, "server,clock")
    assert report.states("clock") == {"ok"}
    assert "the server's clock" in report.of("clock")["seen"]


def test_a_prefix_that_is_passed_on_to_the_server(server: ServerProcess) -> None:
    report = doctor(f"{server.url}/realtime", "server,websocket")
    assert "sees another path" in report.of("server")["seen"]
    assert "something else" not in report.of("server")["seen"]
    [socket] = [each for each in doctor(f"{server.url}/realtime", "websocket").findings if each["check"] == "websocket"]
    assert "another path than /app/KEY" in socket["seen"]
    assert "strip its prefix" in socket["advice"][0]


def test_a_prefix_that_the_proxy_strips_is_signed_by_some_backends(server: ServerProcess) -> None:
    def stripped(asked: Asked) -> Reply:
        return server.request("GET", asked.path.removeprefix("/realtime"))

    with HttpServer(lambda asked: Reply(200, {}, stripped(asked).body)) as proxy:
        found = doctor(f"{proxy.origin}/realtime", "server,credentials").of("credentials")
    assert found["state"] == "warning"
    assert "signed without /realtime" in found["seen"]


def test_an_origin_that_no_page_can_have_is_never_good() -> None:
    app = app_record(DEFAULT_APP, channels={"allowed_origins": ["https://shop.example.com/path"]})
    with start_server({"app_manager": {"array": {"apps": [app]}}}) as server:
        report = at_home(server, "server,origin")
    assert report.states("origin") == {"problem"}


def test_something_else_answers() -> None:
    with WebhookEndpoint() as endpoint:
        report = doctor(endpoint.url.removesuffix("/hook"), "server,credentials,publish")
    assert "something else answers: 501" in report.of("server")["seen"]
    assert report.problems() == {"server"}


# ---- credentials ----


def test_credentials_that_do_not_fit_are_told_apart() -> None:
    off = app_record(DEFAULT_APP) | {"id": "off", "key": "off-key", "enabled": False}
    config = {"app_manager": {"array": {"apps": [app_record(DEFAULT_APP), off]}}}
    wrong = {
        "signature_mismatch": {"SOCKUDO_APP_SECRET": "another-one"},
        "unknown_key": {"SOCKUDO_APP_KEY": "another-key"},
        "app_not_found": {"SOCKUDO_APP_ID": "another-id"},
        "app_mismatch": {"SOCKUDO_APP_KEY": "off-key"},
        "app_disabled": {"SOCKUDO_APP_ID": "off", "SOCKUDO_APP_KEY": "off-key"},
    }
    with start_server(config) as server:
        for slug, change in wrong.items():
            report = doctor(server.url, "server,credentials,publish", who={**CREDENTIALS, **change})
            assert report.of("credentials")["slug"] == slug
            assert report.states("publish") == {"not_checked"}
            assert report.exit_code == 1
        disabled = doctor(server.url, "health,websocket", who={**CREDENTIALS, **wrong["app_disabled"]})
    assert disabled.of("health")["slug"] == "app_disabled"
    assert disabled.of("websocket")["slug"] == "app_disabled"


# ---- origins, proxies ----


def test_origins() -> None:
    record = app_record(DEFAULT_APP, channels={"allowed_origins": ["https://shop.test", "*.harbor.test"]})
    with start_server({"app_manager": {"array": {"apps": [record]}}}) as server:
        checks = "websocket,origin,frames,publish"
        refused = doctor(server.url, checks, "--origin", "https://evil.test")
        allowed = doctor(server.url, checks, "--origin", "https://a.harbor.test")
        unsaid = doctor(server.url, checks)
        known = at_home(server, checks)
        told = at_home(server, checks, "--origin", "https://evil.test")
    assert refused.of("origin")["slug"] == "origin_not_allowed"
    assert refused.states("websocket") == {"ok"}
    assert refused.states("publish") == refused.states("frames") == {"not_checked"}
    assert refused.exit_code == 1
    assert {each["state"] for each in allowed.findings} == {"ok"}
    assert unsaid.states("origin") == unsaid.states("publish") == {"not_checked"}
    assert "--origin" in unsaid.of("origin")["seen"]
    assert {each["state"] for each in known.findings} == {"ok"}
    assert "it allows https://shop.test, *.harbor.test" in told.of("origin")["seen"]


def test_a_proxy_that_strips_the_upgrade(server: ServerProcess) -> None:
    with HttpProxy(server.port, Ways(upgrades=False)) as proxy:
        report = doctor(proxy.url, "server,credentials,websocket,origin,publish")
    assert report.states("credentials") == {"ok"}
    assert "a proxy strips them" in report.of("websocket")["seen"]
    assert report.of("websocket")["slug"] == "upgrade_invalid"
    assert "behind a proxy (Server: nginx)" in report.of("server")["seen"]
    assert report.states("publish") == {"not_checked"}


def test_a_proxy_that_cuts_silence_and_takes_small_bodies_only(server: ServerProcess) -> None:
    with HttpProxy(server.port, Ways(idle=0.5, largest=20_000)) as proxy:
        report = doctor(proxy.url, "websocket,origin,frames,idle", "--idle", "8")
    assert "a proxy takes no body of 60 KB" in report.of("frames", "problem")["seen"]
    assert "32 KB pass to the server" in report.of("frames", "ok")["seen"]
    assert "cut after" in report.of("idle")["seen"]
    assert 0.3 < report.of("idle")["facts"]["seconds"] < 5


def test_a_proxy_that_nobody_told_the_server_of() -> None:
    with start_server(limited()) as server, HttpProxy(server.port) as proxy:
        report = at_home(server, "server,credentials,address", url=proxy.url)
        outside = doctor(proxy.url, "server,credentials,address")
        direct = at_home(server, "server,credentials,address")
    problems = [each for each in report.findings if each["state"] == "problem"]
    assert len(problems) == 2
    assert all("all clients share one limit" in each["seen"] for each in problems)
    assert "rate_limiter.api_rate_limit.trust_hops" in problems[0]["advice"][0]
    assert "rate_limiter.websocket_rate_limit.trust_hops" in problems[1]["advice"][0]
    assert outside.states("address") == {"not_checked"}
    assert direct.states("address") == {"ok"}


@pytest.mark.parametrize(
    ("hops", "forwards", "state"),
    [(1, True, "ok"), (2, True, "problem"), (1, False, "problem")],
    ids=["right", "one hop too many", "what clients write is passed on"],
)
def test_the_address_behind_a_proxy(hops: int, forwards: bool, state: str) -> None:
    trusting = {"trust_hops": hops}
    with (
        start_server(limited(api=trusting, ws=trusting)) as server,
        HttpProxy(server.port, Ways(forwards=forwards)) as proxy,
    ):
        report = at_home(server, "server,credentials,address", url=proxy.url)
    assert report.states("address") == {state}, report.findings
    assert [each["facts"]["forged_believed"] for each in report.findings if each["check"] == "address"] == [
        state == "problem"
    ] * 2


def test_a_limit_that_is_used_up_is_no_problem_of_the_deployment() -> None:
    with start_server(limited(ws={"max_requests": 2, "window_seconds": 3600})) as server:
        report = doctor(server.url, "server,credentials,address")
    assert [each["seen"].partition(";")[0] for each in report.findings if each["check"] == "address"] == [
        "HTTP API: a forged X-Forwarded-For is not believed",
        "upgrades: the limit of this address is used up",
    ]
    assert report.exit_code == 0


def test_what_is_limited_is_not_checked_and_never_blamed_on_the_queue() -> None:
    with start_server(limited(api={"max_requests": 1, "window_seconds": 3600})) as server:
        assert server.signed("GET", "/apps/app-id/channels").status == 200
        report = doctor(server.url, "websocket,frames,queue")
    for check in ("frames", "queue"):
        assert report.states(check) == {"not_checked"}
        assert "rate_limiter.api_rate_limit.max_requests" in report.of(check)["seen"]
    assert report.exit_code == 0


# ---- webhooks ----


def test_endpoints_that_take_anything_fail_or_are_gone() -> None:
    gone = f"http://127.0.0.1:{free_port()}/hook"
    with WebhookEndpoint() as careless, WebhookEndpoint(status=500) as failing:
        hooks = [{"url": url, "event_types": ["channel_occupied"]} for url in (careless.url, failing.url, gone)]
        config = {
            "app_manager": {"array": {"apps": [app_record(DEFAULT_APP, webhooks=hooks)]}},
            "webhooks": {"allow_private_addresses": True},
        }
        with start_server(config) as server:
            report = at_home(server, "credentials,webhooks")
            outside = doctor(server.url, "credentials,webhooks", "--allow-private")
            private = doctor(server.url, "credentials,webhooks")
    states = {each["facts"]["url"]: each for each in report.findings if each["check"] == "webhooks"}
    assert states[careless.url]["state"] == "warning"
    assert "wrong signature" in states[careless.url]["seen"]
    assert states[failing.url]["state"] == "problem"
    assert "answers 500" in states[failing.url]["seen"]
    assert states[gone]["slug"] == "webhook_connection_refused"
    assert [each["seen"].split()[0] for each in outside.findings] == [
        each["seen"].split()[0] for each in report.findings
    ]
    assert private.states("webhooks") == {"not_checked"}
    assert report.exit_code == 1
    events = [event["channel"] for request in careless.requests for event in request.events]
    assert set(events) == {"sockudo-test"}


def test_dead_letters_and_an_endpoint_that_fails_are_seen_in_the_queue() -> None:
    with WebhookEndpoint(status=404) as endpoint, start_server(hooked(f"{endpoint.url}?token={HIDDEN}")) as server:
        with WebSocket(server).greeting() as client:
            client.subscribe("harbor")
            wait_until(lambda: endpoint.requests, "the delivery")
        path = f"/apps/{DEFAULT_APP.id}/webhooks"

        def dead() -> bool:
            return bool(server.signed("GET", path).json()["endpoints"][0]["counts"]["dead"])

        wait_until(dead, "the dead letter")
        report = doctor(server.url, "credentials,queue,webhooks")
    assert report.states("queue") == {"problem"}
    assert "fails (404)" in report.of("queue")["seen"]
    assert "secret parts" in report.of("webhooks")["seen"]


# ---- stores, queue, process ----


def test_an_app_store_that_cannot_be_read() -> None:
    with start_server({"app_manager": {"driver": "sqlite"}, "dashboard": {"password": "operators-0815"}}) as server:
        file = server.folder / "data" / "apps.sqlite3"
        for companion in file.parent.glob("apps.sqlite3-*"):
            companion.unlink()
        file.unlink()
        file.write_bytes(b"this is no database, it is something else" * 100)
        wait_until(lambda: server.request("GET", "/up").status == 503, "the health check to fail")
        report = at_home(server, "health,stores,files")
        outside = doctor(server.url, "health")
    assert "ERROR" in report.of("health")["seen"]
    assert "apps" in report.of("health")["seen"]
    assert report.states("stores") == {"problem"}
    assert "no SQLite file" in report.of("files", "problem")["seen"]
    assert outside.of("health")["facts"]["part"] == "apps"


def test_a_history_whose_database_hangs(postgres: DatabaseServer) -> None:
    of = postgres.postgres
    place = {name: getattr(of, name) for name in ("host", "port", "username", "password", "database")}
    config = {
        "history": {
            "enabled": True,
            "backend": "postgres",
            "postgres": {"table_prefix": "doctor", "write_timeout_ms": 1500},
        },
        "health_check_timeout_ms": 1500,
        "database": {"postgres": place},
    }
    with start_server(config) as server:
        assert doctor(server.url, "health").states("health") == {"ok"}
        with postgres.frozen():
            report = doctor(server.url, "credentials,health")
    assert report.of("health")["facts"]["part"] == "history"
    assert report.of("health")["slug"] == "history_unavailable"
    assert report.exit_code == 1


def test_databases_that_are_not_there(tmp_path: Path) -> None:
    port, other = free_port(), free_port()
    config = tmp_path / "sockudo.json"
    config.write_text(
        json.dumps(
            {
                "app_manager": {"driver": "pgsql"},
                "queue": {"driver": "redis"},
                "database": {
                    "postgres": {"host": "127.0.0.1", "port": port, "password": HIDDEN},
                    "redis": {"host": "127.0.0.1", "port": other, "password": HIDDEN},
                },
            }
        )
    )
    report = doctor("http://127.0.0.1:9", "stores", "--config", str(config))
    seen = [each["seen"] for each in report.findings if each["state"] == "problem"]
    assert any("the apps cannot be read (pgsql)" in each for each in seen), seen
    assert any(each.startswith(f"PostgreSQL at 127.0.0.1:{port} does not answer") for each in seen), seen
    assert any(each.startswith(f"Redis at 127.0.0.1:{other} does not answer") for each in seen), seen


def stored(tmp_path: Path, database: dict[str, Any], **drivers: Any) -> Path:
    """A configuration of a server that is not running, for a look at its stores alone."""
    config = tmp_path / "sockudo.json"
    config.write_text(json.dumps({**drivers, "database": database}))
    return config


def logged_in(config: Path, *options: str) -> Report:
    report = doctor("http://127.0.0.1:9", "stores", "--config", str(config), *options)
    assert PASSWORD not in json.dumps(report.findings)
    return report


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_databases_are_logged_in_to(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server: DatabaseServer = request.getfixturevalue(kind)
    section, name = ("postgres", "PostgreSQL") if kind == "postgres" else ("mysql", "MySQL")
    right = {each: getattr(server.database, each) for each in ("host", "port", "username", "password", "database")}

    def look(*options: str, **changes: Any) -> Report:
        history = {"enabled": True, "backend": section}
        return logged_in(stored(tmp_path, {section: {**right, **changes}}, history=history), *options)

    [good] = [each for each in look().findings if each["seen"].startswith(name)]
    assert (good["state"], good["seen"].endswith("lets the server in and answers")) == ("ok", True)
    wrong = look(password=HIDDEN).of("stores", "problem")
    assert wrong["seen"].endswith("does not let the server in: it does not accept the configured user or password")
    keys = f"database.{section}.username and database.{section}.password"
    assert wrong["advice"] == [f"Correct {keys}, or give that user this password at {name}."]
    missing = look(database="harbor_gone").of("stores", "problem")
    assert missing["seen"].endswith("does not let the server in: the configured database does not exist")
    assert missing["advice"] == [f"Create the database 'harbor_gone' there, or correct database.{section}.database."]
    with server.frozen():
        frozen = look("--timeout", "0.5").of("stores", "problem")
    assert frozen["seen"].endswith("takes connections and then sends nothing")


def test_a_database_that_may_only_be_read_is_a_problem(postgres: DatabaseServer, tmp_path: Path) -> None:
    own = postgres.database
    right = {each: getattr(own, each) for each in ("host", "port", "username", "password", "database")}
    config = stored(tmp_path, {"postgres": right}, history={"enabled": True, "backend": "postgres"})
    postgres.execute(
        "CREATE TABLE IF NOT EXISTS sockudo_doctor_probe (n int)", "INSERT INTO sockudo_doctor_probe VALUES (1)"
    )
    postgres.execute(f'ALTER DATABASE "{own.database}" SET default_transaction_read_only = on')
    try:
        found = logged_in(config).of("stores", "problem")
    finally:
        postgres.execute(f'ALTER DATABASE "{own.database}" SET default_transaction_read_only = off')
    assert "takes no writes: it may only be read" in found["seen"]
    assert "database.postgres.host" in found["advice"][0]
    assert logged_in(config).states("stores") == {"ok"}
    # The write that is tried takes nothing away.
    assert postgres.execute("SELECT n FROM sockudo_doctor_probe") == [(1,)]
    postgres.execute("DROP TABLE sockudo_doctor_probe")


def test_redis_is_logged_in_to(redis: RedisProcess, tmp_path: Path) -> None:
    right = {each: getattr(redis.settings, each) for each in ("host", "port", "password")}

    def look(*options: str, queue: dict[str, Any] | None = None, **changes: Any) -> Report:
        driver = {"driver": "redis", **(queue or {})}
        return logged_in(stored(tmp_path, {"redis": {**right, **changes}}, queue=driver), *options)

    [good] = [each for each in look().findings if each["seen"].startswith("Redis")]
    assert (good["state"], good["seen"].endswith("lets the server in and answers")) == ("ok", True)
    for changes in ({"password": HIDDEN}, {"password": None}, {"username": "nobody"}):
        wrong = look(**changes).of("stores", "problem")
        assert wrong["seen"].endswith("it does not accept the configured user or password"), changes
        assert "database.redis.password" in wrong["advice"][0]
    missing = look(db=9999).of("stores", "problem")
    assert missing["seen"].endswith("it has no database of the configured number")
    assert missing["advice"][0].startswith("Correct database.redis.db, which is 9999 now")
    override = {"redis": {"url_override": f"redis://:{HIDDEN}@127.0.0.1:{redis.port}"}}
    assert "in queue.redis.url_override" in look(queue=override).of("stores", "problem")["advice"][0]
    with redis.frozen():
        frozen = look("--timeout", "0.5").of("stores", "problem")
    assert frozen["seen"].endswith("takes connections and then sends nothing")


def test_sentinels_and_clusters_are_logged_in_to(
    redis_sentinel: SentinelSet, redis_cluster: ClusterSet, tmp_path: Path
) -> None:
    by_sentinels = {
        "sentinels": [{"host": "127.0.0.1", "port": sentinel.port} for sentinel in redis_sentinel.sentinels],
        "name": "harbor",
        "password": REDIS_PASSWORD,
        "sentinel_password": "of the sentinels",
    }
    nodes = [f"127.0.0.1:{each.port}" for each in redis_cluster.servers]
    for redis, driver in (
        (by_sentinels, "redis"),
        ({"cluster": {"nodes": nodes, "password": REDIS_PASSWORD}}, "redis-cluster"),
    ):
        found = logged_in(stored(tmp_path, {"redis": redis}, queue={"driver": driver}))
        [good] = [each for each in found.findings if each["seen"].startswith("Redis")]
        assert (good["state"], good["seen"].endswith("lets the server in and answers")) == ("ok", True)
    wrong = logged_in(stored(tmp_path, {"redis": by_sentinels | {"name": "other"}}, queue={"driver": "redis"}))
    assert "no Sentinel names the master 'other'" in wrong.of("stores", "problem")["seen"]


def test_what_joins_nodes_is_tried(redis: RedisProcess, tmp_path: Path) -> None:
    place = {each: getattr(redis.settings, each) for each in ("host", "port", "password")}

    def look(adapter: str, **changes: Any) -> dict[str, Any]:
        config = stored(tmp_path, {"redis": {**place, **changes}}, adapter={"driver": adapter})
        return doctor(None, "nodes", "--config", str(config)).of("nodes")

    good = look("redis")
    assert (good["state"], good["facts"]["milliseconds"] > 0) == ("ok", True)
    assert good["seen"].startswith(f"redis at 127.0.0.1:{redis.port}: a message comes back after")
    wrong = look("redis", password=HIDDEN)
    assert wrong["state"] == "problem"
    assert "it does not accept the configured user or password" in wrong["seen"]
    assert look("local")["state"] == "ok"
    with redis.frozen():
        assert look("redis")["state"] == "problem"


def test_nats_and_postgresql_are_tried_as_what_joins_nodes(
    nats: NatsProcess, postgres: DatabaseServer, tmp_path: Path
) -> None:
    def look(driver: str, settings: dict[str, Any], server: Postgres) -> Report:
        adapter = {"driver": driver, driver: settings}
        config = stored(tmp_path, {"postgres": structs.asdict(server)}, adapter=adapter)
        return doctor(None, "nodes,stores", "--config", str(config))

    good = look("nats", {"servers": [nats.address]}, postgres.postgres)
    assert good.of("nodes", "ok")["seen"].startswith(f"nats at 127.0.0.1:{nats.port}: a message comes back after")
    away = look("nats", {"servers": [f"127.0.0.1:{free_port()}"]}, postgres.postgres)
    assert "connection refused. Start it, or correct adapter.nats.servers" in away.of("nodes", "problem")["seen"]
    good = look("postgres", {}, postgres.postgres)
    assert [each["facts"].get("unread") for each in good.findings if each["check"] == "nodes"] == [None, 0.0]
    away = look("postgres", {}, structs.replace(postgres.postgres, port=free_port()))
    assert "database.postgres" in away.of("nodes", "problem")["seen"]


def test_a_queue_that_is_down() -> None:
    with redis_server() as redis, VerifyingEndpoint() as endpoint:
        place = {name: getattr(redis.settings, name) for name in ("host", "port", "password")}
        config = hooked(endpoint.url) | {
            "queue": {"driver": "redis", "redis": {"response_timeout_ms": 300}},
            "database": {"redis": place},
        }
        with start_server(config) as server:
            redis.kill()
            wait_until(lambda: server.request("GET", "/up").text == "DEGRADED", "the queue to count as down")
            report = at_home(server, "server,credentials,health,stores,queue")
            redis.start()
    assert "webhook queue" in report.of("health")["seen"]
    assert f"{place['host']}:{place['port']}" in report.of("health")["advice"][0]
    assert report.states("queue") == {"problem"}
    assert report.of("stores", "problem")["seen"].startswith("Redis at")
    assert report.exit_code == 1


def test_few_descriptors() -> None:
    few = ("sh", "-c", 'ulimit -n 300 && exec "$0" "$@"', *FROM_NOTHING)
    with start_server({"max_connections": 1000}, command=few) as server:
        wanted = at_home(server, "descriptors")
        alone = doctor(server.url, "descriptors")
    assert wanted.of("descriptors")["facts"]["limit"] == 300
    assert wanted.states("descriptors") == {"problem"}
    assert "max_connections is 1,000" in wanted.of("descriptors")["seen"]
    assert alone.states("descriptors") == {"warning"}


# ---- what only operators may see, files, the configuration ----


def test_metrics_that_listen_everywhere() -> None:
    with start_server({"metrics": {"host": "0.0.0.0"}}) as server:
        report = at_home(server, "metrics,exposure")
    assert report.states("metrics") == {"ok"}
    assert "metrics listen on 0.0.0.0" in report.of("exposure", "warning")["seen"]
    assert report.exit_code == 0


def test_metrics_that_could_not_be_opened() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with start_server({"metrics": {"port": taken.getsockname()[1]}}) as server:
            report = at_home(server, "metrics", "--timeout", "0.3")
    assert report.states("metrics") == {"problem"}


def test_a_file_that_others_may_read() -> None:
    with start_server({"app_manager": {"driver": "sqlite"}}) as server:
        (server.folder / "data" / "apps.sqlite3").chmod(0o644)
        report = at_home(server, "files,disk")
    assert "mode 644" in report.of("files", "warning")["seen"]
    assert report.of("disk")["facts"]["free_bytes"] > 0


def test_a_configuration_that_cannot_be_used(server: ServerProcess, tmp_path: Path) -> None:
    config = tmp_path / "sockudo.toml"
    config.write_text('port = "many"\nhots = "127.0.0.1"\n')
    report = doctor(server.url, "config,server", "--config", str(config))
    assert len([each for each in report.findings if each["check"] == "config"]) == 2
    assert report.states("config") == {"problem"}
    assert report.states("server") == {"ok"}


@pytest.mark.parametrize(
    "arguments", [["--only", "prot"], ["--only", "port", "--skip", "port"], ["--idle", "-1"], ["--url", "ftp://x"]]
)
def test_wrong_use(arguments: Sequence[str]) -> None:
    done = run(*arguments, code=2)
    assert done.stdout == ""


def test_a_password_in_the_url_is_in_no_text(server: ServerProcess, tmp_path: Path) -> None:
    place = f"me:{HIDDEN}@127.0.0.1"
    run("--idle", "0", url=f"http://{place}:{free_port()}", code=1)
    run("--only", "tls", url=f"https://{place}:{server.port}", code=1)
    alone = run("--only", "publish,origin,health", url=f"http://{place}:{free_port()}", code=1)
    assert "Connection refused" in alone.stdout
    with tls_server(write_certificate(tmp_path)) as secure:
        wrong = run("--only", "server", url=f"http://{place}:{secure.port}", code=1)
    assert f"Use https://127.0.0.1:{secure.port}." in wrong.stdout
