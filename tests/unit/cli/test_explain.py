from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from sockudo.cli.commands import app
from sockudo.errors import CATALOGUE

runner = CliRunner()


def _slugs(code: str) -> list[str]:
    result = runner.invoke(app, ["explain", code, "--json"])
    assert result.exit_code == 0, result.output
    return [row["slug"] for row in json.loads(result.stdout)]


@pytest.mark.parametrize("slug", sorted(CATALOGUE))
def test_every_row_can_be_asked_for_by_its_slug(slug: str) -> None:
    row = CATALOGUE[slug]
    result = runner.invoke(app, ["explain", slug])
    assert result.exit_code == 0
    for part in (slug, row.meaning, row.remedy, *row.causes):
        assert part in result.stdout


def test_the_exact_slug_comes_first_and_rows_of_the_same_wire_code_follow() -> None:
    assert _slugs("invalid_input")[0] == "invalid_input"
    assert "wrong_shape" in _slugs("invalid_input")
    assert set(_slugs("auth_failed")) == {slug for slug, row in CATALOGUE.items() if row.code == "auth_failed"}


def test_numbers_are_http_statuses_and_close_codes() -> None:
    assert set(_slugs("401")) == {slug for slug, row in CATALOGUE.items() if row.status == 401}
    assert _slugs("4001") == ["unknown_app"]
    assert set(_slugs("4009")) >= {"terminated", "channel_auth_invalid", "signin_refused"}


@pytest.mark.parametrize("spelling", ["UNKNOWN_APP", "unknown-app", " unknown_app ", "errors.md#unknown_app"])
def test_other_spellings(spelling: str) -> None:
    assert _slugs(spelling) == ["unknown_app"]


def test_json_holds_the_whole_row() -> None:
    (row,) = json.loads(runner.invoke(app, ["explain", "app_disabled", "--json"]).stdout)
    assert (row["code"], row["status"], row["ws"], row["closes"], row["retry"]) == (
        "app_disabled",
        403,
        4003,
        True,
        False,
    )
    assert row["causes"]
    assert row["meaning"]
    assert row["remedy"]


@pytest.mark.parametrize(
    ("slug", "sentence"),
    [
        ("unknown_app", "close 4001: clients stop"),
        ("over_capacity", "close 4100: clients come back after a while"),
        ("server_shutdown", "close 4200: clients come back at once"),
        ("channel_auth_invalid", "error frame 4009; the connection stays open"),
        ("message_too_big", "close 1009, without an error frame"),
        ("app_disabled", "HTTP 403 with code app_disabled"),
    ],
)
def test_what_clients_do_is_said(slug: str, sentence: str) -> None:
    assert sentence in runner.invoke(app, ["explain", slug]).stdout


@pytest.mark.parametrize(
    ("asked", "suggestion"),
    [("unknown_ap", "unknown_app"), ("4010", "4009"), ("402", "401"), ("idempotency", "idempotency_conflict")],
)
def test_an_unknown_code_is_a_usage_error_with_suggestions(asked: str, suggestion: str) -> None:
    result = runner.invoke(app, ["explain", asked])
    assert result.exit_code == 2
    assert f"No error is called '{asked}'" in result.stderr
    assert suggestion in result.stderr


def test_something_far_from_everything_gets_no_suggestion() -> None:
    result = runner.invoke(app, ["explain", "zzzzzzzz"])
    assert result.exit_code == 2
    assert "Did you mean" not in result.stderr
