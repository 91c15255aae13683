-- Small tables that no room but the composition root and the command line knows.

-- What the store itself must remember: the last epoch, whether the last stop was clean, the writer's trial.
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Relay rights made by command. A revoked one keeps its row, so that its name still explains old mail.
CREATE TABLE rights (
  name TEXT PRIMARY KEY,
  body TEXT NOT NULL,                    -- JSON, read by the policy's own builder
  created_at REAL NOT NULL,
  created_by TEXT NOT NULL,
  revoked_at REAL
) STRICT, WITHOUT ROWID;

-- Of every right, wherever it comes from: a right that nobody uses should go.
CREATE TABLE right_usage (
  name TEXT PRIMARY KEY,
  last_used REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE bans (
  network TEXT PRIMARY KEY,              -- CIDR, as ipaddress writes it
  until REAL,                            -- NULL: until an operator removes it
  reason TEXT NOT NULL,
  created_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
  key TEXT PRIMARY KEY,
  state TEXT NOT NULL                    -- JSON of the limiter
) STRICT, WITHOUT ROWID;
