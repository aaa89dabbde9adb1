"""The statements of a job queue, made once for a dialect.

Lists are of digests and always of a few lengths, so that few different statements have to be prepared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Dialect

from sockudo.jobs.sql_schema import messages_table
from sockudo.storage.many import Insert, Listed

__all__ = ["Candidate", "JobStatements"]

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
_TAKEN: Final = (
    "sequence, ready_at_ms, key_hash, message_id, enqueued_at_ms, due_at_ms, attempt, app_id, message_key, body"
)
_CANDIDATE: Final = "ready_at_ms, sequence, app_hash"
_DUE: Final = "FROM {messages} WHERE stage = {} AND ready_at_ms <= {}"
_IN_ORDER: Final = "ORDER BY ready_at_ms, sequence LIMIT {}"
_PART: Final = f"SELECT {_CANDIDATE} FROM"
_THESE: Final = f"SELECT {_TAKEN} FROM {{messages}} WHERE ready_at_ms <= {{}}"  # noqa: S608 - words of ours
# One stage after the other: the index begins with it.
_LEASED: Final = "FROM {messages} WHERE stage IN ({any}) AND leased_at_ms IS NOT NULL"
_UPDATE: Final = "UPDATE {messages} SET"
_COUNTS: Final = """
SELECT stage, COUNT(*), SUM(CASE WHEN ready_at_ms <= {} THEN 1 ELSE 0 END), MIN(ready_at_ms)
FROM {messages} GROUP BY stage
"""
_SINCE: Final = "CASE WHEN enqueued_at_ms > due_at_ms THEN enqueued_at_ms ELSE due_at_ms END"
# Of an app: jobs, due ones, leased ones, and since when the oldest of both could first be leased.
_SHARES: Final = f"""
SELECT
  MIN(app_id), COUNT(*), SUM(CASE WHEN ready_at_ms <= {{now}} THEN 1 ELSE 0 END),
  SUM(CASE WHEN ready_at_ms > {{now}} AND leased_at_ms IS NOT NULL THEN 1 ELSE 0 END),
  MIN(CASE WHEN ready_at_ms > {{now}} THEN {{now}} WHEN leased_at_ms IS NULL THEN ready_at_ms ELSE {_SINCE} END),
  MIN(CASE WHEN ready_at_ms > {{now}} AND leased_at_ms IS NOT NULL THEN {_SINCE} ELSE {{now}} END)
