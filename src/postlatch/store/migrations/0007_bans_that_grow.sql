-- Version 7: bans that double when they repeat, and the addresses from which somebody logged in lately.

ALTER TABLE bans ADD COLUMN kind TEXT NOT NULL DEFAULT 'operator';
ALTER TABLE bans ADD COLUMN strikes INTEGER NOT NULL DEFAULT 0 CHECK (strikes >= 0);
ALTER TABLE bans ADD COLUMN forget_at REAL;

CREATE TABLE known_clients (
  login TEXT NOT NULL,
  prefix TEXT NOT NULL,
  generation INTEGER NOT NULL,
  seen_at REAL NOT NULL,
  PRIMARY KEY (login, prefix)
) STRICT, WITHOUT ROWID;
