"""What went wrong in a database, in words of ours: no statement, name of a table or credential leaves it.

The driver's own words go to the log.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple, NoReturn

import structlog
from sqlalchemy.exc import DataError, DBAPIError

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

    ``item`` is what it is asked to hold, ``elsewhere`` what to do when its tables are somebody else's.
    """

    spec: errors.ErrorSpec
    logger: str
    store: str
    file: str
    item: str
    elsewhere: str


_TOO_LONG: Final = "a statement took too long"
_FULL: Final = "its disk is full"
READ_ONLY: Final = "it may only be read"
NOT_ALLOWED: Final = "it does not let the configured user do this"
UNKNOWN_USER: Final = "it does not accept the configured user or password"
UNKNOWN_DATABASE: Final = "the configured database does not exist"
_TOO_MANY: Final = "it has too many connections"

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
    1114: _FULL,
    1142: NOT_ALLOWED,
    1203: _TOO_MANY,
    1205: _TOO_LONG,
    1226: _TOO_MANY,
    1290: READ_ONLY,
    1317: _TOO_LONG,
    1698: UNKNOWN_USER,
    1792: READ_ONLY,
    1836: READ_ONLY,
    1969: _TOO_LONG,
    3024: _TOO_LONG,
}

# Two transactions that got in each other's way: one of them was undone, and may be tried again.
_CONFLICTS: Final = frozenset({"40001", "40P01", 1213})
# A key that is there already.
_TAKEN: Final = frozenset({"23505", 1062, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE})
# More than an index has room for: what PostgreSQL takes for an error of its operation, and MySQL's "too long".
_TOO_LARGE: Final = frozenset({"54000", 1406})


def is_conflict(error: DBAPIError) -> bool:
    """Whether the transaction was undone because of another one."""
    return _code(error) in _CONFLICTS


def is_taken(error: DBAPIError) -> bool:
    """Whether a key was there already."""
    return _code(error) in _TAKEN


def is_lost(error: DBAPIError) -> bool:
    """Whether a connection that stood was lost."""
    return error.connection_invalidated


def refuse(error: DBAPIError | OSError, of: Subject) -> NoReturn:
    """Raises the subject's refusal, or errors.INVALID_INPUT for data that the database cannot hold."""
    if isinstance(error, OSError):
        reason = (error.strerror or "it failed").lower()
        raise of.spec(f"{capital(of.file)} cannot be used: {reason}", retry_after=RETRY_AFTER) from error
    reason = reason_of(error)
    log, said = structlog.get_logger(of.logger), f"{of.store} failed"
    log.warning(said, reason=reason, kind=type(error.orig).__name__, problem=_words(error))
    if isinstance(error, DataError) or _code(error) in _TOO_LARGE:
        raise errors.INVALID_INPUT(f"{capital(of.store)} cannot hold {of.item}") from error
    raise of.spec(f"{capital(of.store)} does not answer: {reason}", retry_after=RETRY_AFTER) from error


def capital(text: str) -> str:
    """The text as it begins a sentence."""
    return text[:1].upper() + text[1:]


def reason_of(error: DBAPIError) -> str:
    """What went wrong, as the end of a sentence about the database."""
    code = _code(error)
    if isinstance(error.orig, sqlite3.Error):
        # The low byte is the kind, the rest tells variants apart.
        return _SQLITE.get(code & 0xFF, "it failed") if isinstance(code, int) else "it failed"
    if is_lost(error):
        return "the connection was lost"
    if isinstance(code, str):
        return _POSTGRES.get(code, "it failed")
    if code:
        return _MYSQL.get(code, "it failed")
    words = _words(error).rpartition("FATAL:  ")[2]
    found = (reason for start, reason in _REFUSED.items() if words.startswith(start))
    return next(found, "it cannot be reached, or refuses the connection")


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
