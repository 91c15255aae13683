-- Version 9: the MTA-STS policies of others, what TLS reports tell of policies, and what a message asks of TLS (RFC 8689).

ALTER TABLE messages ADD COLUMN require_tls TEXT NOT NULL DEFAULT '';

CREATE TABLE sts_policies (
  domain TEXT PRIMARY KEY,
  id TEXT NOT NULL,
  mode TEXT NOT NULL CHECK (mode = 'enforce' OR mode = 'testing' OR mode = 'none'),
  mx TEXT NOT NULL,
  max_age INTEGER NOT NULL,
  fetched_at REAL NOT NULL,
  expires_at REAL NOT NULL,
  used_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sts_policies_expire ON sts_policies (expires_at);

-- A part of the key is new, so the table is made anew: at most two days of counts.
CREATE TEMPORARY TABLE tls_seen_before AS SELECT * FROM tls_seen;
DROP TABLE tls_seen;

CREATE TABLE tls_seen (
  day INTEGER NOT NULL,
  domain TEXT NOT NULL,
  policy TEXT NOT NULL,
  result TEXT NOT NULL,
  host TEXT NOT NULL,
  address TEXT NOT NULL,
  local TEXT NOT NULL,
  reason TEXT NOT NULL,
  sessions INTEGER NOT NULL,
  PRIMARY KEY (day, domain, policy, result, host, address, local, reason)
) STRICT, WITHOUT ROWID;

INSERT INTO tls_seen (day, domain, policy, result, host, address, local, reason, sessions)
SELECT day, domain, '', result, host, address, local, reason, sessions FROM tls_seen_before;
DROP TABLE tls_seen_before;
