"""What commands on a server's machine read from its configuration: its address, its certificate, its apps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sockudo.cli.outcome import ExitCode, fail, note

if TYPE_CHECKING:
    from sockudo.client.auth import Credentials
    from sockudo.config import Settings
    from sockudo.config.apps import App

__all__ = ["Address", "address_of", "local_apps", "read_settings"]


class Address(NamedTuple):
    """Where a server is reached from its own machine: ``url``, or ``reason`` where it has none.

    ``certificate`` is the file of its certificate, for any name; None without TLS.
    """

    url: str
    certificate: Path | None = None
    reason: str = ""


def address_of(settings: Settings) -> Address:
    """The address of a server with these settings."""
    if settings.unix_socket.enabled:
        return Address("", reason=f"the server listens on the Unix socket {settings.unix_socket.path}")
    if settings.proxy_protocol:
        return Address("", reason="the server takes connections with a PROXY header only (proxy_protocol)")
    if settings.port == 0:
        return Address("", reason="the server takes any free port (port = 0)")
    host = settings.host
    if host in ("", "0.0.0.0", "::"):
        host = "127.0.0.1"
    place = f"{f'[{host}]' if ':' in host else host}:{settings.port}"
    if settings.ssl.enabled:
        return Address(f"https://{place}", Path(settings.ssl.cert_path))
    return Address(f"http://{place}")


def read_settings(config: Path) -> Settings:
    """The settings of a file that the command line names; ends the command when they cannot be used."""
    from sockudo.config import ConfigError, load

    try:
        return load(path=config, environ=os.environ, cwd=Path.cwd()).settings
    except ConfigError as error:
        fail(f"{config} cannot be used.", ExitCode.USAGE, *error.located)


def local_apps(config: Path | None) -> list[Credentials]:
    """The enabled apps of this machine's configuration and its store; no file is created by looking."""
    from sockudo.client.auth import Credentials
    from sockudo.config import ConfigError, load

    if config is not None:
        settings = read_settings(config)
    else:
        try:
            settings = load(path=None, environ=os.environ, cwd=Path.cwd()).settings
        except ConfigError:
            return []
    apps = [*settings.apps, *_stored_apps(settings)]
    return [Credentials(app.id, app.key, app.secret) for app in apps if app.enabled]


def _stored_apps(settings: Settings) -> Sequence[App]:
    import asyncio

    from sockudo.config import ConfigError
    from sockudo.drivers.selection import stored_apps
    from sockudo.errors import SockudoError

    try:
        return asyncio.run(stored_apps(settings)) or ()
    except (ConfigError, SockudoError) as error:
        note(f"Note: {error}")
        return ()
