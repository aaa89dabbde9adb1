"""Which apps the configuration gives: the file's, one from variables, or the one of ``--dev`` (spec: platform § 1.5).

Our own variables replace the file's apps. Those of other servers are taken only when nothing of ours names an app, and
the development app only when nothing else does; known credentials never listen on an address that others can reach.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from sockudo.config.app_reader import read_app
from sockudo.config.apps import App, Channels, Features, Policy
from sockudo.config.draft import Draft
from sockudo.config.problems import ConfigError
from sockudo.config.schema import APPS

__all__ = ["APP_VARIABLES", "DEV_ALIAS", "DEV_APP", "aliases", "choose", "is_loopback"]

DEV_APP = App(
    id="1001",  # stock SDKs refuse ids that are not numbers
    key="app-key",
    secret="app-secret",  # noqa: S106 - known to everybody, which is why it stays on loopback
    enabled=True,
    policy=Policy(
        features=Features(enable_client_messages=True, enable_user_authentication=True, enable_watchlist_events=True),
        channels=Channels(v1_recovery=True),
    ),
)

DEV_ALIAS = "app-id"
"""What the command line and paths of a development server may also call the development app."""

_OWN = "SOCKUDO_DEFAULT_APP_"
_FOREIGN = ("SOKETI_DEFAULT_APP_", "REVERB_APP_", "PUSHER_APP_")
_CREDENTIALS = ("ID", "KEY", "SECRET")
_SKIP = ("SOCKUDO_SKIP_INLINE_APPS", "APP_MANAGER_REGISTER_INLINE_APPS")
_CLIENT_MESSAGES = "SOCKUDO_ENABLE_CLIENT_MESSAGES"
_OWN_LIMIT = 100

_LIMITS = (
    "MAX_CONNECTIONS",
    "MAX_CLIENT_EVENTS_PER_SECOND",
    "MAX_BACKEND_EVENTS_PER_SECOND",
    "MAX_READ_REQUESTS_PER_SECOND",
    "MAX_PRESENCE_MEMBERS_PER_CHANNEL",
    "MAX_PRESENCE_MEMBER_SIZE_IN_KB",
    "MAX_CHANNEL_NAME_LENGTH",
    "MAX_EVENT_CHANNELS_AT_ONCE",
    "MAX_EVENT_NAME_LENGTH",
    "MAX_EVENT_PAYLOAD_IN_KB",
    "MAX_EVENT_BATCH_SIZE",
)
_SWITCHES = ("ENABLE_CLIENT_MESSAGES", "ENABLE_USER_AUTHENTICATION", "ENABLE_WATCHLIST_EVENTS")
_DEV_FEATURES: Mapping[str, str] = {**{name.lower(): "true" for name in _SWITCHES}, "v1_recovery": "true"}
_CHANNELS = ("ALLOWED_ORIGINS", "ANNOTATIONS_ENABLED")
_OWN_NAMES = frozenset(f"{_OWN}{suffix}" for suffix in (*_CREDENTIALS, "ENABLED", *_LIMITS, *_SWITCHES, *_CHANNELS)) | {
    *_SKIP,
    _CLIENT_MESSAGES,
}

_SOKETI_LIMITS: Mapping[str, str] = {
    "SOKETI_DEFAULT_APP_MAX_CONNS": "max_connections",
    "SOKETI_DEFAULT_APP_MAX_CONNECTIONS": "max_connections",
    "SOKETI_DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC": "max_backend_events_per_second",
    "SOKETI_DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SECOND": "max_backend_events_per_second",
    "SOKETI_DEFAULT_APP_MAX_CLIENT_EVENTS_PER_SEC": "max_client_events_per_second",
    "SOKETI_DEFAULT_APP_MAX_CLIENT_EVENTS_PER_SECOND": "max_client_events_per_second",
    "SOKETI_DEFAULT_APP_MAX_READ_REQ_PER_SEC": "max_read_requests_per_second",
    "SOKETI_DEFAULT_APP_MAX_READ_REQUESTS_PER_SECOND": "max_read_requests_per_second",
}
_SOKETI_SWITCHES: Mapping[str, str] = {
    "SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES": "enable_client_messages",
    "SOKETI_DEFAULT_APP_USER_AUTHENTICATION": "enable_user_authentication",
    "SOKETI_DEFAULT_APP_ENABLE_USER_AUTHENTICATION": "enable_user_authentication",
}


APP_VARIABLES = (
    _OWN_NAMES
    | {f"{prefix}{part}" for prefix in _FOREIGN for part in _CREDENTIALS}
    | {f"{_FOREIGN[0]}ENABLED", *_SOKETI_LIMITS, *_SOKETI_SWITCHES}
)
"""Every variable that is about the configured apps, our own and those of other servers."""


def choose(draft: Draft, environ: Mapping[str, str], *, dev: bool) -> None:
    """Settles `APPS` in the draft."""
    given = {name: value for name, value in environ.items() if value}
    skip, register = draft.flag(given, _SKIP[0]), draft.flag(given, _SKIP[1])
    if (skip or register is False) and draft.values.get(APPS):
        variable = _SKIP[0] if skip else _SKIP[1]
        draft.put(APPS, (), variable)
        draft.sources.append(f"apps of the file left out: {variable}")
    enabled = draft.flag(given, f"{_OWN}ENABLED")
    if enabled is False or any(f"{_OWN}{part}" in given for part in _CREDENTIALS):
        _take_own(draft, given, enabled=enabled is not False, dev=dev)
    else:
        _note_orphans(draft, given)
        _take_foreign(draft, given, dev=dev)
    if dev and not draft.values.get(APPS):
        _take_dev(draft)


def aliases(apps: Sequence[App], *, dev: bool) -> Mapping[str, str]:
    """Further names of the configured apps, alias to id: those of the development app, on its server only."""
    known = dev and any((app.id, app.key) == (DEV_APP.id, DEV_APP.key) for app in apps)
    return {DEV_ALIAS: DEV_APP.id} if known else {}


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _take_own(draft: Draft, given: Mapping[str, str], *, enabled: bool, dev: bool) -> None:
    missing = [f"{_OWN}{part}" for part in _CREDENTIALS if f"{_OWN}{part}" not in given]
    origin = f"{_OWN}*"
    draft.put(APPS, (), origin)
    if not enabled:
        draft.sources.append(f"apps of the file left out: {_OWN}ENABLED=false")
        return
    if missing:
        draft.warnings.append(f"there is no default app: {', '.join(missing)} not set")
        return
    default = "true" if dev else "false"
    switches = {name.lower(): given.get(f"{_OWN}{name}", default) for name in _SWITCHES}
    if f"{_OWN}{_SWITCHES[0]}" not in given:
        switches["enable_client_messages"] = given.get(_CLIENT_MESSAGES, default)
    record = {
        **(_DEV_FEATURES if dev else {}),
        **{part.lower(): given[f"{_OWN}{part}"] for part in _CREDENTIALS},
        "enabled": True,
        **{name.lower(): given.get(f"{_OWN}{name}", _OWN_LIMIT) for name in _LIMITS},
        **switches,
        **{name.lower(): given.get(f"{_OWN}{name}") for name in _CHANNELS},
    }
    if _adopt(draft, record, origin, "environment"):
        draft.sources.append(f"app {record['id']!r} from {origin}; limits that are not given are {_OWN_LIMIT} each")


def _note_orphans(draft: Draft, given: Mapping[str, str]) -> None:
    orphans = sorted(
        name for name in given if name.startswith(_OWN) and name in _OWN_NAMES and name != f"{_OWN}ENABLED"
    )
    if orphans:
        needed = ", ".join(f"{_OWN}{part}" for part in _CREDENTIALS)
        draft.warnings.append(f"{', '.join(orphans)} have no effect without {needed}")


def _take_foreign(draft: Draft, given: Mapping[str, str], *, dev: bool) -> None:
    for prefix in _FOREIGN:
        credentials = {part.lower(): given[f"{prefix}{part}"] for part in _CREDENTIALS if f"{prefix}{part}" in given}
        if not credentials:
            continue
        names = ", ".join(f"{prefix}{part}" for part in _CREDENTIALS if f"{prefix}{part}" in given)
        if len(credentials) < len(_CREDENTIALS):
            draft.warnings.append(
                f"{names} not read: an app needs {', '.join(f'{prefix}{part}' for part in _CREDENTIALS)}"
            )
            continue
        if draft.values.get(APPS):
            same = any((app.id, app.key, app.secret) == tuple(credentials.values()) for app in draft.values[APPS])
            if not same:
                draft.warnings.append(f"{names} not read: {draft.origins[APPS]} configures the apps already")
            continue
        features = _DEV_FEATURES if dev else {}
        record = {**credentials, **features, **_soketi_extras(draft, given, prefix)}
        if _adopt(draft, record, f"{prefix}*", "environment"):
            draft.sources.append(f"{names} read as the app {credentials['id']!r}")


def _soketi_extras(draft: Draft, given: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """What Soketi tells about its default app besides credentials; -1 is its word for no limit."""
    extras: dict[str, Any] = {"enabled": True}
    if prefix != _FOREIGN[0]:
        return extras
    extras["enabled"] = given.get(f"{prefix}ENABLED", "true")
    used = [f"{prefix}ENABLED"] if f"{prefix}ENABLED" in given else []
    for name, field in (*_SOKETI_LIMITS.items(), *_SOKETI_SWITCHES.items()):
        if name in given:
            extras[field] = "0" if name in _SOKETI_LIMITS and given[name].strip() == "-1" else given[name]
            used.append(name)
    if used:
        draft.sources.append(f"{', '.join(used)} read for that app")
    return extras


def _adopt(draft: Draft, record: Mapping[str, Any], origin: str, place: str) -> bool:
    try:
        draft.put(APPS, (read_app(record, origin),), origin)
    except ConfigError as error:
        draft.problems.extend(f"{place}: {problem}" for problem in error.problems)
        return False
    return True


def _take_dev(draft: Draft) -> None:
    """Adds the app whose credentials everybody knows, for this machine alone and never into a store that lasts."""
    if draft.values.get("app_manager.driver", "sqlite") != "memory":
        draft.warnings.append(
            f"the app of --dev is left out: {draft.origins['app_manager.driver']} keeps apps in a store that lasts"
        )
        return
    host = draft.values.get("host", "")
    if not draft.values.get("unix_socket.enabled") and not is_loopback(host):
        draft.problems.append(
            f"{draft.origins['host']}: host = {host!r} can be reached by others, and everybody knows the credentials "
            "of the app of --dev: configure an app, or listen on 127.0.0.1"
        )
        return
    draft.put(APPS, (DEV_APP,), "--dev")
    draft.sources.append(f"--dev: the app {DEV_APP.id!r}, loopback only, no rate limits, apps in memory")
