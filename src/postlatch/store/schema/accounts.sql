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
  source TEXT NOT NULL DEFAULT 'command', -- who knows its password: we, or the directory of this name
  CHECK ((suspended_at IS NULL) = (suspended_reason IS NULL))
) STRICT, WITHOUT ROWID;

-- What an account may log in with besides its password. The secret has 140 random bits, so a plain digest keeps it.
CREATE TABLE app_passwords (
  login TEXT NOT NULL,
  name TEXT NOT NULL CHECK (name <> ''),
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  scram_salt BLOB NOT NULL CHECK (length(scram_salt) >= 12),
  scram_stored_key BLOB NOT NULL CHECK (length(scram_stored_key) = 32),
  scram_server_key BLOB NOT NULL CHECK (length(scram_server_key) = 32),
  senders TEXT NOT NULL,                 -- JSON list of user@domain, @domain and <>; empty: all of the account's
  networks TEXT NOT NULL,                -- JSON list; empty: from anywhere
  expires_at REAL,                       -- the first second that is too late
  created_at REAL NOT NULL,
  created_by TEXT NOT NULL,
  last_used REAL,
  PRIMARY KEY (login, name)
) STRICT, WITHOUT ROWID;

-- Whom an account has written to before, as keyed digests: a limit asks how many are new, nobody needs the addresses.
CREATE TABLE known_recipients (
  account TEXT NOT NULL,
  digest BLOB NOT NULL CHECK (length(digest) = 8),
  first_at REAL NOT NULL,
  PRIMARY KEY (account, digest)
) STRICT, WITHOUT ROWID;
