"""``sockudo doctor``: which checks, which deployment, what is printed, how it ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sockudo.cli.doctor_report import summary
from sockudo.client.trust import Trust
from sockudo.doctor import Check, Deployment, Finding, checks_with
from sockudo.doctor.finding import not_checked, ok, problem, warning
from sockudo.webhooks.doctor import CHECKS as OF_WEBHOOKS
from support.certificates import write_certificate

CHECKS = checks_with(OF_WEBHOOKS)

SOME = [
    Finding("ok", "fine", check="port", facts={"ms": 1}),
    Finding("warning", "so \x1b[31mso", ("Do this.",), "rate_limited", check="tls"),
    Finding("not_checked", "no config", check="config"),
]


class Examined:
    """Stands in for the examination: keeps what it was asked, and says what a test wants."""

    def __init__(self) -> None:
        self.findings = SOME
        self.deployment: Any = None
        self.names: list[str] = []

    async def __call__(self, deployment: Deployment, checks: Sequence[Check], began: Any) -> AsyncIterator[Finding]:
        self.deployment, self.names = deployment, [check.name for check in checks]
        for finding in self.findings:
            began(next(check for check in CHECKS if check.name == finding.check))
            yield finding


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Examined:
    fake = Examined()
    monkeypatch.setattr("sockudo.doctor.examine", fake)
    return fake


def test_it_prints_what_was_found_and_what_to_do(run: Any, examined: Examined) -> None:
    result = run("doctor")
    assert result.exit_code == 0
    assert "https://ws.example.com (app 4471)" in result.stdout
    assert "ok           port         fine" in result.stdout
    assert "warning      tls          so \\x1b[31mso" in result.stdout
    assert "→ Do this." in result.stdout
    assert "→ More: sockudo explain rate_limited" in result.stdout
    assert result.stdout.rstrip().endswith("No problem, 1 warning, 1 ok, 1 not checked.")
    assert examined.names == [check.name for check in CHECKS]


def test_a_password_in_the_url_is_not_shown(run: Any, examined: Examined) -> None:
    for arguments in ([], ["--json"]):
        result = run("doctor", "--url", "https://me:hidden@ws.test", *arguments)
        assert "https://ws.test" in result.stdout
        assert "hidden" not in result.output


def test_json(run: Any, examined: Examined) -> None:
    result = run("doctor", "--json")
    told = json.loads(result.stdout)
    assert told["ok"] is True
    assert (told["url"], told["app_id"]) == ("https://ws.example.com", "4471")
    assert told["counts"] == {"ok": 1, "warning": 1, "problem": 0, "not_checked": 1}
    assert told["findings"][0] == {
        "check": "port", "state": "ok", "seen": "fine", "advice": [], "slug": None, "facts": {"ms": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("findings", "arguments", "code"),
    [
        ([ok("a")], [], 0),
        ([ok("a"), warning("b")], [], 0),
        ([warning("b")], ["--strict"], 1),
        ([not_checked("c")], ["--strict"], 0),
        ([problem("d"), ok("a")], [], 1),
    ],
)
def test_exit_codes(run: Any, examined: Examined, findings: list[Finding], arguments: list[str], code: int) -> None:
    examined.findings = [Finding(each.state, each.seen, check="port") for each in findings]
    assert run("doctor", *arguments).exit_code == code


def test_which_checks(run: Any, examined: Examined) -> None:
    run("doctor", "--only", "publish,port", "--only", "tls")
    assert examined.names == ["port", "tls", "publish"]
    run("doctor", "--only", "publish,port", "--skip", "port")
    assert examined.names == ["publish"]
    run("doctor", "--skip", "webhooks, publish")
    assert set(examined.names) == {check.name for check in CHECKS} - {"webhooks", "publish"}


def test_a_mistyped_check(run: Any, examined: Examined) -> None:
    result = run("doctor", "--only", "webhoks")
    assert result.exit_code == 2
    assert "Did you mean webhooks?" in result.stderr
    assert examined.deployment is None


@pytest.mark.parametrize("origin", ["null", "https://shop.test:8443", "capacitor://localhost", "file://"])
def test_origins(run: Any, examined: Examined, origin: str) -> None:
    assert run("doctor", "--origin", origin).exit_code == 0
    assert examined.deployment.options.origin == origin


@pytest.mark.parametrize("origin", ["", "shop.test", "https://shop.test/", "https://shop.test/cart", "javascript:x"])
def test_what_no_browser_sends_as_origin(run: Any, examined: Examined, origin: str) -> None:
    result = run("doctor", "--origin", origin)
    assert result.exit_code == 2
    assert f"'{origin}' is not an origin" in result.stderr
    assert "https://shop.example.com" in result.stderr
    assert examined.deployment is None


def test_options_reach_the_deployment(run: Any, examined: Examined) -> None:
    run(
        "doctor", "--idle", "155", "--origin", "https://shop.test", "--timeout", "2", "--rounds", "9", "--allow-private"
    )
    options = examined.deployment.options
    assert (options.idle, options.origin, options.timeout, options.rounds) == (155, "https://shop.test", 2, 9)
    assert options.allow_private is True
    assert examined.deployment.loaded is None


CONFIG = """
host = "0.0.0.0"
port = 7001
[app_manager]
driver = "memory"
[[app_manager.array.apps]]
id = "shop"
key = "shop-key"
secret = "a-secret-of-the-shop"
enabled = true
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SOCKUDO_URL", "PUSHER_APP_ID", "PUSHER_APP_KEY", "PUSHER_APP_SECRET"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    path = tmp_path / "sockudo.toml"
    path.write_text(CONFIG)
    return path


