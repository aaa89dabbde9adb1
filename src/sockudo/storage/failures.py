"""What went wrong in a database, in words of ours: no statement, name of a table or credential leaves it.

The driver's own words go to the log.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple, NoReturn

import structlog
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError

from sockudo import errors

__all__ = [
    "NOT_ALLOWED",
    "READ_ONLY",
    "RETRY_AFTER",
    "UNKNOWN_DATABASE",
    "UNKNOWN_USER",
    "Subject",
    "capital",
    "is_conflict",
    "is_lost",
    "is_taken",
    "reason_of",
    "refuse",
]

RETRY_AFTER: Final = 1


class Subject(NamedTuple):
    """Whose database it is: which refusal its failures are, and what its parts are called in texts.

    ``item`` is what it is asked to hold, ``elsewhere`` what to do when its tables belong to another program. Of a store
    with ``secrets`` no error keeps what a driver may have quoted of a row.
    """

    spec: errors.ErrorSpec
    logger: str
    store: str
    file: str
    item: str
    elsewhere: str = ""
    secrets: bool = False


_TOO_LONG: Final = "a statement took too long"
_FULL: Final = "its disk is full"
READ_ONLY: Final = "it may only be read"
NOT_ALLOWED: Final = "it does not let the configured user do this"
UNKNOWN_USER: Final = "it does not accept the configured user or password"
UNKNOWN_DATABASE: Final = "the configured database does not exist"
_TOO_MANY: Final = "it has too many connections"
_FAILED: Final = "it failed"
_UNREACHABLE: Final = "it cannot be reached, or refuses the connection"
_MISSING: Final = "one of its tables, or a column, is missing"

_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: "it is locked by another process",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: "the disk does not answer as it should",
    sqlite3.SQLITE_NOTADB: "its file is not an SQLite database",
    sqlite3.SQLITE_PERM: "its file may not be used by this user",
    sqlite3.SQLITE_READONLY: "its file or folder is read-only",
}
_POSTGRES: Final = {
    "25006": READ_ONLY,
    "28000": UNKNOWN_USER,
    "28P01": UNKNOWN_USER,
    "3D000": UNKNOWN_DATABASE,
    "42703": _MISSING,
    "42P01": _MISSING,
    "42501": NOT_ALLOWED,
    "53100": _FULL,
    "53300": _TOO_MANY,
    "55P03": _TOO_LONG,
    "57014": _TOO_LONG,
}
# What PostgreSQL says, where it speaks English, when it refuses a connection: its driver has no SQLSTATE then.
_REFUSED: Final = {
    'database "': UNKNOWN_DATABASE,
    "no pg_hba.conf entry": UNKNOWN_USER,
    "password authentication failed": UNKNOWN_USER,
    "permission denied": NOT_ALLOWED,
    "remaining connection slots": _TOO_MANY,
    'role "': UNKNOWN_USER,
    "sorry, too many clients": _TOO_MANY,
    "too many connections": _TOO_MANY,
}
_MYSQL: Final = {
    1021: _FULL,
    1036: READ_ONLY,
    1040: _TOO_MANY,
    1044: NOT_ALLOWED,
    1045: UNKNOWN_USER,
    1049: UNKNOWN_DATABASE,
    1054: _MISSING,
    1114: _FULL,
    1142: NOT_ALLOWED,
    1146: _MISSING,
    1203: _TOO_MANY,
    1205: _TOO_LONG,
    1226: _TOO_MANY,
    1290: READ_ONLY,
    1317: _TOO_LONG,
    1698: UNKNOWN_USER,
    1792: READ_ONLY,
    1836: READ_ONLY,
    1969: _TOO_LONG,
    2002: _UNREACHABLE,
    2003: _UNREACHABLE,
    3024: _TOO_LONG,
}

# Two transactions that got in each other's way: one of them was undone, and may be tried again.
_CONFLICTS: Final = frozenset({"40001", "40P01", 1213})
# A key that is there already; a table too, of which two that make it at once in PostgreSQL get these words.
_TAKEN: Final = frozenset(
    {"23505", "42710", "42P07", 1062, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}
)
# More than an index has room for: what PostgreSQL takes for an error of its operation, and MySQL's "too long".
_TOO_LARGE: Final = frozenset({"54000", 1406})


def is_conflict(error: DBAPIError) -> bool:
    """Whether the transaction was undone because of another one."""
    return _code(error) in _CONFLICTS


def is_taken(error: DBAPIError) -> bool:
    """Whether a key, or a table, was there already."""
    return _code(error) in _TAKEN


def is_lost(error: DBAPIError) -> bool:
    """Whether a connection that stood was lost."""
    return error.connection_invalidated


def refuse(error: DBAPIError | OSError, of: Subject, *, known: bool = False) -> NoReturn:
    """Raises the subject's refusal, or errors.INVALID_INPUT for data that the database cannot hold.

    What is ``known`` is not logged again.
    """
    if isinstance(error, OSError):
        reason = (error.strerror or _FAILED).lower()
        raise of.spec(f"{capital(of.file)} cannot be used: {reason}", retry_after=RETRY_AFTER) from error
    reason = reason_of(error)
    if not known:
        log, text = structlog.get_logger(of.logger), f"{of.store} failed"
        log.warning(text, reason=reason, kind=type(error.orig).__name__, problem=_words(error))
    silent = isinstance(error, OperationalError | InterfaceError) or isinstance(error.orig, sqlite3.Error)
    cause = error if silent or not of.secrets else None
    if isinstance(error, DataError) or _code(error) in _TOO_LARGE:
        raise errors.INVALID_INPUT(f"{capital(of.store)} cannot hold {of.item}") from cause
    what = "cannot be used" if reason == _MISSING or (of.secrets and not silent) else "does not answer"
    raise of.spec(f"{capital(of.store)} {what}: {reason}", retry_after=RETRY_AFTER) from cause


def capital(text: str) -> str:
    """The text as it begins a sentence."""
    return text[:1].upper() + text[1:]


def reason_of(error: DBAPIError) -> str:
    """What went wrong, as the end of a sentence about the database."""
    code = _code(error)
    if isinstance(error.orig, sqlite3.Error):
        # The low byte is the kind, the rest tells variants apart.
        return _SQLITE.get(code & 0xFF, _FAILED) if isinstance(code, int) else _FAILED
    if is_lost(error):
        return "the connection was lost"
    if isinstance(code, str):
        return _POSTGRES.get(code, _FAILED)
    if code:
        return _MYSQL.get(code, _FAILED)
    words = _words(error).rpartition("FATAL:  ")[2]
    found = (reason for start, reason in _REFUSED.items() if words.startswith(start))
    return next(found, _UNREACHABLE)


def _code(error: DBAPIError) -> str | int | None:
    """MySQL's number, SQLite's extended code, PostgreSQL's SQLSTATE."""
    driver = error.orig
    # MySQL's driver knows an SQLSTATE as well, which says less.
    first = driver.args[0] if driver is not None and driver.args else None
    for code in (first, getattr(driver, "sqlite_errorcode", None)):
        if isinstance(code, int):
            return code
    state = getattr(driver, "sqlstate", None)
    return state if isinstance(state, str) else None


def _words(error: DBAPIError) -> str:
    # What follows the first line may quote what was to be stored.
    return (str(error.orig).splitlines() or [""])[0]
