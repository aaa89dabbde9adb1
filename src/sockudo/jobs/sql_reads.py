"""What is asked of a job queue by those who look and change nothing: the statements, and what is made of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from sockudo.jobs.ports import Depth, QueueSpec, Share, StoredJob, Tally
from sockudo.jobs.sql_schema import app_hash, share_hash
from sockudo.jobs.sql_statements import LEASED, SINCE, JobStatements, stored_job

__all__ = ["JobReads"]

_COUNTS: Final = """
SELECT stage, COUNT(*), SUM(CASE WHEN ready_at_ms <= {} THEN 1 ELSE 0 END), MIN(ready_at_ms)
FROM {messages} GROUP BY stage
"""
# Of an app: jobs, due ones, leased ones, and since when the oldest of both could first be leased.
_SHARES: Final = f"""
SELECT
  MIN(app_id), COUNT(*), SUM(CASE WHEN ready_at_ms <= {{now}} THEN 1 ELSE 0 END),
  SUM(CASE WHEN ready_at_ms > {{now}} AND leased_at_ms IS NOT NULL THEN 1 ELSE 0 END),
  MIN(CASE WHEN ready_at_ms > {{now}} THEN {{now}} WHEN leased_at_ms IS NULL THEN ready_at_ms ELSE {SINCE} END),
  MIN(CASE WHEN ready_at_ms > {{now}} AND leased_at_ms IS NOT NULL THEN {SINCE} ELSE {{now}} END)
FROM {{messages}} WHERE stage = {{}} GROUP BY app_hash
"""  # noqa: S608 - words of ours
_TALLIES: Final = """
SELECT stage, MIN(app_id), MIN(group_id), COUNT(*), SUM(CASE WHEN leased_at_ms IS NULL THEN 0 ELSE 1 END)
FROM {messages} GROUP BY stage, app_hash
"""
_END_OF_TIME: Final = 2**62


class JobReads:
    """Each call is for one transaction that sees all of the same moment."""

    def __init__(self, sql: JobStatements, spec: QueueSpec) -> None:
        self.sql = sql
        self._stages = spec.stages
        self._least = sql.filled("SELECT MIN(ready_at_ms) FROM {messages} WHERE stage = {}")
        self._counts = sql.filled(_COUNTS)
        self._shares = sql.filled(_SHARES)
        self._tallies = sql.filled(_TALLIES)
        # Of leases, ended ones included: when the job may be leased, when it came and was due.
        self._leased = sql.filled(f"SELECT stage, ready_at_ms, enqueued_at_ms, due_at_ms {LEASED}")

    def next_due(
        self, connection: Connection, stages: Sequence[str], besides: frozenset[bytes] = frozenset()
    ) -> int | None:
        if not besides:
            rows = connection.exec_driver_sql(" UNION ALL ".join([self._least] * len(stages)), tuple(stages))
            return min((int(least) for (least,) in rows if least is not None), default=None)
        heads = [each for stage in stages for each in self.sql.heads(connection, stage, _END_OF_TIME, len(besides) + 1)]
        return min((ready for ready, _, share in heads if share not in besides), default=None)

    def depths(self, connection: Connection, now_ms: int) -> dict[str, Depth]:
        """Of every stage."""
        inflight: dict[str, list[int]] = {}
        over: dict[str, list[int]] = {}
        for stage, ready_at_ms, enqueued_at_ms, due_at_ms in connection.exec_driver_sql(self._leased):
            into = inflight if ready_at_ms > now_ms else over
            into.setdefault(stage, []).append(max(enqueued_at_ms, due_at_ms))
        found = {row[0]: row[1:] for row in connection.exec_driver_sql(self._counts, (now_ms,))}
        result = dict.fromkeys(self._stages, Depth())
        for stage in self._stages:
            if stage not in found:
                continue
            count, ready, first = (int(number) for number in found[stage])
            taken = inflight.get(stage, [])
            oldest = min([first, *over.get(stage, [])]) if ready else now_ms
            result[stage] = Depth(
                ready=ready,
                delayed=count - ready - len(taken),
                inflight=len(taken),
                oldest_ready_ms=max(0, now_ms - oldest),
                oldest_inflight_ms=max(0, now_ms - min(taken, default=now_ms)),
            )
        return result

    def shares(self, connection: Connection, stage: str, now_ms: int) -> dict[str, Depth]:
        """Of a stage, by app."""
        result = {}
        rows = connection.exec_driver_sql(self._shares.replace("{now}", f"{now_ms:d}"), (stage,))
        for app_id, *numbers in rows:
            count, ready, inflight, oldest_ready, oldest_inflight = map(int, numbers)
            result[app_id] = Depth(
                ready=ready,
                delayed=count - ready - inflight,
                inflight=inflight,
                oldest_ready_ms=max(0, now_ms - oldest_ready),
                oldest_inflight_ms=max(0, now_ms - oldest_inflight),
            )
        return result

    def holds(self, connection: Connection, keys: Sequence[tuple[str, str]]) -> list[bool]:
        """In one statement as long as they are few."""
        hashes = [self.sql.key(stage, key) for stage, key in keys]
        kept = self.sql.kept(connection, hashes)
        return [each in kept for each in hashes]

    def find(self, connection: Connection, keys: Sequence[str]) -> list[StoredJob | None]:
        """The jobs of these keys."""
        rows = self.sql.by_key(connection, [self.sql.key("", key) for key in keys])
        found = {row[8]: stored_job(row) for row in rows}
        return [found.get(key) for key in keys]

    def page(
        self,
        connection: Connection,
        app_id: str,
        group: str | None,
        stage: str | None,
        before: int | None,
        limit: int,
    ) -> list[StoredJob]:
        """The newest jobs of an app."""
        share = None if group is None else share_hash(app_id, group)
        given = (("app_hash = {}", share), ("stage = {}", stage), ("sequence < {}", before))
        chosen = [
            ("listed_hash = {}", app_hash(app_id)),
            *((what, value) for what, value in given if value is not None),
        ]
        conditions = " AND ".join(what for what, _ in chosen)
        what = f"SELECT {self.sql.taken} FROM {{messages}} WHERE {conditions}"  # noqa: S608 - words of ours
        statement = self.sql.filled(f"{what} ORDER BY sequence DESC LIMIT {{}}")
        rows = connection.exec_driver_sql(statement, (*(value for _, value in chosen), limit))
        return [stored_job(row) for row in rows]

    def tallies(self, connection: Connection) -> dict[tuple[Share, str], Tally]:
        """By share and stage."""
        return {
            ((app_id, group or ""), stage): Tally(int(count), int(leased))
            for stage, app_id, group, count, leased in connection.exec_driver_sql(self._tallies)
        }
