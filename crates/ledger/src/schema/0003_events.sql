-- What changes caused: levels, overruns, loans and the like. Told, not booked: it moves nothing, so
-- it is no entry, and the fold does not know it. The number is the process's own; with the time it
-- makes an event that is written again after a storage error the same one.
CREATE TABLE events (
  at_us  INTEGER NOT NULL,
  number INTEGER NOT NULL,
  budget INTEGER NOT NULL,
  kind   TEXT NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (at_us, number)
) STRICT, WITHOUT ROWID;
