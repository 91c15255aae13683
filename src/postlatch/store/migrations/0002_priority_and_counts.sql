-- Version 2: urgent mail is claimed before newsletters, nothing reads the whole queue any more, destinations can be paused.

ALTER TABLE messages ADD COLUMN priority INTEGER NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2);
ALTER TABLE recipients ADD COLUMN priority INTEGER NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2);

DROP INDEX recipients_due;
CREATE INDEX recipients_due ON recipients (priority, due) WHERE due IS NOT NULL;
CREATE INDEX recipients_at_hand ON recipients (state, message) WHERE due IS NULL AND finished_at IS NULL;
CREATE INDEX messages_in_files ON messages (body_kind) WHERE finished_at IS NULL AND body_kind = 'file';

CREATE TABLE queue_counts (
  state TEXT PRIMARY KEY,
  recipients INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO queue_counts VALUES
  ('queued', (SELECT count(*) FROM recipients WHERE due IS NOT NULL AND state = 'queued')),
  ('deferred', (SELECT count(*) FROM recipients WHERE due IS NOT NULL AND state = 'deferred')),
  ('held', (SELECT count(*) FROM recipients WHERE due IS NULL AND finished_at IS NULL AND state = 'held'));

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

CREATE TABLE paused_destinations (
  name TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  paused_by TEXT NOT NULL,
  paused_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
