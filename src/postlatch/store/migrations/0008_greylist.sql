-- Version 8: who was asked to come back, and which reports come from whom they say.

CREATE TABLE greylist (
  grp TEXT NOT NULL,
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  first_at REAL NOT NULL,
  last_at REAL NOT NULL,
  passed INTEGER NOT NULL CHECK (passed = 0 OR passed = 1),
  PRIMARY KEY (grp, sender, recipient)
) STRICT, WITHOUT ROWID;

CREATE TABLE greylist_groups (
  grp TEXT PRIMARY KEY,
  successes INTEGER NOT NULL,
  counted_at REAL NOT NULL,
  last_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE reports ADD COLUMN author TEXT NOT NULL DEFAULT '';
