-- Version 4: reports about our domains are kept, and what our own reports are made of.

CREATE TABLE reports (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind = 'dmarc' OR kind = 'tls'),
  reporter TEXT NOT NULL,
  report_id TEXT NOT NULL,
  domain TEXT NOT NULL,
  contact TEXT NOT NULL,
  begins INTEGER NOT NULL,
  ends INTEGER NOT NULL,
  received_at REAL NOT NULL,
  policy TEXT NOT NULL,
  messages INTEGER NOT NULL,
  passed INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  row_count INTEGER NOT NULL,
  UNIQUE (kind, reporter, report_id, domain)
) STRICT;

CREATE INDEX reports_received ON reports (received_at);
CREATE INDEX reports_ended ON reports (ends);

CREATE TABLE report_rows (
  report INTEGER NOT NULL,
  number INTEGER NOT NULL,
  source TEXT NOT NULL,
  messages INTEGER NOT NULL,
  passed INTEGER NOT NULL CHECK (passed = 0 OR passed = 1),
  dkim INTEGER NOT NULL,
  spf INTEGER NOT NULL,
  disposition TEXT NOT NULL,
  header_from TEXT NOT NULL,
  envelope_from TEXT NOT NULL,
  result TEXT NOT NULL,
  PRIMARY KEY (report, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE dmarc_seen (
  day INTEGER NOT NULL,
  domain TEXT NOT NULL,
  digest BLOB NOT NULL CHECK (length(digest) = 16),
  alike TEXT NOT NULL,
  messages INTEGER NOT NULL,
  PRIMARY KEY (day, domain, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE dmarc_sent (
  day INTEGER NOT NULL,
  domain TEXT NOT NULL,
  recipient TEXT NOT NULL,
  sent_at REAL NOT NULL,
  PRIMARY KEY (day, domain, recipient)
) STRICT, WITHOUT ROWID;
