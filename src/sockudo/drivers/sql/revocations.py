"""Revocations in a database: in an SQLite file, or on the PostgreSQL or MySQL server that keeps the apps.

Each change counts the revision up by one, under the lock of its row: changes are one after the other, and a row keeps
the revision of its change. So what is new to a process is found by an index, and that nothing is by one number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    inspect,
    select,
    update,
)

from sockudo import errors
from sockudo.auth.ports import Revocation
from sockudo.config.sections.databases import SqlDatabase
from sockudo.storage.engine import sqlite_engine
from sockudo.storage.failures import Subject
from sockudo.storage.many import Insert, Listed
from sockudo.storage.migrations import TYPES, migrate
from sockudo.storage.sqlite_files import make_private_file
from sockudo.storage.worker import Worker

__all__ = ["SqlRevocations", "sqlite_revocations"]

# How long a writer waits for another process.
_TIMEOUT_MS: Final = 5000
_AT_ONCE: Final = 512

_PREFIX: Final = "revocation"
_DOUBLE: Final = {"sqlite": "REAL", "postgresql": "DOUBLE PRECISION", "mysql": "DOUBLE"}

# A step is never changed once released; a new shape is a new step at the end.
_FIRST: Final = (
    """
    CREATE TABLE {entries} (
      key_hash {hash} NOT NULL PRIMARY KEY,
      app_id {text} NOT NULL,
      kind {word} NOT NULL CHECK (kind IN ('jti', 'client_id')),
      value {text} NOT NULL,
      until_s {double} NOT NULL,
      revision BIGINT NOT NULL
    ) {end}
    """,
    "CREATE INDEX {entries_revision} ON {entries} (revision)",
    "CREATE INDEX {entries_until} ON {entries} (until_s)",
    "CREATE TABLE {revision} (only_row BIGINT NOT NULL PRIMARY KEY, number BIGINT NOT NULL) {end}",
)
_STEPS: Final[tuple[tuple[str, ...], ...]] = (_FIRST,)

_ENTRIES: Final = Table(
    f"{_PREFIX}_entries",
    MetaData(),
    Column("key_hash", LargeBinary, primary_key=True),
    Column("app_id", String),
    Column("kind", String),
    Column("value", String),
    Column("until_s", Double),
    Column("revision", BigInteger),
)
_REVISION: Final = Table(
    f"{_PREFIX}_revision", MetaData(), Column("only_row", BigInteger, primary_key=True), Column("number", BigInteger)
)
# The whole of a file as versions before kept it, in the first schema of its ``user_version``.
_EARLIER: Final = "revocations"

_log = structlog.get_logger("sockudo.auth")


def sqlite_revocations(path: Path, *, timeout_ms: int = _TIMEOUT_MS) -> SqlRevocations:
    """The store in this file, which is made, with its folder, readable by its owner alone.

    Any number of processes of one machine may use it at once. What a version before has left in it is carried over.
    """
    engine = sqlite_engine(path, pool_size=1, timeout_ms=timeout_ms, writing=True, complete=True)
    return SqlRevocations(engine, prepare=partial(make_private_file, path), timeout_ms=timeout_ms)


class SqlRevocations:
    """A `RevocationStore` in the tables ``revocation_…``; one thread, with one connection, does everything.

    ``server`` is where they are, None for a file; ``prepare`` is what has to be done before the first connection.
    ``earlier`` is the file that is carried over and removed, if it is there: of a
    server whose apps were in a file.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        server: SqlDatabase | None = None,
        prepare: Callable[[], None] | None = None,
        earlier: Path | None = None,
        timeout_ms: int = _TIMEOUT_MS,
    ) -> None:
        self._dialect = engine.dialect
        self._prepare = prepare
        self._earlier = earlier
        self._timeout_ms = timeout_ms
        self._server = server
        self._subject = Subject(
            errors.SERVICE_UNAVAILABLE,
            "sockudo.auth",
            "the revocation store" if server is None else f"the revocation store at {server.place}",
            "the revocation store's file",
            "this revocation",
            "Choose another database.",
        )
        self._worker = Worker(engine, "revocations", 1, timeout_ms, self._subject)
        columns = [column.name for column in _ENTRIES.c]
        self._insert = Insert(_ENTRIES, self._dialect, columns, ("until_s", "revision"))
        self._known = Listed(_ENTRIES, self._dialect, "SELECT key_hash, until_s", "key_hash")

    async def start(self) -> None:
        self._worker.start()
        try:
            await self._worker.open(self._open, self._server)
            await self._carry_over()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        await self._worker.close()

    async def changes(self, seen: int | None, now: float) -> tuple[int, Sequence[Revocation]]:
        return await self._worker.read(partial(_changes, seen, now))

    async def record(self, revocations: Sequence[Revocation], now: float) -> None:
        await self._worker.write(partial(self._record, revocations, now))

    async def _carry_over(self) -> None:
        path = self._earlier
        if path is None or not path.exists():
            return
        file = sqlite_revocations(path, timeout_ms=self._timeout_ms)
        await file.start()
        try:
            _, found = await file.changes(None, 0)
        finally:
            await file.stop()
        await self.record(found, 0)
        for end in ("", "-wal", "-shm"):
            path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
        _log.info("revocations are carried over from the file into the database", revocations=len(found))

    # ---- what follows runs in the thread ----

    def _open(self, engine: Engine) -> None:
        if self._prepare is not None:
            self._prepare()
        types = {**TYPES[self._dialect.name], "double": _DOUBLE[self._dialect.name]}
        migrate(engine, _PREFIX, _STEPS, types, self._timeout_ms, self._subject)
        with engine.begin() as connection:
            Insert(_REVISION, self._dialect, ("only_row", "number"), ()).run(connection, [(1, 0)])
            if self._dialect.name == "sqlite" and inspect(connection).has_table(_EARLIER):
                rows = connection.exec_driver_sql(f"SELECT app_id, kind, value, until FROM {_EARLIER}")  # noqa: S608
                self._record([Revocation(*row) for row in rows], 0, connection)
                connection.exec_driver_sql(f"DROP TABLE {_EARLIER}")
                # So that a version before does not take it for a file without revocations.
                connection.exec_driver_sql("PRAGMA user_version = 2")

    def _record(self, revocations: Sequence[Revocation], now: float, connection: Connection) -> None:
        connection.execute(update(_REVISION).values(number=_REVISION.c.number + 1))
        revision = connection.execute(select(_REVISION.c.number)).scalar_one()
        connection.execute(delete(_ENTRIES).where(_ENTRIES.c.until_s <= now))
        longest: dict[bytes, Revocation] = {}
        for each in sorted(revocations, key=lambda each: each.until):
            longest[_key_hash(each)] = each
        hashes = list(longest)
        for start in range(0, len(hashes), _AT_ONCE):
            some = hashes[start : start + _AT_ONCE]
            known = {bytes(key): until for key, until in self._known.run(connection, some)}
            new = [(key, longest[key]) for key in some if longest[key].until > known.get(key, 0.0)]
            if new:
                self._insert.run(connection, [_row(key, each, revision) for key, each in new])


def _changes(seen: int | None, now: float, connection: Connection) -> tuple[int, Sequence[Revocation]]:
    revision: int = connection.execute(select(_REVISION.c.number)).scalar_one()
    if revision == seen:
        return revision, ()
    columns = _ENTRIES.c
    wanted = select(columns.app_id, columns.kind, columns.value, columns.until_s).where(columns.until_s > now)
    # A number that went back is that of another database, or of one that was restored.
    if seen is not None and seen < revision:
        wanted = wanted.where(columns.revision > seen)
    return revision, [Revocation(*row) for row in connection.execute(wanted)]


def _key_hash(revocation: Revocation) -> bytes:
    parts = revocation.app_id, revocation.kind, revocation.value
    return blake2b("\0".join(parts).encode(), digest_size=16).digest()


def _row(key: bytes, revocation: Revocation, revision: int) -> tuple[Any, ...]:
    return key, revocation.app_id, revocation.kind, revocation.value, float(revocation.until), revision
