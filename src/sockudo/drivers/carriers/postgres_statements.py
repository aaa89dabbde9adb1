"""The table of what is too long for a notification, and what is asked of it.

It is not logged: a row has to last for a minute, and none survives a crash of the database. A step is never changed
once released; a new shape is a new step at the end.
"""

from __future__ import annotations

from typing import Any, Final

from sockudo.drivers.carriers.postgres_inbox import Found
from sockudo.drivers.carriers.postgres_packets import Row
from sockudo.storage.postgres_connection import PostgresConnection

__all__ = ["KEPT_SECONDS", "STEPS", "Statements"]

KEPT_SECONDS: Final = 60
"""How long a row is kept by its sender."""

# Rows that their sender has not deleted by then have none any more.
_LEFT_SECONDS: Final = 3 * KEPT_SECONDS
_FOUND_AT_ONCE: Final = 1_000

STEPS: Final = (
    (
        """
        CREATE UNLOGGED TABLE {items} (
            sender BYTEA NOT NULL,
            n BIGINT NOT NULL,
            made_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            channels TEXT[] NOT NULL,
            body BYTEA NOT NULL,
            PRIMARY KEY (sender, n)
        )
        """,
        # It is read once and deleted: compressing it would cost more than writing it.
        "ALTER TABLE {items} ALTER COLUMN body SET STORAGE EXTERNAL",
    ),
)

# Each sender once, along the key, without reading its rows.
_SENDERS: Final = """
WITH RECURSIVE senders AS (
    (SELECT sender FROM {items} ORDER BY sender LIMIT 1)
    UNION ALL
    SELECT (SELECT i.sender FROM {items} i WHERE i.sender > s.sender ORDER BY i.sender LIMIT 1)
    FROM senders s WHERE s.sender IS NOT NULL
)
"""

_FIND: Final = """
{senders}
SELECT i.sender, i.n, octet_length(i.body), i.channels && %s::text[]
FROM senders s LEFT JOIN unnest(%s::bytea[], %s::bigint[]) AS known (sender, n) USING (sender)
CROSS JOIN LATERAL (
    SELECT * FROM {items} i WHERE i.sender = s.sender AND i.n > coalesce(known.n, 0) ORDER BY i.n LIMIT {limit}
) i
WHERE s.sender IS NOT NULL LIMIT {limit}
"""

_END: Final = """
{senders}
SELECT s.sender, (SELECT max(i.n) FROM {items} i WHERE i.sender = s.sender)
FROM senders s WHERE s.sender IS NOT NULL
"""


class Statements:
    """The statements on ``<prefix>_items``. ``prepare``: they may be prepared, as they may not behind a pooler."""

    def __init__(self, prefix: str, *, prepare: bool) -> None:
        self._prepare = prepare

        def of(text: str) -> bytes:
            items = f'"{prefix}_items"'
            return text.format(senders=_SENDERS.format(items=items), items=items, limit=_FOUND_AT_ONCE).encode()

        self._notify = b"SELECT pg_notify(c, t) FROM unnest(%s::text[], %s::text[]) AS notes (c, t)"
        self._put = of(
            "WITH put AS (INSERT INTO {items} (sender, n, channels, body) VALUES (%s, %s, %s::text[], %s)) "
            "SELECT pg_notify(c, t) FROM unnest(%s::text[], %s::text[]) AS notes (c, t)"
        )
        self._find, self._end = of(_FIND), of(_END)
        self._get = of(
            "SELECT i.sender, i.n, i.body FROM unnest(%s::bytea[], %s::bigint[]) AS wanted (sender, n) "
            "JOIN {items} i USING (sender, n)"
        )
        self._delete = of("DELETE FROM {items} WHERE sender = %s AND n <= %s")
        self._sweep = of("DELETE FROM {items} WHERE made_at < now() - make_interval(secs => %s)")

    async def notify(self, connection: PostgresConnection, channels: list[str], texts: list[str]) -> None:
        """Sends notifications, in one transaction."""
        await connection.execute(self._notify, (channels, texts), prepare=self._prepare)

    async def put(
        self, connection: PostgresConnection, sender: bytes, row: Row, channels: list[str], texts: list[str]
    ) -> None:
        """Stores a row and sends notifications of it, in one transaction."""
        values = (sender, row.number, row.channels, row.body, channels, texts)
        await connection.execute(self._put, values, prepare=self._prepare)

    async def find(self, connection: PostgresConnection, last: dict[bytes, int], channels: list[str]) -> list[Found]:
        """The first rows beyond the ``last`` of each sender; ``wanted`` are those on the channels."""
        found = await connection.execute(self._find, (channels, list(last), list(last.values())), prepare=self._prepare)
        return [Found(*row) for row in found]

    async def end(self, connection: PostgresConnection) -> list[Found]:
        """The last row of each sender."""
        rows = await connection.execute(self._end, prepare=self._prepare)
        return [Found(sender, number, 0, False) for sender, number in rows if number is not None]

    async def get(self, connection: PostgresConnection, keys: list[tuple[bytes, int]]) -> dict[tuple[bytes, int], Any]:
        """The bodies of the rows with these senders and numbers, where they are there."""
        senders, numbers = [sender for sender, _ in keys], [number for _, number in keys]
        rows = await connection.execute(self._get, (senders, numbers), prepare=self._prepare)
        return {(sender, number): body for sender, number, body in rows}

    async def delete(self, connection: PostgresConnection, sender: bytes, number: int) -> None:
        """Deletes the rows of a sender up to this one."""
        await connection.execute(self._delete, (sender, number), prepare=self._prepare)

    async def sweep(self, connection: PostgresConnection) -> None:
        """Deletes the rows of senders that are gone."""
        await connection.execute(self._sweep, (_LEFT_SECONDS,), prepare=self._prepare)
