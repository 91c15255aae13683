-- What others report about our domains (DMARC, TLS), and what we have seen of theirs and will report.

CREATE TABLE reports (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind = 'dmarc' OR kind = 'tls'),
  reporter TEXT NOT NULL,                -- the organisation, as it calls itself
  report_id TEXT NOT NULL,
  domain TEXT NOT NULL,                  -- ours
  contact TEXT NOT NULL,
  begins INTEGER NOT NULL,               -- all times: seconds since 1970, UTC
  ends INTEGER NOT NULL,
  received_at REAL NOT NULL,
  policy TEXT NOT NULL,                  -- JSON: what the reporter found published
  messages INTEGER NOT NULL,             -- of TLS reports: sessions
  passed INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  row_count INTEGER NOT NULL,                 -- in report_rows
  author TEXT NOT NULL DEFAULT '',            -- the domain that vouched for the mail (DMARC); empty: nobody
  UNIQUE (kind, reporter, report_id, domain)  -- the same report twice is one report
) STRICT;

CREATE INDEX reports_received ON reports (received_at);
CREATE INDEX reports_ended ON reports (ends);

CREATE TABLE report_rows (
  report INTEGER NOT NULL,
  number INTEGER NOT NULL,               -- from 0 within its report
  source TEXT NOT NULL,                  -- the address that sent; of TLS reports: that tried to
  messages INTEGER NOT NULL,
  passed INTEGER NOT NULL CHECK (passed = 0 OR passed = 1),
  dkim INTEGER NOT NULL,                 -- 1: an aligned signature passed
  spf INTEGER NOT NULL,
  disposition TEXT NOT NULL,
  header_from TEXT NOT NULL,
  envelope_from TEXT NOT NULL,
  result TEXT NOT NULL,                  -- of TLS reports: what failed, where
  PRIMARY KEY (report, number)
) STRICT, WITHOUT ROWID;

-- One row for all messages of a day that are alike: what our own reports are made of.
CREATE TABLE dmarc_seen (
  day INTEGER NOT NULL,                  -- since 1970-01-01 UTC
  domain TEXT NOT NULL,                  -- whose policy applied
  digest BLOB NOT NULL CHECK (length(digest) = 16),  -- of the next, which is too long for a key
  alike TEXT NOT NULL,                   -- JSON: source, results, identifiers, policy
  messages INTEGER NOT NULL,
  PRIMARY KEY (day, domain, digest)
) STRICT, WITHOUT ROWID;

-- Which report went where: never the same one twice, also over a restart.
CREATE TABLE dmarc_sent (
  day INTEGER NOT NULL,
  domain TEXT NOT NULL,
  recipient TEXT NOT NULL,
  sent_at REAL NOT NULL,
  PRIMARY KEY (day, domain, recipient)
) STRICT, WITHOUT ROWID;

-- One row for all connections of a day to mail hosts of others on which TLS fared alike.
CREATE TABLE tls_seen (
  day INTEGER NOT NULL,                  -- since 1970-01-01 UTC
  domain TEXT NOT NULL,                  -- of the recipients
  policy TEXT NOT NULL,                  -- JSON: what was applied, its text and its hosts; empty: there is none
  result TEXT NOT NULL,                  -- of RFC 8460 section 4.3; empty: TLS succeeded, and so are the next four
  host TEXT NOT NULL,                    -- the MX host's name, then its address
  address TEXT NOT NULL,
  local TEXT NOT NULL,                   -- our address
  reason TEXT NOT NULL,
  sessions INTEGER NOT NULL,
  PRIMARY KEY (day, domain, policy, result, host, address, local, reason)
) STRICT, WITHOUT ROWID;

-- The same as dmarc_sent, for TLS reports.
CREATE TABLE tls_sent (
  day INTEGER NOT NULL,
  domain TEXT NOT NULL,
  recipient TEXT NOT NULL,
  sent_at REAL NOT NULL,
  PRIMARY KEY (day, domain, recipient)
) STRICT, WITHOUT ROWID;
