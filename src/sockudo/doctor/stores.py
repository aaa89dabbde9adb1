"""The stores that the server uses: what they hold, and whether databases and Redis let the server in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sockudo.client.failures import network_reason
from sockudo.config import ConfigError, Settings
from sockudo.config.databases import DATABASES
from sockudo.config.installed import driver_missing
from sockudo.config.sections.databases import SqlDatabase
from sockudo.config.sections.redis import RedisAccess
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem
from sockudo.doctor.storage import occupied

__all__ = ["Server", "check_stores", "judge_login"]

_NO_CONFIG: Final = "no --config: where the stores are is not known"
_IN_TIME: Final = "no answer in time"


async def check_stores(deployment: Deployment) -> Sequence[Finding]:
    """Whether the app store can be read from here, and whether databases and Redis take the configured login."""
    settings = deployment.settings
    if settings is None:
        return [not_checked(_NO_CONFIG)]
    tried = (_look_at(server, deployment.options.timeout) for server in _servers(settings))
    return [_app_store(deployment, settings), *await asyncio.gather(*tried), *await occupied(settings)]


def _app_store(deployment: Deployment, settings: Settings) -> Finding:
    driver = settings.app_manager.driver
    if deployment.store_problem is not None:
        return problem(
            f"the apps cannot be read ({driver}): {deployment.store_problem}",
            "A running server keeps the apps as they were last known, and /up says ERROR.",
        )
    if driver == "memory":
        return ok(f"{_apps(len(settings.apps))} in the configuration, and no store besides")
    count = deployment.stored_apps
    return ok(f"the app store ({driver}) holds {'nothing yet' if count is None else _apps(count)}")


def _apps(count: int) -> str:
    return f"{count} {'app' if count == 1 else 'apps'}"


# ---- servers elsewhere ----


@dataclass(frozen=True, slots=True)
class Server:
    """One that is to be reached: its ``name`` for people, the ``section`` of the configuration for it.

    ``database`` is which one is used there, and ``login`` tries it within so many seconds: it answers why that fails,
    None when it does not, and raises ConfigError when the driver is not installed. ``of`` describes several servers of
    which the login finds the one, in place of ``host`` and ``port``.
    """

    name: str
    section: str
    host: str
    port: int
    database: str
    login: Callable[[float], Awaitable[str | None]]
    of: str = ""

    @property
    def place(self) -> str:
        """The name and where it is."""
        if self.of:
            return f"{self.name} at {self.of}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name} at {host if host.startswith('/') else f'{host}:{self.port}'}"


def _servers(settings: Settings) -> Iterator[Server]:
    drivers = {settings.app_manager.driver, settings.push.storage_driver, settings.push.queue_driver}
    drivers |= {settings.queue.driver, settings.cache.driver, settings.rate_limiter.driver}
    if settings.history.enabled:
        drivers.add(settings.history.backend)
    for kind in DATABASES:
        if drivers & {*kind.drivers}:
            yield _sql(kind.name, kind.section, kind.server(settings))
    for driver in ("redis", "redis-cluster"):
        if driver in (settings.queue.driver, settings.push.queue_driver):
            yield _redis(settings.redis_of_queue(driver))
    ways = (settings.cache.driver, settings.redis_of_cache), (settings.rate_limiter.driver, settings.redis_of_limits)
    # Often one server for both, and it is tried once.
    for access in {way(): None for driver, way in ways if driver in ("redis", "redis-cluster")}:
        yield _redis(access)


def _sql(name: str, section: str, server: SqlDatabase) -> Server:
    async def login(seconds: float) -> str | None:
        from sockudo.storage.login import try_login

        # The waiter gives up first: the driver has no option for it.
        return await asyncio.to_thread(try_login, server, round((seconds + 1) * 1000))

    return Server(name, section, server.host, server.port, server.database, login)


def _redis(access: RedisAccess) -> Server:
    async def login(seconds: float) -> str | None:
        try:
            from sockudo.storage.redis_scripts import try_login
        except ImportError as error:
            raise driver_missing("redis") from error
        return await try_login(access, seconds)

    if access.sentinels or access.seeds:
        return Server("Redis", access.section, "", 0, str(access.server.db), login, of=access.place)
    return Server("Redis", access.section, access.server.host, access.server.port, str(access.server.db), login)


async def _look_at(server: Server, seconds: float) -> Finding:
    failure = None if server.of else await _reach(server.host, server.port, seconds)
    if failure is not None:
        return problem(f"{server.place} does not answer: {failure}", "Is it running, and is this its address?")
    try:
        async with asyncio.timeout(seconds):
            return judge_login(server, await server.login(seconds))
    except TimeoutError:
        return judge_login(server, _IN_TIME)
    except ConfigError as error:
        return not_checked(
            f"{server.place} takes connections; whether it lets the server in could not be tried", str(error)
        )


async def _reach(host: str, port: int, seconds: float) -> str | None:
    try:
        async with asyncio.timeout(seconds):
            if host.startswith("/"):
                _, writer = await asyncio.open_unix_connection(_socket(host, port))
            else:
                _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return _IN_TIME
    except OSError as error:
        return network_reason(error)
    writer.transport.abort()
    return None


def _socket(host: str, port: int) -> Path:
    """PostgreSQL's host is the folder of its socket, MySQL's is the socket."""
    path = Path(host)
    return path / f".s.PGSQL.{port}" if path.is_dir() else path


def judge_login(server: Server, refusal: str | None) -> Finding:
    """What came of the login: None, or why it failed."""
    from sockudo.storage.failures import READ_ONLY

    if refusal is None:
        return ok(f"{server.place} lets the server in and answers")
    if refusal == _IN_TIME:
        return problem(
            f"{server.place} takes connections and then sends nothing",
            "It hangs, is overloaded, or is another service: see its log and its load. The server waits for it too.",
        )
    if refusal == READ_ONLY:
        return problem(
            f"{server.place} lets the server in and takes no writes: {refusal}",
            "Is it a standby, or set to read-only (default_transaction_read_only, read_only)? Until "
            f"{server.section}.host names one that takes writes, publishes to channels with history are refused.",
        )
    return problem(f"{server.place} does not let the server in: {refusal}", _advice(server, refusal))


def _advice(server: Server, refusal: str) -> str:
    """What to do; the words of both adapters are the same where they mean the same."""
    from sockudo.storage.failures import NOT_ALLOWED, UNKNOWN_DATABASE, UNKNOWN_USER

    section, override = server.section, server.section.endswith("url_override")
    if refusal == UNKNOWN_USER:
        keys = f"the user and the password in {section}" if override else f"{section}.username and {section}.password"
        return f"Correct {keys}, or give that user this password at {server.name}."
    if refusal == UNKNOWN_DATABASE:
        return f"Create the database '{server.database}' there, or correct {section}.database."
    if refusal == NOT_ALLOWED:
        return f"See that the database '{server.database}' exists, and grant the user all rights on it."
    if server.name == "Redis" and "database" in refusal:
        key = section if override else f"{section}.db"
        return f"Correct {key}, which is {server.database} now: it counts from 0, and a cluster has that one alone."
    return f"Look at the log of {server.name}, and at {section} in docs/configuration.md."
