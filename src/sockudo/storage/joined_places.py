"""Tables of a database as a place of joined nodes: a row for each node and group of tables.

A row's key is the group's name with the node's id behind it, so that the row of a server that is alone
(`sockudo.storage.places`) stands beside them. Each writes its own first and looks for others afterwards: of two that
start together at least one sees the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, delete, insert, or_, text, update
from sqlalchemy.exc import DBAPIError

from sockudo.config.sections.databases import SqlDatabase
from sockudo.storage.occupants import LEASE_SECONDS, Held, Occupant
from sockudo.storage.places import NOW, ROWS, of_nodes, opened_table, place_engine, rows_held, silent

__all__ = ["JoinedSqlPlace"]


class JoinedSqlPlace:
    """Claims ``tables``, names of groups of tables, for a node that may share them with others.

    ``occupant`` has the node's id. A claim ends with `release`, or when it was not renewed for `LEASE_SECONDS`.
    """

    def __init__(self, server: SqlDatabase, tables: Sequence[str], occupant: Occupant, *, section: str) -> None:
        self._tables = tuple(sorted(tables))
        self._occupant = occupant
        self._token = uuid.uuid4().hex
        self._engine = place_engine(server)
        self.name = f"the database '{server.database}' at {server.host}:{server.port} ({section}: {', '.join(tables)})"

    async def claim(self) -> Sequence[Held]:
        """Takes the place or renews the claim, and names each other server that has one.

        Raises ``errors.SERVICE_UNAVAILABLE`` when the database does not answer.
        """
        return await self._ask(self._claim)

    async def others(self) -> Sequence[Held]:
        """The same without a claim of its own."""
        return await self._ask(self._look)

    async def release(self) -> None:
        """Gives the place back; without an answer the lease runs out by itself."""
        with contextlib.suppress(DBAPIError):
            await asyncio.to_thread(self._release)

    async def _ask(self, question: Callable[[Connection], Sequence[Held]]) -> Sequence[Held]:
        try:
            return await asyncio.to_thread(opened_table, self._engine, question)
        except DBAPIError as error:
            raise silent(error) from error

    def _claim(self, connection: Connection) -> Sequence[Held]:
        now: int = connection.execute(text(NOW[connection.dialect.name])).scalar_one()
        columns = ROWS.c
        ours = {"token": self._token, "occupant": self._occupant.text, "renewed_ms": now}
        for tables in self._tables:
            key = f"{tables} @{self._occupant.node}"
            row = update(ROWS).where(columns.tables == key).values(beats=columns.beats + 1, **ours)
            if not connection.execute(row).rowcount:
                connection.execute(insert(ROWS), {"tables": key, "beats": 1, **ours})
        ended = columns.renewed_ms < now - LEASE_SECONDS * 1000
        connection.execute(delete(ROWS).where(or_(*of_nodes(self._tables)), ended))
        connection.commit()
        return self._look(connection)

    def _look(self, connection: Connection) -> Sequence[Held]:
        rows = (ROWS.c.tables.in_(self._tables), *of_nodes(self._tables))
        return rows_held(connection, rows, but=self._token)

    def _release(self) -> None:
        try:
            opened_table(self._engine, self._give_back)
        finally:
            self._engine.dispose()

    def _give_back(self, connection: Connection) -> None:
        connection.execute(delete(ROWS).where(ROWS.c.token == self._token))
        connection.commit()
