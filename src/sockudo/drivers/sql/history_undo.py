"""Takes messages back to what they were before some of their versions, which are taken back (spec: history § 1.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection

from sockudo.base.message_records import Latest, Version
from sockudo.drivers.sql.history_messages import forget_messages, latest_messages, save_latest
from sockudo.drivers.sql.schema import message_hash
from sockudo.drivers.sql.statements import BEHIND_ALL, Statements
from sockudo.drivers.sql.stream_row import StreamRow
from sockudo.hub.streams.versions import decode_version, latest_without

__all__ = ["undo"]

_PAGE: Final = 200


def undo(connection: Connection, sql: Statements, log: StreamRow, gone: Mapping[int, Version]) -> Sequence[int]:
    """Brings the messages of these versions, by serial, to what they are without them.

    Returns the serials of the history of those that were created with one of them, which are deleted.
    """
    names = {
        message_hash(log.app_id, log.channel, version.message_serial): version.message_serial
        for version in gone.values()
    }
    if not names:
        return ()
    created = {v.message_serial: v.history_serial for v in gone.values() if v.action == "create"}
    forget_messages(connection, sql, [name for name, serial in names.items() if serial in created])
    for name, latest in latest_messages(connection, sql, list(names)).items():
        save_latest(connection, sql, name, latest_without(_rows(connection, sql, name, gone), latest))
    return list(created.values())


def _rows(connection: Connection, sql: Statements, name: bytes, gone: Mapping[int, Version]) -> list[Latest]:
    """The versions that stay, newest first, up to one that has the whole data."""
    rows: list[Latest] = []
    after = BEHIND_ALL
    while True:
        where = {"message_hash": name, "after": after, "most": _PAGE}
        page = connection.execute(sql.versions_backwards, where).all()
        for serial, *_, message in page:
            version = decode_version(message)
            after = version.version_serial
            if serial not in gone:
                rows.append(Latest(serial, version))
                if version.action != "append":
                    return rows
        if len(page) < _PAGE:
            return rows
