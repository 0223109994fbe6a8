-- The journal of one tree of budgets. Never edit a step that was released: add the next one.

-- What this file is: its identity (losing the file is losing the identity), how often a writer
-- opened it, how the last one ended, and up to which entry the tables below are written. That
-- number changes in the same transaction as they do: with the entries after it they are the fold
-- of all.
CREATE TABLE journal (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  id     TEXT NOT NULL,
  epoch  INTEGER NOT NULL,
  ended  TEXT NOT NULL CHECK (ended IN ('open', 'closed')),
  folded INTEGER NOT NULL CHECK (folded >= 0)
) STRICT;
INSERT INTO journal (only, id, epoch, ended, folded)
  VALUES (1, lower(hex(randomblob(16))), 0, 'closed', 0);

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE budgets (
  id     INTEGER PRIMARY KEY,
  parent INTEGER REFERENCES budgets (id),
  name   TEXT NOT NULL,
  terms  TEXT NOT NULL,
  at_us  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX budgets_name ON budgets (coalesce(parent, -1), name);

-- Written every so many entries, see journal.folded: what a budget itself spent and holds, its
-- children's share not included.
CREATE TABLE balances (
  budget               INTEGER PRIMARY KEY REFERENCES budgets (id),
  spent_tokens         INTEGER NOT NULL CHECK (spent_tokens >= 0),
  spent_cost_nanousd   INTEGER NOT NULL CHECK (spent_cost_nanousd >= 0),
  spent_time_us        INTEGER NOT NULL CHECK (spent_time_us >= 0),
  held_tokens          INTEGER NOT NULL CHECK (held_tokens >= 0),
  held_cost_nanousd    INTEGER NOT NULL CHECK (held_cost_nanousd >= 0),
  held_time_us         INTEGER NOT NULL CHECK (held_time_us >= 0),
  overrun_tokens       INTEGER NOT NULL CHECK (overrun_tokens >= 0),
  overrun_cost_nanousd INTEGER NOT NULL CHECK (overrun_cost_nanousd >= 0),
  overrun_time_us      INTEGER NOT NULL CHECK (overrun_time_us >= 0)
) STRICT;

-- Every fact, in the engine's order, each chained to the one before it by its hash.
CREATE TABLE entries (
  seq                  INTEGER PRIMARY KEY,
  at_us                INTEGER NOT NULL,
  kind                 TEXT NOT NULL,
  budget               INTEGER NOT NULL,
  hold                 BLOB CHECK (length(hold) = 16),
  tokens               INTEGER NOT NULL,
  cost_nanousd         INTEGER NOT NULL,
  time_us              INTEGER NOT NULL,
  overrun_tokens       INTEGER NOT NULL,
  overrun_cost_nanousd INTEGER NOT NULL,
  overrun_time_us      INTEGER NOT NULL,
  body                 TEXT NOT NULL,
  hash                 BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries
BEGIN SELECT raise(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries
BEGIN SELECT raise(ABORT, 'entries are append-only'); END;

-- Written with the balances: where the entries of a hold are. Its step is 0 for its begin, 1 for
-- its end, the entry's own number for what lies between and after: a hold begins once and ends
-- once, whatever the program above believes.
CREATE TABLE steps (
  hold BLOB NOT NULL CHECK (length(hold) = 16),
  step INTEGER NOT NULL,
  seq  INTEGER NOT NULL,
  PRIMARY KEY (hold, step)
) STRICT, WITHOUT ROWID;

-- Written with the balances: holds that are open or in doubt; a hold that ended lives on in the entries only.
CREATE TABLE holds (
  id                   BLOB PRIMARY KEY CHECK (length(id) = 16),
  budget               INTEGER NOT NULL,
  at_us                INTEGER NOT NULL,
  tokens               INTEGER NOT NULL,
  cost_nanousd         INTEGER NOT NULL,
  time_us              INTEGER NOT NULL,
  call                 TEXT NOT NULL,
  doubted_at_us        INTEGER,
  charged_tokens       INTEGER,
  charged_cost_nanousd INTEGER,
  charged_time_us      INTEGER
) STRICT, WITHOUT ROWID;

-- Written with the balances: sums for reports, by the hour in which calls ended.
CREATE TABLE rollups (
  budget    INTEGER NOT NULL,
  operation TEXT NOT NULL,
  model     TEXT NOT NULL,
  provider  TEXT NOT NULL,
  hour      INTEGER NOT NULL,
  calls                INTEGER NOT NULL,
  attempts             INTEGER NOT NULL,
  completed            INTEGER NOT NULL,
  voided               INTEGER NOT NULL,
  estimated            INTEGER NOT NULL,
  unbounded            INTEGER NOT NULL,
  in_doubt             INTEGER NOT NULL,
  corrected            INTEGER NOT NULL,
  tokens               INTEGER NOT NULL,
  cost_nanousd         INTEGER NOT NULL,
  time_us              INTEGER NOT NULL,
  duration_us          INTEGER NOT NULL,
  excess_tokens        INTEGER NOT NULL,
  excess_cost_nanousd  INTEGER NOT NULL,
  excess_time_us       INTEGER NOT NULL,
  overrun_tokens       INTEGER NOT NULL,
  overrun_cost_nanousd INTEGER NOT NULL,
  overrun_time_us      INTEGER NOT NULL,
  used_input           INTEGER NOT NULL,
  used_cache_read      INTEGER NOT NULL,
  used_cache_write_5m  INTEGER NOT NULL,
  used_cache_write_1h  INTEGER NOT NULL,
  used_audio_input     INTEGER NOT NULL,
  used_image_input     INTEGER NOT NULL,
  used_output          INTEGER NOT NULL,
  used_audio_output    INTEGER NOT NULL,
  used_image_output    INTEGER NOT NULL,
  used_reasoning       INTEGER NOT NULL,
  used_searches        INTEGER NOT NULL,
  PRIMARY KEY (budget, operation, model, provider, hour)
) STRICT, WITHOUT ROWID;

-- Refusals are counted, not journalled: they move nothing.
CREATE TABLE refusals (
  budget    INTEGER NOT NULL,
  operation TEXT NOT NULL,
  model     TEXT NOT NULL,
  reason    TEXT NOT NULL,
  hour      INTEGER NOT NULL,
  refused   INTEGER NOT NULL,
  PRIMARY KEY (budget, operation, model, reason, hour)
) STRICT, WITHOUT ROWID;
