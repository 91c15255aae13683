-- The whole schema of version 1, as it was released. Never changed: migrations are tested from here.

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

-- The journal: append-only, one chain (src/postlatch/journal/chain.py says what each hash covers).
--
-- A row is a batch: all events of one commit. An event has no row and no index entry of its own, because a B-tree entry
-- an event costs more than the rest of the journal together. Batches are in order of their events, so the primary key is
-- the read cursor, appends go to the end of the tree, and a search walks a range and asks `keys` (see codec.py).
CREATE TABLE journal_batches (
  first_seq INTEGER PRIMARY KEY,
  last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq),
  batch INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  day INTEGER NOT NULL,                -- of the segment: days since 1970-01-01 UTC
  writer TEXT NOT NULL,
  first_at REAL NOT NULL,              -- the earliest and the latest `at` in the batch
  last_at REAL NOT NULL,
  -- What the segment's own row will say, carried along: closing a day then reads one row, not the whole day.
  segment_first_seq INTEGER NOT NULL,
  segment_first_at REAL NOT NULL,
  segment_last_at REAL NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  keys BLOB NOT NULL,                  -- before the payload, so that a scan rarely follows an overflow page
  payload BLOB NOT NULL                -- JSON lines, or their zlib stream
) STRICT;

-- Closed segments. Their rows outlive their batches: `seal` goes on being the link between what was pruned and what is left.
CREATE TABLE journal_segments (
  segment INTEGER PRIMARY KEY,
  day INTEGER NOT NULL,
  writer TEXT NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq),
  last_batch INTEGER NOT NULL,
  first_at REAL NOT NULL,
  last_at REAL NOT NULL,
  closed_at REAL NOT NULL,
  head BLOB NOT NULL CHECK (length(head) = 32),
  seal BLOB NOT NULL CHECK (length(seal) = 32),
  pruned_at REAL                       -- set when its batches may go; the only column that ever changes
) STRICT;

-- These stop our own mistakes. What stops others is the chain and an exported head.
CREATE TRIGGER journal_batches_are_never_changed BEFORE UPDATE ON journal_batches
BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END;

