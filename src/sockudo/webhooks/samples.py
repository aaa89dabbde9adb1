"""An example of every event, for trying an endpoint out."""

from __future__ import annotations

from typing import Final

from sockudo.config.webhooks import EVENT_TYPES
from sockudo.webhooks import events
from sockudo.webhooks.records import Event

__all__ = ["sample_body"]

_CHANNEL: Final = "sockudo-test"
_ROOM: Final = "presence-sockudo-test"
_USER: Final = "sockudo-test-user"


def sample_body(name: str, time_ms: int) -> bytes:
    """The body of a request with one event of this name; raises KeyError for one that is never sent."""
    event = _sample(name, time_ms)
    return b'{"time_ms":%d,"events":[%b]}' % (time_ms, event.body)


def _sample(name: str, time_ms: int) -> Event:
    if name not in EVENT_TYPES:
        raise KeyError(name)
    match name:
        case "member_added" | "member_removed":
            return events.member_event(name, _ROOM, _USER, time_ms)
        case "member_updated":
            return events.member_event(name, _ROOM, _USER, time_ms, b'{"name":"A test"}')
        case "client_event":
            return events.client_event(f"private-{_CHANNEL}", "client-test", b'{"test":true}', "1.1", None, time_ms)
        case "cache_miss":
            return events.cache_miss(f"cache-{_CHANNEL}", time_ms)
        case "subscription_count":
            return events.subscription_count(_CHANNEL, 1, time_ms)
        case "push.publish_failed":
            why = {"state": "failed", "code": "provider_auth_failed", "error_reason": "auth_failure"}
            counters = {"planned": 1, "dispatched": 1, "failed": 1}
            about = {"publish_id": "sockudo-test", **why, "counters": counters}
            return events.app_event(name, about, time_ms)
        case "push.device_invalidated":
            device = {"device_id": "sockudo-test-device", "provider": "fcm", "publish_id": "sockudo-test"}
            return events.app_event(name, device, time_ms)
        case "user_online" | "user_offline":
            return events.user_event(name, _USER, time_ms)
    return events.channel_event(name, _CHANNEL, time_ms)
