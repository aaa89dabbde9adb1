"""The calls of a job queue, and how a round of them is done in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from sockudo.base.ids import unique_id
from sockudo.jobs.ports import Depth, Job, Lease
from sockudo.jobs.sql_schema import app_hash, key_hash
from sockudo.jobs.sql_statements import Candidate, JobStatements

__all__ = ["Call", "Extend", "Release", "Settle", "Take", "depths", "do_round", "holds", "shares"]

# How far beyond what is asked for the front is looked at before one app after the other is.
_FRONT: Final = 4
# Others may take the same at the same time; there is more behind it.
_TRIES: Final = 3


class Settle(NamedTuple):
    """Without leases it is `JobQueue.put`. ``lasting``: also when the power fails."""

    leases: Sequence[Lease]
    jobs: Sequence[Job]
    now_ms: int
    lasting: bool


class Extend(NamedTuple):
    leases: Sequence[Lease]
    until_ms: int


class Release(NamedTuple):
    leases: Sequence[Lease]
    due_at_ms: int


class Take(NamedTuple):
    """``turned_back``: the clock may have been put back since the stage was looked at."""

    stage: str
    limit: int
    now_ms: int
    until_ms: int
    per_app: int | None
    token: str
    turned_back: bool


Call = Settle | Extend | Release | Take


def do_round(connection: Connection, sql: JobStatements, calls: Sequence[Call]) -> list[Any]:
    """What each call came to. Leases are looked up once for all; what is put in can be leased in the same round."""
    round_ = _Round(connection, sql, calls)
    results: list[Any] = [None if isinstance(call, Take) else round_.note(call) for call in calls]
    round_.write()
    for place, call in enumerate(calls):
        if isinstance(call, Take):
            results[place] = _take(connection, sql, call)
    return results


class _Round:
    """Gathers what changes, so that it takes a few statements for all calls."""

    def __init__(self, connection: Connection, sql: JobStatements, calls: Sequence[Call]) -> None:
        self._connection = connection
        self._sql = sql
        leases = [lease for call in calls if not isinstance(call, Take) for lease in call.leases]
        self._held = sql.held(connection, [_hash(lease) for lease in leases]) if leases else {}
        self._done: list[bytes] = []
        self._freed: dict[int, list[bytes]] = {}
        self._extended: dict[int, list[bytes]] = {}
        self._new: list[tuple[object, ...]] = []

    def note(self, call: Settle | Extend | Release) -> list[bool] | None:
        match call:
            case Settle(leases, jobs, now_ms, _):
                self._new += [_row(job, now_ms) for job in jobs]
                return self._let_go(leases, self._done)
            case Extend(leases, until_ms):
                had = [self._held.get(_hash(lease)) == lease.token for lease in leases]
                chosen = self._extended.setdefault(until_ms, [])
                chosen += (_hash(lease) for lease, has in zip(leases, had, strict=True) if has)
                return had
            case Release(leases, due_at_ms):
                self._let_go(leases, self._freed.setdefault(due_at_ms, []))
                return None

    def _let_go(self, leases: Sequence[Lease], into: list[bytes]) -> list[bool]:
        had = []
        for lease in leases:
            digest = _hash(lease)
            had.append(self._held.get(digest) == lease.token)
            if had[-1]:
                del self._held[digest]
                into.append(digest)
        return had

    def write(self) -> None:
        connection, sql = self._connection, self._sql
        for until_ms, hashes in self._extended.items():
            sql.extend(connection, hashes, until_ms)
        for due_at_ms, hashes in self._freed.items():
            sql.free(connection, hashes, due_at_ms)
        sql.delete(connection, self._done)
        if self._new:
            sql.insert.run(connection, self._new)


def _take(connection: Connection, sql: JobStatements, call: Take) -> list[Lease]:
    if call.turned_back:
        sql.turn_back(connection, call.stage, call.now_ms)
    if call.limit < 1:
        return []
    rows = _due(connection, sql, call)
    if rows:
        hashes = [bytes(row[2]) for row in rows]
        sql.lease(connection, hashes, call.token, call.now_ms, call.until_ms)
    # Locking them may have mixed them up.
    return [_lease(call, row) for row in sorted(rows, key=lambda row: (row[1], row[0]))]


def _due(connection: Connection, sql: JobStatements, call: Take) -> Sequence[Any]:
    if call.per_app is None:
        return sql.first(connection, call.stage, call.now_ms, call.limit)
    for _ in range(_TRIES):
        chosen = _fair(connection, sql, call, call.per_app)
        if not chosen:
            break
        rows = sql.these(connection, [sequence for _, sequence, _ in chosen], call.now_ms)
        if rows:
            return rows
    return ()


def _fair(connection: Connection, sql: JobStatements, call: Take, per_app: int) -> list[Candidate]:
    """The first that are due, without what apps have beyond their part."""
    if per_app < 1:
        return []
    seen = sql.front(connection, call.stage, call.now_ms, call.limit * _FRONT)
    chosen = _within(seen, call.limit, per_app)
    if len(chosen) == call.limit or len(seen) < call.limit * _FRONT:
        return chosen
    # One app has so much that no other is to be seen. More apps than jobs are not needed: the first job
    # of any further one comes after theirs.
    heads = sql.heads(connection, call.stage, call.now_ms, call.limit)
    apps = [app for _, _, app in heads]
    return _within(sql.of_apps(connection, call.stage, apps, call.now_ms, per_app), call.limit, per_app)


def _within(candidates: Iterable[Candidate], limit: int, per_app: int) -> list[Candidate]:
    counts: Counter[bytes] = Counter()
    chosen: list[Candidate] = []
    for candidate in candidates:
        if len(chosen) == limit:
            break
        app = candidate[2]
        if counts[app] < per_app:
            counts[app] += 1
            chosen.append(candidate)
    return chosen


def depths(connection: Connection, sql: JobStatements, now_ms: int) -> dict[str, Depth]:
    """Of every stage, all of the same moment."""
    inflight: dict[str, list[int]] = {}
    over: dict[str, list[int]] = {}
    for stage, ready_at_ms, enqueued_at_ms, due_at_ms in sql.leased(connection):
        into = inflight if ready_at_ms > now_ms else over
        into.setdefault(stage, []).append(max(enqueued_at_ms, due_at_ms))
    found = {row[0]: row[1:] for row in sql.counts(connection, now_ms)}
    result = dict.fromkeys(sql.stages, Depth())
    for stage in sql.stages:
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


def shares(connection: Connection, sql: JobStatements, stage: str, now_ms: int) -> dict[str, Depth]:
    """Of a stage, by app."""
    result = {}
    for app_id, *numbers in sql.shares(connection, stage, now_ms):
        count, ready, inflight, oldest_ready, oldest_inflight = map(int, numbers)
        result[app_id] = Depth(
            ready=ready,
            delayed=count - ready - inflight,
            inflight=inflight,
            oldest_ready_ms=max(0, now_ms - oldest_ready),
            oldest_inflight_ms=max(0, now_ms - oldest_inflight),
        )
    return result


def holds(connection: Connection, sql: JobStatements, keys: Sequence[tuple[str, str]]) -> list[bool]:
    """In one statement as long as they are few."""
    hashes = [key_hash(stage, key) for stage, key in keys]
    kept = sql.kept(connection, hashes)
    return [each in kept for each in hashes]


def _hash(lease: Lease) -> bytes:
    return key_hash(lease.job.stage, lease.job.key)


def _row(job: Job, now_ms: int) -> tuple[object, ...]:
    """The columns of `JobStatements.insert`."""
    return (
        key_hash(job.stage, job.key),
        job.stage,
        app_hash(job.app_id),
        unique_id(),
        now_ms,
        job.due_at_ms,
        max(now_ms, job.due_at_ms),
        job.app_id,
        job.key,
        job.body,
    )


def _lease(call: Take, row: Sequence[Any]) -> Lease:
    _, _, _, job_id, enqueued_at_ms, due_at_ms, attempt, app_id, key, body = row
    job = Job(call.stage, key, app_id, bytes(body), due_at_ms)
    return Lease(job, job_id, call.token, attempt + 1, enqueued_at_ms)
