"""Which server a command talks to, and as which app.

Credentials are taken from the options or the environment. Without any, a server on this machine is first taken for one
started with ``--dev``; if it is not, and for every other server, the local configuration or app store is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer

from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.cli.signatures import Command, in_place_of

if TYPE_CHECKING:
    from sockudo.client.auth import Credentials
    from sockudo.config import Settings
    from sockudo.config.apps import App

__all__ = [
    "DEFAULT_URL",
    "AppId",
    "Config",
    "Key",
    "Secret",
    "ServerOptions",
    "Target",
    "Url",
    "checked_url",
    "find",
    "resolve",
    "with_server",
]

_PANEL: Final = "Which server, which app"
DEFAULT_URL: Final = "http://127.0.0.1:6001"

Url = Annotated[
    str,
    typer.Option(
        "--url", envvar="SOCKUDO_URL", metavar="URL", rich_help_panel=_PANEL, help="Where the server listens."
    ),
]
AppId = Annotated[
    str | None,
    typer.Option("--app-id", envvar=["SOCKUDO_APP_ID", "PUSHER_APP_ID"], rich_help_panel=_PANEL, help="The app's id."),
]
Key = Annotated[
    str | None,
    typer.Option("--key", envvar=["SOCKUDO_APP_KEY", "PUSHER_APP_KEY"], rich_help_panel=_PANEL, help="The app's key."),
]
Secret = Annotated[
    str | None,
    typer.Option(
        "--secret",
        envvar=["SOCKUDO_APP_SECRET", "PUSHER_APP_SECRET"],
        rich_help_panel=_PANEL,
        help="The app's secret. An argument is visible to other users of the machine: prefer the environment.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", rich_help_panel=_PANEL, help="Take the app from this configuration file's apps."
    ),
]


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the credentials of the app to be on it."""

    url: str
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The options as they were given."""

    url: str
    app_id: str | None
    key: str | None
    secret: str | None
    config: Path | None

    def resolve(self) -> Target:
        """Find the target, or end the command with what is missing."""
        return resolve(self.url, self.app_id, self.key, self.secret, self.config)


def with_server(command: Command) -> Command:
    """Gives a command the options that say which server and which app, in place of its parameter ``server``."""
    options = {
        "url": (Url, DEFAULT_URL),
        "app_id": (AppId, None),
        "key": (Key, None),
        "secret": (Secret, None),
        "config": (Config, None),
    }
    return in_place_of("server", options, ServerOptions)(command)


def resolve(
    url: str,
    app_id: str | None,
    key: str | None,
    secret: str | None,
    config: Path | None,
    *,
    local_apps: Callable[[Path | None], list[Credentials]] | None = None,
    is_dev: Callable[[str], bool] | None = None,
) -> Target:
    """Find the target or end the command with what is missing.

    ``local_apps`` reads this machine's configuration and app store, ``is_dev`` asks a server whether it knows the
    development app; both are replaced in tests.
    """
    url = checked_url(url)
    found = find(url, app_id, key, secret, config, local_apps=local_apps, is_dev=is_dev)
    if found is None:
        fail(
            f"No credentials for {url}.",
            ExitCode.USAGE,
            "Give --app-id, --key and --secret, or set SOCKUDO_APP_ID, SOCKUDO_APP_KEY and SOCKUDO_APP_SECRET.",
        )
    return found


def find(
    url: str,
    app_id: str | None,
    key: str | None,
    secret: str | None,
    config: Path | None,
    *,
    local_apps: Callable[[Path | None], list[Credentials]] | None = None,
    is_dev: Callable[[str], bool] | None = None,
) -> Target | None:
    """As `resolve` for a URL that has been checked; None where no credentials were given and none are found here."""
    from sockudo.client.address import is_loopback
    from sockudo.client.auth import Credentials

    given = {"--app-id": app_id, "--key": key, "--secret": secret}
    if app_id and key and secret:
        return Target(url, Credentials(app_id, key, secret))
    apps = (local_apps or _local_apps)(config)
    if any(given.values()):
        return Target(url, _completed(given, apps))
    if config is None and is_loopback(url) and (not apps or (is_dev or _knows_dev_app)(url)):
        return Target(url, Credentials("app-id", "app-key", "app-secret"))
    return Target(url, apps[0]) if apps else None


def _completed(given: Mapping[str, str | None], apps: list[Credentials]) -> Credentials:
    """The local app that has the given parts; an app cannot be put together from parts of two."""
    app_id, key, secret = given["--app-id"], given["--key"], given["--secret"]
    fitting = [
        app for app in apps if app_id in (None, app.app_id) and key in (None, app.key) and secret in (None, app.secret)
    ]
    if not fitting:
        missing = [name for name, value in given.items() if not value]
        fail(
            f"{' and '.join(missing)} missing.",
            ExitCode.USAGE,
            "Id, key and secret of one app belong together; `sockudo apps show ID` prints them where the server runs.",
        )
    return fitting[0]


def checked_url(url: str) -> str:
    """The URL in a form that everything else can rely on; host:port alone means http."""
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        fail(f"'{url}' is not the URL of a server.", ExitCode.USAGE, f"Use the form {DEFAULT_URL}.")
    return full.rstrip("/")


def _knows_dev_app(url: str) -> bool:
    """Ask the health route of the development app, which needs no signature."""
    import httpx

    try:
        secure = not url.lower().startswith("http:")
        return httpx.get(f"{url}/up/app-id", timeout=2.0, trust_env=False, verify=secure).status_code == 200
    except httpx.HTTPError:
        return False


def _local_apps(config: Path | None) -> list[Credentials]:
    """The enabled apps of this machine's configuration and its store; no file is created by looking."""
    from sockudo.client.auth import Credentials
    from sockudo.config import ConfigError, load

    try:
        settings = load(path=config, environ=os.environ, cwd=Path.cwd(), dev=False, overrides={}).settings
    except ConfigError as error:
        if config is None:
            return []
        fail(f"{config} cannot be used.", ExitCode.USAGE, *error.problems)
    apps = [*settings.apps, *_stored_apps(settings)]
    return [Credentials(app.id, app.key, app.secret) for app in apps if app.enabled]


def _stored_apps(settings: Settings) -> Sequence[App]:
    import asyncio

    from sockudo.config import ConfigError
    from sockudo.errors import SockudoError
    from sockudo.stores.selection import stored_apps

    try:
        return asyncio.run(stored_apps(settings)) or ()
    except (ConfigError, SockudoError) as error:
        note(f"Note: {error}")
        return ()
