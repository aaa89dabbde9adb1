"""Fixtures that every part of the suite may use, and the closing word on what could not run."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import structlog
from hypothesis import Phase, settings

sys.path.insert(0, str(Path(__file__).parent))

from sockudo.config.sections.redis import RedisAccess
from support.databases import DatabaseServer, mariadb_server, postgres_server
from support.nats import NatsProcess, nats_server
from support.parts import is_missing, missing_parts
from support.redis import RedisProcess, redis_server
from support.redis_sets import ClusterSet, SentinelSet, cluster_set, sentinel_set, tls_server
from support.server import ServerProcess, start_server

EXAMPLES = os.environ.get("SOCKUDO_EXAMPLES")
"""How many examples each property test tries, where it is not to be its own number."""

# The same examples in every run, so that one says as much as the next; new ones are for the long mode. How long one
# took says more of what else the machine does.
settings.register_profile(
    "usual", max_examples=30, derandomize=True, deadline=None, phases=set(Phase) - {Phase.explain}
)
settings.load_profile("usual")
if EXAMPLES is not None:
    settings.register_profile("long", max_examples=int(EXAMPLES), deadline=None, derandomize=False)
    settings.load_profile("long")


# Lines that no test has asked for: a traceback in frames and colours takes half a second each.
structlog.get_config()["processors"][-1].exception_formatter = structlog.dev.plain_traceback


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's job in the background: what it starts would ignore Ctrl-C, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


ORDER = ("chaos", "promises", "simulation", "browser", "blackbox", "clients", "hostile", "process", "cli", "contract")
"""Folders whose files take long, the longest first; what comes last keeps all processes busy to the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With more examples than usual a test may take as long as it takes."""
    if EXAMPLES is not None:
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return ORDER.index(folder) if folder in ORDER else len(ORDER)


# Collecting thousands of tests makes little garbage and a million objects that stay.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _cheap_collections() -> None:
    """Thousands of tests that wait for their turn are nothing that each look for garbage has to go through.

    Again for each module: a server of `sockudo.testing` leaves its process without anything frozen.
    """
    gc.collect(1)
    gc.freeze()


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with the default configuration, shared by the tests of a module: use channels and users of your own."""
    with start_server() as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[DatabaseServer]:
    """A PostgreSQL server of the run's own."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[DatabaseServer]:
    """A MariaDB server of the run's own."""
    with mariadb_server() as server:
        yield server


@pytest.fixture(scope="session")
def nats() -> Iterator[NatsProcess]:
    """A NATS server of the run's own."""
    with nats_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisProcess]:
    """A Redis server of the run's own."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_tls() -> Iterator[RedisAccess]:
    """The way to a Redis server with TLS, whose user may do no more than join nodes needs."""
    with tls_server() as access:
        yield access


@pytest.fixture(scope="session")
def redis_sentinel() -> Iterator[SentinelSet]:
    """A Redis master that Sentinels watch."""
    with sentinel_set() as servers:
        yield servers


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[ClusterSet]:
    """A Redis Cluster of three masters."""
    with cluster_set() as servers:
        yield servers


@pytest.fixture(scope="session")
def valkey() -> Iterator[RedisProcess]:
    """A Valkey server of the run's own."""
    with redis_server(kind="valkey") as server:
        yield server


@pytest.fixture(scope="session")
def valkey_cluster() -> Iterator[ClusterSet]:
    """A cluster of three masters of Valkey."""
    with cluster_set(kind="valkey") as servers:
        yield servers


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A word that no other test of the run uses: for channels and user ids on a shared server."""
    letters = [letter if letter.isalnum() and letter.isascii() else "-" for letter in request.node.name]
    # Two files may each have a test of that name.
    return f"{''.join(letters).strip('-')[-71:]}-{crc32(request.node.nodeid.encode()):08x}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hands the process that started this one the parts that could not run."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["missing parts"] = missing_parts()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # One that crashed has left nothing.
    for part, reason in getattr(node, "workeroutput", {}).get("missing parts", {}).items():
        is_missing(part, reason)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """The last thing before the totals, below the list of what was skipped."""
    yield
    missing = missing_parts()
    if missing:
        terminalreporter.section("parts that could not run here", yellow=True)
        for part, reason in sorted(missing.items()):
            terminalreporter.line(f"{part}: {reason}")
