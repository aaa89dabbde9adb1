"""What is printed when the server is ready: where it listens, and what to paste to see it work."""

from __future__ import annotations

import os
import shlex

from sockudo.auth.passwords import password_file
from sockudo.base.version import __version__
from sockudo.config import Settings
from sockudo.config.app_choice import DEV_APP
from sockudo.config.apps import App
from sockudo.server.server import Server

__all__ = ["welcome"]

_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}


def welcome(server: Server, seconds: float) -> str:
    """The text for a person at a terminal. Secrets appear only in development and when an app was just created."""
    settings = server.settings
    lines = [f"Sockudo {__version__} is ready in {seconds:.2f} s", "", f"  listening on   {_url(server)}"]
    if settings.dev and not settings.unix_socket.enabled:
        lines.append(f"  try it         {_url(server)}/ in a browser")
    if server.metrics_port is not None and settings.metrics.enabled:
        lines.append(f"  metrics        {_operators_url(server)}/metrics{_everywhere(settings)}")
    elif settings.metrics.enabled:
        lines.append("  metrics        none: their port could not be opened, see the log")
    if server.worker is not None:
        lines.append(f"  workers        {server.worker.count}")
    lines += [*_dashboard(server), f"  apps           {_apps(server)}", *_rate_limit(settings)]
    lines += _dashboard_password(server)
    app = server.first_app or (_dev_app(server) if settings.dev else None)
    if app is not None:
        lines += ["", *_credentials(server, app)]
        if not settings.unix_socket.enabled:
            lines += ["", *_try_it(server, app)]
    return "\n".join(lines) + "\n"


def _url(server: Server) -> str:
    settings = server.settings
    if settings.unix_socket.enabled:
        return f"unix:{settings.unix_socket.path}"
    scheme = "https" if settings.ssl.enabled else "http"
    return f"{scheme}://{_host(settings.host)}:{server.port}"


def _operators_url(server: Server) -> str:
    return f"http://{_host(server.settings.metrics.host)}:{server.metrics_port}"


def _everywhere(settings: Settings) -> str:
    """What the URL of this machine leaves unsaid."""
    return " (on every address of this machine)" if settings.metrics.host in _EVERYWHERE else ""


def _dashboard(server: Server) -> list[str]:
    settings = server.settings
    if not settings.dashboard.enabled:
        return []
    if server.metrics_port is not None:
        return [f"  dashboard      {_operators_url(server)}/dashboard{_everywhere(settings)}"]
    if settings.dashboard.public and not settings.unix_socket.enabled:
        return [f"  dashboard      {_url(server)}/dashboard"]
    return []


def _dashboard_password(server: Server) -> list[str]:
    """The one that was just made, or that a development server shows at every start; none without a dashboard."""
    settings, password = server.settings, server.dashboard_password
    if not server.serves_dashboard:
        return []
    if password is None:
        if not settings.dev or settings.dashboard.password is not None:
            return []
        return [
            "",
            f"  The password of the dashboard is the one whose hash is in {password_file(settings)};",
            f"    `{_command()} dashboard password` makes another one.",
        ]
    text = (
        "Password of the dashboard, for this data folder:"
        if settings.dev
        else "A password for the dashboard was made; it is shown only now:"
    )
    return ["", f"  {text}", f"    password  {password}"]


def _host(configured: str) -> str:
    """An address to connect to from this machine, as it stands in a URL."""
    known = _EVERYWHERE.get(configured)
    if known is not None:
        return known
    return f"[{configured}]" if ":" in configured else configured


def _apps(server: Server) -> str:
    apps = server.apps.all()
    off = sum(not app.enabled for app in apps)
    return f"{len(apps)} ({off} disabled)" if off else str(len(apps))


def _rate_limit(settings: Settings) -> list[str]:
    limiter = settings.rate_limiter
    if not limiter.enabled or limiter.driver == "none":
        return []
    requests, failed = limiter.api_rate_limit.limit(100), limiter.failed_auth
    if requests is None:
        limit = f"{failed.max_requests} failed authentications in {failed.window_seconds} s per address"
    else:
        limit = f"{requests[0]} API requests in {requests[1]} s per address"
    return [f"  rate limit     {limit} (RATE_LIMITER_ENABLED=false turns it off)"]


def _dev_app(server: Server) -> App | None:
    return next((app.record for app in server.apps.all() if app.enabled), None)


def _credentials(server: Server, app: App) -> list[str]:
    note = "A first app was created; its secret is shown only now:" if server.first_app else "Development app:"
    return [f"  {note}", f"    app id  {app.id}", f"    key     {app.key}", f"    secret  {app.secret}"]


def _try_it(server: Server, app: App) -> list[str]:
    settings = server.settings
    host = _host(settings.host)
    secure = "true" if settings.ssl.enabled else "false"
    ports = f"wsPort: {server.port}, wssPort: {server.port}"
    # The command line knows the development app by itself.
    known = app == DEV_APP and not settings.ssl.enabled
    # An argument is visible to other users of the machine.
    named = {"SOCKUDO_APP_ID": app.id, "SOCKUDO_APP_KEY": app.key, "SOCKUDO_APP_SECRET": app.secret}
    who = [] if known else [f"    export {name}={shlex.quote(value)}" for name, value in named.items()]
    return [
        "  In a browser, with pusher-js:",
        f"    const pusher = new Pusher('{app.key}', {{ wsHost: '{host}', {ports},",
        f"      forceTLS: {secure}, enabledTransports: ['ws', 'wss'], cluster: '' }});",
        "    pusher.subscribe('my-channel').bind('my-event', data => console.log(data));",
        "",
        "  In another terminal:",
        *who,
        f'    {_command()} publish --url {_url(server)} my-channel my-event \'{{"hello":"world"}}\'',
    ]


def _command() -> str:
    """The command line; scripts of a checkout name the one that works without an installation."""
    return os.environ.get("SOCKUDO_COMMAND") or "sockudo"
