"""A job queue in an SQL database: SQLite, which needs nothing installed, PostgreSQL, MySQL or MariaDB.

One thread writes, so what is asked for while a transaction is under way is done in the next one, together. Processes
share the work: rows that another one is about to lease are passed over where the database can do that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, event

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.config.sections.databases import SqlDatabase
from sockudo.jobs.ports import Depth, Job, Lease, QueueSpec, Share, StoredJob, Tally
from sockudo.jobs.sql_reads import JobReads
from sockudo.jobs.sql_schema import STEPS, TYPES, app_hash, share_hash
from sockudo.jobs.sql_statements import JobStatements
from sockudo.jobs.sql_work import Call, Change, Extend, Release, Settle, Take, TakeKeys, TakeOld, do_round
from sockudo.storage.engine import server_engines, sqlite_engine
from sockudo.storage.failures import Subject
from sockudo.storage.group_commit import Bounds, GroupCommit
from sockudo.storage.group_commit import Call as Waiting
from sockudo.storage.holders import is_gone, this_process
from sockudo.storage.migrations import migrate
from sockudo.storage.sqlite_files import make_private_file
from sockudo.storage.worker import Worker

__all__ = ["SqlJobQueue", "server_jobs", "sqlite_jobs"]

T = TypeVar("T")

_TIMEOUT_MS: Final = 5000
_LOOK_SECONDS: Final = 1.0

# In bytes, as are the weights of calls.
_BOUNDS: Final = Bounds(group=8 * 1024 * 1024, waiting=64 * 1024 * 1024)
# About what a call costs beside its bodies.
_ROW_BYTES: Final = 1024
_TAKEN_BYTES: Final = 16_384


def sqlite_jobs(spec: QueueSpec, path: Path, *, timeout_ms: int = _TIMEOUT_MS) -> SqlJobQueue:
    """The queue in this file, which is made, with its folder, readable by its owner alone.

    What was put in survives the end of the process in any way, and the loss of power as far as the disk keeps what it
    confirms. Processes of one machine may share it; the leases of one that has ended are over within a second.
    """
    return SqlJobQueue(
        spec,
        sqlite_engine(path, pool_size=1, timeout_ms=timeout_ms, writing=True),
        sqlite_engine(path, pool_size=1, timeout_ms=timeout_ms, writing=False),
        timeout_ms=timeout_ms,
        prepare=partial(make_private_file, path),
        one_machine=True,
    )


def server_jobs(spec: QueueSpec, server: SqlDatabase, *, timeout_ms: int = _TIMEOUT_MS) -> SqlJobQueue:
    """The queue in a database that nodes may share. Raises `ConfigError` without its driver.

    Before MySQL 8 and MariaDB 10.6 nodes wait for each other instead of passing over what another one leases.
    """
    writing, reading = server_engines(server, readers=1, timeout_ms=timeout_ms)
    if writing.dialect.name == "postgresql":
        event.listen(writing, "connect", _in_order)
    return SqlJobQueue(spec, writing, reading, timeout_ms=timeout_ms, server=server)


def _in_order(connection: Any, _entry: object) -> None:
    # The first of many rows along an index, instead of all of them to be sorted.
    connection.execute("SET enable_bitmapscan = off")
    connection.commit()


class SqlJobQueue:
    """A `JobQueue` in the tables ``<word>_queue_…`` of a database.

    ``prepare`` is what has to be done before the first connection. ``one_machine``: all processes that share it are of
    one machine, so the leases of one that has ended are recognised. ``server`` is where they are, None for a file.
    """

    def __init__(
        self,
        spec: QueueSpec,
        writing: Engine,
        reading: Engine,
        *,
        timeout_ms: int,
        prepare: Callable[[], None] | None = None,
        one_machine: bool = False,
        server: SqlDatabase | None = None,
    ) -> None:
        self._spec = spec
        self._server = server
        self._tables = f"{spec.word}_queue"
        self._timeout_ms = timeout_ms
        self._prepare = prepare
        self._one_machine = one_machine
        self._holder = ""
        self._looked_at = 0.0
        # The latest time seen in each stage; none before its first lease.
        self._latest: dict[str, int] = {}
        self._reads: JobReads | None = None
        name, threads = f"the {spec.name}", f"{spec.word}-queue"
        self._subject = Subject(
            errors.SERVICE_UNAVAILABLE, spec.logger, name, f"{name}'s file", "this message", "Choose another database."
        )
        self._writer = Worker(writing, f"{threads}-writer", 1, timeout_ms, self._subject)
        self._reader = Worker(reading, f"{threads}-reader", 1, timeout_ms, self._subject)
        self._commits = GroupCommit(self._do, _BOUNDS, self._refusal, name=name, withdraw=_unclaimed)

    async def start(self) -> None:
        self._writer.start()
        self._reader.start()
        self._holder = f"{this_process()}:" if self._one_machine else ""
        try:
            self._reads = await self._writer.open(self._open, self._server)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._commits.close()
        await self._writer.close()
        await self._reader.close()

    async def put(self, jobs: Sequence[Job], now_ms: int, *, lasting: bool = True) -> None:
        if jobs:
            await self._call(Settle((), tuple(jobs), now_ms, lasting))
            self._note_time({job.stage for job in jobs}, now_ms)

    async def lease(
        self,
        stage: str,
        limit: int,
        now_ms: int,
        lease_until_ms: int,
        *,
        per_app: int | None = None,
        run: int = 1,
        besides: Collection[Share] = (),
    ) -> list[Lease]:
        turned_back = now_ms < self._latest.get(stage, now_ms + 1)
        hashes = frozenset(share_hash(*share) for share in besides)
        call = Take(stage, limit, now_ms, lease_until_ms, per_app, self._token(), turned_back, run, hashes)
        leases: list[Lease] = await self._call(call)
        self._latest[stage] = now_ms
        return leases

    async def extend(self, leases: Sequence[Lease], lease_until_ms: int) -> list[bool]:
        return await self._call(Extend(tuple(leases), lease_until_ms)) if leases else []

    async def settle(self, leases: Sequence[Lease], follow_up: Sequence[Job], now_ms: int) -> list[bool]:
        if not leases and not follow_up:
            return []
        # What nothing follows from can be done once more; then it is found out that it was done.
        lasting = bool(follow_up)
        done: list[bool] = await self._call(Settle(tuple(leases), tuple(follow_up), now_ms, lasting))
        self._note_time({job.stage for job in follow_up}, now_ms)
        return done

    async def release(self, leases: Sequence[Lease], due_at_ms: int) -> None:
        if leases:
            await self._call(Release(tuple(leases), due_at_ms))

    async def next_due(self, stages: Sequence[str], *, besides: Collection[Share] = ()) -> int | None:
        if not stages:
            return None
        hashes = frozenset(share_hash(*share) for share in besides)
        return await self._read(lambda connection, reads: reads.next_due(connection, stages, hashes))

    async def depths(self, now_ms: int) -> dict[str, Depth]:
        return await self._read(lambda connection, reads: reads.depths(connection, now_ms))

    async def shares(self, stage: str, now_ms: int) -> dict[str, Depth]:
        return await self._read(lambda connection, reads: reads.shares(connection, stage, now_ms))

    async def holds(self, keys: Sequence[tuple[str, str]]) -> list[bool]:
        return await self._read(lambda connection, reads: reads.holds(connection, keys)) if keys else []

    async def forget(self, app_id: str, limit: int) -> int:
        def delete(connection: Connection) -> int:
            self._statements.begin(connection, lasting=True)
            return self._statements.forget(connection, app_hash(app_id), app_id, limit)

        return await self._writer.write(delete)

    # ---- kept stages ----

    async def change(self, changes: Sequence[tuple[Lease, Job]], now_ms: int) -> list[bool]:
        return await self._call(Change(tuple(changes), now_ms)) if changes else []

    async def find(self, keys: Sequence[str]) -> list[StoredJob | None]:
        return await self._read(lambda connection, reads: reads.find(connection, keys)) if keys else []

    async def page(
        self,
        app_id: str,
        *,
        group: str | None = None,
        stage: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[StoredJob]:
        which = app_id, group, stage, before, limit
        return await self._read(lambda connection, reads: reads.page(connection, *which))

    async def tallies(self) -> dict[tuple[Share, str], Tally]:
        return await self._read(lambda connection, reads: reads.tallies(connection))

    async def take(self, keys: Sequence[str], now_ms: int, lease_until_ms: int) -> list[Lease]:
        unique = tuple(dict.fromkeys(keys))
        return await self._call(TakeKeys(unique, now_ms, lease_until_ms, self._token())) if unique else []

    async def take_old(
        self, stage: str, share: Share, came_before_ms: int, limit: int, now_ms: int, lease_until_ms: int
    ) -> list[Lease]:
        which = stage, share_hash(*share), came_before_ms, limit, now_ms, lease_until_ms
        leases: list[Lease] = await self._call(TakeOld(*which, self._token()))
        return leases

    async def trim(self, stage: str, keep: int, limit: int) -> int:
        def delete(connection: Connection) -> int:
            self._statements.begin(connection, lasting=False)
            hashes = self._statements.beyond(connection, stage, keep, limit)
            self._statements.delete(connection, hashes)
            return len(hashes)

        return await self._writer.write(delete)

    def _token(self) -> str:
        return f"{self._holder}{unique_id()}"

    async def _read(self, ask: Callable[[Connection, JobReads], T]) -> T:
        return await self._reader.read(lambda connection: ask(connection, self._opened))

    def _note_time(self, stages: set[str], now_ms: int) -> None:
        for stage in stages & self._latest.keys():
            self._latest[stage] = max(self._latest[stage], now_ms)

    async def _call(self, call: Call) -> Any:
        return await self._commits.do(call, _weight(call))

    async def _do(self, waiting: Sequence[Waiting]) -> list[Any]:
        look = self._one_machine and time.monotonic() - self._looked_at >= _LOOK_SECONDS
        if look:
            self._looked_at = time.monotonic()
        return await self._writer.write(partial(self._in_thread, [each.request for each in waiting], look))

    def _refusal(self, text: str) -> errors.SockudoError:
        return errors.SERVICE_UNAVAILABLE(f"The {self._spec.name} {text}", retry_after=1)

    # ---- what follows runs in the threads ----

    @property
    def _opened(self) -> JobReads:
        if self._reads is None:
            raise self._refusal("is not open")
        return self._reads

    @property
    def _statements(self) -> JobStatements:
        return self._opened.sql

    def _open(self, engine: Engine) -> JobReads:
        if self._prepare is not None:
            self._prepare()
        migrate(engine, self._tables, STEPS, TYPES[engine.dialect.name], self._timeout_ms, self._subject)
        return JobReads(JobStatements(engine.dialect, self._tables, self._spec), self._spec)

    def _in_thread(self, calls: Sequence[Call], look: bool, connection: Connection) -> list[Any]:
        # Leases need not outlast a failure of the power: their holders do not either.
        self._statements.begin(connection, any(isinstance(call, Settle) and call.lasting for call in calls))
        if look:
            _end_leases_of_the_gone(connection, self._statements)
        return do_round(connection, self._statements, calls)


def _end_leases_of_the_gone(connection: Connection, sql: JobStatements) -> None:
    tokens = sql.tokens(connection)
    gone = {name: is_gone(name) for name in {token.partition(":")[0] for token in tokens}}
    sql.free_tokens(connection, [token for token in tokens if gone[token.partition(":")[0]]])


def _weight(call: Call) -> int:
    match call:
        case Take() | TakeOld():
            return max(call.limit, 0) * _TAKEN_BYTES
        case TakeKeys():
            return len(call.keys) * _TAKEN_BYTES
        case Settle():
            return _ROW_BYTES * len(call.leases) + sum(_ROW_BYTES + len(job.body) for job in call.jobs)
        case Change():
            return sum(_ROW_BYTES + len(job.body) for _, job in call.changes)
    return _ROW_BYTES * len(call.leases)


def _unclaimed(call: Call, result: Any) -> list[Call]:
    """Leases whose caller has gone are released."""
    if not isinstance(call, Take | TakeKeys | TakeOld):
        return []
    leases: list[Lease] = result
    return [Release((lease,), lease.job.due_at_ms) for lease in leases]
