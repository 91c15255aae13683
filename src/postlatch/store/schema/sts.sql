-- The MTA-STS policies of others (RFC 8461), kept for as long as each says: who cuts us off from a policy must not weaken it.
CREATE TABLE sts_policies (
  domain TEXT PRIMARY KEY,               -- lower-case A-labels
  id TEXT NOT NULL,                      -- of the TXT record under which it was fetched
  mode TEXT NOT NULL CHECK (mode = 'enforce' OR mode = 'testing' OR mode = 'none'),
  mx TEXT NOT NULL,                      -- JSON list of host names and *. names
  max_age INTEGER NOT NULL,              -- seconds
  fetched_at REAL NOT NULL,              -- all times: seconds since 1970, UTC
  expires_at REAL NOT NULL,
  used_at REAL NOT NULL                  -- the last time that mail was sent by it, to the day
) STRICT, WITHOUT ROWID;

CREATE INDEX sts_policies_expire ON sts_policies (expires_at);
