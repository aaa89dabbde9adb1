"""What is printed when the server is ready: where it listens, and what to paste to see it work."""

from __future__ import annotations

from sockudo.config.apps import App
from sockudo.server import Server
from sockudo.version import __version__

__all__ = ["welcome"]


def welcome(server: Server, seconds: float) -> str:
    """The text for a person at a terminal. Secrets appear only in development and when an app was just created."""
    settings = server.settings
    scheme = "https" if settings.ssl.enabled else "http"
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
    if settings.unix_socket.enabled:
        where = f"unix:{settings.unix_socket.path}"
    else:
        where = f"{scheme}://{host}:{server.port}"
    lines = [f"Sockudo {__version__} is ready in {seconds:.2f} s", "", f"  listening on   {where}"]
    if server.metrics_port is not None:
        metrics_host = "127.0.0.1" if settings.metrics.host in ("0.0.0.0", "::") else settings.metrics.host
        lines.append(f"  metrics        http://{metrics_host}:{server.metrics_port}/metrics")
    lines.append(f"  apps           {len(server.apps.all())}")
    limiter = settings.rate_limiter
    if limiter.enabled:
        api = limiter.api_rate_limit
        lines.append(
            f"  rate limit     {api.max_requests} API requests in {api.window_seconds} s per address"
            " (RATE_LIMITER_ENABLED=false turns it off)"
        )
    app = server.first_app or (_dev_app(server) if settings.dev else None)
    if app is not None:
        lines += ["", *_credentials(server, app), "", *_try_it(server, app, host, scheme)]
    return "\n".join(lines) + "\n"


def _dev_app(server: Server) -> App | None:
    apps = server.apps.all()
    return apps[0].record if apps else None


def _credentials(server: Server, app: App) -> list[str]:
    note = "  A first app was created; its secret is shown only now:" if server.first_app else "  Development app:"
    return [note, f"    app id  {app.id}", f"    key     {app.key}", f"    secret  {app.secret}"]


def _try_it(server: Server, app: App, host: str, scheme: str) -> list[str]:
    secure = "true" if scheme == "https" else "false"
    ports = f"wsPort: {server.port}, wssPort: {server.port}"
    return [
        "  In a browser, with pusher-js:",
        f"    const pusher = new Pusher('{app.key}', {{ wsHost: '{host}', {ports},",
        f"      forceTLS: {secure}, enabledTransports: ['ws', 'wss'], cluster: '' }});",
        "    pusher.subscribe('my-channel').bind('my-event', data => console.log(data));",
        "",
        "  In another terminal:",
        f"    sockudo publish --url {scheme}://{host}:{server.port} my-channel my-event '{{\"hello\":\"world\"}}'",
    ]
