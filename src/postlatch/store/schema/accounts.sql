-- Who may submit. Passwords are kept twice, each for a mechanism: argon2id for PLAIN and LOGIN, the keys of RFC 5802 for SCRAM.

CREATE TABLE accounts (
  login TEXT PRIMARY KEY,                -- lower case: an address, or a name
  password_hash TEXT NOT NULL,           -- $argon2id$v=19$m=…,t=…,p=…$salt$hash
  scram_salt BLOB NOT NULL CHECK (length(scram_salt) >= 12),
  scram_iterations INTEGER NOT NULL CHECK (scram_iterations >= 4096),
  scram_stored_key BLOB NOT NULL CHECK (length(scram_stored_key) = 32),
  scram_server_key BLOB NOT NULL CHECK (length(scram_server_key) = 32),
  send_as TEXT NOT NULL,                 -- JSON list of user@domain, @domain and <>
  suspended_at REAL,
  suspended_reason TEXT,
  created_at REAL NOT NULL,
  changed_at REAL NOT NULL,
  generation INTEGER NOT NULL,           -- grows with each password, suspension and restoration; never used twice
  CHECK ((suspended_at IS NULL) = (suspended_reason IS NULL))
) STRICT, WITHOUT ROWID;

-- Whom an account has written to before, as keyed digests: a limit asks how many are new, nobody needs the addresses.
CREATE TABLE known_recipients (
  account TEXT NOT NULL,
  digest BLOB NOT NULL CHECK (length(digest) = 8),
  first_at REAL NOT NULL,
  PRIMARY KEY (account, digest)
) STRICT, WITHOUT ROWID;
