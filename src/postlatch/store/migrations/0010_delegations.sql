-- Version 10: addresses lent to accounts until a date; what was said of rights that end or are not used.

CREATE TABLE delegations (
  login TEXT NOT NULL,
  address TEXT NOT NULL CHECK (address <> ''),
  owner TEXT NOT NULL CHECK (owner <> ''),
  expires_at REAL NOT NULL,
  created_at REAL NOT NULL,
  created_by TEXT NOT NULL,
  PRIMARY KEY (login, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE right_life (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  first_seen REAL NOT NULL,
  expires_at REAL NOT NULL,
  reminded_days INTEGER,
  unused_alert_at REAL,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
