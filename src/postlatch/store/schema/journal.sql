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
