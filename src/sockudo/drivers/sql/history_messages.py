"""Messages that change, as they read now: what a transaction reads and writes of them (spec: messages § 6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace
from sqlalchemy import Connection

from sockudo.base.message_records import Latest, Mutation, Refusal, Version
from sockudo.base.stream_records import Append
from sockudo.drivers.sql.schema import message_hash
from sockudo.drivers.sql.statements import Statements
from sockudo.hub.streams.versions import applied, decode_version, encode_version, keeps_data

__all__ = ["Messages", "forget_messages", "latest_messages", "opened_messages", "save_latest"]

# Characters from which on a text is a full part: an append writes its last part again.
_PART: Final = 512


class _Message:
    """A message in a transaction. ``latest`` has the end of its text, behind ``parts`` full parts."""

    __slots__ = ("dropped", "fresh", "full", "latest", "parts", "serial", "whole")

    def __init__(self, serial: int, parts: int, latest: Version, *, fresh: bool = False) -> None:
        self.serial = serial
        self.parts = parts
        self.latest = latest
        self.fresh = fresh
        # Parts that became full, and whether those in the database are void.
        self.full: list[tuple[int, str]] = []
        self.dropped = False
        # The whole text, once it was read.
        self.whole: str | None = None


class Messages:
    """The messages that a transaction changes, by their hashes; `save` writes them."""

    def __init__(self, connection: Connection, sql: Statements, found: dict[bytes, _Message]) -> None:
        self._connection = connection
        self._sql = sql
        self._found = found
        self._changed: dict[bytes, _Message] = {}

    def create(self, name: bytes, serial: int, version: Version) -> None:
        """Adds a new message, at a serial of its log."""
        self._found[name] = self._changed[name] = _Message(serial, 0, version, fresh=True)

    def change(self, name: bytes, mutation: Mutation) -> Version | Refusal:
        """Applies a mutation; the row of the log, whose serial `place` is told."""
        message = self._found.get(name)
        outcome = applied(None if message is None else message.latest, mutation)
        if message is None or isinstance(outcome, str):
            return outcome if isinstance(outcome, str) else "unknown"
        self._changed[name] = message
        if mutation.action == "append":
            self._grow(message, outcome.logged)
            return outcome.logged
        logged = outcome.logged
        if keeps_data(mutation):
            logged = replace(logged, text=self._text(name, message)) if message.parts else logged
        else:
            message.dropped = message.dropped or message.parts > 0
            message.parts, message.full, message.whole = 0, [], None
        message.latest = outcome.latest
        return logged

    def place(self, name: bytes, serial: int) -> None:
        """The serial of the message's newest version."""
        self._found[name].serial = serial

    def whole(self, name: bytes) -> str | None:
        """The whole text of a message that was changed; None when its data is none."""
        message = self._found[name]
        return self._text(name, message) if message.latest.text is not None else None

    def save(self) -> None:
        """Writes what was changed."""
        connection, sql = self._connection, self._sql
        void = [name for name, message in self._changed.items() if message.dropped]
        if void:
            sql.delete_parts.run(connection, void)
        parts = [
            (name, number, part.encode()) for name, message in self._changed.items() for number, part in message.full
        ]
        if parts:
            sql.insert_parts.run(connection, parts)
        for fresh, statement in ((True, sql.insert_messages), (False, sql.save_messages)):
            rows = [
                (name, message.serial, message.parts, encode_version(message.latest))
                for name, message in self._changed.items()
                if message.fresh is fresh
            ]
            if rows:
                statement.run(connection, rows)

    def _grow(self, message: _Message, logged: Version) -> None:
        before, fragment = message.latest.text or "", logged.text or ""
        if len(before) >= _PART:
            message.full.append((message.parts, before))
            message.parts += 1
            before = ""
        message.latest = replace(logged, text=before + fragment)
        if message.whole is not None:
            message.whole += fragment

    def _text(self, name: bytes, message: _Message) -> str:
        if message.whole is None:
            kept = message.parts - len(message.full)
            stored = _parts(self._connection, self._sql, [name])[name][:kept] if kept else []
            message.whole = "".join([*stored, *(part for _, part in message.full), message.latest.text or ""])
        return message.whole


def opened_messages(connection: Connection, sql: Statements, appends: Sequence[Append]) -> Messages:
    """The messages that these appends change; their logs are locked."""
    names = {
        message_hash(each.app_id, each.channel, each.change.message_serial): None
        for each in appends
        if isinstance(each.change, Mutation)
    }
    return Messages(connection, sql, _found(connection, sql, list(names)))


def latest_messages(connection: Connection, sql: Statements, names: Sequence[bytes]) -> dict[bytes, Latest]:
    """Messages as they read now, as far as they are there."""
    found = _found(connection, sql, names)
    parts = _parts(connection, sql, [name for name, message in found.items() if message.parts])
    latest = {}
    for name, message in found.items():
        version = message.latest
        if message.parts:
            version = replace(version, text="".join([*parts[name][: message.parts], version.text or ""]))
        latest[name] = Latest(message.serial, version)
    return latest


def _found(connection: Connection, sql: Statements, names: Sequence[bytes]) -> dict[bytes, _Message]:
    if not names:
        return {}
    rows = sql.messages.run(connection, names)
    return {bytes(name): _Message(serial, parts, decode_version(latest)) for name, serial, parts, latest in rows}


def _parts(connection: Connection, sql: Statements, names: Sequence[bytes]) -> dict[bytes, list[str]]:
    found: dict[bytes, list[str]] = defaultdict(list)
    if names:
        for name, _, part in sql.parts.run(connection, names):
            found[bytes(name)].append(bytes(part).decode())
    return found


def forget_messages(connection: Connection, sql: Statements, names: Iterable[bytes]) -> None:
    """Deletes messages, and nothing of their logs."""
    gone = list(names)
    if gone:
        sql.delete_messages.run(connection, gone)
        sql.delete_parts.run(connection, gone)


def save_latest(connection: Connection, sql: Statements, name: bytes, latest: Latest) -> None:
    """Writes a message anew."""
    sql.delete_parts.run(connection, [name])
    sql.save_messages.run(connection, [(name, latest.serial, 0, encode_version(latest.version))])
