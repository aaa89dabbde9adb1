"""A plug-in for pytest, found by pytest itself: a server for the whole run, and asynchronous tests without another one.

Nothing has to be configured. The server starts with the first test that asks for it. A test written with ``async def``
runs in a loop of its own where no plug-in for asynchronous tests is in charge.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sockudo.testing.blocking import BlockingClient
    from sockudo.testing.server import TestServer

__all__ = [
    "pytest_pyfunc_call",
    "sockudo_client",
    "sockudo_config",
    "sockudo_environment",
    "sockudo_server",
]


@pytest.fixture(scope="session")
def sockudo_config() -> Mapping[str, Any]:
    """What `sockudo_server` is configured with, in the form of a configuration file; override it in conftest.py."""
    return {}


@pytest.fixture(scope="session")
def sockudo_server(sockudo_config: Mapping[str, Any]) -> Iterator[TestServer]:
    """One server (`sockudo.testing.serve`) for all tests of the run: use channels and users of your own in each."""
    from sockudo.testing.server import serve

    with serve(sockudo_config) as server:
        yield server


@pytest.fixture
def sockudo_client(sockudo_server: TestServer) -> Iterator[BlockingClient]:
    """A client of `sockudo_server` that records, for tests that are not asynchronous."""
    with sockudo_server.blocking_client() as client:
        yield client


@pytest.fixture
def sockudo_environment(sockudo_server: TestServer, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The variables that frameworks read for Pusher (``PUSHER_APP_ID``, …) lead to `sockudo_server` within the test."""
    for name, value in sockudo_server.environment.items():
        monkeypatch.setenv(name, value)
    return sockudo_server.environment


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a test that is a coroutine function; leaves it to pytest-asyncio where that is installed."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj) or pyfuncitem.config.pluginmanager.has_plugin("asyncio"):
        return None
    # As pytest itself calls a test.
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
