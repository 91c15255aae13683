-- Version 6: application passwords, and accounts that a directory knows.

ALTER TABLE accounts ADD COLUMN source TEXT NOT NULL DEFAULT 'command';

CREATE TABLE app_passwords (
  login TEXT NOT NULL,
  name TEXT NOT NULL CHECK (name <> ''),
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  scram_salt BLOB NOT NULL CHECK (length(scram_salt) >= 12),
  scram_stored_key BLOB NOT NULL CHECK (length(scram_stored_key) = 32),
  scram_server_key BLOB NOT NULL CHECK (length(scram_server_key) = 32),
  senders TEXT NOT NULL,
  networks TEXT NOT NULL,
  expires_at REAL,
  created_at REAL NOT NULL,
  created_by TEXT NOT NULL,
  last_used REAL,
  PRIMARY KEY (login, name)
) STRICT, WITHOUT ROWID;
