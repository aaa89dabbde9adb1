"""Problems with a record, taken apart by field."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo import errors
from sockudo.apps.edits import merged, new_app
from sockudo.config.apps import App
from sockudo.config.problems import ConfigError
from sockudo.dashboard.apps.desk import WHERE, FieldProblem, body_of, problems_of


def found(record: dict[str, Any]) -> list[FieldProblem]:
    with pytest.raises(ConfigError) as caught:
        new_app(record, WHERE)
    return problems_of(caught.value)


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({"id": "a/b"}, "id"),
        ({"id": "shop (app 'x'): key is", "key": ""}, "key"),
        ({"secret": ""}, "secret"),
        ({"enabled": "perhaps"}, "enabled"),
        ({"policy": {"limits": {"max_connections": -1}}}, "policy.limits.max_connections"),
        ({"policy": {"limts": {}}}, "policy.limts"),
        (
            {"policy": {"channels": {"channel_namespaces": [{"name": ""}]}}},
            "policy.channels.channel_namespaces[0].name",
        ),
        (
            {"policy": {"channels": {"channel_delta_compression": {"a *": "zip"}}}},
            "policy.channels.channel_delta_compression['a *']",
        ),
        ({"policy": {"webhooks": [{"event_types": []}]}}, "policy.webhooks[0]"),
        ({"policy": 5}, "policy"),
        ({"nothing": 5}, None),
    ],
)
def test_each_problem_has_its_field(record: dict[str, Any], field: str | None) -> None:
    [problem] = found(record)
    assert problem.field == field
    assert not problem.text.startswith(WHERE)


def test_taken_ids_and_keys_have_theirs() -> None:
    assert problems_of(errors.APP_EXISTS("x")) == [FieldProblem("id", "x")]
    assert problems_of(errors.APP_KEY_TAKEN("x")) == [FieldProblem("key", "x")]
    assert problems_of(errors.SERVICE_UNAVAILABLE("x")) == [FieldProblem(None, "x")]


def test_the_envelope_holds_them_all() -> None:
    with pytest.raises(ConfigError) as caught:
        merged(App("a", "k", "s"), {"enabld": 1, "max_connections": 2}, WHERE)
    body = body_of(problems_of(caught.value))
    assert (body["code"], body["status"]) == ("invalid_input", 400)
    assert len(body["problems"]) == 2  # type: ignore[arg-type]
    assert "did you mean 'enabled'?" in str(body["error"])
