-- The keys that sign our mail (app/dkim_life.py says what a state means). Their private halves are files, not here.
CREATE TABLE dkim_keys (
  domain TEXT NOT NULL,
  selector TEXT NOT NULL,
  algorithm TEXT NOT NULL CHECK (algorithm IN ('rsa', 'ed25519')),
  state TEXT NOT NULL CHECK (state IN ('new', 'published', 'active', 'retired', 'removable')),
  record TEXT NOT NULL,                  -- what is to be published at selector._domainkey.domain
  created_at REAL NOT NULL,              -- all times: seconds since 1970, UTC
  published_at REAL,
  active_at REAL,
  retired_at REAL,
  PRIMARY KEY (domain, selector)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX dkim_keys_that_sign ON dkim_keys (domain, algorithm) WHERE state = 'active';
