"""Which app the start page shows, whose secret is on it, and where it says that the dashboard is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import structs

from sockudo.config.app_choice import DEV_APP
from sockudo.config.apps import App
from sockudo.config.schema import build
from sockudo.dashboard.assets import asset_url
from sockudo.dashboard.board import Board
from sockudo.dashboard.start.page import dashboard_address, is_start_page, known_secret, shown_app

SHOP = App(id="1000", key="shop-key", secret="shop-secret", enabled=True)
OFF = App(id="0999", key="off-key", secret="off-secret")


def board(*apps: App, listens: bool = True, **values: Any) -> Board:
    settings = build({name.replace("__", "."): value for name, value in values.items()}, dev=True)
    live = [SimpleNamespace(record=app, enabled=app.enabled) for app in apps]
    registry = SimpleNamespace(all=lambda: live)
    host = f"[{settings.metrics.host}]" if ":" in settings.metrics.host else settings.metrics.host
    listeners = [("Metrics and dashboard", f"http://{host}:9701")] if listens else []
    return cast(Board, SimpleNamespace(settings=settings, apps=registry, listeners=listeners))


def test_the_development_app_comes_first_and_none_that_is_disabled() -> None:
    assert shown_app(board(OFF, SHOP, DEV_APP)) is DEV_APP
    assert shown_app(board(OFF, SHOP)) is SHOP
    assert shown_app(board(OFF)) is None


@pytest.mark.parametrize("change", [{"id": "1002"}, {"key": "another"}, {"secret": "rotated"}])
def test_no_secret_is_shown_but_the_one_that_everybody_knows(change: dict[str, str]) -> None:
    assert known_secret(DEV_APP) == "app-secret"
    assert known_secret(structs.replace(DEV_APP, **change)) is None
    assert known_secret(None) is None


@pytest.mark.parametrize(
    ("values", "reached", "where"),
    [
        ({}, "localhost:6001", "http://127.0.0.1:9701/dashboard"),
        ({"metrics__host": "0.0.0.0"}, "dev.test:6001", "http://dev.test:9701/dashboard"),
        ({"metrics__host": "::"}, "[::1]:6001", "http://[::1]:9701/dashboard"),
        ({"metrics__host": "::"}, "[bad", "http://127.0.0.1:9701/dashboard"),
        ({"dashboard__enabled": False}, "localhost:6001", None),
        ({"listens": False}, "localhost:6001", None),
        ({"listens": False, "dashboard__public": True}, "localhost:6001", "/dashboard"),
    ],
)
def test_where_the_dashboard_is(values: dict[str, Any], reached: str, where: str | None) -> None:
    assert dashboard_address(board(**{"metrics__host": "127.0.0.1", **values}), reached) == where


def test_it_has_one_path_and_its_files() -> None:
    assert is_start_page(b"/")
    assert is_start_page(asset_url("start/page.js").encode())
    for path in (b"", b"//", b"/dashboard", b"/dashboard/login", b"/apps", b"/up", b"/index.html"):
        assert not is_start_page(path)
