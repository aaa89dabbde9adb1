"""A row of the table of apps to the app and back (spec: platform § 2.4).

The app's policy is written twice: whole, and in flat columns as far as there are any, which is how older
versions read it.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import DecodeError, json
from sqlalchemy import RowMapping

from sockudo import errors
from sockudo.apps.ports import plain_record
from sockudo.config.app_reader import read_app
from sockudo.config.apps import App
from sockudo.config.problems import ConfigError
from sockudo.drivers.sql.apps_schema import DOCUMENTS, FLAGS, LONGEST, NUMBERS

__all__ = ["app_of", "check_room", "row_of"]

# What a flat column can hold; the policy has the number itself.
_LARGEST: Final = 2**31 - 1


def app_of(row: RowMapping) -> App:
    """The app of a row with the columns of `apps_schema.READ`; JSON may be parsed already, flags may be numbers.

    Raises ``errors.SERVICE_UNAVAILABLE`` when no configuration could hold it.
    """
    record: dict[str, Any] = {name: row[name] for name in ("id", "key", "secret")}
    try:
        policy = _parsed(row["policy"])
        if policy is None and NUMBERS.keys() <= row.keys():
            record |= {name: row[name] for name in NUMBERS}
            record |= {name: _flag(row[name]) for name in FLAGS}
            record |= {name: _parsed(row[name]) for name in DOCUMENTS}
        # The column's default, which a row that was made without it may lack.
        record |= {"enabled": True if row["enabled"] is None else _flag(row["enabled"]), "policy": policy}
        record["previous_secret"] = _parsed(row["previous_secret"])
        return read_app(record, "app store")
    except (ConfigError, DecodeError) as error:
        raise errors.SERVICE_UNAVAILABLE(f"The record of app '{row['id']}' cannot be read: {error}") from error


def row_of(app: App) -> dict[str, Any]:
    """All columns but the times. Raises ``errors.INVALID_INPUT`` as `plain_record` does."""
    policy = plain_record(app)["policy"]
    limits, features, channels = policy["limits"], policy["features"], policy["channels"]
    documents = {**channels, **policy, "policy": policy}
    return {
        "id": app.id,
        "key": app.key,
        "secret": app.secret,
        **{name: min(limits[name], _LARGEST) if name in limits else None for name in NUMBERS},
        **{name: features.get(name) for name in FLAGS},
        "enabled": app.enabled,
        "previous_secret": None if app.previous_secret is None else _text(app.previous_secret),
        **{name: _text(documents[name]) if documents.get(name) else None for name in DOCUMENTS},
    }


def check_room(app: App, dialect: str) -> None:
    """Raises ``errors.INVALID_INPUT`` when the table has no room for the app's id, key or secret."""
    if dialect == "sqlite":
        return
    for name in ("id", "key", "secret"):
        if len(getattr(app, name)) > LONGEST:
            raise errors.INVALID_INPUT(
                f"App '{app.id}' cannot be kept in this database: its {name} has more than {LONGEST} characters"
            )
    if dialect == "mysql" and not app.key.isascii():
        raise errors.INVALID_INPUT(f"App '{app.id}' cannot be kept in MySQL: its key has characters outside ASCII")


def _parsed(value: Any) -> Any:
    return json.decode(value) if isinstance(value, (str, bytes)) else value


def _flag(value: Any) -> Any:
    """A boolean of a database that has none is a number."""
    return bool(value) if isinstance(value, int) and value in (0, 1) else value


def _text(value: Any) -> str:
    return json.encode(value, order="sorted").decode()
