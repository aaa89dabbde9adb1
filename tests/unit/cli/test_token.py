"""``sockudo token``: what it makes a server takes, and what it says of a token is what a server says."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sockudo.apps.resolve import Defaults, resolve
from sockudo.auth.capabilities import Operation
from sockudo.auth.tokens import Token, make_token, read_token
from sockudo.config.apps import App

# The app of the environment that `run` makes.
KEY, SECRET = "pier-key", "tide-secret"
APP = resolve(App("4471", KEY, SECRET, enabled=True), Defaults())


def read(text: str) -> Token:
    return read_token(APP, text.strip(), time.time())


def a_token(**changes: Any) -> str:
    values: dict[str, Any] = {
        "key": KEY,
        "secret": SECRET,
        "client_id": "crew-8",
        "capability": {"harbor-*": ["subscribe"]},
        "ttl": 600,
        "now": time.time(),
        "jti": "t-1",
    }
    return make_token(**(values | changes))


@pytest.mark.parametrize("command", ["create", "show"])
def test_help_has_an_example(run: Any, command: str) -> None:
    result = run("token", command, "--help")
    assert result.exit_code == 0
    assert f"Example: sockudo token {command}" in result.stdout
    assert "Exit codes:" in result.stdout


# ---- create ----


def test_standard_output_is_the_token_and_nothing_else(run: Any) -> None:
    result = run("token", "create", "--client-id", "crew-8", "--capability", "harbor-*=subscribe,history")
    assert result.exit_code == 0, result.stderr
    token = read(result.stdout)
    assert result.stdout.count("\n") == 1
    assert token.client_id == "crew-8"
    assert token.expires_at - token.issued_at == 3600
    allowed = [operation for operation in Operation if token.capabilities.allows(operation, "harbor-1")]
    assert allowed == [Operation.SUBSCRIBE, Operation.HISTORY]
    assert token.jti in result.stderr
    assert "For crew-8, as app 4471, until 20" in result.stderr


def test_json_has_the_claims_too(run: Any) -> None:
    result = run("token", "create", "--client-id", "ü", "--capability", "a=publish", "--ttl", "60", "--json")
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    token = read(made.pop("token"))
    assert made == {
        "client_id": "ü",
        "capability": {"a": ["publish"]},
        "jti": token.jti,
        "iat": token.issued_at,
        "exp": token.issued_at + 60,
    }


def test_capabilities_of_several_options(run: Any) -> None:
    result = run(
        "token", "create", "--client-id", "u", "--json",
        "--capability", "a=subscribe", "--capability", "a=publish, history",
        "--capability", "x=1=message-update-own", "--capability", "none=",
    )  # fmt: skip
    assert json.loads(result.stdout)["capability"] == {
        "a": ["subscribe", "publish", "history"],
        "x=1": ["message-update-own"],
        "none": [],
    }


def test_capabilities_as_json(run: Any) -> None:
    result = run("token", "create", "--client-id", "u", "--capability-json", '{"a-*": ["presence"]}')
    assert read(result.stdout).capabilities.allows(Operation.PRESENCE, "a-1")


def test_the_app_of_the_options(run: Any) -> None:
    result = run(
        "token", "create", "--client-id", "u", "--capability", "*=subscribe",
        "--app-id", "1", "--key", "k", "--secret", "-----BEGIN PUBLIC KEY-----",
    )  # fmt: skip
    app = resolve(App("1", "k", "-----BEGIN PUBLIC KEY-----", enabled=True), Defaults())
    assert read_token(app, result.stdout.strip(), time.time()).client_id == "u"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Give either --capability or --capability-json."),
        (("--capability", "a=publish", "--capability-json", "{}"), "Give either --capability or --capability-json."),
        (("--capability", "harbor"), "'harbor' is not of the form PATTERN=OPERATION,…"),
        (("--capability", "a=fly"), "A server would refuse this token: unsupported capability operation 'fly'."),
        (("--capability", "=publish"), "A server would refuse this token: capability patterns must not be empty."),
        (("--capability", "a*b*=publish"), "capability patterns must not have more than one '*'"),
        (("--capability-json", "[]"), "--capability-json is not a JSON object."),
        (("--capability-json", "{"), "--capability-json is not a JSON object."),
        (("--capability-json", "[" * 100_000), "--capability-json is not a JSON object."),
        (("--capability-json", '{"a": "publish"}'), "must map channel patterns to operations"),
        (("--capability-json", '{"a": [NaN]}'), "must map channel patterns to operations"),
        (("--capability", "a=publish", "--client-id", ""), "x-sockudo-client-id must be 1 to 128 bytes"),
        (("--capability", "a=publish", "--client-id", "\udcff"), "An argument is not UTF-8."),
        (("--capability", f"{'x' * 8000}=publish"), "capability token exceeds 8 KiB"),
    ],
)
def test_mistakes_are_usage_errors(run: Any, arguments: tuple[str, ...], words: str) -> None:
    result = run("token", "create", "--client-id", "crew-8", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("ttl", ["0", "-5", "86401", "1h"])
def test_a_time_that_no_token_can_live(run: Any, ttl: str) -> None:
    assert run("token", "create", "--client-id", "u", "--capability", "a=publish", "--ttl", ttl).exit_code == 2


def test_the_secret_is_not_shown(run: Any) -> None:
    made = run("token", "create", "--client-id", "u", "--capability", "a=publish", "--json")
    shown = run("token", "show", json.loads(made.stdout)["token"])
    assert SECRET not in made.output + shown.output


# ---- show ----


def test_a_token_that_would_be_accepted(run: Any) -> None:
    now = int(time.time())
    result = run("token", "show", a_token(now=now - 5))
    assert result.exit_code == 0, result.stderr
    lines = dict(line.split("  ", 1) for line in result.stdout.splitlines() if "  " in line)
    shown = {name: value.strip() for name, value in lines.items()}
    assert shown["kid"] == KEY
    assert shown["x-sockudo-client-id"] == "crew-8"
    assert shown["x-sockudo-capability"] == '{"harbor-*": ["subscribe"]}'
    assert shown["iat"].startswith(f"{now - 5} (20")
    assert shown["iat"].endswith("seconds ago)")
    assert "UTC, in 59" in shown["exp"]
    assert result.stdout.endswith("A server would accept this token as app 4471, unless it was revoked.\n")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"now": 1_700_000_000}, "capability token expired "),
        ({"secret": "another"}, "capability token signature is invalid"),
        ({"key": "another"}, "capability token kid does not match app key"),
        ({"capability": {"a": ["fly"]}}, "unsupported capability operation 'fly'"),
        ({"ttl": 90_000}, "capability token lifetime exceeds 24 hours"),
    ],
)
def test_a_token_that_would_be_refused_and_why(run: Any, changes: dict[str, Any], reason: str) -> None:
    text = a_token(**changes)
    result = run("token", "show", text)
    assert result.exit_code == 1
    assert "x-sockudo-client-id   crew-8" in result.stdout
    assert f"A server would refuse this token as app 4471: {reason}" in result.stderr
    as_json = run("token", "show", text, "--json")
    assert as_json.exit_code == 1
    shown = json.loads(as_json.stdout)
    assert (shown["accepted"], shown["claims"]["jti"]) == (False, "t-1")
    assert shown["reason"].startswith(reason)


def test_a_good_token_as_json(run: Any) -> None:
    result = run("token", "show", "--json", a_token())
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert (shown["accepted"], shown["reason"]) == (True, None)
    assert shown["header"] == {"alg": "HS256", "kid": KEY, "typ": "JWT"}


@pytest.mark.parametrize("text", ["abc", "a.b.c", "é", "", "x" * 9000])
def test_what_is_no_token(run: Any, text: str) -> None:
    result = run("token", "show", text)
    assert result.exit_code == 1
    assert "A server would refuse this token as app 4471: capability token" in result.stderr
    assert json.loads(run("token", "show", text, "--json").stdout)["claims"] == {}


def test_from_standard_input(run: Any) -> None:
    assert run("token", "show", "-", stdin=f"{a_token()}\n").exit_code == 0
    assert run("token", "show", "-", stdin=b"\xff\n").exit_code == 1


def test_nothing_in_a_token_steers_the_terminal(run: Any) -> None:
    result = run("token", "show", a_token(client_id="\x1b[2J\x9b", jti="a\nb"))
    assert result.exit_code == 0
    assert "\x1b[2J" not in result.stdout
    assert "\x9b" not in result.stdout
    assert '"a\\nb"' in result.stdout
