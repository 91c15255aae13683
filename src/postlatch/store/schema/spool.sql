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
  finished_at REAL,                      -- set when no recipient is unfinished; the body is gone then
  priority INTEGER NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2),  -- 0 urgent, 1 normal, 2 bulk (spool/priority.py)
  prefix BLOB DEFAULT NULL,              -- header fields that belong in front of a body file
  quarantined INTEGER NOT NULL DEFAULT 0,  -- its author's domain asks to set it apart
  verified INTEGER NOT NULL DEFAULT 0,   -- the sender is who it says: it may get a report
  require_tls TEXT NOT NULL DEFAULT ''   -- RFC 8689: required, no, or empty
) STRICT;

-- One index for two readers: the open messages in the order of their ids, and the finished ones by age.
CREATE INDEX messages_finished ON messages (finished_at);

-- What a start compares with the folder of body files.
CREATE INDEX messages_in_files ON messages (body_kind) WHERE finished_at IS NULL AND body_kind = 'file';

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
  priority INTEGER NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2),  -- its message's, for the index of what is due
  PRIMARY KEY (message, number),
  -- Mail for others never gets in without a grant: closed by the schema too (a CHECK passes on NULL, hence this form).
  CHECK (destination = 'local' OR (grant_reason IS NOT NULL AND grant_reason IN ('ACCOUNT','NETWORK','RELAY_DOMAIN','NOTIFICATION') AND grant_ref IS NOT NULL AND grant_ref <> '')),
  -- Spelt out, because SQLite builds a table for each IN of more than two values: 4 µs an insert, and 4 an update.
  CHECK (
    finished_at IS NULL AND (state = 'queued' OR state = 'deferred' OR state = 'held' AND due IS NULL)
    OR finished_at IS NOT NULL AND due IS NULL AND (state = 'delivered' OR state = 'bounced' OR state = 'deleted')
  )
) STRICT, WITHOUT ROWID;

-- What waits for its time. Fresh mail never gets here: its claim is made with its row.
CREATE INDEX recipients_due ON recipients (priority, due) WHERE due IS NOT NULL;

-- What waits for nothing: in the hands of this process, or held for a person. So a start, and a recovery, read what was in
-- hand and not the queue. Small, and always in the cache: measured, it costs an insert less than the noise.
CREATE INDEX recipients_at_hand ON recipients (state, message) WHERE due IS NULL AND finished_at IS NULL;

-- How many wait (queued and deferred: those with a due time) or are held, kept by triggers, so that it is exact whoever writes.
-- What is in hand is counted by its index. On its usual way, from memory to delivered, a recipient changes none of these.
CREATE TABLE queue_counts (
  state TEXT PRIMARY KEY,
  recipients INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO queue_counts VALUES ('queued', 0), ('deferred', 0), ('held', 0);

CREATE TRIGGER recipients_counted_when_new AFTER INSERT ON recipients
WHEN NEW.due IS NOT NULL OR NEW.state = 'held'
BEGIN
  UPDATE queue_counts SET recipients = recipients + 1 WHERE state = NEW.state;
END;

CREATE TRIGGER recipients_counted_when_gone AFTER DELETE ON recipients
WHEN OLD.due IS NOT NULL OR OLD.state = 'held'
BEGIN
  UPDATE queue_counts SET recipients = recipients - 1 WHERE state = OLD.state;
END;

CREATE TRIGGER recipients_counted_when_left AFTER UPDATE OF state, due ON recipients
WHEN OLD.due IS NOT NULL OR OLD.state = 'held'
BEGIN
  UPDATE queue_counts SET recipients = recipients - 1 WHERE state = OLD.state;
END;

CREATE TRIGGER recipients_counted_when_entered AFTER UPDATE OF state, due ON recipients
WHEN NEW.due IS NOT NULL OR NEW.state = 'held'
BEGIN
  UPDATE queue_counts SET recipients = recipients + 1 WHERE state = NEW.state;
END;
