"""The webhooks of an app as they stand in its record (spec: platform § 5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
from msgspec import structs

from sockudo.config.problems import nearest

__all__ = [
    "EVENT_TYPES",
    "PUSH_EVENTS",
    "Webhook",
    "WebhookError",
    "WebhookFilter",
    "WebhookRetry",
    "misfit",
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
# What the server sends itself, or about the connection.
_RESERVED: Final = re.compile(
    r"(?i)x-pusher-.*|x-sockudo-.*|content-(type|length|encoding)|host|connection|transfer-encoding|keep-alive|expect|te"
    r"|trailer|upgrade|proxy-.*"
)

# Thirty days in milliseconds: no retry waits longer, and times stay within 64 bits.
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


# ---- what does not fit ----


_WORDS: Final = {str: "text", int: "a whole number", bool: "true or false"}


def misfit(struct: type[msgspec.Struct], entry: Mapping[str, Any], below: str = "") -> str | None:
    """The first key that is unknown or has a value of another kind; None when all fit. No value is repeated."""
    fields = {field.encode_name: field.type for field in structs.fields(struct)}
    for name, value in entry.items():
        path = f"{below}{name}"
        if name not in fields:
            guess = nearest(str(name), fields)
            return f"unknown key '{path}'" + (f"; did you mean '{below}{guess}'?" if guess else "")
        found = _misfit(fields[name], value, path)
        if found is not None:
            return found
    return None


def _misfit(hint: Any, value: Any, path: str) -> str | None:
    if get_origin(hint) in (Union, UnionType):
        if value is None:
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return misfit(hint, value, f"{path}.") if isinstance(value, Mapping) else f"{path} is not a table of keys"
    if get_origin(hint) is tuple:
        fits = isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value)
        return None if fits else f"{path} is not a list of texts"
    if get_origin(hint) is dict:
        return _not_a_table(hint, value, path)
    # A truth value is a number to Python, and none to people.
    fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    return None if fits else f"{path} is not {_WORDS[hint]}"


def _not_a_table(hint: Any, value: Any, path: str) -> str | None:
    if not isinstance(value, Mapping):
        return f"{path} is not a table of keys"
    wrong = next((name for name, each in value.items() if get_args(hint)[1] is str and not isinstance(each, str)), None)
    return None if wrong is None else f"{path}.{wrong} is not text: put it in quotes"
