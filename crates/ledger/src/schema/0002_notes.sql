-- What the program above keeps beyond its own life, each under a key, until it takes it back. Notes
-- move nothing, so they are no entries; one that stands for a change is written with its entry.
CREATE TABLE notes (
  age   INTEGER PRIMARY KEY,
  key   TEXT NOT NULL UNIQUE,
  value TEXT NOT NULL
) STRICT;

-- The name of a budget that was released is free again. All else that terms say is the business
-- of the program above.
DROP INDEX budgets_name;
CREATE UNIQUE INDEX budgets_name ON budgets (coalesce(parent, -1), name)
  WHERE instr(' ' || terms || ' ', ' state=released ') = 0;
