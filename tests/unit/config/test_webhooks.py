"""An entry of ``policy.webhooks``: what is read, and what is refused with which words (spec: platform § 5.1)."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo.config.webhooks import EVENT_TYPES, WebhookError, WebhookFilter, WebhookRetry, read_webhook

GOOD = {"url": "https://hooks.test/in", "event_types": ["channel_occupied"]}


def refusal(**changes: Any) -> str:
    with pytest.raises(WebhookError) as raised:
        read_webhook({**GOOD, **changes})
    return str(raised.value)


def test_the_least() -> None:
    webhook = read_webhook(GOOD)
    assert webhook.url == "https://hooks.test/in"
    assert webhook.event_types == ("channel_occupied",)
    assert (webhook.filter, webhook.headers, webhook.retry) == (WebhookFilter(), {}, WebhookRetry())
    assert webhook.request_timeout_ms is None


def test_everything() -> None:
    condition = {
        "channel_prefix": "a",
        "channel_suffix": "b",
        "channel_pattern": "c",
        "channel_namespace": "d",
        "channel_namespaces": ["e", "f"],
    }
    retry = {
        "enabled": False,
        "max_attempts": 1,
        "max_elapsed_time_ms": 2,
        "initial_backoff_ms": 3,
        "max_backoff_ms": 4,
    }
    webhook = read_webhook(
        {**GOOD, "filter": condition, "retry": retry, "headers": {"X-A": "b"}, "request_timeout_ms": 5}
    )
    assert webhook.filter == WebhookFilter("a", "b", "c", "d", ("e", "f"))
    assert webhook.retry == WebhookRetry(
        enabled=False, max_attempts=1, max_elapsed_time_ms=2, initial_backoff_ms=3, max_backoff_ms=4
    )
    assert (webhook.headers, webhook.request_timeout_ms) == ({"X-A": "b"}, 5)


def test_nulls_are_as_if_they_were_absent() -> None:
    entry = {"filter": None, "headers": None, "retry": None, "lambda": None, "request_timeout_ms": None}
    assert read_webhook({**GOOD, **entry}) == read_webhook(GOOD)
    assert read_webhook({**GOOD, "filter": {"channel_prefix": None}, "retry": {"enabled": None}}) == read_webhook(GOOD)


def test_events_of_other_versions_may_be_listed() -> None:
    names = ["annotation_created", "ai_run_started", "of_the_future"]
    assert read_webhook({**GOOD, "event_types": names}).event_types == tuple(names)
    assert not EVENT_TYPES & set(names)


def test_functions_have_no_url() -> None:
    for entry in ({"lambda": {"function_name": "f", "region": "eu"}}, {"lambda_function": "f"}):
        assert read_webhook({"event_types": [], **entry}).url is None


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "http://h:8080/a?b=c#d",
        "https://user:pass@hooks.test/",
        "HTTPS://Hooks.Test/",
        "http://127.0.0.1/",
        "http://[::1]:80/",
        "https://bücher.test/ä",
        "https://h/{id}",
    ],
)
def test_addresses(url: str) -> None:
    assert read_webhook({**GOOD, "url": url}).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.test/in",
        "/in",
        "//hooks.test/in",
        "ftp://hooks.test/",
        "unix:///run/hook",
        "javascript:alert(1)",
        "http://",
        "http:///in",
        "http://?x",
        "http://user@/",
        "http://:80/",
        "http://h:port/",
        "http://h:0/",
        "http://h:65536/",
        "http://[::1/",
        "http://a..b/",
        "http://h/a b",
        "http://h/a\nb",
        " http://h/",
        f"http://{'x' * 64}.test/",
    ],
)
def test_what_is_no_address(url: str) -> None:
    assert refusal(url=url) == "has a url that is not an absolute http or https address"


def test_no_target() -> None:
    assert refusal(url=None) == "has no url"


def test_no_events() -> None:
    assert refusal(event_types=None) == "has no event_types, a list of event names"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"event_types": "channel_occupied"}, "event_types"),
        ({"event_types": [1]}, "event_types"),
        ({"url": 5}, "url"),
        ({"headers": ["X-A"]}, "headers"),
        ({"headers": {"X-A": 1}}, "headers"),
        ({"filter": []}, "filter"),
        ({"filter": {"channel_prefix": 1}}, "filter.channel_prefix"),
        ({"filter": {"prefix": "x"}}, "unknown key 'filter.prefix'; did you mean 'filter.channel_prefix'?"),
        ({"retry": {"attempts": 1}}, "unknown key 'retry.attempts'; did you mean 'retry.max_attempts'?"),
        ({"retry": {"max_attempts": "3"}}, "retry.max_attempts"),
        ({"retry": {"max_attempts": 1.5}}, "retry.max_attempts"),
        ({"retry": {"enabled": "no"}}, "retry.enabled"),
        ({"request_timeout_ms": "5s"}, "request_timeout_ms"),
        ({"evnet_types": []}, "unknown key 'evnet_types'; did you mean 'event_types'?"),
        ({"retry": {"max_attempts": True}}, "retry.max_attempts is not a whole number"),
        ({"lambda": 5}, "lambda is not a table of keys"),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], words: str) -> None:
    text = refusal(**changes)
    assert text.startswith("does not fit: ")
    assert words in text


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "a{99999999999999999999}", "(?P<x>a)(?P<x>b)"])
def test_what_is_no_regular_expression(pattern: str) -> None:
    assert refusal(filter={"channel_pattern": pattern}).startswith(
        "has a filter.channel_pattern that is no regular expression: "
    )


@pytest.mark.parametrize("name", ["", "X A", "X:A", "X\r\nY", "Ä", "X(A)"])
def test_what_is_no_header_name(name: str) -> None:
    assert refusal(headers={name: "x"}).startswith("has a header name that HTTP does not allow: ")


@pytest.mark.parametrize(
    "name",
    [
        "X-Pusher-Key",
        "x-pusher-signature",
        "X-PUSHER-OTHER",
        "X-Sockudo-Delivery",
        "x-sockudo-attempt",
        "Content-Type",
        "content-length",
        "Content-Encoding",
        "Host",
        "Connection",
        "Transfer-Encoding",
        "Expect",
        "Upgrade",
        "TE",
        "Trailer",
        "Keep-Alive",
        "Proxy-Authorization",
    ],
)
def test_headers_that_the_server_sets(name: str) -> None:
    assert refusal(headers={name: "x"}) == f"has the header {name!r}, which the server sets itself"


@pytest.mark.parametrize("name", ["Authorization", "X-Own", "User-Agent", "Accept", "Cookie", "Hostess", "x-pusher"])
def test_headers_that_may_be_set(name: str) -> None:
    assert read_webhook({**GOOD, "headers": {name: "x"}}).headers == {name: "x"}


@pytest.mark.parametrize("value", ["a\r\nX-B: c", "a\nb", "\0", "é", "\x7f"])
def test_values_are_not_repeated_in_a_refusal(value: str) -> None:
    text = refusal(headers={"X-Token": f"geheim{value}"})
    assert text == "has a value of the header 'X-Token' that is not plain text in one line"


@pytest.mark.parametrize("name", ["max_attempts", "max_elapsed_time_ms", "initial_backoff_ms", "max_backoff_ms"])
@pytest.mark.parametrize("number", [0, -1, 10**12])
def test_numbers_have_limits(name: str, number: int) -> None:
    assert refusal(retry={name: number}).startswith(f"has retry.{name} = {number}; it must be from 1 to ")


def test_a_time_limit_has_limits() -> None:
    assert refusal(request_timeout_ms=0).startswith("has request_timeout_ms = 0; it must be from 1 to ")


def test_secrets_of_a_url_are_not_repeated() -> None:
    assert "geheim" not in refusal(url="http://user:geheim@h:port/")