def bare(config: Path, *arguments: str) -> Any:
    from typer.testing import CliRunner

    from sockudo.server.commands import app

    return CliRunner().invoke(app, ["doctor", "--config", str(config), *arguments])


def test_the_configuration_says_where_the_server_is_and_which_app(config: Path, examined: Examined) -> None:
    result = bare(config)
    assert result.exit_code == 0, result.output
    assert examined.deployment.url == "http://127.0.0.1:7001"
    assert examined.deployment.credentials.app_id == "shop"
    assert examined.deployment.app.id == "shop"
    assert "a-secret" not in result.output


def test_a_url_that_is_given_counts_more(config: Path, examined: Examined) -> None:
    bare(config, "--url", "https://ws.test")
    assert examined.deployment.url == "https://ws.test"
    bare(config, "--url", "http://127.0.0.1:6001")
    assert examined.deployment.url == "http://127.0.0.1:6001"


def test_with_tls_the_configured_certificate_is_what_is_accepted(config: Path, examined: Examined) -> None:
    certificate, key = write_certificate(config.parent)
    config.write_text(f"{CONFIG}[ssl]\nenabled = true\ncert_path = '{certificate}'\nkey_path = '{key}'\n")
    bare(config)
    assert examined.deployment.url == "https://127.0.0.1:7001"
    assert examined.deployment.trust == Trust(pinned=certificate)
    bare(config, "--url", "https://ws.test")
    assert (examined.deployment.url, examined.deployment.trust) == ("https://ws.test", Trust())


def test_on_a_unix_socket_only_what_is_here_is_looked_at(config: Path) -> None:
    config.write_text(f"{CONFIG}[unix_socket]\nenabled = true\n")
    result = bare(config, "--only", "config,port,health,webhooks,disk", "--json")
    told = json.loads(result.stdout)
    states = {each["check"]: each["state"] for each in told["findings"]}
    assert states["config"] == "ok"
    assert states["disk"] in ("ok", "warning", "problem")
    assert {states["port"], states["health"], states["webhooks"]} == {"not_checked"}
    reasons = {each["seen"] for each in told["findings"] if each["state"] == "not_checked"}
    assert len(reasons) == 1
    assert "--url" in reasons.pop()


def test_what_was_not_checked_is_one_line_for_each_reason(run: Any, examined: Examined) -> None:
    reason = "because of the problem with port"
    examined.findings = [
        Finding("not_checked", reason, check="tls"),
        Finding("ok", "fine", check="config"),
        Finding("not_checked", reason, check="server"),
        Finding("not_checked", reason, check="health"),
    ]
    said = run("doctor").stdout
    assert said.count(reason) == 1
    assert f"tls, server, health: {reason}" in said
    assert "3 not checked" in said


def test_a_configuration_that_cannot_be_used_is_a_finding(config: Path, examined: Examined) -> None:
    config.write_text("hots = 1")
    bare(config, "--url", "https://ws.test")
    assert examined.deployment.loaded is None
    assert examined.deployment.config_problems
    assert examined.deployment.credentials is None


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        ([ok("a")], "No problem, 1 ok."),
        ([problem("a"), problem("b"), warning("c")], "2 problems, 1 warning, 0 ok."),
        ([problem("a"), warning("b"), warning("c"), not_checked("d")], "1 problem, 2 warnings, 0 ok, 1 not checked."),
    ],
)
def test_the_closing_line(findings: list[Finding], text: str) -> None:
    assert summary(findings) == text
