"""What a person at the terminal reads when the server is ready."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sockudo.config.app_choice import DEV_APP
from sockudo.config.apps import App
from sockudo.config.schema import build
from sockudo.server.server import Server
from sockudo.server.welcome import welcome

SHOP = App(id="1001", key="shop-key", secret="shop-secret", enabled=True)
OFF = App(id="1002", key="off-key", secret="off-secret")


def said(
    *,
    dev: bool = False,
    first: App | None = None,
    apps: tuple[App, ...] = (SHOP,),
    metrics: int | None = 9601,
    password: str | None = None,
    workers: int | None = None,
    **values: Any,
) -> str:
    """The text of a server on port 6001 with these settings by dotted path (``__`` for a dot)."""
    settings = build({name.replace("__", "."): value for name, value in values.items()}, dev=dev)
    live = [SimpleNamespace(record=app, enabled=app.enabled) for app in apps]
    server = SimpleNamespace(
        settings=settings,
        port=6001,
        metrics_port=metrics,
        first_app=first,
        worker=None if workers is None else SimpleNamespace(count=workers),
        dashboard_password=password,
        serves_dashboard=settings.dashboard.enabled and (metrics is not None or settings.dashboard.public),
        apps=SimpleNamespace(all=lambda: live),
    )
    return welcome(cast(Server, server), 0.4321)


def test_where_everything_is() -> None:
    text = said()
    assert "is ready in 0.43 s" in text
    assert "listening on   http://127.0.0.1:6001\n" in text
    assert "metrics        http://127.0.0.1:9601/metrics\n" in text
    assert "apps           1\n" in text
    assert "workers" not in text
    assert "workers        4\n" in said(workers=4)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::", "[::1]"),
        ("2001:db8::5", "[2001:db8::5]"),
        ("realtime.test", "realtime.test"),
    ],
)
def test_hosts_are_such_that_one_can_connect_to_them(host: str, shown: str) -> None:
    text = said(host=host, metrics__host=host, dev=True, apps=(DEV_APP,))
    assert f"http://{shown}:6001" in text
    everywhere = " (on every address of this machine)" if host in ("", "0.0.0.0", "::") else ""
    assert f"http://{shown}:9601/metrics{everywhere}\n" in text
    assert f"http://{shown}:9601/dashboard{everywhere}\n" in text
    assert f"wsHost: '{shown}'" in text


def test_tls() -> None:
    text = said(ssl__enabled=True, dev=True, apps=(DEV_APP,))
    assert "listening on   https://127.0.0.1:6001\n" in text
    assert "forceTLS: true" in text
    assert "sockudo publish --url https://127.0.0.1:6001 " in text


def test_a_unix_socket_has_nothing_to_paste_into_a_browser() -> None:
    text = said(unix_socket__enabled=True, unix_socket__path="/run/s.sock", dev=True, apps=(DEV_APP,))
    assert "listening on   unix:/run/s.sock\n" in text
    assert "pusher-js" not in text
    assert "secret  app-secret" in text


def test_in_production_no_secret_is_printed() -> None:
    text = said()
    assert "shop" not in text
    assert "pusher-js" not in text


def test_a_first_app_is_printed_with_its_secret() -> None:
    text = said(first=SHOP)
    assert "its secret is shown only now" in text
    assert "secret  shop-secret" in text
    # Arguments are seen by other users of the machine.
    assert "--secret" not in text
    for line in ("SOCKUDO_APP_ID=1001", "SOCKUDO_APP_KEY=shop-key", "SOCKUDO_APP_SECRET=shop-secret"):
        assert f"export {line}\n" in text


def test_the_development_app_needs_no_credentials_on_the_command_line() -> None:
    text = said(dev=True, apps=(DEV_APP,))
    assert "Development app:" in text
    assert "sockudo publish --url http://127.0.0.1:6001 my-channel my-event" in text


def test_in_development_an_enabled_app_is_shown() -> None:
    text = said(dev=True, apps=(OFF, SHOP))
    assert "shop-secret" in text
    assert "off-secret" not in text
    assert "apps           2 (1 disabled)\n" in text


def test_metrics_that_are_off_or_could_not_be_opened() -> None:
    assert "metrics" not in said(metrics=None, metrics__enabled=False)
    assert "metrics" not in said(metrics__enabled=False)
    assert "metrics        none: their port could not be opened" in said(metrics=None)


def test_the_rate_limit_is_said_as_it_surprises_people() -> None:
    assert (
        "rate limit     100 failed authentications in 60 s per address (RATE_LIMITER_ENABLED=false turns it off)"
        in said()
    )
    assert "rate limit" not in said(rate_limiter__enabled=False)
    assert "rate limit" not in said(rate_limiter__driver="none")


def test_where_the_page_of_a_development_server_is() -> None:
    assert "  try it         http://127.0.0.1:6001/ in a browser\n" in said(dev=True)
    assert "try it" not in said()
    assert "try it" not in said(dev=True, unix_socket__enabled=True, unix_socket__path="/run/s.sock")


def test_where_the_dashboard_is() -> None:
    assert "dashboard      http://127.0.0.1:9601/dashboard\n" in said()
    assert "dashboard      http://127.0.0.1:9601/dashboard\n" in said(metrics__enabled=False)
    assert "dashboard" not in said(dashboard__enabled=False)
    assert "dashboard" not in said(metrics=None)
    assert "dashboard      http://127.0.0.1:6001/dashboard\n" in said(metrics=None, dashboard__public=True)


def test_the_password_of_the_dashboard_is_said_once() -> None:
    assert "it is shown only now:\n    password  abcd-efgh\n" in said(password="abcd-efgh")
    assert "password" not in said(dashboard__password="kept to oneself")


def test_the_password_of_a_development_server_is_said_at_every_start() -> None:
    assert "for this data folder:\n    password  abcd-efgh\n" in said(dev=True, password="abcd-efgh")
    configured = said(dev=True, apps=(DEV_APP,), dashboard__password="kept to oneself")
    assert "password" not in configured
    assert "kept to oneself" not in configured
    kept = said(dev=True, data_dir="kept")
    assert "whose hash is in kept/dashboard-password" in kept
    assert "`sockudo dashboard password`" in kept


def test_without_a_dashboard_no_password_is_said() -> None:
    assert "password" not in said(dev=True, password="abcd-efgh", metrics=None)
    assert "password" not in said(dev=True, password="abcd-efgh", dashboard__enabled=False)
    assert "password" not in said(dev=True, metrics=None)
    assert "password  abcd-efgh\n" in said(dev=True, password="abcd-efgh", metrics=None, dashboard__public=True)


def test_the_command_is_that_of_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCKUDO_COMMAND", "scripts/sockudo")
    text = said(dev=True, apps=(DEV_APP,))
    assert "    scripts/sockudo publish --url http://127.0.0.1:6001 my-channel" in text
