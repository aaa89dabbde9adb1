"""The webhooks of a record, read without secrets and written one by one."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo import errors
from sockudo.apps.webhooks import shown_webhooks, with_webhook, without_webhook, written_back
from sockudo.config.apps import App, Policy
from sockudo.config.problems import ConfigError

SECRET = {
    "url": "https://ana:pass@hooks.test/in?token=t0ken",
    "event_types": ["channel_occupied"],
    "headers": {"X-Api-Key": "k3y", "X-Other": "o"},
}
PLAIN = {"url": "https://b.test/in", "event_types": ["member_added"]}
APP = App("shop", "k", "s", True, Policy(webhooks=(SECRET, PLAIN)))


def problem(change: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        change(*arguments, **options)
    [found] = caught.value.problems
    return found


def test_what_may_be_secret_is_not_shown() -> None:
    shown = shown_webhooks(APP)
    assert [each["index"] for each in shown] == [0, 1]
    assert shown[0]["url"] == "https://…@hooks.test/in?token=…"
    assert shown[0]["headers"] == {"X-Api-Key": None, "X-Other": None}
    assert not any(word in str(shown) for word in ("pass", "t0ken", "k3y"))


def test_what_is_shown_may_be_written_back() -> None:
    for each in shown_webhooks(APP):
        assert with_webhook(APP, each, "request", index=each["index"]) == APP


def test_a_new_one_comes_last() -> None:
    entry = {"url": "https://c.test", "event_types": ["cache_miss"], "filter": {"channel_prefix": "a"}}
    assert with_webhook(APP, entry, "request").policy.webhooks == (SECRET, PLAIN, entry)


def test_one_is_replaced_whole() -> None:
    entry = {"url": "https://c.test", "event_types": ["cache_miss"], "headers": {"X-Api-Key": "new"}}
    assert with_webhook(APP, entry, "request", index=0).policy.webhooks == (entry, PLAIN)


def test_a_header_can_be_kept_at_another_address() -> None:
    entry = {"url": "https://c.test", "event_types": ["cache_miss"], "headers": {"X-Api-Key": None, "X-New": "n"}}
    [changed, _] = with_webhook(APP, entry, "request", index=0).policy.webhooks
    assert changed["headers"] == {"X-Api-Key": "k3y", "X-New": "n"}


def test_one_is_removed() -> None:
    assert without_webhook(APP, 0, "request").policy.webhooks == (PLAIN,)


@pytest.mark.parametrize("index", [-1, 2])
def test_an_index_that_there_is_not(index: int) -> None:
    for change in (lambda: with_webhook(APP, PLAIN, "r", index=index), lambda: without_webhook(APP, index, "r")):
        with pytest.raises(errors.SockudoError, match=r"it has 2") as caught:
            change()
        assert caught.value.spec is errors.ENDPOINT_NOT_FOUND


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"url": "https://c.test"}, "policy.webhooks[2] has no event_types"),
        ({"url": "https://c.test", "event_types": []}, "policy.webhooks[2] has no event types"),
        ({"event_types": ["cache_miss"]}, "policy.webhooks[2] has no url"),
        ({"url": "c.test", "event_types": ["cache_miss"]}, "not an absolute http or https address"),
        ({"url": "https://…@c.test", "event_types": ["cache_miss"]}, "has a url with a hidden part"),
        ({"url": "https://c.test/?a=…", "event_types": ["cache_miss"]}, "has a url with a hidden part"),
        ({**PLAIN, "headers": {"X-A": None}}, "has the header 'X-A' without a value"),
        ({**PLAIN, "headers": {"Host": "x"}}, "which the server sets itself"),
        ({**PLAIN, "evnts": 1}, "evnts"),
        ({**PLAIN, "filter": {"channel_pattern": "("}}, "no regular expression"),
    ],
)
def test_one_that_could_not_be_used_is_refused(entry: dict[str, Any], said: str) -> None:
    assert said in problem(with_webhook, APP, entry, "request")


# ---- whole lists ----


def test_a_list_that_was_read_may_be_written_back_in_any_order() -> None:
    shown = shown_webhooks(APP)
    assert written_back(APP, shown, "request") == [SECRET, PLAIN]
    assert written_back(APP, shown[::-1], "request") == [PLAIN, SECRET]
    assert written_back(APP, shown[:1], "request") == [SECRET]


def test_hidden_parts_of_another_app_stand_for_nothing() -> None:
    [shown, _] = shown_webhooks(APP)
    assert "has a url with a hidden part" in problem(written_back, None, [shown], "request")
    assert "has the header 'X-Api-Key' without a value" in problem(
        written_back, None, [{**shown, "url": "https://c.test"}], "request"
    )


@pytest.mark.parametrize("entries", [None, 5, "x", [5], {"a": 1}])
def test_what_is_no_list_of_webhooks_is_left_to_the_reader(entries: object) -> None:
    assert written_back(APP, entries, "request") == entries
