CREATE TABLE revocations (
      app_id TEXT NOT NULL,
      kind TEXT NOT NULL CHECK (kind IN ('jti', 'client_id')),
      value TEXT NOT NULL CHECK (value <> ''),
      until REAL NOT NULL,
      PRIMARY KEY (app_id, kind, value)
    ) WITHOUT ROWID
    ;
CREATE INDEX revocations_until ON revocations (until);
INSERT INTO revocations VALUES ('b', 'jti', 't-1', 1790000060.25);
INSERT INTO revocations VALUES ('a', 'client_id', 'ü
''', 1790000600.373456);
INSERT INTO revocations VALUES ('a', 'jti', 't-1', 1790000900.25);
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
