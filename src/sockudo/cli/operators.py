"""What a command asks the dashboard's API of a server: where that is, and its password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli.outcome import ExitCode, fail, failures
from sockudo.cli.target import checked_url

if TYPE_CHECKING:
    from sockudo.config import Settings

__all__ = ["DashboardConfig", "DashboardPassword", "DashboardUrl", "Operators"]

_PANEL: Final = "Which server"
_USUAL: Final = "http://127.0.0.1:9601"
_TIMEOUT: Final = 10.0

DashboardUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="SOCKUDO_DASHBOARD_URL",
        metavar="URL",
        rich_help_panel=_PANEL,
        help=f"Where its dashboard is; without it, where --config says, else {_USUAL}.",
    ),
]
DashboardPassword = Annotated[
    str | None,
    typer.Option(
        "--password",
        envvar="SOCKUDO_DASHBOARD_PASSWORD",
        rich_help_panel=_PANEL,
        help="The dashboard's password. An argument is visible to other users of the machine: prefer the environment.",
    ),
]
DashboardConfig = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", rich_help_panel=_PANEL, help="The server's configuration file."),
]


@dataclass(frozen=True, slots=True)
class Operators:
    """The API for operators of one server."""

    url: str
    password: str

    @classmethod
    def found(cls, url: str | None, password: str | None, config: Path | None) -> Operators:
        """From the options, and the configuration where they leave something out; ends the command without both."""
        settings = None
        if config is not None:
            from sockudo.cli.local_server import read_settings

            settings = read_settings(config)
        known = password or (None if settings is None else settings.dashboard.password)
        if not known:
            fail(
                "The password of the dashboard is needed.",
                ExitCode.USAGE,
                "Set SOCKUDO_DASHBOARD_PASSWORD, or name a configuration that has dashboard.password with --config.",
            )
        return cls(checked_url(url or _address(settings)), known)

    def get(self, path: str) -> dict[str, Any]:
        """The answer to a question below ``/dashboard/api/v1``; what is refused ends the command with a message."""
        return self._asked("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to an order."""
        return self._asked("POST", path, body)

    def _asked(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        with failures():
            return self._answer(method, path, body)

    def _answer(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        import httpx

        from sockudo.client.failures import ApiError, ClientError, UnreachableError

        headers = {"authorization": f"Bearer {self.password}"}
        try:
            with httpx.Client(timeout=_TIMEOUT, trust_env=False) as http:
                answer = http.request(method, f"{self.url}/dashboard/api/v1/{path}", headers=headers, json=body)
        except httpx.TimeoutException:
            raise UnreachableError(self.url, f"no answer within {_TIMEOUT:g} s") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnreachableError.of(self.url, error) from None
        try:
            answered = answer.json()
        except ValueError:
            answered = None
        if not isinstance(answered, dict):
            raise ClientError(f"{self.url} did not answer as a dashboard of Sockudo does (HTTP {answer.status_code})")
        if answer.status_code >= 400:
            code, text, docs = (str(answered.get(name, "")) for name in ("code", "error", "docs"))
            raise ApiError(answer.status_code, code, text, docs=docs)
        return answered


def _address(settings: Settings | None) -> str:
    if settings is None:
        return _USUAL
    host = settings.metrics.host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.metrics.port}"
