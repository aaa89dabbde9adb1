"""SIGHUP: what changes at once and what needs a restart."""

from __future__ import annotations

import pytest

from sockudo.config import Settings, reloadable_changes, reloaded
from sockudo.config.apps import App
from sockudo.config.schema import build, declared


def test_nothing_changed() -> None:
    assert reloadable_changes(Settings(), Settings()) == ((), ())


def test_changes_are_told_apart() -> None:
    new = build({"port": 1, "log_level": "debug", "app_manager.array.apps": (App("a", "k", "s"),), "ssl.enabled": True})
    assert reloadable_changes(Settings(), new) == (("log_level", "app_manager.array.apps"), ("port", "ssl.enabled"))


def test_what_needs_a_restart_stays_as_it_was() -> None:
    old = build({"port": 1, "activity_timeout": 30}, dev=True)
    new = build({"port": 2, "activity_timeout": 40, "unix_socket.enabled": True, "max_connections": 7})
    taken = reloaded(old, new)
    assert taken == build({"port": 1, "activity_timeout": 40, "max_connections": 7}, dev=True)
    assert reloadable_changes(taken, new) == ((), ("port", "unix_socket.enabled"))


@pytest.mark.parametrize(
    "path",
    [
        "host", "port", "ssl.enabled", "ssl.cert_path", "unix_socket.path", "metrics.port", "metrics.enabled",
        "data_dir", "app_manager.driver", "proxy_protocol",
    ],
)  # fmt: skip
def test_listeners_and_stores_need_a_restart(path: str) -> None:
    assert not declared()[path].key.reload


@pytest.mark.parametrize(
    "path",
    [
        "app_manager.array.apps", "log_level", "cors.origin", "rate_limiter.api_rate_limit.max_requests",
        "event_limits.max_batch_size", "presence.max_members_per_channel", "activity_timeout", "max_connections",
    ],
)  # fmt: skip
def test_limits_apps_and_logs_change_at_once(path: str) -> None:
    assert declared()[path].key.reload
