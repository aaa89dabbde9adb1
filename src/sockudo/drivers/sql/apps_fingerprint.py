"""How a change of the table of apps by any program is noticed.

There is no trigger, since the table is shared, and ``updated_at`` is not enough: PostgreSQL leaves it to the
program that writes, and MySQL counts it in whole seconds.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import LargeBinary, Select, TableClause, Text, cast, column, func, select
from sqlalchemy.dialects import mysql

from sockudo.drivers.sql.apps_schema import READ

__all__ = ["fingerprint"]


def fingerprint(table: TableClause, dialect: str) -> Select[Any, Any]:
    """The query whose one row is another one after every change.

    PostgreSQL marks each version of a row with the transaction that wrote it and the place where it lies: the values,
    which may be kept apart from the row, need not be read. In MySQL they are what tells versions apart.
    """
    if dialect == "postgresql":
        version = func.concat(cast(column("xmin"), Text), cast(column("ctid"), Text))
        return select(func.count(), func.sum(func.hashtextextended(version, 0))).select_from(table)
    # As bytes: columns of another program's table need not have one collation.
    content = func.concat_ws(",", *(cast(func.quote(table.c[name]), LargeBinary) for name in READ))
    digest = func.conv(func.left(func.sha2(content, 256), 15), 16, 10)
    return select(func.count(), func.sum(cast(digest, mysql.INTEGER(unsigned=True)))).select_from(table)