FROM {{messages}} WHERE stage = {{}} GROUP BY app_hash
"""  # noqa: S608 - words of ours
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
# MySQL goes along the index in another way, and only if it is told to; the stage must not be one value for that.
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

    def __init__(self, dialect: Dialect, prefix: str, stages: Sequence[str]) -> None:
        table = messages_table(prefix)
        self._dialect = dialect
        self.stages = stages
        self._any = ", ".join(f"'{stage}'" for stage in stages)
        self._by_app = f"{prefix}_messages_app"
        self._name = dialect.identifier_preparer.quote(table.name)
        lock = "" if dialect.name == "sqlite" else " FOR UPDATE"
        self._skipping = f"{lock} SKIP LOCKED" if _skips(dialect) else lock
        self.insert = Insert(table, dialect, _NEW, ())
        self._held = Listed(table, dialect, "SELECT key_hash, token", "key_hash", f"ORDER BY key_hash{lock}")
        self._delete = Listed(table, dialect, "DELETE", "key_hash")
        self._first = self._filled(f"SELECT {_TAKEN} {_DUE} {_IN_ORDER}{self._skipping}")
        self._front = self._filled(f"SELECT {_CANDIDATE} {_DUE} {_IN_ORDER}")
        self._of_app = self._filled(f"SELECT {_CANDIDATE} {_DUE} AND app_hash = {{}} {_IN_ORDER}")
        self._heads = self._filled(_MYSQL_HEADS if dialect.name == "mysql" else _HEADS)
        self._least = self._filled("SELECT MIN(ready_at_ms) FROM {messages} WHERE stage = {}")
        self._counts = self._filled(_COUNTS)
        self._shares = self._filled(_SHARES)
        self._app = self._filled(f"{_APP}{lock}")
        self._kept = Listed(table, dialect, "SELECT key_hash", "key_hash")
        self._leased = self._filled(f"SELECT stage, ready_at_ms, enqueued_at_ms, due_at_ms {_LEASED}")
        self._tokens = self._filled(f"SELECT DISTINCT token {_LEASED}")
        self._free_tokens = self._filled(_FREE_TOKENS)
        self._turn_back = self._filled(_TURN_BACK)
        self._turn_leases_back = self._filled(_TURN_LEASES_BACK)

    def _filled(self, statement: str) -> str:
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

    def held(self, connection: Connection, hashes: Sequence[bytes]) -> dict[bytes, str | None]:
        """The token of each of these jobs that there are. They stay as they are until the end of the transaction."""
        found: dict[bytes, str | None] = {}
        for some in _parts(sorted(set(hashes))):
            found.update((bytes(digest), token) for digest, token in self._held.run(connection, some))
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
            connection.exec_driver_sql(self._filled(f"{_UPDATE} {what} WHERE key_hash {chosen}"), parameters)

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
        # A limit of its own for each needs parentheses, which SQLite only takes around a table.
        parts = (f"{_PART} ({self._of_app}) AS a{number}" for number in range(len(apps)))
        values = [value for app in apps for value in (stage, now_ms, app, limit)]
        rows = connection.exec_driver_sql(" UNION ALL ".join(parts), tuple(values))
        return sorted(_candidate(row) for row in rows)

    def these(self, connection: Connection, sequences: Sequence[int], now_ms: int) -> Sequence[Any]:
        """Those of them that are still due and that no other transaction is about to lease."""
        places = ", ".join(["{}"] * len(sequences))
        statement = self._filled(f"{_THESE} AND sequence IN ({places}){self._skipping}")
        return connection.exec_driver_sql(statement, (now_ms, *sequences)).all()

    # ---- jobs of an app ----

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

    # ---- for those who look ----

    def next_due(self, connection: Connection, stages: Sequence[str]) -> int | None:
        rows = connection.exec_driver_sql(" UNION ALL ".join([self._least] * len(stages)), tuple(stages))
        return min((int(least) for (least,) in rows if least is not None), default=None)

    def counts(self, connection: Connection, now_ms: int) -> Sequence[Any]:
        """Stage, number of jobs, of due ones, and when the first is due."""
        return connection.exec_driver_sql(self._counts, (now_ms,)).all()

    def shares(self, connection: Connection, stage: str, now_ms: int) -> Sequence[Any]:
        """The numbers of `Depth` by app, with times instead of ages; now where there is nothing."""
        return connection.exec_driver_sql(self._shares.replace("{now}", f"{now_ms:d}"), (stage,)).all()

    def kept(self, connection: Connection, hashes: Sequence[bytes]) -> set[bytes]:
        """Those that there are."""
        return {bytes(row[0]) for some in _parts(hashes) for row in self._kept.run(connection, some)}

    def leased(self, connection: Connection) -> Sequence[Any]:
        """Of leases, ended ones included: stage, when the job may be leased, when it came and was due."""
        return connection.exec_driver_sql(self._leased).all()


def _skips(dialect: Dialect) -> bool:
    if dialect.name != "mysql":
        return dialect.name == "postgresql"
    version = dialect.server_version_info or ()
    return version >= (_MARIADB_SKIPS if getattr(dialect, "is_mariadb", False) else _MYSQL_SKIPS)


def _candidate(row: Sequence[Any]) -> Candidate:
    return int(row[0]), int(row[1]), bytes(row[2])


def _parts(hashes: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [hashes[start : start + _AT_ONCE] for start in range(0, len(hashes), _AT_ONCE)]


def _padded(values: Sequence[bytes]) -> list[bytes]:
    size = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (size - len(values))]
