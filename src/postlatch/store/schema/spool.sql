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
