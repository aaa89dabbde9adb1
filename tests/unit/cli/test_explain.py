from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sockudo.errors import CATALOGUE
from sockudo.server.commands import app

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
    for part in (slug, row.meaning, row.remedy, *row.causes, row.seen_in or ""):
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


def test_of_many_errors_there_is_a_list_first() -> None:
    result = runner.invoke(app, ["explain", "4009"])
    rows = [row for row in CATALOGUE.values() if row.ws == 4009]
    assert len(result.stdout.splitlines()) < len(rows) + 6
    for row in rows:
        assert f"{row.slug} " in result.stdout
        assert row.meaning in result.stdout
    assert "sockudo explain NAME" in result.stdout


def test_a_name_that_many_errors_share_is_explained_before_them() -> None:
    result = runner.invoke(app, ["explain", "invalid_input"])
    page, _, others = result.stdout.partition("The others:")
    assert CATALOGUE["invalid_input"].remedy in page
    assert "wrong_shape" in others


def test_codes_that_the_protocol_names_in_events() -> None:
    assert _slugs("40142") == ["token_expired"]
    assert _slugs("40160") == ["token_revoked"]
    page = (Path(__file__).parents[3] / "docs" / "protocol-v2.md").read_text()
    named = set(re.findall(r"\b4[0-9]{4}\b", page))
    assert named >= {"40142", "40160"}
    for number in named:
        assert _slugs(number), number


def test_a_cut_is_explained_though_no_server_sends_it() -> None:
    result = runner.invoke(app, ["explain", "1006"])
    assert "proxy_read_timeout" in result.stdout
    assert "calls it 1006 itself" in result.stdout


def test_a_number_far_from_every_code_gets_no_suggestion() -> None:
    assert "Did you mean" not in runner.invoke(app, ["explain", "4999"]).stderr