CREATE TRIGGER journal_batches_are_only_pruned BEFORE DELETE ON journal_batches
WHEN NOT EXISTS (SELECT 1 FROM journal_segments WHERE segment = OLD.segment AND pruned_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END;

CREATE TRIGGER journal_segments_are_never_changed BEFORE UPDATE ON journal_segments
WHEN OLD.pruned_at IS NOT NULL
  OR (NEW.segment, NEW.day, NEW.writer, NEW.first_seq, NEW.last_seq, NEW.last_batch)
      IS NOT (OLD.segment, OLD.day, OLD.writer, OLD.first_seq, OLD.last_seq, OLD.last_batch)
  OR (NEW.first_at, NEW.last_at, NEW.closed_at, NEW.head, NEW.seal)
      IS NOT (OLD.first_at, OLD.last_at, OLD.closed_at, OLD.head, OLD.seal)
BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END;

CREATE TRIGGER journal_segments_are_kept BEFORE DELETE ON journal_segments
BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END;

-- The queue. A message exists when its row does; bodies are beside it, so that queue listings never read past them.
-- No foreign keys: parent and child are written, and removed, by one function in one transaction.

CREATE TABLE messages (
  id INTEGER PRIMARY KEY,
  sender TEXT,                           -- NULL is the null reverse-path
  sender_local TEXT,                     -- an address is kept in its parts: a later, stricter parser must not
  sender_domain TEXT,                    --   strand mail that is already ours to deliver
  received_at REAL NOT NULL,             -- all times: seconds since 1970, UTC
  size INTEGER NOT NULL,
  body_kind TEXT NOT NULL CHECK (body_kind IN ('inline', 'file')),
  body_digest BLOB NOT NULL CHECK (length(body_digest) = 16),  -- SHA-256, truncated
  eight_bit INTEGER NOT NULL,            -- the body holds octets above 127
  utf8_headers INTEGER NOT NULL,         -- the header block does
  declared_size INTEGER NOT NULL,        -- the five parameters of MAIL
  body_type TEXT NOT NULL,
  smtputf8 INTEGER NOT NULL,
  ret TEXT NOT NULL,
  envid TEXT NOT NULL,
  listener TEXT NOT NULL,
  role TEXT,
  client TEXT,
  helo TEXT NOT NULL,
  account TEXT NOT NULL,
  header_message_id TEXT NOT NULL,
  kind TEXT NOT NULL,                    -- of a notification of our own, else empty
  finished_at REAL                       -- set when no recipient is unfinished; the body is gone then
) STRICT;

-- One index for two readers: the open messages in the order of their ids, and the finished ones by age.
CREATE INDEX messages_finished ON messages (finished_at);

CREATE TABLE bodies (
  message INTEGER PRIMARY KEY,
  data BLOB NOT NULL
) STRICT;

CREATE TABLE recipients (
  message INTEGER NOT NULL,
  number INTEGER NOT NULL,               -- from 0 within its message
  address TEXT NOT NULL,
  local TEXT NOT NULL,
  domain TEXT NOT NULL,
  destination TEXT NOT NULL CHECK (destination IN ('local','relay','foreign')),
  grant_reason TEXT,
  grant_ref TEXT,
  notify TEXT NOT NULL,                  -- comma-separated, empty if not given
  orcpt TEXT NOT NULL,
  original TEXT,                         -- what the client named, where an alias stood for this recipient
  original_local TEXT,
  original_domain TEXT,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  due REAL,                              -- NULL while a claim in memory has it, while held, and when final
  last_reply TEXT NOT NULL,
  last_remote TEXT NOT NULL,
  finished_at REAL,
  possible_duplicate INTEGER NOT NULL,
  warned INTEGER NOT NULL,
  PRIMARY KEY (message, number),
  -- Mail for others never gets in without a grant: closed by the schema too (a CHECK passes on NULL, hence this form).
  CHECK (destination = 'local' OR (grant_reason IS NOT NULL AND grant_reason IN ('ACCOUNT','NETWORK','RELAY_DOMAIN','NOTIFICATION') AND grant_ref IS NOT NULL AND grant_ref <> '')),
  -- Spelt out, because SQLite builds a table for each IN of more than two values: 4 µs an insert, and 4 an update.
  CHECK (
    finished_at IS NULL AND (state = 'queued' OR state = 'deferred' OR state = 'held' AND due IS NULL)
    OR finished_at IS NOT NULL AND due IS NULL AND (state = 'delivered' OR state = 'bounced' OR state = 'deleted')
  )
) STRICT, WITHOUT ROWID;

CREATE INDEX recipients_due ON recipients (due) WHERE due IS NOT NULL;

-- Small tables that no room but the composition root and the command line knows.

-- What the store itself must remember: the last epoch, whether the last stop was clean, the writer's trial.
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Relay rights made by command. A revoked one keeps its row, so that its name still explains old mail.
CREATE TABLE rights (
  name TEXT PRIMARY KEY,
  body TEXT NOT NULL,                    -- JSON, read by the policy's own builder
  created_at REAL NOT NULL,
  created_by TEXT NOT NULL,
  revoked_at REAL
) STRICT, WITHOUT ROWID;

-- Of every right, wherever it comes from: a right that nobody uses should go.
CREATE TABLE right_usage (
  name TEXT PRIMARY KEY,
  last_used REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE bans (
  network TEXT PRIMARY KEY,              -- CIDR, as ipaddress writes it
  until REAL,                            -- NULL: until an operator removes it
  reason TEXT NOT NULL,
  created_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
  key TEXT PRIMARY KEY,
  state TEXT NOT NULL                    -- JSON of the limiter
) STRICT, WITHOUT ROWID;
