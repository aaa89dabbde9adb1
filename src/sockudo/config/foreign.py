"""Variables that people know from Pusher, Soketi, Reverb and a dashboard of its own, and what they are here.

One with an exact equivalent is read, unless our own name is set too. The others are answered with the name to use.
Credentials of an app are not here: `app_choice` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ADVICE", "FAMILIES", "READ", "advice"]

READ: Mapping[str, str] = {
    "SOKETI_HOST": "host",
    "SOKETI_PORT": "port",
    "SOKETI_DEBUG": "debug",
    "SOKETI_METRICS_ENABLED": "metrics.enabled",
    "SOKETI_METRICS_HOST": "metrics.host",
    "SOKETI_METRICS_SERVER_PORT": "metrics.port",
    "SOKETI_METRICS_PROMETHEUS_PREFIX": "metrics.prometheus.prefix",
    "SOKETI_INSTANCE_PROCESS_ID": "instance.process_id",
    "SOKETI_CHANNEL_LIMITS_MAX_NAME_LENGTH": "channel_limits.max_name_length",
    "SOKETI_CHANNEL_CACHE_TTL": "channel_limits.cache_ttl",
    "SOKETI_EVENT_MAX_CHANNELS_AT_ONCE": "event_limits.max_channels_at_once",
    "SOKETI_EVENT_MAX_NAME_LENGTH": "event_limits.max_name_length",
    "SOKETI_EVENT_MAX_SIZE_IN_KB": "event_limits.max_payload_in_kb",
    "SOKETI_EVENT_MAX_BATCH_SIZE": "event_limits.max_batch_size",
    "SOKETI_PRESENCE_MAX_MEMBERS": "presence.max_members_per_channel",
    "SOKETI_PRESENCE_MAX_MEMBER_SIZE": "presence.max_member_size_in_kb",
    "REVERB_SERVER_HOST": "host",
    "REVERB_SERVER_PORT": "port",
}
"""Names with an exact equivalent, in order of precedence, and the key that they set."""

_CLIENT_SIDE = "clients and publishers use it to find the server; the server itself is set by HOST and PORT"
_DRIVERS = "ADAPTER_DRIVER says how nodes are joined, APP_MANAGER_DRIVER where apps are kept"
_SECONDS = "it is in milliseconds there and in seconds here"

_ORIGINS = "use allowed_origins of the app, or SOCKUDO_DEFAULT_APP_ALLOWED_ORIGINS"
_SAME_SERVER = "the dashboard is part of the server"
_ONE_PASSWORD = "the dashboard has one password: SOCKUDO_DASHBOARD_PASSWORD, or `sockudo dashboard password`"  # noqa: S105 - no password
_IN_MEMORY = "sessions of the dashboard have random ids and live in memory; there is nothing to sign or to store"

ADVICE: Mapping[str, str] = {
    "DASHBOARD_API_PORT": f"{_SAME_SERVER}; METRICS_PORT is its port",
    "DASHBOARD_CORS_ORIGIN": f"{_SAME_SERVER}, and no page of another origin may call it",
    "DASHBOARD_SESSION_SECRET": _IN_MEMORY,
    "DASHBOARD_DATABASE_DRIVER": _IN_MEMORY,
    "DASHBOARD_SQLITE_PATH": _IN_MEMORY,
    "DASHBOARD_TRUST_PROXY": "use SOCKUDO_DASHBOARD_TRUST_HOPS, the number of proxies in front",
    "SOCKUDO_HTTP_URL": _SAME_SERVER,
    "SOCKUDO_METRICS_URL": _SAME_SERVER,
    "PUSHER_HOST": _CLIENT_SIDE,
    "PUSHER_PORT": _CLIENT_SIDE,
    "PUSHER_SCHEME": _CLIENT_SIDE,
    "REVERB_HOST": _CLIENT_SIDE,
    "REVERB_PORT": _CLIENT_SIDE,
    "REVERB_SCHEME": _CLIENT_SIDE,
    "REVERB_SERVER_PATH": "there is no path prefix; let the proxy in front strip it",
    "REVERB_MAX_REQUEST_SIZE": "use http_api.request_limit_in_mb in the configuration file",
    "REVERB_APP_PING_INTERVAL": "use ACTIVITY_TIMEOUT, in seconds",
    "REVERB_APP_ACTIVITY_TIMEOUT": "use ACTIVITY_TIMEOUT, in seconds",
    "REVERB_APP_MAX_CONNECTIONS": "use max_connections of the app, or SOCKUDO_DEFAULT_APP_MAX_CONNECTIONS",
    "REVERB_ALLOWED_ORIGINS": _ORIGINS,
    "REVERB_APP_ALLOWED_ORIGINS": _ORIGINS,
    "REVERB_APP_MAX_MESSAGE_SIZE": "it is in bytes there; use WEBSOCKET_MAX_PAYLOAD_KB",
    "REVERB_SCALING_ENABLED": _DRIVERS,
    "REVERB_SCALING_CHANNEL": _DRIVERS,
    "SOKETI_PATH_PREFIX": "there is no path prefix; let the proxy in front strip it",
    "SOKETI_SHUTDOWN_GRACE_PERIOD": f"use SHUTDOWN_GRACE_PERIOD; {_SECONDS}",
    "SOKETI_USER_AUTHENTICATION_TIMEOUT": f"use USER_AUTHENTICATION_TIMEOUT; {_SECONDS}",
    "SOKETI_HTTP_MAX_REQUEST_SIZE": "use http_api.request_limit_in_mb in the configuration file",
    "SOKETI_HTTP_ACCEPT_TRAFFIC_MEMORY_THRESHOLD": "SOCKUDO_MAX_CONNECTIONS bounds what one server takes",
    "SOKETI_RATE_LIMITER_DRIVER": "use RATE_LIMITER_DRIVER, memory or none",
    "SOKETI_MODE": "there are no modes; one server does everything",
    "SOKETI_METRICS_DRIVER": "metrics are always Prometheus's",
    "SOKETI_SSL_CERT": "set SSL_ENABLED=true, SSL_CERT_PATH and SSL_KEY_PATH",
    "SOKETI_SSL_KEY": "set SSL_ENABLED=true, SSL_CERT_PATH and SSL_KEY_PATH",
    "SOKETI_SSL_PASS": "store the private key without a passphrase, readable by the server alone",
    "SOKETI_SSL_CA": "put the whole chain into the file of SSL_CERT_PATH",
    "SOKETI_DEFAULT_APP_WEBHOOKS": "list them in the configuration file, under policy.webhooks of the app",
}
"""Names without an exact equivalent, and what to do instead."""

FAMILIES: Mapping[str, str] = {
    "DASHBOARD_SEED_": _ONE_PASSWORD,
    "SOKETI_ADAPTER_": _DRIVERS,
    "SOKETI_APP_MANAGER_": _DRIVERS,
    "SOKETI_CACHE_": _DRIVERS,
    "SOKETI_DB_": _DRIVERS,
    "SOKETI_QUEUE_": "webhooks wait in a queue of the server's own; QUEUE_DRIVER chooses it",
}
"""Beginnings of further names without an equivalent."""


def advice(name: str) -> str | None:
    """What to use in place of a variable that is not read; None for one that this table does not have."""
    return ADVICE.get(name) or next((text for prefix, text in FAMILIES.items() if name.startswith(prefix)), None)
