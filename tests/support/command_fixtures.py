"""A stand-in for the HTTP client, so that the commands run without a server."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import typer.testing
from typer.main import get_command
from typer.testing import CliRunner

from sockudo.client.auth import Credentials
from sockudo.server.commands import app

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
Invoke = Callable[..., Any]


@pytest.fixture(autouse=True)
def without_variables_of_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's own variables would be named as unknown ones."""
    for name in [name for name in os.environ if name.startswith("SOCKUDO_")]:
        monkeypatch.delenv(name)


@dataclass
class FakeApi:
    """Keeps the calls and answers each with what `replies` holds for it, or raises it."""

    replies: dict[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    opened: list[tuple[str, Credentials]] = field(default_factory=list)

    def __call__(self, url: str, credentials: Credentials, **_: object) -> FakeApi:
        self.opened.append((url, credentials))
        return self

    async def __aenter__(self) -> FakeApi:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            reply = self.replies.get(name, {})
            if isinstance(reply, Exception):
                raise reply
            return reply

        return call


@pytest.fixture(scope="package", autouse=True)
def _commands_read_once() -> Iterator[None]:
    """A process reads the signatures of its commands once; the runner of the tests would for each line it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(get_command))
        yield


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()
    monkeypatch.setattr("sockudo.client.http.ApiClient", fake)
    return fake


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs ``sockudo`` with these arguments as the app 4471 of a server elsewhere."""
    monkeypatch.setenv("SOCKUDO_URL", "https://ws.example.com")
    monkeypatch.setenv("PUSHER_APP_ID", "4471")
    monkeypatch.setenv("PUSHER_APP_KEY", "pier-key")
    monkeypatch.setenv("PUSHER_APP_SECRET", "tide-secret")
    runner = CliRunner()

    def invoke(*arguments: str, stdin: str | bytes | None = None) -> Any:
        return runner.invoke(app, arguments, input=stdin)

    return invoke
