-- Destinations that an operator has paused: a recipient domain, or a next hop as the configuration writes it.
CREATE TABLE IF NOT EXISTS paused_destinations (
  name TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  paused_by TEXT NOT NULL,
  paused_at REAL NOT NULL                -- seconds since 1970, UTC
) STRICT, WITHOUT ROWID;
