"""What keys have to be to one another (spec: platform § 1.6), and what is allowed but rarely meant."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any

from sockudo.config import origins
from sockudo.config.app_choice import DEV_APP, is_loopback
from sockudo.config.databases import DATABASES, DatabaseKind
from sockudo.config.draft import Draft
from sockudo.config.schema import APPS, declared
from sockudo.config.sections.redis import useless_redis_url
from sockudo.config.webhooks import uncallable

__all__ = ["OWN_HISTORIES", "check"]

_PUSH_PROVIDERS = ("fcm", "apns", "webpush", "hms", "wns")
_REDIS = ("redis", "redis-cluster")
OWN_HISTORIES = ("sqlite", "memory")
"""Backends of the history that each node has for itself."""

_OWN_APPS = ("sqlite", "memory")
_APPS_DRIVER = "app_manager.driver"
_UNLIKELY = 100
_LEAST_BEAT_MS = 100
_BEATS_OF_A_TIMEOUT = 5
_SPANS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_KNOWN_SECRETS = frozenset({DEV_APP.secret, "secret", "changeme"})


def check(draft: Draft) -> None:
    """Adds what is wrong between keys to the problems, and what may surprise to the warnings."""
    _check_ports(draft)
    _check_tls(draft)
    _check_unix_socket(draft)
    _check_pools(draft)
    _check_redis(draft)
    _check_nats(draft)
    _check_webhooks(draft)
    _check_deltas(draft)
    _check_credentials(draft)
    _check_dashboard(draft)
    _check_push(draft)
    _check_cors(draft)
    _check_heartbeats(draft)
    _check_role(draft)
    _check_history_of_nodes(draft)
    _check_apps_of_nodes(draft)
    _check_workers(draft)
    _check_seconds(draft)


def _value(draft: Draft, path: str) -> Any:
    return draft.values[path] if path in draft.values else declared()[path].default


def _place(draft: Draft, *paths: str) -> str:
    return next((draft.origins[path] for path in paths if path in draft.origins), "default")


def _check_ports(draft: Draft) -> None:
    port, metrics = _value(draft, "port"), _value(draft, "metrics.port")
    listens = _value(draft, "metrics.enabled") or _value(draft, "dashboard.enabled")
    if listens and port == metrics != 0 and not _value(draft, "unix_socket.enabled"):
        draft.problems.append(
            f"{_place(draft, 'metrics.port', 'port')}: metrics.port = {metrics} is the main port as well"
        )
    if _value(draft, "ssl.redirect_http") and _value(draft, "ssl.http_port") in {port, metrics} - {0}:
        draft.problems.append(
            f"{_place(draft, 'ssl.http_port', 'port')}: ssl.http_port = {_value(draft, 'ssl.http_port')} is taken by "
            "another listener"
        )


def _check_tls(draft: Draft) -> None:
    if not _value(draft, "ssl.enabled"):
        if _value(draft, "ssl.redirect_http"):
            draft.warnings.append("ssl.redirect_http has no effect: ssl.enabled is false")
        return
    if _value(draft, "proxy_protocol") and not _value(draft, "unix_socket.enabled"):
        draft.problems.append(
            f"{_place(draft, 'proxy_protocol', 'ssl.enabled')}: proxy_protocol and ssl.enabled exclude each other: the "
            "header is read in front of plain HTTP only, so let the proxy that adds it end TLS"
        )
    for path in ("ssl.cert_path", "ssl.key_path"):
        name = _value(draft, path)
        place = _place(draft, path, "ssl.enabled")
        if not name:
            draft.problems.append(f"{place}: {path} is empty, and ssl.enabled is true: name a PEM file")
        elif not os.path.isfile(name):
            draft.problems.append(f"{place}: {path} = {name!r} does not exist")
        elif not os.access(name, os.R_OK):
            draft.problems.append(f"{place}: {path} = {name!r} cannot be read by this user")


def _check_unix_socket(draft: Draft) -> None:
    if not _value(draft, "unix_socket.enabled"):
        return
    path, mode = _value(draft, "unix_socket.path"), _value(draft, "unix_socket.permission_mode")
    place = _place(draft, "unix_socket.path", "unix_socket.enabled")
    if not path or not PurePosixPath(path).is_absolute():
        draft.problems.append(f"{place}: unix_socket.path = {path!r} is not an absolute path")
    elif "../" in path or "..\\" in path:
        draft.problems.append(f"{place}: unix_socket.path = {path!r} climbs with '..'")
    if int(mode, 8) & 0o002:
        draft.warnings.append(f"unix_socket.permission_mode = {mode!r} lets every user of this machine connect")
    if path.startswith("/tmp/") and _value(draft, "mode") == "production":  # noqa: S108 - this is the warning about it
        draft.warnings.append(f"unix_socket.path = {path!r} lies in a folder that every user may write to")
    if _value(draft, "ssl.enabled"):
        draft.warnings.append("ssl.enabled has no effect on a Unix socket: let the proxy in front end TLS")
    if _value(draft, "proxy_protocol"):
        draft.warnings.append("proxy_protocol has no effect on a Unix socket")


def _check_pools(draft: Draft) -> None:
    if not _value(draft, "database_pooling.enabled"):
        return
    for kind in DATABASES:
        least, most = _bound(draft, kind, "min"), _bound(draft, kind, "max")
        if _value(draft, least) > _value(draft, most):
            draft.problems.append(
                f"{_place(draft, least, most)}: {least} = {_value(draft, least)} is more than "
                f"{most} = {_value(draft, most)}"
            )


def _bound(draft: Draft, kind: DatabaseKind, bound: str) -> str:
    own = f"{kind.section}.pool_{bound}"
    return f"database_pooling.{bound}" if _value(draft, own) is None else own


def _check_webhooks(draft: Draft) -> None:
    """A target that is never called is no matter of a warning: what happened there is lost."""
    if _value(draft, "queue.driver") == "none":
        return
    for app in draft.values.get(APPS, ()):
        for number in uncallable(app.policy.webhooks) if app.enabled else ():
            draft.problems.append(
                f"{draft.origins[APPS]}: app {app.id!r}: policy.webhooks[{number}] is a Lambda function, which this "
                "version cannot call: give it a url, or take it out"
            )


def _check_redis(draft: Draft) -> None:
    if "@" in _value(draft, "database.redis.host"):
        draft.problems.append(
            f"{_place(draft, 'database.redis.host')}: database.redis.host has a user or a password in it, and it is "
            "shown: use database.redis.username and database.redis.password"
        )
    adapter = _value(draft, "adapter.driver")
    drivers = {_value(draft, "queue.driver"), _value(draft, "push.queue_driver")}
    urls = [f"adapter.redis.redis_{way}_options.url" for way in ("pub", "sub")] if adapter == "redis" else []
    if len({_value(draft, path) for path in urls}) > 1:
        draft.problems.append(f"{_place(draft, *urls)}: {' and '.join(urls)} are not the same: nodes use one server")
    if "redis" in drivers:
        # `REDIS_URL` is a variable that other software has too.
        urls.append("queue.redis.url_override")
    _check_redis_nodes(draft, "adapter.cluster.nodes", used=adapter == "redis-cluster")
    _check_redis_nodes(draft, "queue.redis_cluster.nodes", used="redis-cluster" in drivers)
    for section in ("cache", "rate_limiter"):
        driver = _value(draft, f"{section}.driver")
        drivers.add(driver)
        if driver == "redis":
            urls.append(f"{section}.redis.url_override")
        _check_redis_nodes(draft, None, used=driver == "redis-cluster")
    for path in urls:
        problem = None if _value(draft, path) is None else useless_redis_url(_value(draft, path))
        if problem is not None:
            draft.problems.append(f"{_place(draft, path)}: {path} {problem}")
    if not drivers.isdisjoint(_REDIS) or adapter in _REDIS:
        for section in ("database.redis.master_tls", "database.redis.sentinel_tls", "adapter.cluster.tls"):
            _check_tls_files(draft, section)


def _check_redis_nodes(draft: Draft, own: str | None, *, used: bool) -> None:
    paths = ["database.redis.cluster.nodes", *([] if own is None else [own])]
    if used and not any(_value(draft, path) for path in paths):
        empty = f"{' and '.join(paths)} {'is' if own is None else 'are'} empty"
        problem = f"{_place(draft, *reversed(paths))}: {empty}: name a server of the cluster"
        if problem not in draft.problems:
            draft.problems.append(problem)


def _check_nats(draft: Draft) -> None:
    if _value(draft, "adapter.driver") != "nats":
        # Other software has some of these variables, too.
        return
    if any("@" in server for server in _value(draft, "adapter.nats.servers")):
        draft.problems.append(
            f"{_place(draft, 'adapter.nats.servers')}: adapter.nats.servers has a user or a password in it, and it is "
            "shown: use adapter.nats.username and adapter.nats.password"
        )
    ways = [f"adapter.nats.{name}" for name in ("username", "token", "credentials_path")]
    used = [path for path in ways if _value(draft, path)]
    if len(used) > 1:
        draft.problems.append(f"{_place(draft, *used)}: {' and '.join(used)} exclude each other: keep one of them")
    if _value(draft, "adapter.nats.password") and not _value(draft, "adapter.nats.username"):
        path = "adapter.nats.password"
        draft.problems.append(f"{_place(draft, path)}: {path} needs adapter.nats.username")
    _check_files(draft, "adapter.nats.credentials_path")
    _check_tls_files(draft, "adapter.nats.tls")


def _check_tls_files(draft: Draft, section: str) -> None:
    authorities, certificate, key = (f"{section}.{name}_path" for name in ("ca", "client_cert", "client_key"))
    if (_value(draft, certificate) is None) != (_value(draft, key) is None):
        draft.problems.append(f"{_place(draft, certificate, key)}: {certificate} and {key} go together")
    _check_files(draft, authorities, certificate, key)


def _check_files(draft: Draft, *paths: str) -> None:
    for path in paths:
        name = _value(draft, path)
        if name is not None and not os.access(name, os.R_OK):
            draft.problems.append(f"{_place(draft, path)}: {path} = {name!r} is no file that this user can read")


def _check_deltas(draft: Draft) -> None:
    path = "delta_compression.max_conflation_states_per_channel"
    if _value(draft, path) is None and _value(draft, "mode") == "production":
        draft.problems.append(
            f"{_place(draft, path)}: {path} is none, which lets one client fill the memory: set a number, or a `mode` "
            "other than 'production'"
        )


def _check_credentials(draft: Draft) -> None:
    if _value(draft, "unix_socket.enabled") or is_loopback(_value(draft, "host")):
        return
    draft.warnings.extend(
        f"app {app.id!r} has a secret that everybody knows, and others can reach this server: rotate it"
        for app in _value(draft, APPS)
        if app.secret in _KNOWN_SECRETS
    )


def _check_dashboard(draft: Draft) -> None:
    if not _value(draft, "dashboard.enabled"):
        if _value(draft, "dashboard.public"):
            draft.warnings.append("dashboard.public has no effect: dashboard.enabled is false")
        return
    hosts = ["metrics.host", *(["host"] if _value(draft, "dashboard.public") else [])]
    reachable = any(not is_loopback(_value(draft, path)) for path in hosts)
    if reachable and _value(draft, "dashboard.password") in {"dashboard", *_KNOWN_SECRETS}:
        draft.warnings.append(
            "dashboard.password is one that everybody knows, and others can reach the dashboard: change it"
        )


def _check_push(draft: Draft) -> None:
    initial, longest = (_value(draft, f"push.retry.{name}_backoff_ms") for name in ("initial", "max"))
    if initial > longest:
        draft.problems.append(
            f"{_place(draft, 'push.retry.initial_backoff_ms', 'push.retry.max_backoff_ms')}: "
            f"push.retry.initial_backoff_ms = {initial} is more than push.retry.max_backoff_ms = {longest}"
        )
    sending = [name for name in _PUSH_PROVIDERS if _value(draft, f"push.{name}_enabled")]
    forgetful = [name for name in ("push.storage_driver", "push.queue_driver") if _value(draft, name) == "memory"]
    production = _value(draft, "mode") == "production" and not _value(draft, "push.allow_memory_drivers")
    if sending and forgetful and production:
        draft.problems.append(
            f"{_place(draft, *forgetful)}: {' and '.join(forgetful)} = 'memory' would lose notifications with the "
            f"process, and push.{sending[0]}_enabled is true: use 'sqlite', set push.allow_memory_drivers, or a `mode` "
            "other than 'production'"
        )
    if _value(draft, "push.webpush.allow_local_endpoints") and not is_loopback(_value(draft, "host")):
        draft.warnings.append(
            "push.webpush.allow_local_endpoints: who registers a device can make this server call private addresses"
        )


def _check_cors(draft: Draft) -> None:
    reasons = ((pattern, origins.why_unmatched(pattern)) for pattern in _value(draft, "cors.origin"))
    draft.warnings.extend(f"cors.origin has {pattern!r}, which {why}" for pattern, why in reasons if why)


def _check_role(draft: Draft) -> None:
    if _value(draft, "server_role") == "api" and _value(draft, "adapter.driver") == "local":
        draft.problems.append(
            f"{_place(draft, 'server_role')}: server_role = 'api' has no clients of its own and needs other nodes: say "
            "by adapter.driver what joins it with them"
        )


def _check_heartbeats(draft: Draft) -> None:
    """Other servers take these with a warning, too, and their own defaults are among them."""
    paths = ("adapter.cluster_health.heartbeat_interval_ms", "adapter.cluster_health.node_timeout_ms")
    beat, timeout = (_value(draft, path) for path in paths)
    if beat >= _LEAST_BEAT_MS and timeout >= _BEATS_OF_A_TIMEOUT * beat:
        return
    for path in paths:
        draft.values.pop(path, None)
        draft.origins.pop(path, None)
    defaults = " and ".join(str(_value(draft, path)) for path in paths)
    draft.warnings.append(
        f"{paths[0]} = {beat} and {paths[1]} = {timeout} are not used, but the defaults, {defaults}: the interval must "
        f"be at least {_LEAST_BEAT_MS} ms and the timeout at least {_BEATS_OF_A_TIMEOUT} intervals"
    )


def _check_history_of_nodes(draft: Draft) -> None:
    """A message that is numbered by the store of one node has no place in that of another."""
    driver, backend = _value(draft, "adapter.driver"), _value(draft, "history.backend")
    own = _value(draft, "history.enabled") and backend in OWN_HISTORIES
    if driver != "local" and own and not _value(draft, "instance.shared_stores"):
        place = _place(draft, "history.backend", "history.enabled", "adapter.driver")
        draft.problems.append(
            f"{place}: history.backend = {backend!r} is another history on each of the nodes that adapter.driver = "
            f"{driver!r} joins, and none takes the messages of the others: name one database for all of them, "
            "'postgres' or 'mysql', or switch history.enabled off"
        )


def _check_apps_of_nodes(draft: Draft) -> None:
    driver, joined = _value(draft, _APPS_DRIVER), _value(draft, "adapter.driver") != "local"
    if joined and driver in _OWN_APPS and draft.origins.get(_APPS_DRIVER) != "--dev":
        draft.warnings.append(
            f"app_manager.driver = {driver!r}: apps that are added or changed on one of the joined nodes are not known "
            "to the others: configure them on all (app_manager.array.apps), or name one database, 'postgres' or 'mysql'"
        )


def _check_workers(draft: Draft) -> None:
    """What one process keeps to itself, and clients of another one would miss."""
    if _value(draft, "workers") == 1:
        return
    several = f"{_place(draft, 'workers')}: workers = {_value(draft, 'workers')}"
    if _value(draft, "history.backend") == "memory" and _value(draft, "history.enabled"):
        draft.problems.append(
            f"{several} cannot be used with history.backend = 'memory', of which each process would have its own: use "
            "'sqlite', or a database"
        )
    if _value(draft, "dashboard.enabled") and _value(draft, "dashboard.public"):
        draft.problems.append(
            f"{several} cannot be used with dashboard.public: who logged in at one process is not known to the others. "
            "Reach the dashboard on metrics.port, through a proxy or a tunnel"
        )


def _check_seconds(draft: Draft) -> None:
    """Other servers count many of these in milliseconds: what is a hundred times the default is one of theirs."""
    for path, value in draft.values.items():
        setting = declared().get(path)
        if setting is None or setting.key.unit != "s" or not isinstance(value, int) or not setting.default:
            continue
        if value % 1000 == 0 and value >= setting.default * _UNLIKELY:
            draft.warnings.append(
                f"{path} = {value} is {_span(value)}: it counts seconds, and {value // 1000} may have been meant"
            )


def _span(seconds: int) -> str:
    size, name = next((size, name) for size, name in _SPANS if seconds >= size)
    count = seconds / size
    return f"{count:,.0f} {name}{'' if round(count) == 1 else 's'}"
