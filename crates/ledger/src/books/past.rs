//! What the entries say about holds that have ended, which memory does not keep.

use fisc_core::{HoldId, Usage};
use rusqlite::{Connection, Statement};

use super::Ended;
use crate::entry::Entry;
use crate::row;

/// Looks up entries by their hold.
pub(crate) struct Past<'c> {
    entries: Statement<'c>,
    taken: Statement<'c>,
}

// === impl Past ===

impl<'c> Past<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> rusqlite::Result<Past<'c>> {
        Ok(Past {
            entries: connection.prepare(&row::history_sql())?,
            taken: connection.prepare("SELECT 1 FROM steps WHERE hold = ?1 AND step = 0")?,
        })
    }

    /// Says whether the hold is one that the tables know.
    pub(crate) fn was_taken(&mut self, id: HoldId) -> rusqlite::Result<bool> {
        self.taken.exists([id.0.to_be_bytes().as_slice()])
    }

    /// Returns what the entries before number `seq` say about a hold, if it had ended by then.
    pub(crate) fn ended(&mut self, id: HoldId, seq: u64) -> rusqlite::Result<Option<Ended>> {
        let mut past: Option<Ended> = None;
        let mut has_ended = false;
        let mut rows = self.entries.query([id.0.to_be_bytes().as_slice()])?;
        while let Some(row) = rows.next()? {
            let raw = row::read_raw(row)?;
            if raw.stored.seq >= seq {
                break;
            }
            let (budget, at, entry) =
                row::interpret(&raw.stored).map_err(|problem| row::malformed(11, problem))?;
            match (entry, &mut past) {
                (Entry::Hold { call, .. }, _) => {
                    past = Some(Ended {
                        budget,
                        call,
                        at,
                        usage: Usage::default(),
                    });
                }
                (Entry::Settle { facts, .. }, Some(ended)) => {
                    (ended.at, ended.call, ended.usage) = (at, facts.call, facts.usage);
                    has_ended = true;
                }
                (Entry::Void { .. } | Entry::Doubt { .. }, Some(ended)) => {
                    ended.at = at;
                    has_ended = true;
                }
                (
                    Entry::Correct {
                        usage: Some(usage), ..
                    },
                    Some(ended),
                ) => ended.usage = usage,
                _ => {}
            }
        }
        Ok(past.filter(|_| has_ended))
    }
}
