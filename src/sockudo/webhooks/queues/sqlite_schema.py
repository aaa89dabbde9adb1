"""The tables of the embedded webhook queue, and the steps that lead to them.

``lanes`` has a row for each lane with something waiting: when its head is due, and who has it until when. So what is
due is found by an index, however much waits behind it. A step is never changed once released.
"""

from __future__ import annotations

from typing import Final

__all__ = ["STEPS"]

_FIRST: Final = (
    """
    CREATE TABLE deliveries (
      sequence INTEGER PRIMARY KEY AUTOINCREMENT,
      id TEXT NOT NULL UNIQUE,
      app_id TEXT NOT NULL,
      endpoint TEXT NOT NULL,
      lane INTEGER NOT NULL,
      state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
      body BLOB NOT NULL,
      events INTEGER NOT NULL,
      created_at_ms INTEGER NOT NULL,
      due_at_ms INTEGER NOT NULL,
      attempts INTEGER NOT NULL DEFAULT 0,
      first_attempt_at_ms INTEGER,
      settled_at_ms INTEGER,
      reason TEXT,
      trace BLOB NOT NULL DEFAULT '[]',
      settled_sequence INTEGER
    )
    """,
    "CREATE INDEX deliveries_waiting ON deliveries (app_id, endpoint, lane, sequence) WHERE state = 'waiting'",
    "CREATE INDEX deliveries_of_app ON deliveries (app_id, sequence)",
    "CREATE INDEX deliveries_of_endpoint ON deliveries (app_id, endpoint, state, sequence)",
    "CREATE INDEX deliveries_settled ON deliveries (state, settled_sequence) WHERE state <> 'waiting'",
    """
    CREATE TABLE lanes (
      app_id TEXT NOT NULL,
      endpoint TEXT NOT NULL,
      lane INTEGER NOT NULL,
      head INTEGER NOT NULL,
      due_at_ms INTEGER NOT NULL,
      token TEXT,
      ready_at_ms INTEGER NOT NULL,
      PRIMARY KEY (app_id, endpoint, lane)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX lanes_ready ON lanes (ready_at_ms)",
    """
    CREATE TABLE attempts (
      delivery INTEGER NOT NULL,
      number INTEGER NOT NULL,
      at_ms INTEGER NOT NULL,
      took_ms INTEGER NOT NULL,
      status INTEGER,
      problem TEXT,
      snippet TEXT NOT NULL
    )
    """,
    "CREATE INDEX attempts_of_delivery ON attempts (delivery, at_ms)",
)

STEPS: Final[tuple[tuple[str, ...], ...]] = (_FIRST,)
