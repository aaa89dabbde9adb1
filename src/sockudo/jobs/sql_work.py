"""The calls of a job queue, and how a round of them is done in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from sockudo.base.ids import unique_id
from sockudo.jobs.ports import Job, Lease
from sockudo.jobs.sql_schema import app_hash, order_hash, share_hash
from sockudo.jobs.sql_statements import Candidate, JobStatements, stored_job

__all__ = [
    "Call",
    "Change",
    "Extend",
    "Release",
    "Settle",
    "Take",
    "TakeKeys",
    "TakeOld",
    "do_round",
]

# How far beyond what is asked for the front is looked at before one app after the other is.
_FRONT: Final = 4
# Others may take the same at the same time, and some may be held up; there is more behind it.
_TRIES: Final = 3
# When a job that is behind others is looked at again, should its turn have been missed.
_LOOK_AGAIN_MS: Final = 30_000


class Settle(NamedTuple):
    """Without leases it is `JobQueue.put`. ``lasting``: also when the power fails."""

    leases: Sequence[Lease]
    jobs: Sequence[Job]
    now_ms: int
    lasting: bool = True


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
    run: int = 1
    besides: frozenset[bytes] = frozenset()


class TakeKeys(NamedTuple):
    keys: Sequence[str]
    now_ms: int
    until_ms: int
    token: str


class TakeOld(NamedTuple):
    stage: str
    share: bytes
    before_ms: int
    limit: int
    now_ms: int
    until_ms: int
    token: str


class Change(NamedTuple):
    changes: Sequence[tuple[Lease, Job]]
    now_ms: int

    @property
    def leases(self) -> Sequence[Lease]:
        return [lease for lease, _ in self.changes]


Leasing = Take | TakeKeys | TakeOld
Call = Settle | Extend | Release | Change | Leasing


def do_round(connection: Connection, sql: JobStatements, calls: Sequence[Call]) -> list[Any]:
    """What each call came to. Leases are looked up once for all; what is put in can be leased in the same round."""
    round_ = _Round(connection, sql, calls)
    results: list[Any] = [None if isinstance(call, Leasing) else round_.note(call) for call in calls]
    round_.write()
    for place, call in enumerate(calls):
        match call:
            case Take():
                results[place] = _take(connection, sql, call)
            case TakeKeys() | TakeOld():
                results[place] = _take_chosen(connection, sql, call)
    return results


class _Round:
    """Gathers what changes, so that it takes a few statements for all calls."""

    def __init__(self, connection: Connection, sql: JobStatements, calls: Sequence[Call]) -> None:
        self._connection = connection
        self._sql = sql
        leases = [lease for call in calls if not isinstance(call, Leasing) for lease in call.leases]
        self._held = sql.held(connection, [self._hash(lease.job) for lease in leases]) if leases else {}
        self._done: list[bytes] = []
        self._freed: dict[int, list[bytes]] = {}
        self._extended: dict[int, list[bytes]] = {}
        self._changed: list[tuple[object, ...]] = []
        self._moved: list[bytes] = []
        # Ordering keys of what leaves them.
        self._left: set[bytes] = set()
        self._new: list[Job] = []
        self._rows: list[tuple[object, ...]] = []
        self._now_ms = 0

    def _hash(self, job: Job) -> bytes:
        return self._sql.key(job.stage, job.key)

    def note(self, call: Settle | Extend | Release | Change) -> list[bool] | None:
        match call:
            case Settle(leases, jobs, now_ms, _):
                self._new += jobs
                self._rows += [_row(self._sql, job, now_ms) for job in jobs]
                self._now_ms = max(self._now_ms, now_ms)
                return self._let_go(leases, self._done)
            case Extend(leases, until_ms):
                had = [self._has(lease) for lease in leases]
                chosen = self._extended.setdefault(until_ms, [])
                chosen += (self._hash(lease.job) for lease, has in zip(leases, had, strict=True) if has)
                return had
            case Release(leases, due_at_ms):
                self._let_go(leases, self._freed.setdefault(due_at_ms, []), leaving=False)
                return None
            case Change(changes, now_ms):
                self._now_ms = max(self._now_ms, now_ms)
                return [self._change(lease, job) for lease, job in changes]

    def _has(self, lease: Lease) -> bool:
        return self._held.get(self._hash(lease.job), (None, None))[0] == lease.token

    def _let_go(self, leases: Sequence[Lease], into: list[bytes], *, leaving: bool = True) -> list[bool]:
        had = []
        for lease in leases:
            had.append(self._has(lease))
            if had[-1]:
                digest = self._hash(lease.job)
                _, order = self._held.pop(digest)
                into.append(digest)
                if leaving and order is not None:
                    self._left.add(order)
        return had

    def _change(self, lease: Lease, job: Job) -> bool:
        leaving = job.stage != lease.job.stage
        [had] = self._let_go([lease], [], leaving=leaving)
        if had:
            of, due = lease.job._replace(stage=job.stage), job.due_at_ms
            row = (job.stage, order_hash(of), due, int(job.alone), job.body, due, due, self._hash(lease.job))
            self._changed.append(row)
            if job.stage not in self._sql.kept_stages:
                self._moved.append(self._hash(lease.job))
        return had

    def write(self) -> None:
        connection, sql = self._connection, self._sql
        for until_ms, hashes in self._extended.items():
            sql.extend(connection, hashes, until_ms)
        for due_at_ms, hashes in self._freed.items():
            sql.free(connection, hashes, due_at_ms)
        sql.delete(connection, self._done)
        if self._changed:
            sql.change(connection, self._changed)
        if self._left:
            sql.let_come(connection, list(sql.firsts(connection, self._left).values()))
        if self._rows:
            sql.insert.run(connection, self._rows)
        entered = [self._hash(job) for job in self._new if job.order]
        entered += self._moved
        if entered:
            _hold_up(connection, sql, sql.ordered(connection, entered), self._now_ms)


def _hold_up(connection: Connection, sql: JobStatements, jobs: Sequence[tuple[int, bytes]], now_ms: int) -> set[int]:
    """The sequences of those jobs, each with its ordering key, that are behind others; they wait for their turn.

    A job whose first another node is about to remove does not: it may be its turn as soon as that is done.
    """
    firsts = sql.firsts(connection, [order for _, order in jobs]) if jobs else {}
    behind = {sequence: firsts[order] for sequence, order in jobs if firsts[order] != sequence}
    if behind:
        staying = sql.staying(connection, sorted(set(behind.values())))
        waiting = [sequence for sequence, first in behind.items() if first in staying]
        sql.hold_up(connection, waiting, now_ms + _LOOK_AGAIN_MS)
    return set(behind)


def _take(connection: Connection, sql: JobStatements, call: Take) -> list[Lease]:
    if call.turned_back:
        sql.turn_back(connection, call.stage, call.now_ms)
    if call.limit < 1:
        return []
    if not sql.listed:
        return _lease_rows(connection, sql, call, _due(connection, sql, call))
    leases: list[Lease] = []
    for _ in range(_TRIES):
        rows = _due(connection, sql, call)
        behind = _hold_up(
            connection, sql, [(row[0], bytes(row[12])) for row in rows if row[12] is not None], call.now_ms
        )
        first = sorted((row for row in rows if row[0] not in behind), key=lambda row: (row[1], row[0]))
        leases = _lease_runs(connection, sql, call, first)
        if leases or not behind:
            break
    return leases


def _lease_runs(connection: Connection, sql: JobStatements, call: Take, heads: Sequence[Any]) -> list[Lease]:
    """Leases these, and those behind them that may come along."""
    orders = [bytes(row[12]) for row in heads if row[12] is not None and not row[13]] if call.run > 1 else []
    lines = sql.lines(connection, orders) if orders else {}
    most = call.limit if call.per_app is None else call.per_app
    counts: Counter[tuple[str, str]] = Counter()
    chosen: list[list[bytes]] = []
    taken = 0
    for row in heads:
        share = row[7], row[10] or ""
        room = min(call.run, call.limit - taken, most - counts[share])
        if room < 1:
            continue
        run = [bytes(row[2])]
        # Jobs that are put in order have been looked at before; what came since is behind them.
        line = [] if row[13] else lines.get(bytes(row[12] or b""), [])[1:room]
        run += (digest for digest, _ in takewhile(lambda each: not each[1], line))
        chosen.append(run)
        taken += len(run)
        counts[share] += len(run)
    places = {digest: place for place, digest in enumerate(digest for run in chosen for digest in run)}
    known = {bytes(row[2]): row for row in heads}
    behind = [digest for run in chosen for digest in run[1:]]
    if behind:
        known |= {bytes(row[2]): row for row in sql.by_key(connection, behind)}
    rows = [known[digest] for digest in places if digest in known]
    return _lease_rows(connection, sql, call, rows)


def _lease_rows(connection: Connection, sql: JobStatements, call: Leasing, rows: Sequence[Any]) -> list[Lease]:
    if rows:
        sql.lease(connection, [bytes(row[2]) for row in rows], call.token, call.now_ms, call.until_ms)
    if not sql.listed:
        # Locking them may have mixed them up.
        rows = sorted(rows, key=lambda row: (row[1], row[0]))
    return [Lease(_job(call, row), row[3], call.token, row[6] + 1, row[4], row[0]) for row in rows]


def _take_chosen(connection: Connection, sql: JobStatements, call: TakeKeys | TakeOld) -> list[Lease]:
    if isinstance(call, TakeKeys):
        rows: Sequence[Any] = sql.free_ones(connection, [sql.key("", key) for key in call.keys], call.now_ms)
        places = {key: place for place, key in enumerate(call.keys)}
        return _lease_rows(connection, sql, call, sorted(rows, key=lambda row: places[row[8]]))
    rows = sorted(sql.old(connection, call.stage, call.share, call.before_ms, call.now_ms, call.limit))
    firsts = sql.firsts(connection, [bytes(row[12]) for row in rows if row[12] is not None])
    chosen = {row[0] for row in rows}
    rows = [row for row in rows if row[12] is None or firsts[bytes(row[12])] in chosen]
    return _lease_rows(connection, sql, call, rows)


def _due(connection: Connection, sql: JobStatements, call: Take) -> Sequence[Any]:
    if call.per_app is None and not call.besides:
        return sql.first(connection, call.stage, call.now_ms, call.limit)
    for _ in range(_TRIES):
        chosen = _fair(connection, sql, call, call.limit if call.per_app is None else call.per_app)
        if not chosen:
            break
        rows = sql.these(connection, [sequence for _, sequence, _ in chosen], call.now_ms)
        if rows:
            return rows
    return ()


def _fair(connection: Connection, sql: JobStatements, call: Take, per_app: int) -> list[Candidate]:
    """The first that are due, without what shares have beyond their part."""
    if per_app < 1:
        return []
    front = sql.front(connection, call.stage, call.now_ms, call.limit * _FRONT)
    seen = [candidate for candidate in front if candidate[2] not in call.besides]
    chosen = _within(seen, call.limit, per_app)
    if len(chosen) == call.limit or len(front) < call.limit * _FRONT:
        return chosen
    # One app has so much that no other is to be seen. More apps than jobs are not needed: the first job
    # of any further one comes after theirs.
    heads = sql.heads(connection, call.stage, call.now_ms, call.limit + len(call.besides))
    apps = [app for _, _, app in heads if app not in call.besides][: call.limit]
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


def _row(sql: JobStatements, job: Job, now_ms: int) -> tuple[object, ...]:
    """The columns of `JobStatements.insert`."""
    row = (
        sql.key(job.stage, job.key),
        job.stage,
        share_hash(*job.share),
        unique_id(),
        now_ms,
        job.due_at_ms,
        max(now_ms, job.due_at_ms),
        job.app_id,
        job.key,
        job.body,
    )
    if not sql.listed:
        return row
    return (*row, job.group, job.order, order_hash(job), app_hash(job.app_id), int(job.alone))


def _job(call: Leasing, row: Sequence[Any]) -> Job:
    if len(row) > 10:
        return stored_job(row).job
    _, _, _, _, _, due_at_ms, _, app_id, key, body = row
    return Job(call.stage if isinstance(call, Take) else "", key, app_id, bytes(body), due_at_ms)
