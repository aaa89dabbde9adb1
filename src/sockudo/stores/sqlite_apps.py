"""Apps in an SQLite file: the store that needs nothing installed, shared by the server and the command line.

One connection lives in one thread of its own, so that a slow disk never stops the event loop and no two statements
meet. The file is in write-ahead mode: other processes read while one writes, and a writer that finds another at work
waits for it up to `BUSY_SECONDS`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from msgspec import DecodeError, json

from sockudo import errors
from sockudo.apps.ports import Edit, Origin
from sockudo.config.app_reader import read_app
from sockudo.config.apps import App
from sockudo.config.problems import ConfigError
from sockudo.storage.sqlite_files import make_private_file, write_ahead
from sockudo.stores.app_records import key_taken, origin_of, plain_record
from sockudo.stores.sqlite_schema import migrate

__all__ = ["BUSY_SECONDS", "FILE_NAME", "SqliteAppStore"]

FILE_NAME: Final = "apps.sqlite3"
BUSY_SECONDS: Final = 5.0

_P = ParamSpec("_P")
_R = TypeVar("_R")

_COLUMNS = 'SELECT id, "key", secret, enabled, policy, previous_secret FROM applications'
# The last condition leaves an unchanged row, its time and the revision alone.
_SAVE = """
INSERT INTO applications (id, "key", secret, enabled, policy, previous_secret, origin) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
  "key" = excluded."key", secret = excluded.secret, enabled = excluded.enabled, policy = excluded.policy,
  previous_secret = excluded.previous_secret, origin = excluded.origin, updated_at = CURRENT_TIMESTAMP
WHERE ("key", secret, enabled, policy, previous_secret, origin) IS NOT
  (excluded."key", excluded.secret, excluded.enabled, excluded.policy, excluded.previous_secret, excluded.origin)
"""


class SqliteAppStore:
    """Keeps the apps in ``apps.sqlite3`` in the data directory, both created readable by their owner alone.

    Any number of processes of one machine may use the file at once. Should the file be replaced, by a restored backup
    for example, the next call opens the new one; one that was removed is an error until it is back.
    """

    def __init__(self, data_dir: Path | str) -> None:
        self._path = Path(data_dir) / FILE_NAME
        self._executor: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    @property
    def path(self) -> Path:
        """Where the apps are kept."""
        return self._path

    async def start(self) -> None:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="app-store")
        try:
            await self._run(SqliteAppStore._start)
        except errors.SockudoError:
            await self.stop()
            raise

    async def stop(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.get_running_loop().run_in_executor(executor, self._close)
            executor.shutdown()

    async def all(self) -> Sequence[App]:
        return await self._run(SqliteAppStore._all)

    async def origins(self) -> Mapping[str, Origin | None]:
        return await self._run(SqliteAppStore._origins)

    async def save(self, app: App, origin: Origin | None = None) -> None:
        await self._run(SqliteAppStore._change, app.id, lambda _: app, origin)

    async def change(self, app_id: str, edit: Edit) -> App:
        return await self._run(SqliteAppStore._change, app_id, edit)

    async def remove(self, app_id: str) -> bool:
        return await self._run(SqliteAppStore._remove, app_id)

    async def revision(self) -> int:
        return await self._run(SqliteAppStore._revision)

    async def _run(
        self, work: Callable[Concatenate[SqliteAppStore, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        if self._executor is None:
            raise errors.SERVICE_UNAVAILABLE("The app store is not open")

        def mapped() -> _R:
            with _foreign_errors():
                return work(self, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._executor, mapped)

    # ---- what follows runs in the thread ----

    def _start(self) -> None:
        make_private_file(self._path)
        self._opened()

    def _opened(self) -> sqlite3.Connection:
        # A file that is gone is an error, not an empty store: the server would close every connection of every app.
        status = self._path.stat()
        identity = status.st_dev, status.st_ino
        if self._connection is None or self._identity != identity:
            self._close()
            self._connection, self._identity = _connect(self._path), identity
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _all(self) -> Sequence[App]:
        return [_read(row) for row in self._opened().execute(f"{_COLUMNS} ORDER BY id")]

    def _origins(self) -> Mapping[str, Origin | None]:
        return {row[0]: origin_of(row[1]) for row in self._opened().execute("SELECT id, origin FROM applications")}

    def _change(self, app_id: str, edit: Edit, origin: Origin | None = None) -> App:
        with _writing(self._opened()) as connection:
            row = connection.execute(f"{_COLUMNS} WHERE id = ?", (app_id,)).fetchone()
            app = edit(None if row is None else _read(row))
            if origin is None:
                kept = connection.execute("SELECT origin FROM applications WHERE id = ?", (app_id,)).fetchone()
                origin = Origin.OPERATOR if kept is None else kept[0]
            try:
                connection.execute(_SAVE, (*_write(app), origin))
            except sqlite3.IntegrityError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                    raise
                raise key_taken(app) from error
        return app

    def _remove(self, app_id: str) -> bool:
        with _writing(self._opened()) as connection:
            return connection.execute("DELETE FROM applications WHERE id = ?", (app_id,)).rowcount > 0

    def _revision(self) -> int:
        row: tuple[int] = self._opened().execute("SELECT number FROM revision").fetchone()
        return row[0]


def _connect(path: Path) -> sqlite3.Connection:
    # Read and write, but never create: a file removed a moment ago must not come back empty.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        migrate(connection)
        write_ahead(connection, BUSY_SECONDS)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    # Taking the write lock at once is what makes reading before writing safe.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    # Changes are rare, so each goes on into the main file: a copy of that file is then complete, and when a backup is
    # put in its place no left-over log is played into it. What cannot be moved now is moved after the next change.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _read(row: tuple[str, str, str, int, str, str | None]) -> App:
    app_id, key, secret, enabled, policy, previous = row
    try:
        record = {"id": app_id, "key": key, "secret": secret, "enabled": enabled == 1, "policy": json.decode(policy)}
        record["previous_secret"] = None if previous is None else json.decode(previous)
        return read_app(record, "app store")
    except (ConfigError, DecodeError) as error:
        raise errors.SERVICE_UNAVAILABLE(f"The record of app '{app_id}' cannot be read: {error}") from error


def _write(app: App) -> tuple[str, str, str, bool, str, str | None]:
    policy = plain_record(app)["policy"]
    previous = None if app.previous_secret is None else json.encode(app.previous_secret).decode()
    return app.id, app.key, app.secret, app.enabled, json.encode(policy, order="sorted").decode(), previous


_REASONS: Final = {
    sqlite3.SQLITE_BUSY: "it is locked by another process",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk does not answer as it should",
    sqlite3.SQLITE_NOTADB: "its file is not an SQLite database",
    sqlite3.SQLITE_PERM: "its file may not be used by this user",
    sqlite3.SQLITE_READONLY: "its file or folder is read-only",
}


@contextmanager
def _foreign_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the kind, the rest tells variants apart.
        code = getattr(error, "sqlite_errorcode", None)
        reason = _REASONS.get(code & 0xFF, "it failed") if isinstance(code, int) else "it failed"
        raise errors.SERVICE_UNAVAILABLE(f"The app store does not answer: {reason}") from error
    except OSError as error:
        reason = (error.strerror or "it failed").lower()
        raise errors.SERVICE_UNAVAILABLE(f"The app store's file cannot be used: {reason}") from error
