"""The statements of a job queue, made once for a dialect.

Lists are of digests and always of a few lengths, so that few different statements have to be prepared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Dialect

from sockudo.jobs.ports import Job, QueueSpec, StoredJob
from sockudo.jobs.sql_schema import key_hash, messages_table
from sockudo.storage.many import Insert, Listed

__all__ = ["LEASED", "SINCE", "Candidate", "JobStatements", "stored_job"]

T = TypeVar("T")

Candidate = tuple[int, int, bytes]
"""When a job may be leased, its sequence, and the hash of its app."""

_NEW: Final = (
    "key_hash",
    "stage",
    "app_hash",
    "message_id",
    "enqueued_at_ms",
    "due_at_ms",
    "ready_at_ms",
    "app_id",
    "message_key",
    "body",
)
# Only queues whose jobs have groups have more.
_NEW_LISTED: Final = (*_NEW, "group_id", "order_key", "order_hash", "listed_hash", "alone")
_TAKEN: Final = (
    "sequence, ready_at_ms, key_hash, message_id, enqueued_at_ms, due_at_ms, attempt, app_id, message_key, body"
)
_TAKEN_LISTED: Final = f"{_TAKEN}, group_id, order_key, order_hash, alone, stage"
_CANDIDATE: Final = "ready_at_ms, sequence, app_hash"
_DUE: Final = "FROM {messages} WHERE stage = {} AND ready_at_ms <= {}"
_IN_ORDER: Final = "ORDER BY ready_at_ms, sequence LIMIT {}"
_PART: Final = f"SELECT {_CANDIDATE} FROM"
# One stage after the other: the index begins with it.
LEASED: Final = "FROM {messages} WHERE stage IN ({any}) AND leased_at_ms IS NOT NULL"
_UPDATE: Final = "UPDATE {messages} SET"
SINCE: Final = "CASE WHEN enqueued_at_ms > due_at_ms THEN enqueued_at_ms ELSE due_at_ms END"
_FREE_TOKENS: Final = """
UPDATE {messages} SET
  ready_at_ms = CASE WHEN enqueued_at_ms > due_at_ms THEN enqueued_at_ms ELSE due_at_ms END,
  token = NULL,
  leased_at_ms = NULL
WHERE stage IN ({any}) AND leased_at_ms IS NOT NULL AND token = {}
"""
_TURN_BACK: Final = """
UPDATE {messages} SET ready_at_ms = CASE WHEN due_at_ms > {now} THEN due_at_ms ELSE {now} END, enqueued_at_ms = {now}
WHERE stage = {} AND enqueued_at_ms > {now} AND leased_at_ms IS NULL
"""
_TURN_LEASES_BACK: Final = """
UPDATE {messages} SET
  ready_at_ms = {now} + ready_at_ms - leased_at_ms,
  enqueued_at_ms = CASE WHEN enqueued_at_ms > {now} THEN {now} ELSE enqueued_at_ms END,
  leased_at_ms = {now}
