"""Which server a command talks to, and as which app.

The address is that of ``--url``, else that of the configuration which ``--config`` names, else the default one.
Credentials are taken from the options or the environment; what is missing comes from the local configuration or app
store. Without any, a server on this machine is first taken for one started with ``--dev``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer

from sockudo.cli.local_server import address_of, read_settings
from sockudo.cli.local_server import local_apps as apps_here
from sockudo.cli.options import Command, in_place_of
from sockudo.cli.outcome import ExitCode, fail, note

if TYPE_CHECKING:
    import ssl

    from sockudo.client.auth import Credentials
    from sockudo.client.http import ApiClient
    from sockudo.client.trust import Trust

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

_PARTS: Final = ("--app-id", "--key", "--secret")

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="SOCKUDO_URL",
        metavar="URL",
        rich_help_panel=_PANEL,
        help=f"Where the server listens; without it, where --config says, else {DEFAULT_URL}.",
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
        "--config",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help="The configuration file of a server on this machine: its address, its certificate and its apps.",
    ),
]
CaCert = Annotated[
    Path | None,
    typer.Option(
        "--cacert", metavar="FILE", rich_help_panel=_PANEL, help="Accept certificates of this authority, too (PEM)."
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", rich_help_panel=_PANEL, help="Accept any certificate: for trying things out alone."),
]


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the credentials of the app to be on it.

    ``trust`` determines whose certificates count; None is those of this system.
    """

    url: str
    credentials: Credentials
    trust: Trust | None = None

    def tls(self) -> ssl.SSLContext | None:
        """What TLS connections to it accept; None is what this system accepts."""
        return self.trust.context() if self.trust is not None and self.url.startswith("https:") else None

    def api(self, *, timeout: float = 10.0) -> ApiClient:
        """The client of its HTTP API, for ``async with``."""
        from sockudo.client.http import ApiClient

        return ApiClient(self.url, self.credentials, timeout=timeout, tls=self.tls())


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The options as they were given."""

    url: str | None
    app_id: str | None
    key: str | None
    secret: str | None
    config: Path | None
    cacert: Path | None = None
    insecure: bool = False

    def resolve(self, needs: Collection[str] = _PARTS) -> Target:
        """Find the target, or end the command with what is missing; ``needs`` are the options it cannot do without."""
        url, trust = self._place()
        target = resolve(url, self.app_id, self.key, self.secret, self.config, needs=needs)
        return replace(target, trust=trust)

    def credentials(self) -> Credentials:
        """For commands that ask no server: only the app is looked up."""
        return resolve(self.url or DEFAULT_URL, self.app_id, self.key, self.secret, self.config).credentials

    def _place(self) -> tuple[str, Trust]:
        if self.url is not None or self.config is None:
            url = checked_url(self.url or DEFAULT_URL)
            return url, self.trust(url)
        address = address_of(read_settings(self.config))
        if address.reason:
            fail(
                f"{self.config}: {address.reason}: where do clients reach it?",
                ExitCode.USAGE,
                "Add --url with the URL that they use.",
            )
        return address.url, self.trust(address.url, address.certificate)

    def trust(self, url: str, pinned: Path | None = None) -> Trust:
        """What is accepted at this URL, as options or ``pinned`` say; ends the command for a file of no use."""
        from sockudo.client.trust import Trust

        if not url.startswith("https:"):
            return Trust()
        given = Trust(self.cacert, None if self.cacert is not None else pinned, self.insecure)
        try:
            given.context()
        except (OSError, ValueError) as error:
            fail(f"{self.cacert or pinned} is no certificate in PEM that can be read: {error}.", ExitCode.USAGE)
        if self.insecure:
            note(f"Note: the certificate of {url} is not checked (--insecure): anyone between can read and answer.")
        return given


def with_server(command: Command) -> Command:
    """Gives a command the options that say which server and which app, in place of its parameter ``server``."""
    options = {
        "url": (Url, None),
        "app_id": (AppId, None),
        "key": (Key, None),
        "secret": (Secret, None),
        "config": (Config, None),
        "cacert": (CaCert, None),
        "insecure": (Insecure, False),
    }
    return in_place_of("server", options, ServerOptions)(command)


def resolve(
    url: str,
    app_id: str | None,
    key: str | None,
    secret: str | None,
    config: Path | None,
    *,
    needs: Collection[str] = _PARTS,
    local_apps: Callable[[Path | None], list[Credentials]] | None = None,
    is_dev: Callable[[str], bool] | None = None,
) -> Target:
    """Find the target or end the command with what is missing of ``needs``.

    ``local_apps`` reads this machine's configuration and app store, ``is_dev`` asks a server whether it knows the
    development app; both are replaced in tests.
    """
    url = checked_url(url)
    found = find(url, app_id, key, secret, config, needs=needs, local_apps=local_apps, is_dev=is_dev)
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
    needs: Collection[str] = _PARTS,
    local_apps: Callable[[Path | None], list[Credentials]] | None = None,
    is_dev: Callable[[str], bool] | None = None,
) -> Target | None:
    """As `resolve` for a URL that has been checked; None where no credentials were given and none are found here."""
    from sockudo.client.address import is_loopback
    from sockudo.client.auth import Credentials

    given = dict(zip(_PARTS, (app_id or None, key or None, secret or None), strict=True))
    if all(given.values()):
        return Target(url, Credentials(app_id or "", key or "", secret or ""))
    apps = (local_apps or apps_here)(config)
    if any(given.values()) and not apps and all(given[part] for part in needs):
        return Target(url, Credentials(app_id or "", key or "", secret or ""))
    if config is None and is_loopback(url) and not any((app_id, key)) and (not apps or (is_dev or _knows_dev_app)(url)):
        return Target(url, Credentials("app-id", "app-key", secret or "app-secret"))
    if any(given.values()):
        return Target(url, _completed(given, apps, needs))
    return Target(url, apps[0]) if apps else None


def _completed(given: Mapping[str, str | None], apps: list[Credentials], needs: Collection[str]) -> Credentials:
    """The given parts with what is missing from the local app that they name.

    Id and key name an app; a secret that is given counts more than the app's own. An app cannot be put together from
    parts of two: where the parts name none, or several, what is missing has to be given.
    """
    from sockudo.client.auth import Credentials

    app_id, key, secret = (given[part] for part in _PARTS)
    named = [app for app in apps if app_id in (None, app.app_id) and key in (None, app.key)]
    exact = [app for app in named if secret in (None, app.secret)]
    if exact:
        return exact[0]
    if len(named) == 1:
        return replace(named[0], secret=secret or named[0].secret)
    missing = [part for part in needs if not given[part]]
    if missing:
        several = f" Of {len(named)} apps here each could be meant." if named else ""
        fail(
            f"{' and '.join(missing)} missing.{several}",
            ExitCode.USAGE,
            "Id, key and secret of one app belong together; `sockudo apps show ID` prints them where the server runs.",
        )
    return Credentials(app_id or "", key or "", secret or "")


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
