from __future__ import annotations

import json
from typing import Any

import pytest

from sockudo.client.auth import Credentials
from sockudo.client.failures import ApiError, UnreachableError


def test_publishes_as_the_app_of_the_environment(run: Any, api: Any) -> None:
    api.replies["publish"] = {"ok": True}
    result = run("publish", "harbor", "tide-rise", '{"metres": 2.4}')
    assert (result.exit_code, result.stdout) == (0, "Published tide-rise to harbor.\n")
    assert api.opened == [("https://ws.example.com", Credentials("4471", "pier-key", "tide-secret"))]
    assert api.calls == [
        (
            "publish",
            (["harbor"], "tide-rise", '{"metres": 2.4}'),
            {
                "socket_id": None,
                "info": (),
                "idempotency_key": None,
                "message_id": None,
                "tags": {},
                "extras": {},
            },
        )
    ]


def test_sockudo_variables_come_before_those_of_pusher(run: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCKUDO_APP_KEY", "own-key")
    assert run("publish", "harbor", "x", "--app-id", "9").exit_code == 0
    assert api.opened[0][1] == Credentials("9", "own-key", "tide-secret")


def test_every_option_is_passed_on(run: Any, api: Any) -> None:
    counts = {"harbor": {"acknowledgement_id": "a1", "subscription_count": 3}, "pier": {"subscription_count": 0}}
    api.replies["publish"] = {"channels": counts}
    result = run(
        "publish", "harbor", "x", "text", "--channel", "pier", "--socket-id", "1.2",
        "--info", "subscription_count, user_count", "--idempotency-key", "k1", "--message-id", "m1",
        "--tag", "venue=ldn", "--tag", "sum=a=b", "--header", "n=7", "--header", "text=7 metres",
        "--header", 'word="7"', "--header", "on=true", "--header", "odd=NaN", "--header", "list=[1]",
        "--ephemeral", "--no-echo",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "harbor: acknowledgement_id a1, subscription_count 3" in result.stdout
    assert "pier: subscription_count 0" in result.stdout
    assert api.calls == [
        (
            "publish",
            (["harbor", "pier"], "x", "text"),
            {
                "socket_id": "1.2",
                "info": ["subscription_count", "user_count"],
                "idempotency_key": "k1",
                "message_id": "m1",
                "tags": {"venue": "ldn", "sum": "a=b"},
                "extras": {
                    "headers": {
                        "n": 7,
                        "text": "7 metres",
                        "word": "7",
                        "on": True,
                        "odd": "NaN",
                        "list": "[1]",
                    },
                    "ephemeral": True,
                    "echo": False,
                },
            },
        )
    ]


def test_whoever_gives_an_id_is_told_what_became_of_it(run: Any, api: Any) -> None:
    api.replies["publish"] = {"channels": {"harbor": {"acknowledgement_id": "m1", "history_serial": 4}}}
    assert (
        "harbor: acknowledgement_id m1, history_serial 4" in run("publish", "harbor", "x", "--message-id", "m1").stdout
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tag", "venue"), "--tag: 'venue' is not of the form NAME=VALUE."),
        (("--header", "=x"), "--header: '=x' is not of the form"),
        (("--tag", "a=1", "--tag", "a=2"), "--tag: a is given twice."),
    ],
)
def test_tags_and_headers_have_a_name_and_a_value(run: Any, api: Any, arguments: tuple[str, ...], said: str) -> None:
    result = run("publish", "harbor", "x", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert api.calls == []


def test_json_is_the_reply(run: Any, api: Any) -> None:
    api.replies["publish"] = {"channels": {"harbor": {"acknowledgement_id": "é"}}}
    result = run("publish", "harbor", "x", "--json")
    assert json.loads(result.stdout) == api.replies["publish"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "sent"),
    [
        ((), None, None),
        (("",), None, ""),
        (("12",), None, "12"),
        (("plain text",), None, "plain text"),
        (("-",), '{"from": "a pipe"}\n', '{"from": "a pipe"}'),
        (("{not json", "--text"), None, "{not json"),
    ],
)
def test_data(run: Any, api: Any, arguments: tuple[str, ...], stdin: str | None, sent: str | None) -> None:
    assert run("publish", "harbor", "x", *arguments, stdin=stdin).exit_code == 0
    assert api.calls[0][1][2] == sent


@pytest.mark.parametrize(
    ("data", "stdin", "said"),
    [
        ('{"a": 1', None, "DATA is not JSON"),
        ("[1,]", None, "DATA is not JSON"),
        ("[" * 100_000, None, "DATA is not JSON"),
        ("-", b"\xff\xfe", "Standard input is not UTF-8"),
    ],
)
def test_data_that_cannot_be_meant(run: Any, api: Any, data: str, stdin: bytes | None, said: str) -> None:
    result = run("publish", "harbor", "x", data, stdin=stdin)
    assert result.exit_code == 2
    assert said in result.stderr
    assert api.calls == []


def test_encrypted_channels_get_a_note(run: Any, api: Any) -> None:
    result = run("publish", "private-encrypted-pier", "x")
    assert result.exit_code == 0
    assert "end-to-end encrypted" in result.stderr


def test_a_refusal_is_explained_from_the_catalogue(run: Any, api: Any) -> None:
    api.replies["publish"] = ApiError(401, "auth_failed", "Invalid API signature", docs="errors.md#signature_mismatch")
    result = run("publish", "harbor", "x")
    assert result.exit_code == 1
    assert "Invalid API signature (HTTP 401, auth_failed)" in result.stderr
    assert "Check the secret" in result.stderr
    assert "sockudo explain signature_mismatch" in result.stderr
    assert result.stdout == ""


def test_waiting_is_advised_in_seconds(run: Any, api: Any) -> None:
    api.replies["publish"] = ApiError(429, "rate_limited", "Too many requests.", retry_after=7)
    result = run("publish", "harbor", "x")
    assert result.exit_code == 1
    assert "Try again in 7 seconds." in result.stderr
    assert "sockudo explain rate_limited" in result.stderr


def test_a_code_that_several_rows_share_is_not_explained_by_guessing(run: Any, api: Any) -> None:
    api.replies["publish"] = ApiError(401, "auth_failed", "No.")
    result = run("publish", "harbor", "x")
    assert result.exit_code == 1
    assert "explain" not in result.stderr


def test_no_server(run: Any, api: Any) -> None:
    api.replies["publish"] = UnreachableError("https://ws.example.com", "Connection refused")
    result = run("publish", "harbor", "x")
    assert result.exit_code == 3
    assert "No answer from https://ws.example.com: Connection refused" in result.stderr
    assert "sockudo serve --dev" in result.stderr
