"""The form of a webhook holds all of it, and nothing secret."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo.apps.webhooks import with_webhook
from sockudo.config.apps import App, Policy
from sockudo.config.webhooks import EVENT_TYPES
from sockudo.webhooks.dashboard.app_pages import EVENTS, entry_of, fields_of_entry

ENTRIES: list[dict[str, Any]] = [
    {"url": "https://a.test/in", "event_types": ["cache_miss"]},
    {
        "url": "https://u:p4ss@a.test/in?t=t0ken",
        "event_types": ["cache_miss", "of_the_future"],
        "filter": {
            "channel_prefix": "a",
            "channel_suffix": "b",
            "channel_pattern": "^x:.*$",
            "channel_namespace": "n",
            "channel_namespaces": ["o", "p"],
        },
        "headers": {"X-A": "s3cr3t", "X-B": "k3y"},
        "retry": {
            "enabled": False,
            "max_attempts": 3,
            "max_elapsed_time_ms": 4,
            "initial_backoff_ms": 5,
            "max_backoff_ms": 6,
        },
        "request_timeout_ms": 7,
    },
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_that_is_shown_and_sent_back_stays_as_it_is(entry: dict[str, Any]) -> None:
    app = App("shop", "k", "s", True, Policy(webhooks=(entry,)))
    shown = fields_of_entry(entry)
    assert not any(word in str(shown.fields) for word in ("p4ss", "t0ken", "s3cr3t", "k3y"))
    assert with_webhook(app, entry_of(shown), "here", index=0) == app


def test_every_event_can_be_ticked() -> None:
    assert {name for name, _ in EVENTS} == EVENT_TYPES
