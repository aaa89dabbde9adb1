"""The push store in an SQL database, of which one is in memory (spec: push § 3.1, 3.2)."""