WHERE leased_at_ms > {now} AND stage = {}
"""
_APP: Final = "SELECT key_hash FROM {messages} WHERE stage = {} AND app_hash = {} AND app_id = {} LIMIT {}"
# From each app to the next along the index, and from there to the first job of each.
_HEADS: Final = """
WITH RECURSIVE apps AS (
  SELECT (SELECT app_hash FROM {messages} WHERE stage = {} ORDER BY app_hash LIMIT 1) AS app_hash
  UNION ALL
  SELECT (
    SELECT following.app_hash FROM {messages} AS following
    WHERE following.stage = {} AND following.app_hash > apps.app_hash ORDER BY following.app_hash LIMIT 1
  ) FROM apps WHERE apps.app_hash IS NOT NULL
)
SELECT head.ready_at_ms, head.sequence, head.app_hash
FROM (
  SELECT (
    SELECT first.sequence FROM {messages} AS first
    WHERE first.stage = {} AND first.app_hash = apps.app_hash ORDER BY first.ready_at_ms, first.sequence LIMIT 1
  ) AS sequence FROM apps WHERE apps.app_hash IS NOT NULL
) AS heads JOIN {messages} AS head ON head.sequence = heads.sequence
WHERE head.ready_at_ms <= {} ORDER BY head.ready_at_ms, head.sequence LIMIT {}
"""
_AT_ONCE: Final = 512
# SQLite has a bound for the parts of a statement.
_PARTS: Final = 100
_FREE: Final = "(leased_at_ms IS NULL OR ready_at_ms <= {})"
# More of those behind the first of an ordering key are not looked at for one lease.
_MOST_BEHIND: Final = 10_000
# MySQL goes along the index in another way, and only with a hint; the stage must not be one value for that.
_MYSQL_HEADS: Final = """
SELECT heads.least, (
  SELECT MIN(first.sequence) FROM {messages} AS first FORCE INDEX ({by_app})
  WHERE first.stage = {} AND first.app_hash = heads.app_hash AND first.ready_at_ms = heads.least
) AS sequence, heads.app_hash
FROM (
  SELECT app_hash, MIN(ready_at_ms) AS least FROM {messages} FORCE INDEX ({by_app})
  WHERE stage >= {} AND stage <= {} GROUP BY stage, app_hash
) AS heads
WHERE heads.least <= {} ORDER BY heads.least, sequence LIMIT {}
"""

# Numbers of the versions from which rows that another transaction has locked can be passed over.
_MARIADB_SKIPS: Final = (10, 6)
_MYSQL_SKIPS: Final = (8, 0, 1)


class JobStatements:
    """Needs a dialect that has been connected, and so knows the version of its server."""

    def __init__(self, dialect: Dialect, prefix: str, spec: QueueSpec) -> None:
        table = messages_table(prefix)
        self._dialect = dialect
        self.stages = spec.stages
        self.listed = bool(spec.kept)
        self.kept_stages = frozenset(spec.kept)
        self._any = ", ".join(f"'{stage}'" for stage in spec.stages)
        self._by_app = f"{prefix}_messages_app"
        self._name = dialect.identifier_preparer.quote(table.name)
        lock = "" if dialect.name == "sqlite" else " FOR UPDATE"
        self._skipping = f"{lock} SKIP LOCKED" if _skips(dialect) else lock
        self.insert = Insert(table, dialect, _NEW_LISTED if self.listed else _NEW, ())
        self.taken = _TAKEN_LISTED if self.listed else _TAKEN
        order = ", order_hash" if self.listed else ""
        self._held = Listed(table, dialect, f"SELECT key_hash, token{order}", "key_hash", f"ORDER BY key_hash{lock}")
        self._delete = Listed(table, dialect, "DELETE", "key_hash")
        self._first = self.filled(f"SELECT {self.taken} {_DUE} {_IN_ORDER}{self._skipping}")
        self._front = self.filled(f"SELECT {_CANDIDATE} {_DUE} {_IN_ORDER}")
        self._of_app = self.filled(f"SELECT {_CANDIDATE} {_DUE} AND app_hash = {{}} {_IN_ORDER}")
        self._heads = self.filled(_MYSQL_HEADS if dialect.name == "mysql" else _HEADS)
        self._app = self.filled(f"{_APP}{lock}")
        self._kept = Listed(table, dialect, "SELECT key_hash", "key_hash")
        self._tokens = self.filled(f"SELECT DISTINCT token {LEASED}")
        self._free_tokens = self.filled(_FREE_TOKENS)
        self._turn_back = self.filled(_TURN_BACK)
        self._turn_leases_back = self.filled(_TURN_LEASES_BACK)
        # ---- of queues whose jobs have groups ----
        self._by_key = Listed(table, dialect, f"SELECT {self.taken}", "key_hash")
        self._free = Listed(table, dialect, f"SELECT {self.taken}", "key_hash", f"AND {_FREE}{self._skipping}")
        self._firsts = Listed(table, dialect, "SELECT order_hash, MIN(sequence)", "order_hash", "GROUP BY order_hash")
        self._ordered = Listed(table, dialect, "SELECT sequence, order_hash", "key_hash", "AND order_hash IS NOT NULL")
        self._lines = Listed(
            table,
            dialect,
            "SELECT order_hash, key_hash, alone",
            "order_hash",
            f"ORDER BY order_hash, sequence LIMIT {_MOST_BEHIND}",
        )
        self._old = self.filled(
            f"SELECT {self.taken} FROM {{messages}} WHERE stage = {{}} AND app_hash = {{}} "  # noqa: S608
            f"AND enqueued_at_ms < {{}} AND {_FREE} ORDER BY sequence LIMIT {{}}{self._skipping}"
        )
        self._beyond = self.filled(
            "SELECT key_hash FROM {messages} WHERE stage = {} ORDER BY ready_at_ms DESC, sequence DESC "  # noqa: S608
            f"LIMIT {{}} OFFSET {{}}{lock}"
        )
        self._change = self.filled(
            f"{_UPDATE} stage = {{}}, order_hash = {{}}, due_at_ms = {{}}, alone = {{}}, body = {{}}, token = NULL, "
            "leased_at_ms = NULL, ready_at_ms = CASE WHEN enqueued_at_ms > {} THEN enqueued_at_ms ELSE {} END "
            "WHERE key_hash = {}"
        )

    def key(self, stage: str, key: str) -> bytes:
        """What stands for a key: of a stage, or of all where it is held once in all of them."""
        return key_hash("" if self.listed else stage, key)

    def filled(self, statement: str) -> str:
        """The statement with the names of this queue, and with the places for parameters of this dialect."""
        place = "?" if self._dialect.name == "sqlite" else "%s"
        named = statement.replace("{messages}", self._name).replace("{any}", self._any)
        return named.replace("{by_app}", self._by_app).replace("{}", place)

    def begin(self, connection: Connection, lasting: bool) -> None:
        """Comes first in a transaction: one that is not ``lasting`` may be lost with the power, if that is faster."""
        match self._dialect.name, connection.connection.driver_connection:
            case "sqlite", sqlite3.Connection() as driver:
                # Not within a transaction, which the first statement begins.
                driver.execute(f"PRAGMA synchronous = {'full' if lasting else 'normal'}")
            case "postgresql", _ if not lasting:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")

    # ---- leased jobs ----

    def held(self, connection: Connection, hashes: Sequence[bytes]) -> dict[bytes, tuple[str | None, bytes | None]]:
        """The token and what stands for the ordering key of each of these jobs that there are. They stay as they are
        until the end of the transaction.
        """
        found: dict[bytes, tuple[str | None, bytes | None]] = {}
        for some in _parts(sorted(set(hashes))):
            for digest, token, *order in self._held.run(connection, some):
                found[bytes(digest)] = token, bytes(order[0]) if order and order[0] is not None else None
        return found

    def delete(self, connection: Connection, hashes: Sequence[bytes]) -> None:
        for some in _parts(hashes):
            self._delete.run(connection, some)

    def lease(self, connection: Connection, hashes: Sequence[bytes], token: str, now_ms: int, until_ms: int) -> None:
        what = "token = {}, leased_at_ms = {}, ready_at_ms = {}, attempt = attempt + 1"
        self._update(connection, what, hashes, token, now_ms, until_ms)

    def extend(self, connection: Connection, hashes: Sequence[bytes], until_ms: int) -> None:
        what = "ready_at_ms = CASE WHEN ready_at_ms < {} THEN {} ELSE ready_at_ms END"
        self._update(connection, what, hashes, until_ms, until_ms)

    def free(self, connection: Connection, hashes: Sequence[bytes], due_at_ms: int) -> None:
        """Takes the last attempt back."""
        what = (
            "ready_at_ms = CASE WHEN enqueued_at_ms > {} THEN enqueued_at_ms ELSE {} END, due_at_ms = {}, "
            "token = NULL, leased_at_ms = NULL, attempt = attempt - 1"
        )
        self._update(connection, what, hashes, due_at_ms, due_at_ms, due_at_ms)

    def _update(self, connection: Connection, what: str, hashes: Sequence[bytes], *values: object) -> None:
        for some in _parts(hashes):
            if self._dialect.name == "postgresql":
                chosen, parameters = "= ANY (%b)", (*values, list(some))
            else:
                padded = _padded(some)
                chosen, parameters = f"IN ({', '.join(['{}'] * len(padded))})", (*values, *padded)
            connection.exec_driver_sql(self.filled(f"{_UPDATE} {what} WHERE key_hash {chosen}"), parameters)

    def tokens(self, connection: Connection) -> list[str]:
        """Of all leases, also of those that ended."""
        return [token for (token,) in connection.exec_driver_sql(self._tokens)]

    def free_tokens(self, connection: Connection, tokens: Sequence[str]) -> None:
        """Ends these leases; the attempt counts."""
        for token in tokens:
            connection.exec_driver_sql(self._free_tokens, (token,))

    def turn_back(self, connection: Connection, stage: str, now_ms: int) -> None:
        """The clock was put back: nothing was put in, or leased, later than now."""
        for statement in (self._turn_back, self._turn_leases_back):
            connection.exec_driver_sql(statement.replace("{now}", f"{now_ms:d}"), (stage,))

    # ---- jobs that are due ----

    def first(self, connection: Connection, stage: str, now_ms: int, limit: int) -> Sequence[Any]:
        """The first due jobs that no other transaction is about to lease."""
        return connection.exec_driver_sql(self._first, (stage, now_ms, limit)).all()

    def front(self, connection: Connection, stage: str, now_ms: int, limit: int) -> list[Candidate]:
        """Where the first are that are due."""
        return [_candidate(row) for row in connection.exec_driver_sql(self._front, (stage, now_ms, limit))]

    def heads(self, connection: Connection, stage: str, now_ms: int, limit: int) -> list[Candidate]:
        """Where the first of each app is, as far as it is due. Takes as long as there are apps, not jobs."""
        return [
            _candidate(row) for row in connection.exec_driver_sql(self._heads, (stage, stage, stage, now_ms, limit))
        ]

    def of_apps(
        self, connection: Connection, stage: str, apps: Sequence[bytes], now_ms: int, limit: int
    ) -> list[Candidate]:
        """The first of each of these apps, in order."""
        rows: list[Any] = []
        for start in range(0, len(apps), _PARTS):
            some = apps[start : start + _PARTS]
            # A limit of its own for each needs parentheses, which SQLite only takes around a table.
            parts = (f"{_PART} ({self._of_app}) AS a{number}" for number in range(len(some)))
            values = [value for app in some for value in (stage, now_ms, app, limit)]
            rows += connection.exec_driver_sql(" UNION ALL ".join(parts), tuple(values))
        return sorted(map(_candidate, rows))

    def these(self, connection: Connection, sequences: Sequence[int], now_ms: int) -> Sequence[Any]:
        """Those of them that are still due and that no other transaction is about to lease."""
        places = ", ".join(["{}"] * len(sequences))
        these = f"SELECT {self.taken} FROM {{messages}} WHERE ready_at_ms <= {{}}"  # noqa: S608 - words of ours
        statement = self.filled(f"{these} AND sequence IN ({places}){self._skipping}")
        return connection.exec_driver_sql(statement, (now_ms, *sequences)).all()

    # ---- ordering keys ----

    def firsts(self, connection: Connection, orders: Iterable[bytes]) -> dict[bytes, int]:
        """The sequence of the first job of each of these ordering keys that there is one of."""
        found: dict[bytes, int] = {}
        for some in _parts(sorted(set(orders))):
            found.update((bytes(order), int(first)) for order, first in self._firsts.run(connection, some))
        return found

    def lines(self, connection: Connection, orders: Iterable[bytes]) -> dict[bytes, list[tuple[bytes, bool]]]:
        """Key hash of the jobs of each of these ordering keys, in their order, and whether they are leased alone."""
        found: dict[bytes, list[tuple[bytes, bool]]] = {}
        for some in _parts(sorted(set(orders))):
            for order, digest, alone in self._lines.run(connection, some):
                found.setdefault(bytes(order), []).append((bytes(digest), bool(alone)))
        return found

    def let_come(self, connection: Connection, sequences: Sequence[int]) -> None:
        """These are the first of their ordering key now: they may be leased when they are due."""
        self._by_sequence(connection, f"{_UPDATE} ready_at_ms = {SINCE}", sequences, (), "AND leased_at_ms IS NULL")

    def hold_up(self, connection: Connection, sequences: Sequence[int], until_ms: int) -> None:
        """These are behind others of their ordering key: they are looked at again then, or when it is their turn."""
        what = f"{_UPDATE} ready_at_ms = {{}}"
        self._by_sequence(connection, what, sequences, (until_ms,), "AND leased_at_ms IS NULL")

    def ordered(self, connection: Connection, hashes: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Sequence and hash of the ordering key of those of these jobs that have one."""
        rows = (row for some in _parts(hashes) for row in self._ordered.run(connection, some))
        return [(int(sequence), bytes(order)) for sequence, order in rows]

    def staying(self, connection: Connection, sequences: Sequence[int]) -> set[int]:
        """Those of these jobs that no other transaction is about to remove; none will before the end of this one."""
        what = "SELECT sequence FROM {messages}"
        return {row[0] for row in self._by_sequence(connection, what, sequences, (), self._skipping)}

    def _by_sequence(
        self, connection: Connection, what: str, sequences: Sequence[int], values: tuple[int, ...], end: str
    ) -> list[Any]:
        rows: list[Any] = []
        for start in range(0, len(sequences), _AT_ONCE):
            some = _padded(sequences[start : start + _AT_ONCE])
            places = ", ".join(["{}"] * len(some))
            statement = self.filled(f"{what} WHERE sequence IN ({places}) {end}")
            result = connection.exec_driver_sql(statement, (*values, *some))
            rows += result.all() if result.returns_rows else ()
        return rows

    # ---- jobs by key, those of an app ----

    def by_key(self, connection: Connection, hashes: Sequence[bytes]) -> list[Sequence[Any]]:
        """These jobs as far as there are any, as `these` returns them."""
        return [row for some in _parts(hashes) for row in self._by_key.run(connection, some)]

    def kept(self, connection: Connection, hashes: Sequence[bytes]) -> set[bytes]:
        """Those that there are."""
        return {bytes(row[0]) for some in _parts(hashes) for row in self._kept.run(connection, some)}

    def free_ones(self, connection: Connection, hashes: Sequence[bytes], now_ms: int) -> list[Sequence[Any]]:
        """Those of them that are not leased, and that no other transaction is about to."""
        return [row for some in _parts(hashes) for row in self._free.run(connection, some, now_ms)]

    def old(
        self, connection: Connection, stage: str, share: bytes, before_ms: int, now_ms: int, limit: int
    ) -> Sequence[Any]:
        """The first jobs of a share that came earlier and are not leased."""
        return connection.exec_driver_sql(self._old, (stage, share, before_ms, now_ms, limit)).all()

    def change(self, connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Ends leases. A row is stage, hash of the ordering key, due time, alone, body, due time twice, key hash."""
        connection.exec_driver_sql(self._change, list(rows))

    def beyond(self, connection: Connection, stage: str, keep: int, limit: int) -> list[bytes]:
        """Jobs of a stage besides the latest."""
        return [bytes(digest) for (digest,) in connection.exec_driver_sql(self._beyond, (stage, limit, keep))]

    def forget(self, connection: Connection, app: bytes, app_id: str, limit: int) -> int:
        """Deletes so many of its jobs, one stage after the other: the index begins with it."""
        deleted = 0
        for stage in self.stages:
            if deleted == limit:
                break
            rows = connection.exec_driver_sql(self._app, (stage, app, app_id, limit - deleted)).all()
            self.delete(connection, [bytes(digest) for (digest,) in rows])
            deleted += len(rows)
        return deleted


def stored_job(row: Sequence[Any]) -> StoredJob:
    """The job of a row as `JobStatements.by_key` returns it."""
    sequence, _, _, _, _, due_at_ms, _, app_id, key, body, group, order, _, alone, stage = row
    return StoredJob(Job(stage, key, app_id, bytes(body), due_at_ms, group or "", order or "", bool(alone)), sequence)


def _skips(dialect: Dialect) -> bool:
    if dialect.name != "mysql":
        return dialect.name == "postgresql"
    version = dialect.server_version_info or ()
    return version >= (_MARIADB_SKIPS if getattr(dialect, "is_mariadb", False) else _MYSQL_SKIPS)


def _candidate(row: Sequence[Any]) -> Candidate:
    return int(row[0]), int(row[1]), bytes(row[2])


def _parts(hashes: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [hashes[start : start + _AT_ONCE] for start in range(0, len(hashes), _AT_ONCE)]


def _padded(values: Sequence[T]) -> list[T]:
    size = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (size - len(values))]
