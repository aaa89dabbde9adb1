"""Who wants to hear of what: the endpoints of an app, ready to be asked for every event (spec: platform § 5.1, 5.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec

from sockudo.config.webhooks import Webhook, WebhookError, WebhookFilter, WebhookRetry, read_webhook
from sockudo.protocol.names import namespace_of

__all__ = ["AppEndpoints", "Endpoint", "Retry", "app_endpoints"]

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class Retry:
    """How an endpoint is tried again. Times in milliseconds; ``max_attempts`` None for as many as fit in the time."""

    enabled: bool = True
    max_attempts: int | None = None
    max_elapsed_time_ms: int = 300_000
    initial_backoff_ms: int = 1000
    max_backoff_ms: int = 60_000

    def replaced(self, own: WebhookRetry) -> Retry:
        """With an endpoint's own values in place of these."""
        return Retry(
            **{name: _either(getattr(own, name), getattr(self, name)) for name in WebhookRetry.__struct_fields__}
        )

    def pause_ms(self, attempts: int) -> int:
        """How long to wait after so many attempts."""
        return int(min(self.initial_backoff_ms * 2 ** min(attempts - 1, 40), self.max_backoff_ms))


def _either(own: Any, servers: Any) -> Any:
    return servers if own is None else own


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One target of an app. ``id`` stays the same as long as address, events and filter do; ``timeout`` in seconds."""

    id: str
    app_id: str
    url: str
    events: frozenset[str]
    headers: tuple[tuple[str, str], ...]
    retry: Retry
    timeout: float
    condition: WebhookFilter
    pattern: re.Pattern[str] | None

    def wants(self, event: str, channel: str) -> bool:
        """Whether the endpoint is to hear of this event on this channel."""
        if event not in self.events:
            return False
        condition = self.condition
        if condition.channel_prefix is not None and not channel.startswith(condition.channel_prefix):
            return False
        if condition.channel_suffix is not None and not channel.endswith(condition.channel_suffix):
            return False
        if self.pattern is not None and not self.pattern.search(channel):
            return False
        return self._in_namespace(channel)

    def _in_namespace(self, channel: str) -> bool:
        one, several = self.condition.channel_namespace, self.condition.channel_namespaces
        if one is None and several is None:
            return True
        namespace = namespace_of(channel)
        return (one is None or namespace == one) and (several is None or namespace in several)


class AppEndpoints:
    """The endpoints of one app. ``events`` is what any of them wants, ``ignored`` lists what is not used."""

    __slots__ = ("by_id", "endpoints", "events", "ignored")

    def __init__(self, endpoints: Sequence[Endpoint], ignored: Sequence[str] = ()) -> None:
        self.endpoints = tuple(endpoints)
        self.by_id: Mapping[str, Endpoint] = {endpoint.id: endpoint for endpoint in endpoints}
        self.events = frozenset[str]().union(*(endpoint.events for endpoint in endpoints))
        self.ignored = tuple(ignored)


def app_endpoints(app_id: str, entries: Sequence[Mapping[str, Any]], retry: Retry, timeout_ms: int) -> AppEndpoints:
    """The endpoints of an app's record. What cannot be called is left out and named in ``ignored``.

    Two entries with the same target are two endpoints, and both get everything.
    """
    endpoints: list[Endpoint] = []
    ignored: list[str] = []
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries):
        try:
            webhook = read_webhook(entry)
        except WebhookError as problem:
            ignored.append(f"policy.webhooks[{number}] {problem}")
            continue
        if webhook.url is None:
            ignored.append(f"policy.webhooks[{number}] is a Lambda function, which this version cannot call")
            continue
        name = _name(webhook)
        seen[name] = seen.get(name, 0) + 1
        suffix = f"-{seen[name]}" if seen[name] > 1 else ""
        endpoints.append(_endpoint(app_id, name + suffix, webhook, retry, timeout_ms))
    return AppEndpoints(endpoints, ignored)


def _name(webhook: Webhook) -> str:
    identity = (webhook.url, sorted(webhook.event_types), webhook.filter)
    return blake2b(_ENCODER.encode(identity), digest_size=6).hexdigest()


def _endpoint(app_id: str, name: str, webhook: Webhook, retry: Retry, timeout_ms: int) -> Endpoint:
    pattern = webhook.filter.channel_pattern
    return Endpoint(
        id=name,
        app_id=app_id,
        url=webhook.url or "",
        events=frozenset(webhook.event_types),
        headers=tuple(webhook.headers.items()),
        retry=retry.replaced(webhook.retry),
        timeout=(webhook.request_timeout_ms or timeout_ms) / 1000,
        condition=webhook.filter,
        pattern=re.compile(pattern) if pattern is not None else None,
    )
