"""The webhooks of an app as they stand in its record (spec: platform § 5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from sockudo.config.problems import nearest
from sockudo.config.webhook_shape import misfit

__all__ = [
    "EVENT_TYPES",
    "PUSH_EVENTS",
    "Webhook",
    "WebhookError",
    "WebhookFilter",
    "WebhookRetry",
    "read_webhook",
    "shown_url",
    "uncallable",
    "unused_webhooks",
]

PUSH_EVENTS: Final = frozenset({"push.publish_failed", "push.device_invalidated"})
"""Events about notifications; they are only sent while ``push.webhooks_enabled``."""

EVENT_TYPES: Final = PUSH_EVENTS | frozenset(
    {
        "channel_occupied",
        "channel_vacated",
        "member_added",
        "member_removed",
        "member_updated",
        "client_event",
        "cache_miss",
        "subscription_count",
        "user_online",
        "user_offline",
    }
)
"""Events that are sent. Names of other versions' events may be listed too; nothing is sent for them."""

_ADDRESS: Final = re.compile(r"(?i:https?)://[^\s/?#]+\S*")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What is said by the server itself, or about the connection.
_RESERVED: Final = re.compile(
    r"(?i)x-pusher-.*|x-sockudo-.*|content-(type|length|encoding)|host|connection|transfer-encoding|keep-alive|expect|te"
    r"|trailer|upgrade|proxy-.*"
)

# Thirty days in milliseconds: nobody waits for longer, and times stay within 64 bits.
_LARGEST: Final = 30 * 24 * 3600 * 1000


class WebhookError(Exception):
    """The entry is no webhook; the text says what is wrong with it, without values that may be secret."""


class WebhookFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conditions on the channel, all of which must hold."""

    channel_prefix: str | None = None
    channel_suffix: str | None = None
    channel_pattern: str | None = None
    channel_namespace: str | None = None
    channel_namespaces: tuple[str, ...] | None = None


class WebhookRetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In place of the server's values, one by one; None means the server's."""

    enabled: bool | None = None
    max_attempts: int | None = None
    max_elapsed_time_ms: int | None = None
    initial_backoff_ms: int | None = None
    max_backoff_ms: int | None = None


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One endpoint. ``url`` is None for the ones that are not an HTTP address, which this version cannot call."""

    event_types: tuple[str, ...]
    url: str | None = None
    lambda_target: dict[str, Any] | None = msgspec.field(default=None, name="lambda")
    lambda_function: str | None = None
    filter: WebhookFilter = WebhookFilter()
    headers: dict[str, str] = {}
    retry: WebhookRetry = WebhookRetry()
    request_timeout_ms: int | None = None


def read_webhook(entry: Mapping[str, Any]) -> Webhook:
    """Reads an entry of ``policy.webhooks``; nulls count as absent. Raises `WebhookError`."""
    given = {name: value for name, value in entry.items() if value is not None}
    if given.get("event_types") is None:
        raise WebhookError("has no event_types, a list of event names")
    wrong = misfit(Webhook, given)
    if wrong is not None:
        raise WebhookError(f"does not fit: {wrong}")
    try:
        webhook = msgspec.convert(given, Webhook)
    except UnicodeEncodeError:
        raise WebhookError("has text that is no Unicode: half of a pair of surrogates") from None
    if webhook.url is None and webhook.lambda_target is None and webhook.lambda_function is None:
        raise WebhookError("has no url")
    if webhook.url is not None and not _is_callable(webhook.url):
        raise WebhookError("has a url that is not an absolute http or https address")
    _check_filter(webhook.filter)
    _check_headers(webhook.headers)
    _check_numbers(webhook)
    return webhook


def _is_callable(url: str) -> bool:
    """Whether the URL can be called; the address may still lead nowhere."""
    if not _ADDRESS.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        # UnicodeError, for a label that is empty or too long, is a ValueError as well.
        return bool(host) and parts.port != 0 and (":" in host or bool(host.encode("idna")))
    except ValueError:
        return False


def uncallable(entries: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """The places of targets that this version cannot call, of entries that can be read."""
    for number, entry in enumerate(entries):
        try:
            if read_webhook(entry).url is None:
                yield number
        except WebhookError:
            continue


def unused_webhooks(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is allowed and has no effect: targets that cannot be called, events that are never sent."""
    for number, entry in enumerate(entries):
        try:
            webhook = read_webhook(entry)
        except WebhookError:
            continue
        if webhook.url is None:
            yield f"policy.webhooks[{number}] is a Lambda function, which this version cannot call"
        elif not webhook.event_types:
            yield f"policy.webhooks[{number}] has no event types, so it gets nothing"
        for name in sorted(set(webhook.event_types) - EVENT_TYPES):
            guess = nearest(name, EVENT_TYPES)
            hint = f"; did you mean {guess!r}?" if guess else ""
            yield f"policy.webhooks[{number}] lists {name!r}, an event that this version never sends{hint}"


def _check_filter(condition: WebhookFilter) -> None:
    if condition.channel_pattern is not None:
        try:
            re.compile(condition.channel_pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise WebhookError(f"has a filter.channel_pattern that is no regular expression: {error}") from None


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise WebhookError(f"has a header name that HTTP does not allow: {name!r}")
        if _RESERVED.fullmatch(name):
            raise WebhookError(f"has the header {name!r}, which the server sets itself")
        if not all(" " <= letter <= "~" or letter == "\t" for letter in value):
            raise WebhookError(f"has a value of the header {name!r} that is not plain text in one line")


def _check_numbers(webhook: Webhook) -> None:
    retry = webhook.retry
    numbers = {
        "request_timeout_ms": webhook.request_timeout_ms,
        "retry.max_attempts": retry.max_attempts,
        "retry.max_elapsed_time_ms": retry.max_elapsed_time_ms,
        "retry.initial_backoff_ms": retry.initial_backoff_ms,
        "retry.max_backoff_ms": retry.max_backoff_ms,
    }
    for name, number in numbers.items():
        if number is not None and not 1 <= number <= _LARGEST:
            raise WebhookError(f"has {name} = {number}; it must be from 1 to {_LARGEST}")


def shown_url(url: str) -> str:
    """The address without what may be secret in it: no user and password, no values in the query, no fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # Half of an IPv6 address: nothing can be sent there either.
        return "…"
    host = parts.netloc.rpartition("@")[2]
    names = "&".join(f"{quote(name)}=…" for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    return f"{parts.scheme}://{host}{parts.path}{'?' if names else ''}{names}"
