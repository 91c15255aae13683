-- Version 5: what our TLS reports to others are made of.

CREATE TABLE tls_seen (
  day INTEGER NOT NULL,
  domain TEXT NOT NULL,
  result TEXT NOT NULL,
  host TEXT NOT NULL,
  address TEXT NOT NULL,
  local TEXT NOT NULL,
  reason TEXT NOT NULL,
  sessions INTEGER NOT NULL,
  PRIMARY KEY (day, domain, result, host, address, local, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE tls_sent (
  day INTEGER NOT NULL,
  domain TEXT NOT NULL,
  recipient TEXT NOT NULL,
  sent_at REAL NOT NULL,
  PRIMARY KEY (day, domain, recipient)
) STRICT, WITHOUT ROWID;
