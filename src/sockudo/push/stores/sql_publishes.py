"""Publishes and what became of them in an SQL database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, select

from sockudo.push.lifecycle import Step
from sockudo.push.paging import time_after
from sockudo.push.recipients import Provider
from sockudo.push.records import DeadLetter, DeliveryEvent, PublishIntent, PublishStatus, ScheduledJob, Shard, State
from sockudo.push.stores.changes import Accept, Edit, Steps, Swap, live_owner, owners_of, statuses_of
from sockudo.push.stores.rows import (
    event_of,
    event_row,
    intent_of,
    job_of,
    job_row,
    letter_of,
    letter_row,
    log_row,
    shard_of,
    shard_row,
    sql_state,
    state_of,
    status_of,
)
from sockudo.push.stores.rules import stored_key
from sockudo.push.stores.schema import step_key_hash
from sockudo.push.stores.sql_base import Groups, SqlRoom, Work
from sockudo.push.stores.statements import Statements, behind, by_app, chunks, values

__all__ = ["SqlPublishes", "find_intents"]


class SqlPublishes(SqlRoom):
    """See `sockudo.push.ports.Publishes`."""

    # What planners ask for at the same time is read together.
    _planning: Groups
    _finding: Work

    async def accept(
        self, status: PublishStatus, intent: PublishIntent | None, keys: Sequence[str], keys_until_ms: int
    ) -> PublishStatus | None:
        request = Accept(status, intent, keys, keys_until_ms)
        winner: PublishStatus | None = await self._groups.do(self._kinds.publishes, request, weight=2 + len(keys))
        return winner

    async def accepted(self, app_id: str, keys: Sequence[str], now_ms: int) -> PublishStatus | None:
        names = [(app_id, stored_key(key)) for key in keys]

        def read(connection: Connection) -> PublishStatus | None:
            owners = owners_of(self._sql, connection, names, locked=False)
            places = {(app_id, owner.publish_id) for owner in owners.values()}
            statuses = statuses_of(self._sql, connection, places, locked=False)
            return live_owner(names, owners, statuses, now_ms)

        return await self._read(read)

    async def status(self, app_id: str, publish_id: str) -> PublishStatus | None:
        def read(connection: Connection) -> PublishStatus | None:
            rows = self._sql.statuses.run(connection, [publish_id], app_id)
            return status_of(rows[0][1]) if rows else None

        return await self._read(read)

    async def statuses(
        self, app_id: str, *, states: Sequence[State] | None, after: str, limit: int
    ) -> list[PublishStatus]:
        of = self._tables.publish_status.c
        newest = (of.created_at_ms.desc(), of.publish_id.desc())
        wanted = select(of.counters_json).where(of.app_id == app_id).order_by(*newest).limit(limit)
        if after:
            wanted = wanted.where(behind(of.created_at_ms, of.publish_id, time_after(after), downwards=True))
        if states is None:
            return await self._all(wanted, lambda row: status_of(row[0]))

        # Each state has its part of the index.
        def read(connection: Connection) -> list[PublishStatus]:
            found = [
                status_of(text)
                for state in dict.fromkeys(states)
                for text in connection.scalars(wanted.where(of.state == sql_state(state)))
            ]
            return sorted(found, key=lambda each: (each.created_at_ms, each.publish_id), reverse=True)[:limit]

        return await self._read(read)

    async def swap_status(self, before: PublishStatus, after: PublishStatus) -> PublishStatus | None:
        stored: PublishStatus | None = await self._groups.do(self._kinds.publishes, Swap(before, after))
        return stored

    async def edit_status(
        self, app_id: str, publish_id: str, edit: Callable[[PublishStatus], PublishStatus | None], now_ms: int
    ) -> PublishStatus | None:
        status: PublishStatus | None
        status = await self._groups.do(self._kinds.publishes, Edit((app_id, publish_id), edit, now_ms))
        return status

    async def append_log(self, intent: PublishIntent) -> bool:
        of = self._tables.publish_log.c
        there = select(of.publish_id).where(of.app_id == intent.app_id, of.publish_id == intent.publish_id)

        def work(connection: Connection) -> bool:
            if connection.execute(there).first() is not None:
                return False
            self._sql.insert_log.run(connection, [log_row(intent)])
            return True

        return await self._write(work)

    async def intent(self, app_id: str, publish_id: str) -> PublishIntent | None:
        intent: PublishIntent | None = await self._planning.do(self._finding, (app_id, publish_id))
        return intent

    async def intents(self, app_id: str, after: str, limit: int) -> list[PublishIntent]:
        of = self._tables.publish_log.c
        wanted = select(of.event_json).where(of.app_id == app_id).order_by(of.occurred_at_ms, of.event_id).limit(limit)
        if after:
            wanted = wanted.where(behind(of.occurred_at_ms, of.event_id, time_after(after)))
        return await self._all(wanted, lambda row: intent_of(row[0]))

    async def stuck(
        self, state: State, accepted_before_ms: int, limit: int, *, accepted_after_ms: int = -1
    ) -> list[PublishIntent]:
        status, log = self._tables.publish_status, self._tables.publish_log
        same = (log.c.app_id == status.c.app_id) & (log.c.publish_id == status.c.publish_id)
        wanted = (
            select(log.c.event_json)
            .select_from(status.join(log, same))
            .where(
                status.c.state == sql_state(state),
                status.c.created_at_ms < accepted_before_ms,
                status.c.created_at_ms > accepted_after_ms,
                *([status.c.revision == 1] if state == "dispatching" else []),
            )
            .order_by(status.c.created_at_ms, status.c.app_id, status.c.publish_id)
        )
        return await self._all(wanted.limit(limit), lambda row: intent_of(row[0]))

    async def count_publishes(self, app_id: str) -> dict[State, int]:
        of = self._tables.publish_status.c
        wanted = select(of.state, func.count().label("publishes")).where(of.app_id == app_id).group_by(of.state)
        return dict(await self._all(wanted, _state_count))

    async def put_shard(self, shard: Shard) -> None:
        await self._write(lambda connection: self._sql.save_shards.run(connection, [shard_row(shard)]))

    async def shard(self, app_id: str, publish_id: str, shard_id: str) -> Shard | None:
        of = self._tables.fanout_shards.c
        wanted = select(of.shard_json).where(of.app_id == app_id, of.publish_id == publish_id, of.shard_id == shard_id)
        return next(iter(await self._all(wanted, lambda row: shard_of(row[0]))), None)

    async def put_job(self, job: ScheduledJob) -> None:
        await self._write(lambda connection: self._sql.save_jobs.run(connection, [job_row(job)]))

    async def job(self, app_id: str, publish_id: str) -> ScheduledJob | None:
        of = self._tables.scheduled_jobs.c
        wanted = select(self._tables.scheduled_jobs).where(of.app_id == app_id, of.publish_id == publish_id)
        return next(iter(await self._all(wanted, job_of)), None)

    async def jobs(self, app_id: str, after: str, limit: int) -> list[ScheduledJob]:
        of = self._tables.scheduled_jobs.c
        wanted = select(self._tables.scheduled_jobs).where(of.app_id == app_id, of.publish_id > after)
        return await self._all(wanted.order_by(of.publish_id).limit(limit), job_of)

    async def due_jobs(self, now_ms: int, limit: int) -> list[ScheduledJob]:
        of = self._tables.scheduled_jobs.c
        wanted = select(self._tables.scheduled_jobs).where(of.due_at_ms <= now_ms)
        return await self._all(wanted.order_by(of.due_at_ms, of.app_id, of.publish_id).limit(limit), job_of)

    async def delete_job(self, app_id: str, publish_id: str) -> bool:
        of = self._tables.scheduled_jobs.c
        gone = delete(self._tables.scheduled_jobs).where(of.app_id == app_id, of.publish_id == publish_id)
        return await self._write(lambda connection: connection.execute(gone).rowcount > 0)

    async def take_steps(
        self, app_id: str, publish_id: str, steps: Sequence[Step], now_ms: int, keys_until_ms: int
    ) -> tuple[list[Step], PublishStatus | None]:
        request = Steps((app_id, publish_id), steps, now_ms, keys_until_ms)
        result: tuple[list[Step], PublishStatus | None]
        result = await self._groups.do(self._kinds.publishes, request, weight=1 + len(steps))
        return result

    async def steps_taken(self, app_id: str, publish_id: str, keys: Sequence[str]) -> set[str]:
        def read(connection: Connection) -> set[str]:
            hashes = {step_key_hash(app_id, publish_id, key): key for key in keys}
            rows = (row for some in chunks(sorted(hashes)) for row in self._sql.steps.run(connection, some))
            return {hashes[bytes(row[0])] for row in rows}

        return await self._read(read)

    async def append_events(self, events: Sequence[DeliveryEvent]) -> None:
        if events:
            rows = [event_row(event) for event in events]
            await self._write(lambda connection: self._sql.keep_events.run(connection, rows), weight=len(rows))

    async def events(
        self, app_id: str, publish_id: str, after: str, limit: int, *, device_id: str | None = None
    ) -> list[DeliveryEvent]:
        of = self._tables.delivery_events.c
        wanted = select(self._tables.delivery_events).where(of.app_id == app_id, of.publish_id == publish_id)
        if device_id is not None:
            # Quotes within a text are escaped, so that this can only be the field.
            field = f'"deviceId":{msgspec.json.encode(device_id).decode()}'
            place = func.strpos if self._sql.dialect.name == "postgresql" else func.instr
            wanted = wanted.where(place(of.result_json, field) > 0)
        if after:
            wanted = wanted.where(behind(of.occurred_at_ms, of.event_id, time_after(after)))
        return await self._all(wanted.order_by(of.occurred_at_ms, of.event_id).limit(limit), event_of)

    async def append_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        if letters:
            rows = [letter_row(letter) for letter in letters]
            await self._write(lambda connection: self._sql.keep_letters.run(connection, rows), weight=len(rows))

    async def dead_letters(
        self,
        app_id: str,
        *,
        provider: Provider | None,
        since_ms: int | None,
        until_ms: int | None,
        after: str,
        limit: int,
    ) -> list[DeadLetter]:
        of = self._tables.dead_letters.c
        wanted = select(of.payload_json).where(of.app_id == app_id)
        if provider is not None:
            wanted = wanted.where(of.provider == provider)
        if since_ms is not None:
            wanted = wanted.where(of.occurred_at_ms >= since_ms)
        if until_ms is not None:
            wanted = wanted.where(of.occurred_at_ms <= until_ms)
        if after:
            wanted = wanted.where(behind(of.occurred_at_ms, of.dead_letter_id, time_after(after)))
        wanted = wanted.order_by(of.occurred_at_ms, of.dead_letter_id).limit(limit)
        return await self._all(wanted, lambda row: letter_of(row[0]))

    async def dead_letter(self, app_id: str, dead_letter_id: str) -> DeadLetter | None:
        of = self._tables.dead_letters.c
        wanted = select(of.payload_json).where(of.app_id == app_id, of.dead_letter_id == dead_letter_id)
        return next(iter(await self._all(wanted, lambda row: letter_of(row[0]))), None)


def find_intents(
    sql: Statements, connection: Connection, places: Sequence[tuple[str, str]]
) -> list[PublishIntent | None]:
    """The intent of each, of app and publish id."""
    found = {
        (app_id, intent.publish_id): intent
        for app_id, names in by_app(places)
        for intent in (intent_of(row[0]) for row in values(sql.log, connection, app_id, names))
    }
    return [found.get(place) for place in places]


def _state_count(row: Row[Any]) -> tuple[State, int]:
    return state_of(row.state), row.publishes
