"""Lanes in the file of the webhook queue, and the deliveries at their heads: each step is a part of a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection

from sockudo.storage.holders import is_gone
from sockudo.webhooks.ports import Claim, Outcome
from sockudo.webhooks.queues.memory import KEPT_ATTEMPTS
from sockudo.webhooks.records import Attempt, Delivery, State

__all__ = [
    "LANE",
    "OPEN_LANE",
    "end",
    "execute_many",
    "free_lanes_of_the_dead",
    "lane_of",
    "next_head",
    "replay",
    "settle",
]

# A lane that waits already keeps its head.
OPEN_LANE: Final = """
INSERT INTO lanes (app_id, endpoint, lane, head, due_at_ms, ready_at_ms)
SELECT app_id, endpoint, lane, sequence, due_at_ms, due_at_ms FROM deliveries WHERE id = ? AND state = 'waiting'
ON CONFLICT DO NOTHING
"""
LANE: Final = "app_id = ? AND endpoint = ? AND lane = ?"
_HEAD: Final = f"""
SELECT sequence, due_at_ms FROM deliveries WHERE {LANE} AND state = 'waiting' ORDER BY sequence LIMIT 1
"""  # noqa: S608 - words of ours


def execute_many(connection: Connection, statement: str, rows: Iterable[Sequence[object]]) -> None:
    """Runs the statement for each of the rows."""
    values = [tuple(row) for row in rows]
    if values:
        connection.exec_driver_sql(statement, values)


def free_lanes_of_the_dead(connection: Connection) -> None:
    """Ends the leases of processes that have certainly ended; any other lease runs out by itself."""
    tokens = connection.exec_driver_sql("SELECT token FROM lanes WHERE token IS NOT NULL").fetchall()
    dead = [(token,) for (token,) in tokens if is_gone(token.rpartition(":")[0])]
    execute_many(connection, "UPDATE lanes SET token = NULL, ready_at_ms = due_at_ms WHERE token = ?", dead)


def settle(connection: Connection, claim: Claim, outcome: Outcome, now_ms: int) -> bool:
    """Keeps what has become of a claimed delivery and frees its lane; False when it is claimed by another by now."""
    lane = lane_of(claim.delivery)
    held = f"SELECT head FROM lanes WHERE {LANE} AND token = ?"  # noqa: S608 - words of ours
    row = connection.exec_driver_sql(held, (*lane, claim.token)).fetchone()
    if row is None:
        return False
    (head,) = row
    if outcome.attempt is not None:
        _keep_attempt(connection, head, outcome.attempt)
    if outcome.state == "waiting":
        connection.exec_driver_sql("UPDATE deliveries SET due_at_ms = ? WHERE sequence = ?", (outcome.due_at_ms, head))
    else:
        end(connection, head, outcome.state, outcome.reason, now_ms)
    next_head(connection, lane)
    return True


def _keep_attempt(connection: Connection, head: int, attempt: Attempt) -> None:
    connection.exec_driver_sql(
        "UPDATE deliveries SET attempts = attempts + 1, first_attempt_at_ms = coalesce(first_attempt_at_ms, ?) "
        "WHERE sequence = ?",
        (attempt.at_ms, head),
    )
    connection.exec_driver_sql(
        "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?)", (head, *msgspec.structs.astuple(attempt))
    )
    connection.exec_driver_sql(
        "DELETE FROM attempts WHERE delivery = ? AND rowid NOT IN "
        "(SELECT rowid FROM attempts WHERE delivery = ? ORDER BY rowid DESC LIMIT ?)",
        (head, head, KEPT_ATTEMPTS),
    )


def end(connection: Connection, sequence: int, state: State, reason: str | None, now_ms: int) -> None:
    """The delivery is not tried any more: it has arrived, or is dead for ``reason``."""
    connection.exec_driver_sql(
        "UPDATE deliveries SET state = ?, reason = ?, settled_at_ms = ?, settled_sequence = "
        "(SELECT coalesce(max(settled_sequence), 0) + 1 FROM deliveries WHERE state = ? AND state <> 'waiting') "
        "WHERE sequence = ?",
        (state, reason, now_ms, state, sequence),
    )


def next_head(connection: Connection, lane: tuple[str, str, int]) -> None:
    """The lane is free, and its head is whatever waits first in it."""
    row = connection.exec_driver_sql(_HEAD, lane).fetchone()
    if row is None:
        connection.exec_driver_sql(f"DELETE FROM lanes WHERE {LANE}", lane)  # noqa: S608
    else:
        head, due = row
        connection.exec_driver_sql(
            f"UPDATE lanes SET head = ?, due_at_ms = ?, ready_at_ms = ?, token = NULL WHERE {LANE}",  # noqa: S608
            (head, due, due, *lane),
        )


def replay(connection: Connection, delivery_id: str, old: int, now_ms: int) -> None:
    """Gives the delivery a new sequence, the last of all."""
    new = connection.exec_driver_sql(
        "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'deliveries' RETURNING seq"
    ).scalar_one()
    connection.exec_driver_sql(
        "UPDATE deliveries SET sequence = ?, state = 'waiting', attempts = 0, first_attempt_at_ms = NULL, "
        "settled_at_ms = NULL, settled_sequence = NULL, reason = NULL, created_at_ms = ?, due_at_ms = ? "
        "WHERE sequence = ?",
        (new, now_ms, now_ms, old),
    )
    connection.exec_driver_sql("UPDATE attempts SET delivery = ? WHERE delivery = ?", (new, old))
    connection.exec_driver_sql(OPEN_LANE, (delivery_id,))


def lane_of(delivery: Delivery) -> tuple[str, str, int]:
    """The values of `LANE`."""
    return delivery.app_id, delivery.endpoint, delivery.lane
