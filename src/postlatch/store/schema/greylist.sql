-- Greylisting: who was asked to come back, and who did.

CREATE TABLE greylist (
  grp TEXT NOT NULL,                     -- spf:DOMAIN for which SPF passed, else the client's /24 or /64
  sender TEXT NOT NULL,                  -- in one form for all messages of a sender; empty: <>
  recipient TEXT NOT NULL,
  first_at REAL NOT NULL,                -- all times: seconds since 1970, UTC
  last_at REAL NOT NULL,
  passed INTEGER NOT NULL CHECK (passed = 0 OR passed = 1),
  PRIMARY KEY (grp, sender, recipient)
) STRICT, WITHOUT ROWID;

-- How often anybody of a group came back: from some number on, all are let through.
CREATE TABLE greylist_groups (
  grp TEXT PRIMARY KEY,
  successes INTEGER NOT NULL,
  counted_at REAL NOT NULL,              -- the last of them: at most one an hour counts
  last_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
