-- Addresses that accounts may send as until a date, and who vouches for it.
CREATE TABLE delegations (
  login TEXT NOT NULL,
  address TEXT NOT NULL CHECK (address <> ''),
  owner TEXT NOT NULL CHECK (owner <> ''),
  expires_at REAL NOT NULL,              -- the first second that is too late; all times: seconds since 1970, UTC
  created_at REAL NOT NULL,
  created_by TEXT NOT NULL,
  PRIMARY KEY (login, address)
) STRICT, WITHOUT ROWID;

-- What was said of each right, relay domain and delegation, so that a restart does not say it again.
CREATE TABLE right_life (
  kind TEXT NOT NULL,                    -- right, relay domain, delegation
  name TEXT NOT NULL,
  first_seen REAL NOT NULL,              -- from when on its use is known
  expires_at REAL NOT NULL,              -- what the reminder is about: another date begins anew
  reminded_days INTEGER,                 -- the last reminder: so many days before its end
  unused_alert_at REAL,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
