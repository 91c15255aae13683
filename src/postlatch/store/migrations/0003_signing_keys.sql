-- Version 3: the keys that sign our mail; what was found out about the sender of a message.

-- NULL is written out as the default, so that salvage knows what a row from before has here.
ALTER TABLE messages ADD COLUMN prefix BLOB DEFAULT NULL;
ALTER TABLE messages ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;

CREATE TABLE dkim_keys (
  domain TEXT NOT NULL,
  selector TEXT NOT NULL,
  algorithm TEXT NOT NULL CHECK (algorithm IN ('rsa', 'ed25519')),
  state TEXT NOT NULL CHECK (state IN ('new', 'published', 'active', 'retired', 'removable')),
  record TEXT NOT NULL,
  created_at REAL NOT NULL,
  published_at REAL,
  active_at REAL,
  retired_at REAL,
  PRIMARY KEY (domain, selector)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX dkim_keys_that_sign ON dkim_keys (domain, algorithm) WHERE state = 'active';
