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
  created_at REAL NOT NULL,
  kind TEXT NOT NULL DEFAULT 'operator', -- who decided: operator, imported, or the pattern that was seen
  strikes INTEGER NOT NULL DEFAULT 0 CHECK (strikes >= 0), -- how often it was banned, less what good behaviour took away
  forget_at REAL                         -- until then a lapsed ban is kept, so that the next one is longer
) STRICT, WITHOUT ROWID;

-- From where an account logged in lately: nobody else's failures may keep it out from there.
CREATE TABLE known_clients (
  login TEXT NOT NULL,
  prefix TEXT NOT NULL,                  -- an IPv4 address, or an IPv6 /64
  generation INTEGER NOT NULL,           -- of the account's password: a new one makes all of its clients unknown
  seen_at REAL NOT NULL,
  PRIMARY KEY (login, prefix)
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
  key TEXT PRIMARY KEY,
  state TEXT NOT NULL                    -- JSON of the limiter
) STRICT, WITHOUT ROWID;
